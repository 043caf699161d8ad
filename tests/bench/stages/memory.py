"""Peak memory at n rows and at ten times as many."""

import data
from contest import MIB, Program

NOTE = (
    "Memory of the process's own, sampled: mapped files, which the kernel may drop at any time, are in the peak and not in this. "
    "Peak is at the larger size."
)
SLACK = 1.1


def works(bench, factor):
    """`(binary, rows, command)` at a size."""
    quick = bench.quickstart / "collection.tsv"
    out = bench.work / "memory"
    model = bench.minilm

    megabytes = 5 * factor
    texts = data.repeated(bench, quick, megabytes)
    yield "tokenize", f"{megabytes * bench.scale:g} MB", bench.ours("tokenize", "--tokenizer", model, texts, "-o", f"{out}.arrow")

    rows = bench.size(1000, 40) * factor
    tokens = data.tokens(bench, data.first(bench, data.repeated(bench, quick, 50), rows))
    yield "embed", f"{rows:,} texts", bench.ours("embed", "--model", model, tokens, "-o", f"{out}.arrow")

    rows, queries = bench.size(50_000, 1000) * factor, bench.size(200, 20)
    docs, asked = data.vectors(bench, "memory-docs", rows, 384, 8), data.vectors(bench, "memory-queries", queries, 384, 9)
    yield "rank", f"{rows:,} documents", bench.ours("rank", "--index", docs, "--top-k", 100, asked, "-o", f"{out}.parquet")

    queries = bench.size(100, 10)
    asked = data.vectors(bench, "memory-queries", queries * factor, 384, 9)
    docs = data.vectors(bench, "memory-docs", bench.size(50_000, 1000), 384, 8)
    yield "rank ", f"{queries * factor:,} queries", bench.ours("rank", "--index", docs, "--top-k", 1000, asked, "-o", f"{out}.parquet")

    queries = bench.size(20_000, 200) * factor
    found = data.run(bench, queries, 210, 8_841_823)
    qrels = data.qrels_within(bench, found)
    yield "mine-negatives", f"{queries * 210:,} rows", bench.ours("mine-negatives", "--ids", "internal", "--qrels", qrels, found, "-o", f"{out}.parquet")

    def remap(queries, depth, megabytes):
        """A run over the texts of a collection, made official."""
        collection = data.repeated(bench, quick, megabytes)
        documents = sum(1 for _ in data.lines(collection))
        found = data.run(bench, queries, depth, documents)
        asked = data.tokens(bench, data.first(bench, data.repeated(bench, quick, 50), queries), "query")
        docs = data.tokens(bench, collection)
        ids = ["--ids", "internal", "--queries", asked, "--docs", docs, "--to", "official"]
        return bench.ours("remap-ids", *ids, found, "-o", f"{out}.parquet"), documents

    queries = bench.size(10_000, 50)
    command, _ = remap(queries * factor, 200, 5)
    yield "remap-ids", f"{queries * factor * 200:,} rows", command
    command, documents = remap(queries, 200, 5 * factor)
    yield "remap-ids ", f"{documents:,} documents", command


def run(bench):
    for small, large in zip(works(bench, 1), works(bench, 10)):
        binary, less, command = small
        _, more, longer = large
        one, ten = (bench.call(Program(binary.strip(), each)) for each in (command, longer))
        growth = ten.own / max(one.own, 1)
        what = f"{one.own / MIB:.1f} → {ten.own / MIB:.1f} MiB"
        bench.fact("memory", f"{binary.strip()}, {less} → {more}", what, growth, "×", f"≤ {SLACK:g}", SLACK.__ge__, ten.peak, NOTE)
