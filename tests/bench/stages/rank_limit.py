"""rank over embeddings larger than the memory it may use, beside numpy's argpartition over a mapped file."""

import os

import data
from contest import Program
from stages.rank import same

DOCUMENTS, DIM, QUERIES, TOP_K, LIMIT = 1_400_000, 768, 1000, 100, 1 << 30
NOTE = (
    "Both may have 1 GiB of memory of their own (RLIMIT_DATA, which the kernel enforces; pages of the mapped file, which it may "
    "drop at any time, don't count towards it, but do in the peak), and begin with the file out of the page cache. "
    "BENCH_LIMIT=\"systemd-run --user --scope -p MemoryMax=1G\" limits the page cache as well."
)


def run(bench):
    rows, count = bench.size(DOCUMENTS, 4000), bench.size(QUERIES, 50)
    docs, queries = data.vectors(bench, "many-docs", rows, DIM, 7), data.vectors(bench, "queries", count, DIM, 6)
    mine, theirs = bench.work / "run-ours.parquet", bench.work / "run-memmap.parquet"
    ours = Program("rank --memory 512", bench.ours("rank", "--index", docs, "--memory", 512, "--top-k", TOP_K, queries, "-o", mine))
    baseline = Program("numpy, mapped, argpartition", bench.baseline("rank_memmap", docs, queries, theirs, TOP_K), aim=3.5)
    size = docs.stat().st_size / 1e9
    work = f"{count:,} queries, {rows:,} × {DIM} ({size:.1f} GB), top {TOP_K}, 1 GiB"
    limits = {"own_memory_limit": LIMIT, "forget": [docs], "prefix": os.environ.get("BENCH_LIMIT", "")}
    ceiling = ("GFLOP float32", 2 * rows * DIM * count / 1e9, None)
    found = bench.contest("rank-limit", work, ours, [baseline], count, "queries", ceiling, NOTE, **limits)
    own = max(result.own for result in found[ours.label])
    bench.fact("rank-limit", work, "our own memory, without mapped files", own / 2**20, "MiB", "≤ 1,024", lambda mib: mib <= 1024)
    same(bench, f"rank-limit, {work}", mine, theirs)
