"""STAR's training step as a Hugging Face style loop: AutoModel, batches padded to their longest, one AdamW.

    python train_star.py MODEL queries.arrow docs.arrow qrels.parquet negatives.parquet STEPS SKIP BATCH

The model's pooling, dropout on, inner product; on BENCH_DEVICE; queries cut to 24 tokens, documents to 120; one hard negative a query.
Says the seconds of all steps but the first SKIP, and the mean loss.
"""

import json
import os
import random
import sys
import time
from collections import defaultdict
from pathlib import Path

import pyarrow as pa
import pyarrow.ipc
import pyarrow.parquet as pq
import torch
from torch.nn.functional import softplus
from transformers import AutoModel, get_linear_schedule_with_warmup

folder, queries_file, docs_file, qrels_file, negatives_file = sys.argv[1:6]
steps, skip, size = map(int, sys.argv[6:9])
device = os.environ.get("BENCH_DEVICE", "cpu")
wait = torch.cuda.synchronize if device != "cpu" else lambda: None
random.seed(42)
torch.manual_seed(42)


def token_ids(path, length):
    with pa.memory_map(path) as file:
        rows = pa.ipc.open_file(file).read_all()["token_ids"].to_pylist()
    return [ids if len(ids) <= length else ids[: length - 1] + ids[-1:] for ids in rows]


def pairs(path):
    table = pq.read_table(path, columns=["query_id", "doc_id"])
    found = defaultdict(list)
    for query, doc in zip(table["query_id"].to_pylist(), table["doc_id"].to_pylist()):
        found[query].append(doc)
    return found


queries, docs = token_ids(queries_file, 24), token_ids(docs_file, 120)
relevant, negatives = pairs(qrels_file), pairs(negatives_file)
trained = sorted(relevant)
model = AutoModel.from_pretrained(folder).train().to(device)
first_token = json.loads((Path(folder) / "1_Pooling" / "config.json").read_text())["pooling_mode_cls_token"]
decayed = [(name, p) for name, p in model.named_parameters() if "bias" not in name and "LayerNorm.weight" not in name]
names = {name for name, _ in decayed}
groups = [
    {"params": [p for _, p in decayed], "weight_decay": 0.01},
    {"params": [p for name, p in model.named_parameters() if name not in names], "weight_decay": 0.0},
]
optimizer = torch.optim.AdamW(groups, lr=1e-4, fused=True)
schedule = get_linear_schedule_with_warmup(optimizer, 1000, 10000)


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


def losses(q, positive, others, other_ids, batch):
    """Summed loss and number of the pairs of every query with every one of `others`."""
    mask = torch.tensor([[float(doc not in relevant[query]) for doc in other_ids] for query in batch], device=device)
    gap = q @ others.T - (q * positive).sum(1, keepdim=True)
    return (softplus(gap) * mask).sum(), mask.sum()


def step(batch):
    positive_ids = [random.choice(relevant[query]) for query in batch]
    hard_ids = [random.choice(negatives[query]) for query in batch]
    q = encode([queries[query] for query in batch])
    positive = encode([docs[doc] for doc in positive_ids])
    hard = encode([docs[doc] for doc in hard_ids])
    in_batch, pairs_in_batch = losses(q, positive, positive, positive_ids, batch)
    static, pairs_static = losses(q, positive, hard, hard_ids, batch)
    loss = (in_batch + static) / (pairs_in_batch + pairs_static)
    optimizer.zero_grad()
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    schedule.step()
    return loss.item()


found = []
for number in range(steps):
    if number == skip:
        wait()
        started = time.perf_counter()
    found.append(step(random.sample(trained, size)))
wait()
seconds = time.perf_counter() - started
print(json.dumps({"seconds": seconds, "loss": sum(found) / steps}))
