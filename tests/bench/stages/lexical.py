"""index --lexical and rank over it beside bm25s: speed, and nDCG@10 of both runs."""

import json
import statistics
import subprocess

import data
from contest import Program

TOP_K = 1000
NOTE = (
    "From texts to a folder, and from texts of queries to a run in Parquet, on both sides. Ours are whole processes; the "
    "time of bm25s starts after Python's imports and after numba has compiled what it will run."
)


def collections(bench):
    """`(name, collection, queries, qrels)`, unpacked; BENCH_TEXT has queries.tsv and qrels.tsv beside it."""
    small = bench.quickstart
    found = [("quick-start", small / "collection.tsv", small / "queries.dev.small.tsv", small / "qrels.dev.small.tsv")]
    if bench.text:
        files = [bench.text]
        for name in ("queries", "qrels"):
            files += [path for path in bench.text.parent.glob(f"{name}.tsv*") if path.suffix in (".tsv", ".gz")][:1]
        if len(files) == 3:
            found.append((bench.text.parent.name, *(data.unpacked(bench, path) for path in files)))
    return found


def ndcg(bench, qrels, run):
    words = [bench.bin / "score", "-q", "--qrels", qrels, "--order", "score", "-m", "nDCG@10", "--format", "json", run]
    done = subprocess.run(list(map(str, words)), capture_output=True, text=True, check=True)
    return json.loads(done.stdout)[0]["value"]


def run(bench):
    for name, collection, queries, qrels in collections(bench):
        mine, theirs = bench.work / "docs.lexical", bench.work / "docs.bm25s"
        megabytes = collection.stat().st_size / 1e6
        ours = Program("index --lexical", bench.ours("index", "--lexical", collection, "-o", mine))
        other = Program("bm25s index", bench.baseline("lexical_bm25s", "index", collection, theirs), aim=2)
        work = f"index of {name}, {megabytes:.1f} MB"
        bench.contest("lexical", work, ours, [other], megabytes, "MB", note=NOTE)

        runs = [bench.work / f"lexical-{side}.parquet" for side in ("ours", "bm25s")]
        count = sum(1 for _ in data.lines(queries))
        ours = Program("rank", bench.ours("rank", "--index", mine, "--top-k", TOP_K, queries, "-o", runs[0]))
        script = bench.baseline("lexical_bm25s", "search", theirs, queries, runs[1], TOP_K)
        other = Program("bm25s retrieve", script, aim=2)
        work = f"search of {name}, {count:,} queries, top {TOP_K}"
        found = bench.contest("lexical", work, ours, [other], count, "queries", note=NOTE)
        ratios = [b.said["search"] / a.seconds for a, b in zip(found[ours.label], found[other.label])]
        bench.fact("lexical", work, "retrieve() alone of bm25s / our whole process", statistics.median(ratios), "×")

        ours, theirs = (ndcg(bench, qrels, path) for path in runs)
        bench.fact("lexical", name, "nDCG@10 of rank", ours, "")
        bench.fact("lexical", name, "nDCG@10 of bm25s", theirs, "", f"{ours:.4f} ± 0.005", lambda value: abs(value - ours) <= 0.005)
