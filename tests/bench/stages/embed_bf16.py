"""embed --precision bf16 beside sentence-transformers under autocast and in float32, and what it does to the metric."""

import json

import data
from contest import Program
from stages.embed import NOTE, least_cosine, operations, pipe, works


def mrr(bench, precision):
    """Dev MRR@10 of the quick start with the model as published."""
    folder = bench.work
    docs, queries = bench.quickstart / "collection.tsv", bench.quickstart / "queries.dev.small.tsv"
    doc_tokens, query_tokens = data.tokens(bench, docs), data.tokens(bench, queries, "query")
    for tokens, vectors in [(doc_tokens, "docs.arrow"), (query_tokens, "queries.arrow")]:
        data.run_ours(bench, "embed", "--model", bench.minilm, "--precision", precision, tokens, "-o", folder / vectors)
    data.run_ours(bench, "rank", "--index", folder / "docs.arrow", "--top-k", 100, folder / "queries.arrow", "-o", folder / "run.arrow")
    ids = ["--queries", query_tokens, "--docs", doc_tokens, "--to", "official"]
    data.run_ours(bench, "remap-ids", *ids, folder / "run.arrow", "-o", folder / "run.tsv")
    qrels = bench.quickstart / "qrels.dev.small.tsv"
    said = data.run_ours(bench, "score", "--qrels", qrels, "-m", "MRR@10", "--format", "json", folder / "run.tsv")
    return json.loads(said)[0]["value"]


def run(bench):
    for name, model, text_name, texts, count, length in works(bench, ["MiniLM-L6", "RoBERTa-base shape"]):
        mine, autocast, full = (bench.work / file for file in ("vectors-bf16.arrow", "autocast.npy", "encode.npy"))
        ours = Program("tokenize | embed --precision bf16", pipe(bench, model, texts, length, "bf16", mine))
        baselines = [
            Program(f"sentence-transformers, {what}", bench.baseline("embed_sentence_transformers", model, texts, path, length, precision), aim=aim)
            for what, path, precision, aim in [("bfloat16 autocast", autocast, "bf16", 2), ("float32", full, "f32", 4)]
        ]
        work = f"{name}, bfloat16, {count:,} {text_name} texts"
        ceiling = ("GFLOP bfloat16", operations(model, data.tokens(bench, texts, model=model), length), None)
        bench.contest("embed-bf16", work, ours, baselines, count, "texts", ceiling, NOTE)
        vectors = {path: data.matrix(path)[1] for path in (mine, autocast, full)}
        bench.fact("embed-bf16", work, "least cosine to float32", least_cosine(vectors[mine], vectors[full]), "", "≥ 0.999", 0.999.__le__)
        bench.fact("embed-bf16", work, "the same of autocast", least_cosine(vectors[autocast], vectors[full]), "")
    full, low = mrr(bench, "f32"), mrr(bench, "bf16")
    work = "MiniLM-L6, quick start, dev queries"
    bench.fact("embed-bf16", work, "MRR@10 in float32", full, "")
    bench.fact("embed-bf16", work, "change of MRR@10 by bfloat16", low - full, "")
