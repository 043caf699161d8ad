"""Tokenizes a TSV with Hugging Face tokenizers and writes Parquet with pyarrow, as a competent user would.

    python tokenize_hf.py collection.tsv tokenizer.json out.parquet [--fast]

Chunks of lines, all cores (the library's own threads); --fast leaves out the offsets, which nobody asked for.
"""

import itertools
import json
import sys
import time

import pyarrow as pa
import pyarrow.parquet as pq
from tokenizers import Tokenizer

source, tokenizer_file, target = sys.argv[1:4]
started = time.perf_counter()
tokenizer = Tokenizer.from_file(tokenizer_file)
tokenizer.no_padding()
tokenizer.enable_truncation(512)
encode = tokenizer.encode_batch_fast if "--fast" in sys.argv else tokenizer.encode_batch
schema = pa.schema([("id", pa.int64()), ("key", pa.string()), ("token_ids", pa.list_(pa.int32()))])
rows = 0
with open(source, encoding="utf-8", newline="\n") as file, pq.ParquetWriter(target, schema) as writer:
    while chunk := list(itertools.islice(file, 10_000)):
        keys, texts = zip(*(line.rstrip("\n").split("\t", 1) for line in chunk))
        ids = [encoding.ids for encoding in encode(list(texts))]
        columns = [pa.array(range(rows, rows + len(ids))), pa.array(keys), pa.array(ids, pa.list_(pa.int32()))]
        writer.write_table(pa.table(columns, schema=schema))
        rows += len(ids)
print(json.dumps({"seconds": time.perf_counter() - started, "rows": rows}))
