"""Tokenizes a TSV line by line with RoBERTa's BPE in Python, as the reference does, and writes Parquet.

    python tokenize_roberta_python.py collection.tsv vocab_folder out.parquet PROCESSES
"""

import json
import multiprocessing
import sys
import time

import pyarrow as pa
import pyarrow.parquet as pq
from transformers import RobertaTokenizer

source, folder, target, processes = *sys.argv[1:4], int(sys.argv[4])
tokenizer = RobertaTokenizer(f"{folder}/vocab.json", f"{folder}/merges.txt")


def encode(line):
    key, text = line.rstrip("\n").split("\t", 1)
    return key, tokenizer.encode(text, add_special_tokens=True, max_length=512, truncation=True)


def write(rows):
    keys, ids = zip(*rows)
    columns = {"id": pa.array(range(len(ids))), "key": pa.array(keys), "token_ids": pa.array(ids, pa.list_(pa.int32()))}
    pq.write_table(pa.table(columns), target)


if __name__ == "__main__":
    started = time.perf_counter()
    with open(source, encoding="utf-8", newline="\n") as file:
        if processes == 1:
            write(map(encode, file))
        else:
            with multiprocessing.Pool(processes) as pool:
                write(pool.imap(encode, file, chunksize=500))
    print(json.dumps({"seconds": time.perf_counter() - started}))
