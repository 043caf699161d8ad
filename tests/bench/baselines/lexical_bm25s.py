"""BM25 with bm25s: an index of a collection, or a run of queries over it.

    python lexical_bm25s.py index collection.tsv FOLDER
    python lexical_bm25s.py search FOLDER queries.tsv out.parquet TOP_K

Words, stop words, stemmer, formula, k1 and b are ours, as far as bm25s lets one choose. Its numba backend is the fast one;
what numba compiles is compiled before the clock starts.
"""

import json
import os
import sys
import time

import bm25s
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import Stemmer

# Runs of letters and digits. The default would drop words of one letter and keep the underscore.
WORDS = r"(?u)[^\W_]+"
CORES = len(os.sched_getaffinity(0))


def read(path):
    with open(path, encoding="utf-8", newline="\n") as file:
        rows = [line.rstrip("\n").split("\t", 1) for line in file]
    return [key for key, _ in rows], [text for _, text in rows]


def words(texts):
    stemmer = Stemmer.Stemmer("english")
    return bm25s.tokenize(texts, stopwords="en", token_pattern=WORDS, stemmer=stemmer, show_progress=False)


def index(collection, folder):
    started = time.perf_counter()
    keys, texts = read(collection)
    retriever = bm25s.BM25(k1=0.9, b=0.4, method="lucene", backend="numba")
    retriever.index(words(texts), show_progress=False)
    retriever.save(folder)
    with open(os.path.join(folder, "keys.json"), "w", encoding="utf-8") as file:
        json.dump(keys, file)
    return {"seconds": time.perf_counter() - started}


def search(folder, queries, target, top_k):
    retriever = bm25s.BM25.load(folder)
    retriever.retrieve(words(["warm up", "numba"]), k=min(top_k, 10), n_threads=CORES, show_progress=False)
    started = time.perf_counter()
    retriever = bm25s.BM25.load(folder)
    retriever.backend = "numba"
    with open(os.path.join(folder, "keys.json"), encoding="utf-8") as file:
        keys = np.array(json.load(file))
    query_ids, texts = read(queries)
    tokens = words(texts)
    searching = time.perf_counter()
    documents, scores = retriever.retrieve(tokens, k=min(top_k, len(keys)), n_threads=CORES, show_progress=False)
    searched = time.perf_counter() - searching
    count, depth = documents.shape
    found = scores.ravel() > 0
    columns = {
        "query_id": np.repeat(np.array(query_ids), depth)[found],
        "doc_id": keys[documents.ravel()][found],
        "rank": np.tile(np.arange(1, depth + 1, dtype=np.int32), count)[found],
        "score": scores.ravel()[found].astype(np.float32),
    }
    pq.write_table(pa.table(columns), target)
    return {"seconds": time.perf_counter() - started, "search": searched}


if sys.argv[1] == "index":
    print(json.dumps(index(*sys.argv[2:4])))
else:
    print(json.dumps(search(*sys.argv[2:5], int(sys.argv[5]))))
