"""rank straight off embeddings beside faiss.IndexFlatIP and beside torch's matmul and topk."""

import statistics

import numpy as np
import pyarrow.parquet as pq

import data
from contest import Program

DOCUMENTS, DIM, QUERIES = 100_000, 768, 1000
NOTE = "From embeddings files to a run in Parquet on both sides: ours is the whole process, the baselines' time starts after Python's imports."


def same(bench, what, mine, theirs, least=0.999):
    """Equal scores, and equal documents in `least` of the places: in the others, scores are too near for the order of
    additions."""
    a, b = (pq.read_table(path, columns=["query_id", "doc_id", "score"]) for path in (mine, theirs))
    bench.check(len(a) == len(b), f"{what}: {len(a)} rows, {len(b)}")
    if len(a) == len(b):
        gap = np.abs(a["score"].to_numpy() - b["score"].to_numpy()).max()
        bench.check(gap < 1e-3, f"{what}: scores differ by {gap:.1e}")
        equal = (a["doc_id"].to_numpy() == b["doc_id"].to_numpy()).mean()
        bench.check(equal > least, f"{what}: only {equal:.2%} of the places have the same document")


def run(bench):
    rows, count = bench.size(DOCUMENTS, 2000), bench.size(QUERIES, 50)
    docs, queries = data.vectors(bench, "docs", rows, DIM, 5), data.vectors(bench, "queries", count, DIM, 6)
    for top_k in (100, 1000):
        mine, by_faiss, by_torch = (bench.work / f"run-{name}.parquet" for name in ("ours", "faiss", "torch"))
        ours = Program("rank", bench.ours("rank", "--index", docs, "--top-k", top_k, queries, "-o", mine))
        baselines = [
            Program("faiss.IndexFlatIP", bench.baseline("rank_faiss", docs, queries, by_faiss, top_k), aim=4 if top_k < 1000 else 3),
            Program("torch matmul + topk", bench.baseline("rank_torch", docs, queries, by_torch, top_k), aim=1.5),
        ]
        work = f"{count:,} queries, {rows:,} × {DIM}, top {top_k}"
        products = ("GFLOP float32", 2 * rows * DIM * count / 1e9, None)
        found = bench.contest("rank", work, ours, baselines, count, "queries", products, NOTE)
        for baseline in baselines:
            ratios = [b.said["search"] / a.seconds for a, b in zip(found[ours.label], found[baseline.label])]
            bench.fact("rank", work, f"the search alone of {baseline.label} / our whole process", statistics.median(ratios), "×")
        for path in (by_faiss, by_torch):
            same(bench, f"rank, {work}, {path.stem}", mine, path)
