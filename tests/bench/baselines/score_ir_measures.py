"""MRR, R@100 and nDCG@10 with ir_measures, loading included.

    python score_ir_measures.py run.parquet|run.tsv qrels.tsv
"""

import json
import sys
import time

import ir_measures
import pandas as pd
from ir_measures import RR, R, nDCG

run_file, qrels_file = sys.argv[1:3]
MEASURES = {"MRR": RR, "R@100": R @ 100, "nDCG@10": nDCG @ 10}
TEXT = {"query_id": str, "doc_id": str}

started = time.perf_counter()
qrels = pd.read_csv(qrels_file, sep="\t", names=["query_id", "_", "doc_id", "relevance"], dtype=TEXT)
if run_file.endswith(".parquet"):
    run = pd.read_parquet(run_file, columns=["query_id", "doc_id", "score"])
else:
    run = pd.read_csv(run_file, sep="\t", names=["query_id", "doc_id", "rank"], dtype=TEXT)
    run["score"] = 1 / run["rank"]
values = ir_measures.calc_aggregate(list(MEASURES.values()), qrels[["query_id", "doc_id", "relevance"]], run[["query_id", "doc_id", "score"]])
means = {ours: float(values[measure]) for ours, measure in MEASURES.items()}
print(json.dumps({"seconds": time.perf_counter() - started, **means}))
