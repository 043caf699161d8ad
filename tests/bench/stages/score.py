"""score from Parquet and from TSV beside pytrec_eval, ranx and ir_measures, loading included."""

import json
import statistics

import data
from contest import Program

QUERIES, DEPTH = 6980, 1000
NOTE = (
    "Ours is the whole process, from its start; the baselines' time starts after Python's imports (and, for ranx, after "
    "its functions are compiled), with loading in it. MRR, R@100, nDCG@10; text ids."
)
METRICS = ["-m", "MRR", "-m", "R@100", "-m", "nDCG@10"]


def run(bench):
    count = bench.size(QUERIES, 100)
    parquet, tsv, qrels = data.official(bench, count, DEPTH)
    for name, path, order in [("Parquet", parquet, "score"), ("TSV", tsv, "rank")]:
        said = bench.work / "score.json"
        command = bench.ours("score", "--qrels", qrels, *METRICS, "--order", order, "--format", "json", "-o", said, path)
        ours = Program(f"score --order {order}", command)
        baselines = [
            Program(label, bench.baseline(f"score_{label}", path, qrels), aim=aim)
            for label, aim in [("pytrec_eval", 10), ("ranx", 3), ("ir_measures", 10)]
        ]
        work = f"{count:,} queries × {DEPTH:,}, {name}"
        found = bench.contest("score", work, ours, baselines, note=NOTE)
        if name == "Parquet":
            seconds = statistics.median(result.wall for result in found[ours.label])
            bench.fact("score", work, "process start included", seconds, "s", "< 1 s", (1.0).__gt__)
        values = {entry["metric"]: entry["value"] for entry in json.loads(said.read_text())}
        for baseline in baselines:
            other = found[baseline.label][-1].said
            for metric, value in values.items():
                bench.check(abs(value - other[metric]) < 1e-6, f"score, {work}, {metric}: {value}, {baseline.label} {other[metric]}")
