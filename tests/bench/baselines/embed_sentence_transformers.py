"""Encodes a TSV with sentence-transformers' encode, which sorts by length and pads each batch to its longest.

    python embed_sentence_transformers.py MODEL collection.tsv out.npy MAX_LENGTH f32|bf16 [BATCH]

The time is that of encode alone: texts are in memory, the model is loaded and has seen one batch, nothing is written.
"""

import contextlib
import json
import sys
import time

import numpy as np
import torch
from sentence_transformers import SentenceTransformer

folder, source, target, length, precision = sys.argv[1:6]
batch = int(sys.argv[6]) if len(sys.argv) > 6 else 32
model = SentenceTransformer(folder, device="cpu")
model.max_seq_length = int(length)
with open(source, encoding="utf-8", newline="\n") as file:
    texts = [line.rstrip("\n").split("\t", 1)[1] for line in file]
autocast = torch.autocast("cpu", dtype=torch.bfloat16) if precision == "bf16" else contextlib.nullcontext()
with autocast:
    model.encode(texts[:batch], batch_size=batch, show_progress_bar=False)
    started = time.perf_counter()
    vectors = model.encode(texts, batch_size=batch, show_progress_bar=False, convert_to_numpy=True)
    seconds = time.perf_counter() - started
np.save(target, vectors.astype(np.float32))
print(json.dumps({"seconds": seconds}))
