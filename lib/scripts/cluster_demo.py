"""Runs the quick start by a cluster on this machine, a scheduler and three workers, and kills a worker on the way.

    python cluster_demo.py BIN FOLDER EXPECTED

BIN is the folder of the programs and FOLDER that of the results. The table is compared with that in EXPECTED, the folder
of a quick start by one process, if there is one. A worker is killed when the first shard of embeddings is made; what it
had in hand is done by the others.
"""

import os
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

WORKERS = 3
# The quick start's collection has 4,930 texts, and embed divides it at multiples of 2,048.
SHARD_ROWS = 1024


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def start(arguments, log):
    return subprocess.Popen([str(argument) for argument in arguments], stderr=open(log, "w"))


def kill_when_embedding(worker, folder):
    """Kills `worker` once there is a shard of embeddings, and others are still to be made."""
    while worker.poll() is None:
        if any((folder / "passage/embeddings").glob(".*.parts/*/manifest.json")):
            worker.kill()
            print("cluster-demo: killed a worker while documents are encoded", file=sys.stderr)
            return
        time.sleep(0.02)


def main():
    programs, folder, expected = map(Path, sys.argv[1:4])
    logs = folder / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    address = f"127.0.0.1:{free_port()}"
    processes = [start([programs / "worker", "--scheduler", "--listen", address], logs / "scheduler.log")]
    for number in range(1, WORKERS + 1):
        arguments = ["--cluster", f"df://{address}", "--listen", f"127.0.0.1:{free_port()}", "--threads", 1]
        processes.append(start([programs / "worker", *arguments], logs / f"worker-{number}.log"))
    try:
        threading.Thread(target=kill_when_embedding, args=(processes[1], folder), daemon=True).start()
        settings = [f"QUICKSTART={folder}", f"CLUSTER=df://{address}", f"SHARD_ROWS={SHARD_ROWS}"]
        done = subprocess.run([os.environ.get("MAKE", "make"), "quickstart", *settings])
        if done.returncode:
            sys.exit(done.returncode)
    finally:
        for process in processes:
            process.kill()
    for number in range(1, WORKERS + 1):
        shards = (logs / f"worker-{number}.log").read_text().count(" rows, ")
        print(f"cluster-demo: worker {number} made {shards} shards", file=sys.stderr)
    if (expected / "table.tsv").exists():
        same = (folder / "table.tsv").read_bytes() == (expected / "table.tsv").read_bytes()
        print(f"cluster-demo: the table is {'that' if same else 'NOT that'} of {expected}", file=sys.stderr)
        sys.exit(not same)


main()
