"""Hard negatives with polars: an anti-join of the run with the qrels, then the first of each query, lazily.

    python mine_polars.py run.parquet qrels.parquet out.parquet TOP_K
"""

import json
import sys
import time

import polars as pl

run_file, qrels_file, target, top_k = *sys.argv[1:4], int(sys.argv[4])
started = time.perf_counter()
relevant = pl.scan_parquet(qrels_file).filter(pl.col("relevance") > 0)
(
    pl.scan_parquet(run_file)
    .join(relevant, on=["query_id", "doc_id"], how="anti", maintain_order="left")
    .with_columns(pl.int_range(1, pl.len() + 1, dtype=pl.Int32).over("query_id").alias("rank"))
    .filter(pl.col("rank") <= top_k)
    .sink_parquet(target)
)
print(json.dumps({"seconds": time.perf_counter() - started}))
