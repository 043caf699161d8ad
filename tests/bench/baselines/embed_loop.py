"""Encodes tokens as the reference's loop does: in file order, batches of 32 padded to the longest, float32.

    python embed_loop.py MODEL tokens.arrow out.npy MAX_LENGTH

MODEL is in the layout of sentence-transformers. The time is that of the loop alone.
"""

import json
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.ipc
import torch
from transformers import AutoModel

folder, source, target, length = Path(sys.argv[1]), sys.argv[2], sys.argv[3], int(sys.argv[4])
pooling = json.loads((folder / "1_Pooling" / "config.json").read_text())
normalize = any(module["type"].endswith("Normalize") for module in json.loads((folder / "modules.json").read_text()))
model = AutoModel.from_pretrained(folder).eval()
with pa.memory_map(source) as file:
    rows = pa.ipc.open_file(file).read_all()["token_ids"].to_pylist()


@torch.inference_mode()
def encode(batch):
    batch = [ids if len(ids) <= length else ids[: length - 1] + ids[-1:] for ids in batch]
    longest = max(map(len, batch))
    ids = torch.tensor([row + [model.config.pad_token_id] * (longest - len(row)) for row in batch])
    mask = torch.tensor([[1] * len(row) + [0] * (longest - len(row)) for row in batch])
    hidden = model(input_ids=ids, attention_mask=mask).last_hidden_state
    if pooling["pooling_mode_cls_token"]:
        vectors = hidden[:, 0]
    else:
        vectors = (hidden * mask.unsqueeze(-1)).sum(1) / mask.sum(1, keepdim=True)
    return torch.nn.functional.normalize(vectors, dim=1) if normalize else vectors


encode(rows[:32])
started = time.perf_counter()
vectors = [encode(rows[at : at + 32]).numpy() for at in range(0, len(rows), 32)]
seconds = time.perf_counter() - started
np.save(target, np.concatenate(vectors))
print(json.dumps({"seconds": seconds}))
