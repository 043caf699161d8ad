"""Hard negatives with pandas: an anti-join of the run with the qrels, then the first of each query.

    python mine_pandas.py run.parquet qrels.parquet out.parquet TOP_K
"""

import json
import sys
import time

import pandas as pd

run_file, qrels_file, target, top_k = *sys.argv[1:4], int(sys.argv[4])
started = time.perf_counter()
run = pd.read_parquet(run_file)
qrels = pd.read_parquet(qrels_file)
relevant = qrels.loc[qrels["relevance"] > 0, ["query_id", "doc_id"]]
# One number a pair: faster, and in less memory, than a merge with an indicator.
width = int(max(run["doc_id"].max(), relevant["doc_id"].max())) + 1
negatives = run[~(run["query_id"] * width + run["doc_id"]).isin(relevant["query_id"] * width + relevant["doc_id"])]
rank = negatives.groupby("query_id", sort=False).cumcount() + 1
negatives = negatives.assign(rank=rank.astype("int32"))[rank <= top_k]
negatives.to_parquet(target, index=False)
print(json.dumps({"seconds": time.perf_counter() - started}))
