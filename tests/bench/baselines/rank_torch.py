"""Exact search with torch on BENCH_DEVICE: a matrix product and topk a block of documents, the blocks' lists merged at the end.

    python rank_torch.py docs.arrow queries.arrow out.parquet TOP_K [BLOCK]

`seconds` has reading, searching and writing in it; `search` is the search alone.
"""

import json
import os
import sys
import time

import numpy as np
import pyarrow as pa
import pyarrow.ipc
import pyarrow.parquet as pq
import torch

docs_file, queries_file, target, top_k = *sys.argv[1:4], int(sys.argv[4])
block = int(sys.argv[5]) if len(sys.argv) > 5 else 16384
device = os.environ.get("BENCH_DEVICE", "cpu")


def vectors(path):
    column = pa.ipc.open_file(pa.memory_map(path)).read_all()["embedding"].combine_chunks()
    return torch.from_numpy(np.array(column.flatten()).reshape(len(column), -1))


@torch.inference_mode()
def search(queries, docs):
    lists = []
    for start in range(0, len(docs), block):
        part = docs[start : start + block].to(device).float()
        scores, ids = (queries @ part.T).topk(min(top_k, len(part)), dim=1)
        lists.append((scores, ids + start))
    scores, ids = (torch.cat(found, 1) for found in zip(*lists))
    scores, places = scores.topk(min(top_k, scores.shape[1]), dim=1)
    return scores.cpu(), ids.gather(1, places).cpu()


started = time.perf_counter()
queries, docs = vectors(queries_file), vectors(docs_file)
searching = time.perf_counter()
scores, ids = search(queries.to(device).float(), docs)
seconds = time.perf_counter() - searching
count, depth = ids.shape
rank = np.tile(np.arange(1, depth + 1, dtype=np.int32), count)
columns = {"query_id": np.repeat(np.arange(count), depth), "doc_id": ids.numpy().ravel(), "rank": rank, "score": scores.numpy().ravel()}
pq.write_table(pa.table(columns), target)
print(json.dumps({"seconds": time.perf_counter() - started, "search": seconds}))
