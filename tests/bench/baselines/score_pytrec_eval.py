"""MRR, R@100 and nDCG@10 with pytrec_eval, loading included.

    python score_pytrec_eval.py run.parquet|run.tsv qrels.tsv

A run in MS MARCO's TSV has ranks only: their reciprocals serve as scores.
"""

import json
import sys
import time
from collections import defaultdict

import pyarrow.parquet as pq
import pytrec_eval

run_file, qrels_file = sys.argv[1:3]
MEASURES = {"MRR": "recip_rank", "R@100": "recall_100", "nDCG@10": "ndcg_cut_10"}


def read_parquet(path):
    columns = pq.read_table(path, columns=["query_id", "doc_id", "score"]).to_pydict()
    run, query = {}, None
    for query_id, doc_id, score in zip(*columns.values()):
        if query_id != query:
            query, found = query_id, run.setdefault(query_id, {})
        found[doc_id] = score
    return run


def read_tsv(path):
    run = defaultdict(dict)
    with open(path) as file:
        for line in file:
            query_id, doc_id, rank = line.split("\t")
            run[query_id][doc_id] = 1 / int(rank)
    return dict(run)


started = time.perf_counter()
qrels = defaultdict(dict)
with open(qrels_file) as file:
    for line in file:
        query_id, _, doc_id, relevance = line.split()
        qrels[query_id][doc_id] = int(relevance)
run = read_parquet(run_file) if run_file.endswith(".parquet") else read_tsv(run_file)
values = pytrec_eval.RelevanceEvaluator(qrels, {"recip_rank", "recall.100", "ndcg_cut.10"}).evaluate(run)
means = {ours: sum(query[name] for query in values.values()) / len(values) for ours, name in MEASURES.items()}
print(json.dumps({"seconds": time.perf_counter() - started, **means}))
