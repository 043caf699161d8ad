"""What the machine does at best: float32 and bfloat16 matrix products, and copying memory, on BENCH_DEVICE.

    python ceiling.py [--size 4096]
"""

import argparse
import json
import os
import time

import torch

DEVICE = os.environ.get("BENCH_DEVICE", "cpu")
wait = torch.cuda.synchronize if DEVICE != "cpu" else lambda: None


def best(work, repeats=7):
    times = []
    for _ in range(repeats):
        started = time.perf_counter()
        work()
        wait()
        times.append(time.perf_counter() - started)
    return min(times)


def product(size, kind):
    a, b = (torch.randn(size, size, device=DEVICE).to(kind) for _ in range(2))
    c = torch.empty(size, size, dtype=kind, device=DEVICE)
    return 2 * size**3 / best(lambda: torch.matmul(a, b, out=c)) / 1e9


def copy(size):
    a = torch.randn(size * 16384, device=DEVICE)
    b = torch.empty_like(a)
    # Read and written.
    return 2 * a.numel() * 4 / best(lambda: b.copy_(a)) / 1e9


parser = argparse.ArgumentParser()
parser.add_argument("--size", type=int, default=4096)
size = parser.parse_args().size
print(json.dumps({
    "GFLOP float32": product(size, torch.float32),
    "GFLOP bfloat16": product(size, torch.bfloat16),
    "GB copied": copy(size),
}))
