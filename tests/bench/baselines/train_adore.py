"""ADORE's training step as the reference writes it: search the batch with faiss, then one query at a time in Python.

    python train_adore.py MODEL queries.arrow qrels.parquet embeddings.arrow STEPS SKIP BATCH TOP_K

The model's pooling, dropout on, inner product; on BENCH_DEVICE; queries cut to 64 tokens; every position counts.
Says the seconds of all steps but the first SKIP, the mean loss, and the mean MRR@10 of what was retrieved.
"""

import json
import os
import random
import sys
import time
from collections import defaultdict
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.ipc
import pyarrow.parquet as pq
import torch
from torch.nn.functional import softplus
from transformers import AutoModel, get_linear_schedule_with_warmup

folder, queries_file, qrels_file, embeddings_file = sys.argv[1:5]
steps, skip, size, top_k = map(int, sys.argv[5:9])
device = os.environ.get("BENCH_DEVICE", "cpu")
wait = torch.cuda.synchronize if device != "cpu" else lambda: None
random.seed(42)
torch.manual_seed(42)


def read(path):
    with pa.memory_map(path) as file:
        return pa.ipc.open_file(file).read_all()


queries = [ids if len(ids) <= 64 else ids[:63] + ids[-1:] for ids in read(queries_file)["token_ids"].to_pylist()]
relevant = defaultdict(set)
qrels = pq.read_table(qrels_file)
for query, doc in zip(qrels["query_id"].to_pylist(), qrels["doc_id"].to_pylist()):
    relevant[query].add(doc)
trained = sorted(relevant)
column = read(embeddings_file)["embedding"].combine_chunks()
documents = np.array(column.flatten()).reshape(len(column), -1)
if device == "cpu":
    import faiss

    index = faiss.IndexFlatIP(documents.shape[1])
    index.add(documents.astype(np.float32, copy=False))
documents = torch.from_numpy(documents).to(device)

model = AutoModel.from_pretrained(folder).train().to(device)
first_token = json.loads((Path(folder) / "1_Pooling" / "config.json").read_text())["pooling_mode_cls_token"]
decayed = {name for name, _ in model.named_parameters() if "bias" not in name and "LayerNorm.weight" not in name}
groups = [
    {"params": [p for name, p in model.named_parameters() if name in decayed], "weight_decay": 0.01},
    {"params": [p for name, p in model.named_parameters() if name not in decayed], "weight_decay": 0.0},
]
optimizer = torch.optim.AdamW(groups, lr=5e-6, fused=True)
schedule = get_linear_schedule_with_warmup(optimizer, 2000, 20000)


def encode(rows):
    longest = max(map(len, rows))
    ids = torch.tensor([row + [model.config.pad_token_id] * (longest - len(row)) for row in rows], device=device)
    mask = torch.tensor([[1] * len(row) + [0] * (longest - len(row)) for row in rows], device=device)
    # As our --precision: bfloat16 on a GPU.
    with torch.autocast("cuda", torch.bfloat16, enabled=device != "cpu"):
        hidden = model(input_ids=ids, attention_mask=mask).last_hidden_state.float()
    if first_token:
        return hidden[:, 0]
    return (hidden * mask.unsqueeze(-1)).sum(1) / mask.sum(1, keepdim=True)


@torch.no_grad()
def search(vectors):
    """Ids of the first TOP_K documents of each query: by faiss, or by block-wise products on a GPU, as faiss does there."""
    if device == "cpu":
        return index.search(vectors.numpy(), top_k)[1].tolist()
    lists = []
    for start in range(0, len(documents), 1 << 20):
        scores, ids = (vectors @ documents[start : start + (1 << 20)].float().T).topk(top_k, dim=1)
        lists.append((scores, ids + start))
    scores, ids = (torch.cat(each, 1) for each in zip(*lists))
    return ids.gather(1, scores.topk(top_k, dim=1).indices).tolist()


def list_loss(vector, found, wanted):
    """Loss of one query's list."""
    if not wanted.intersection(found):
        found = found + sorted(wanted)
    labels = torch.tensor([doc in wanted for doc in found], device=device)
    scores = documents[found].float() @ vector
    gains = 1 / torch.arange(1, len(found) + 1, device=device)
    weight = (gains[labels].unsqueeze(1) - gains[~labels].unsqueeze(0)).abs()
    gap = scores[~labels].unsqueeze(0) - scores[labels].unsqueeze(1)
    return (weight * softplus(gap)).mean()


def step(batch):
    vectors = encode([queries[query] for query in batch])
    ids = search(vectors.detach())
    loss, mrr = 0, 0
    for vector, found, query in zip(vectors, ids, batch):
        loss = loss + list_loss(vector, found, relevant[query])
        mrr += next((1 / rank for rank, doc in enumerate(found[:10], 1) if doc in relevant[query]), 0)
    loss = loss / size
    optimizer.zero_grad()
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    schedule.step()
    return loss.item(), mrr / size


found = []
for number in range(steps):
    if number == skip:
        wait()
        started = time.perf_counter()
    found.append(step(random.sample(trained, size)))
wait()
seconds = time.perf_counter() - started
loss, mrr = np.mean(found, axis=0)
print(json.dumps({"seconds": seconds, "loss": loss, "mrr": mrr}))
