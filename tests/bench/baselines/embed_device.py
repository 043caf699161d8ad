"""Encodes tokens with Hugging Face's model in bfloat16 on BENCH_DEVICE: sorted by length, batches of so many tokens.

    python embed_device.py MODEL tokens.arrow out.npy MAX_LENGTH [TOKENS_AT_ONCE]

MODEL pools the first token. The time is that of the loop, from lists in memory to vectors in memory.
"""

import json
import os
import sys
import time

import numpy as np
import pyarrow as pa
import pyarrow.ipc
import torch
from transformers import AutoModel

folder, source, target, length = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])
at_once = int(sys.argv[5]) if len(sys.argv) > 5 else 65_536
device = os.environ.get("BENCH_DEVICE", "cpu")
model = AutoModel.from_pretrained(folder, dtype=torch.bfloat16).eval().to(device)
with pa.memory_map(source) as file:
    column = pa.ipc.open_file(file).read_all()["token_ids"].combine_chunks()
flat, ends = column.flatten().to_numpy(), np.cumsum(column.value_lengths().to_numpy())
rows = [flat[start:end][:length] for start, end in zip(np.concatenate([[0], ends[:-1]]), ends)]


@torch.inference_mode()
def encode(batch):
    longest = max(map(len, batch))
    ids = np.full((len(batch), longest), model.config.pad_token_id, np.int64)
    for place, row in enumerate(batch):
        ids[place, : len(row)] = row
    ids = torch.from_numpy(ids).to(device)
    mask = None if all(len(row) == longest for row in batch) else (ids != model.config.pad_token_id).long()
    return model(input_ids=ids, attention_mask=mask).last_hidden_state[:, 0].float().cpu().numpy()


encode(rows[:32])
started = time.perf_counter()
order = sorted(range(len(rows)), key=lambda row: -len(rows[row]))
vectors = np.empty((len(rows), model.config.hidden_size), np.float32)
at = 0
while at < len(order):
    places = order[at : at + max(1, at_once // len(rows[order[at]]))]
    vectors[places] = encode([rows[place] for place in places])
    at += len(places)
seconds = time.perf_counter() - started
np.save(target, vectors)
print(json.dumps({"seconds": seconds}))
