"""embed --precision int8 beside sentence-transformers' int8 backends for CPUs and its float32, and what int8 costs."""

import data
from contest import Program
from stages.embed import NOTE, least_cosine, operations, pipe, works
from stages.embed_bf16 import mrr


def run(bench):
    for name, model, text_name, texts, count, length in works(bench, ["MiniLM-L6", "RoBERTa-base shape"]):
        mine = bench.work / "vectors-int8.arrow"
        ours = Program("tokenize | embed --precision int8", pipe(bench, model, texts, length, "int8", mine))
        full = bench.work / "encode.npy"
        float32 = bench.baseline("embed_sentence_transformers", model, texts, full, length, "f32")
        baselines = [Program("sentence-transformers, float32", float32, aim=4)]
        backends = {backend: bench.work / f"int8-{backend}.npy" for backend in ("openvino", "onnx")}
        # The published model only: what is measured of a random one says nothing of int8.
        if name == "MiniLM-L6":
            for (backend, path), aim in zip(backends.items(), (1.2, 1.5)):
                command = bench.baseline("embed_int8", model, texts, path, length, backend, bench.work)
                baselines.append(Program(f"sentence-transformers, {backend} int8", command, aim=aim))
        work = f"{name}, int8, {count:,} {text_name} texts"
        ceiling = ("GFLOP float32", operations(model, data.tokens(bench, texts, model=model), length), None)
        bench.contest("embed-int8", work, ours, baselines, count, "texts", ceiling, NOTE)
        exact = data.matrix(full)[1]
        bench.fact("embed-int8", work, "least cosine to float32", least_cosine(data.matrix(mine)[1], exact), "", "≥ 0.99", 0.99.__le__)
        for backend, path in backends.items():
            if name == "MiniLM-L6":
                bench.fact("embed-int8", work, f"the same of {backend}", least_cosine(data.matrix(path)[1], exact), "")
    full, low = mrr(bench, "f32"), mrr(bench, "int8")
    work = "MiniLM-L6, quick start, dev queries"
    bench.fact("embed-int8", work, "MRR@10 in float32", full, "")
    bench.fact("embed-int8", work, "change of MRR@10 by int8", low - full, "")
