"""rank over codes of product quantization beside faiss's own scan of the same file."""

import statistics

import data
from contest import Program
from stages.rank import same

DOCUMENTS, DIM, TOP_K = 1_000_000, 768, 100
NOTE = (
    "OPQ, IVF1 and PQ, one file for both, in the page cache. From the index and the embeddings of queries to a run in "
    "Parquet: ours is the whole process, the baseline's time starts after Python's imports. faiss uses all cores, one "
    "query for each; its precomputed tables are for L2 only."
)


def run(bench):
    rows = bench.size(DOCUMENTS, 20_000)
    for subvectors in (96, 48):
        index = data.compressed(bench, rows, DIM, subvectors)
        for count in (100, 1000):
            count = bench.size(count, 20)
            queries = data.vectors(bench, "queries", count, DIM, 6)
            mine, theirs = bench.work / "run-ours.parquet", bench.work / "run-ivfpq.parquet"
            ours = Program("rank", bench.ours("rank", "--index", index, "--top-k", TOP_K, queries, "-o", mine))
            baseline = Program("faiss.IndexIVFPQ", bench.baseline("rank_ivfpq", index, queries, theirs, TOP_K), aim=2)
            size = index.stat().st_size / 1e6
            work = f"{count:,} queries, {rows:,} × M = {subvectors} ({size:.0f} MB), top {TOP_K}"
            found = bench.contest("compressed", work, ours, [baseline], count, "queries", note=NOTE)
            pairs = zip(found[ours.label], found[baseline.label])
            ratio = statistics.median(b.said["search"] / a.seconds for a, b in pairs)
            bench.fact("compressed", work, "the search alone of faiss.IndexIVFPQ / our whole process", ratio, "×")
            same(bench, f"compressed, {work}", mine, theirs)
