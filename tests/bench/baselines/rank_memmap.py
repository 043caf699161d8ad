"""Exact search over a file larger than memory: mapped blocks, numpy's matrix product and argpartition.

    python rank_memmap.py docs.arrow queries.arrow out.parquet TOP_K [BLOCK]

The documents' vectors are read in place, as numpy.memmap would.
"""

import json
import sys
import time

import numpy as np
import pyarrow as pa
import pyarrow.ipc
import pyarrow.parquet as pq

docs_file, queries_file, target, top_k = *sys.argv[1:4], int(sys.argv[4])
wanted = int(sys.argv[5]) if len(sys.argv) > 5 else 8192


def blocks(path):
    """`(first id, (rows, dim) mapped vectors)`"""
    file, start = pa.ipc.open_file(pa.memory_map(path)), 0
    for number in range(file.num_record_batches):
        batch = file.get_batch(number)
        found = batch["embedding"].flatten().to_numpy().reshape(batch.num_rows, -1)
        for at in range(0, len(found), wanted):
            yield start + at, found[at : at + wanted]
        start += len(found)


def best(scores, ids):
    """The top_k of each row, in no order."""
    if scores.shape[1] <= top_k:
        return scores, ids
    places = np.argpartition(scores, -top_k, axis=1)[:, -top_k:]
    return np.take_along_axis(scores, places, 1), np.take_along_axis(ids, places, 1)


started = time.perf_counter()
queries = np.concatenate([block for _, block in blocks(queries_file)])
scores, ids = np.empty((len(queries), 0), np.float32), np.empty((len(queries), 0), np.int64)
for start, block in blocks(docs_file):
    found = queries @ block.T
    numbers = np.broadcast_to(np.arange(start, start + len(block)), found.shape)
    found, numbers = best(found, numbers)
    scores, ids = best(np.concatenate([scores, found], 1), np.concatenate([ids, numbers], 1))
order = np.argsort(-scores, axis=1, kind="stable")
scores, ids = np.take_along_axis(scores, order, 1), np.take_along_axis(ids, order, 1)
count, depth = ids.shape
rank = np.tile(np.arange(1, depth + 1, dtype=np.int32), count)
columns = {"query_id": np.repeat(np.arange(count), depth), "doc_id": ids.ravel(), "rank": rank, "score": scores.ravel()}
pq.write_table(pa.table(columns), target)
print(json.dumps({"seconds": time.perf_counter() - started}))
