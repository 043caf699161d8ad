"""Time and memory of our programs at four sizes, ×1 to ×64, with the slope between the two largest."""

import math

import data
from contest import MIB, Program, middle

FACTORS = (1, 4, 16, 64)
NOTE = (
    "The slope is that of the logarithms between the two largest sizes: 1 means that time, or memory, grows as the size "
    "does, 0 that it does not grow. Memory is the process's own: mapped files, which the kernel may drop, are not in it."
)


def works(bench):
    """`(program, unit, size at ×1, command for a size)`, in the order of the pipeline."""
    quick = bench.quickstart / "collection.tsv"
    out = bench.work / "growth"

    def tokenize(megabytes):
        texts = data.repeated(bench, quick, megabytes)
        return bench.ours("tokenize", "--tokenizer", bench.minilm, texts, "-o", f"{out}.arrow")

    def embed(texts):
        tokens = data.tokens(bench, data.first(bench, data.repeated(bench, quick, 50), texts))
        return bench.ours("embed", "--model", bench.minilm, tokens, "-o", f"{out}.arrow")

    asked = data.vectors(bench, "growth-queries", bench.size(200, 20), 768, 9)

    def rank(documents):
        documents = data.vectors(bench, "growth-docs", documents, 768, 8)
        return bench.ours("rank", "--index", documents, "--top-k", 100, asked, "-o", f"{out}.parquet")

    def mine(queries):
        found = data.run(bench, queries, 210, 8_841_823)
        qrels = data.qrels_within(bench, found)
        options = ["--ids", "internal", "--qrels", qrels, found, "-o", f"{out}.parquet"]
        return bench.ours("mine-negatives", *options)

    def score(queries):
        parquet, _, qrels = data.official(bench, queries, 1000)
        return bench.ours("score", "--qrels", qrels, "-m", "MRR@10", "-m", "nDCG@10", parquet, "-o", f"{out}.txt")

    yield "tokenize", "MB of text", 2, tokenize
    yield "embed", "texts", bench.size(300, 20), embed
    yield "rank", "documents of 768 dimensions, 200 queries", bench.size(10_000, 200), rank
    yield "mine-negatives", "queries of 210 documents", bench.size(8_000, 20), mine
    yield "score", "queries of 1,000 documents", bench.size(400, 10), score


def run(bench):
    for name, unit, least, command in works(bench):
        programs = [Program(f"{name}, {least * factor:,}", command(least * factor)) for factor in FACTORS]
        found = bench.in_turn(programs)
        times = [middle(found[program.label]) for program in programs]
        peaks = [max(result.own for result in found[program.label]) for program in programs]
        steps = math.log(FACTORS[-1] / FACTORS[-2])
        work = f"{name}, {least:,} to {least * FACTORS[-1]:,} {unit}"
        for what, values, shown in [
            ("time", times, " → ".join(f"{seconds:.2f}" for seconds in times) + " s"),
            ("memory", peaks, " → ".join(f"{peak / MIB:.0f}" for peak in peaks) + " MiB"),
        ]:
            slope = math.log(max(values[-1], 1e-9) / max(values[-2], 1e-9)) / steps
            bench.fact("growth", work, f"{what}: {shown}", slope, "slope", peak=peaks[-1], note=NOTE)
