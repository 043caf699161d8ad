"""Search of an index file with faiss, from the index and embeddings of queries to a run in Parquet.

    python rank_ivfpq.py index.faiss queries.arrow out.parquet TOP_K

`seconds` has reading, searching and writing in it; `search` is the search alone.
"""

import json
import sys
import time

import faiss
import numpy as np
import pyarrow as pa
import pyarrow.ipc
import pyarrow.parquet as pq

index_file, queries_file, target, top_k = *sys.argv[1:4], int(sys.argv[4])

started = time.perf_counter()
column = pa.ipc.open_file(pa.memory_map(queries_file)).read_all()["embedding"].combine_chunks()
queries = column.flatten().to_numpy().reshape(len(column), -1)
index = faiss.read_index(index_file)
searching = time.perf_counter()
scores, ids = index.search(queries, top_k)
search = time.perf_counter() - searching
count, depth = ids.shape
rank = np.tile(np.arange(1, depth + 1, dtype=np.int32), count)
columns = {"query_id": np.repeat(np.arange(count), depth), "doc_id": ids.ravel(), "rank": rank, "score": scores.ravel()}
pq.write_table(pa.table(columns), target)
print(json.dumps({"seconds": time.perf_counter() - started, "search": search}))
