"""MRR, R@100 and nDCG@10 with ranx, loading included; compiled beforehand on the last queries.

    python score_ranx.py run.parquet|run.tsv qrels.tsv
"""

import json
import sys
import time

import pandas as pd
from ranx import Qrels, Run, evaluate

run_file, qrels_file = sys.argv[1:3]
MEASURES = {"MRR": "mrr", "R@100": "recall@100", "nDCG@10": "ndcg@10"}
TEXT = {"query_id": str, "doc_id": str}


def load():
    """The run and the qrels as ranx holds them."""
    qrels = pd.read_csv(qrels_file, sep="\t", names=["query_id", "_", "doc_id", "score"], dtype=TEXT)
    if run_file.endswith(".parquet"):
        run = pd.read_parquet(run_file, columns=["query_id", "doc_id", "score"]).astype({"score": float})
    else:
        run = pd.read_csv(run_file, sep="\t", names=["query_id", "doc_id", "rank"], dtype=TEXT)
        run["score"] = 1 / run["rank"]
    return qrels, run


def measure(qrels, run):
    columns = {"q_id_col": "query_id", "doc_id_col": "doc_id", "score_col": "score"}
    return evaluate(Qrels.from_df(qrels, **columns), Run.from_df(run, **columns), list(MEASURES.values()), make_comparable=True)


# ranx compiles for each width of ids: the last queries have the longest.
qrels, run = load()
last = qrels["query_id"].drop_duplicates().tail(50)
measure(qrels[qrels["query_id"].isin(last)], run[run["query_id"].isin(last)])
del qrels, run
started = time.perf_counter()
values = measure(*load())
means = {ours: float(values[name]) for ours, name in MEASURES.items()}
print(json.dumps({"seconds": time.perf_counter() - started, **means}))
