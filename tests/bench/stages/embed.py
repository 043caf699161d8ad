"""embed in float32, from text to vectors, beside sentence-transformers and beside the reference's loop."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.ipc

import data
from contest import Program

NOTE = (
    "Ours is the whole of tokenize | embed, from TSV to a file, model loading included; encode's time has its tokenizing "
    "in it and neither imports, loading nor writing, the loop's has no tokenizing either. Peak is the sum over the pipe."
)
# Texts of the two models: of the quick start, and of BENCH_TEXT, whose texts may be longer.
TEXTS = {"MiniLM-L6": (4930, 1000), "RoBERTa-base shape": (800, 120)}


def operations(model, tokens, length):
    """GFLOP of the encoder's matrix products over the tokens themselves, without any padding."""
    config = json.loads((model / "config.json").read_text())
    layers, hidden, inner = (config[name] for name in ("num_hidden_layers", "hidden_size", "intermediate_size"))
    with pa.memory_map(str(tokens)) as file:
        counts = pa.ipc.open_file(file).read_all()["token_ids"].combine_chunks().value_lengths().to_numpy()
    counts = np.minimum(counts, length).astype(float)
    products = 2 * counts * (4 * hidden**2 + 2 * hidden * inner)
    attention = 4 * counts**2 * hidden
    return layers * (products + attention).sum() / 1e9


def pipe(bench, model, texts, length, precision, output):
    tokenize = bench.ours("tokenize", "--tokenizer", model, "--max-length", length, texts)
    return f"{tokenize} | {bench.ours('embed', '--model', model, '--precision', precision, '-o', output)}"


def works(bench, models):
    """`(model's name, folder, texts' name, texts, how many, most tokens)`"""
    for name in models:
        model = bench.minilm if name == "MiniLM-L6" else data.roberta(bench)
        for wanted, (text_name, collection, length) in zip(TEXTS[name], data.text_of(bench)):
            texts = data.first(bench, collection, bench.size(wanted, 64))
            count = sum(1 for _ in data.lines(texts))
            yield name, model, text_name, texts, count, length


def least_cosine(a, b):
    a, b = (each / np.linalg.norm(each, axis=1, keepdims=True) for each in (a, b))
    return float((a * b).sum(1).min())


def run(bench):
    for name, model, text_name, texts, count, length in works(bench, TEXTS):
        mine, theirs, loop = (bench.work / file for file in ("vectors.arrow", "encode.npy", "loop.npy"))
        tokens = data.tokens(bench, texts, model=model)
        ours = Program("tokenize | embed", pipe(bench, model, texts, length, "f32", mine))
        encode = bench.baseline("embed_sentence_transformers", model, texts, theirs, length, "f32")
        baselines = [
            Program("sentence-transformers encode", encode, aim=2),
            Program("file order, 32 padded to the longest", bench.baseline("embed_loop", model, tokens, loop, length), aim=2.5),
        ]
        work = f"{name}, float32, {count:,} {text_name} texts"
        ceiling = ("GFLOP float32", operations(model, tokens, length), 0.7)
        bench.contest("embed", work, ours, baselines, count, "texts", ceiling, NOTE)
        for path in (theirs, loop):
            gap = np.abs(data.matrix(mine)[1] - data.matrix(path)[1]).max()
            bench.check(gap < 1e-4, f"embed, {work}, {path.stem}: vectors differ by {gap:.1e}")
