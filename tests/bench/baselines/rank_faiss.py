"""Exact search with faiss.IndexFlatIP, from embeddings files to a run in Parquet.

    python rank_faiss.py docs.arrow queries.arrow out.parquet TOP_K

`seconds` has reading, adding, searching and writing in it; `search` is the search alone.
"""

import json
import sys
import time

import faiss
import numpy as np
import pyarrow as pa
import pyarrow.ipc
import pyarrow.parquet as pq

docs_file, queries_file, target, top_k = *sys.argv[1:4], int(sys.argv[4])


def vectors(path):
    file = pa.ipc.open_file(pa.memory_map(path))
    for number in range(file.num_record_batches):
        batch = file.get_batch(number)
        yield batch["embedding"].flatten().to_numpy().reshape(batch.num_rows, -1)


started = time.perf_counter()
queries = np.concatenate(list(vectors(queries_file)))
index = faiss.IndexFlatIP(queries.shape[1])
for block in vectors(docs_file):
    index.add(block)
searching = time.perf_counter()
scores, ids = index.search(queries, top_k)
search = time.perf_counter() - searching
count, depth = ids.shape
rank = np.tile(np.arange(1, depth + 1, dtype=np.int32), count)
columns = {"query_id": np.repeat(np.arange(count), depth), "doc_id": ids.ravel(), "rank": rank, "score": scores.ravel()}
pq.write_table(pa.table(columns), target)
print(json.dumps({"seconds": time.perf_counter() - started, "search": search}))
