"""What it costs to work shard by shard: on one machine, by two workers, and to merge the lists of many shards."""

import contextlib
import os
import shutil
import socket
import subprocess
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

import data
from contest import Program

# Nine shards of the quick start's texts.
MEGABYTES = 2
SHARD_ROWS = 2048
SMALL = 2000
SHARDS, QUERIES, DEPTH = 1000, 100, 1000
NOTE = "Start-up, the digests of all inputs and the writing of the dataset included. The bytes are compared."

MERGE = """SELECT count(*) FROM (
  SELECT query_id, doc_id, score, row_number() OVER (PARTITION BY query_id ORDER BY score DESC, doc_id) AS place FROM shards)
WHERE place <= {depth}"""


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


@contextlib.contextmanager
def cluster(bench, workers):
    """A scheduler and workers with a thread each; gives the scheduler's address and process."""
    address = f"127.0.0.1:{free_port()}"
    lines = [["--scheduler", "--listen", address]]
    lines += [["--cluster", f"df://{address}", "--listen", f"127.0.0.1:{free_port()}", "--threads", 1] for _ in range(workers)]
    processes = [subprocess.Popen(list(map(str, [bench.bin / "worker", "-q", *line]))) for line in lines]
    try:
        yield f"df://{address}", processes[0].pid
    finally:
        for process in processes:
            process.kill()


def processor_seconds(pid):
    """What a process has used of the processors so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def anew(output, command):
    """The command, which must not find what it made the last time."""
    return f"rm -rf {output}; {command}"


def same(one, other):
    names = sorted(path.name for path in one.glob("*.arrow"))
    other_names = sorted(path.name for path in other.glob("*.arrow"))
    return names == other_names and all((one / name).read_bytes() == (other / name).read_bytes() for name in names)


def lists(bench, shards, queries, depth):
    """A folder with the runs of many shards: the same queries, other documents."""
    folder = bench.data / f"lists-{shards}x{queries}x{depth}"
    if not folder.exists():
        draw = np.random.default_rng(6)
        unfinished = bench.data / "lists.tmp"
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir()
        for shard in range(shards):
            scores = -np.sort(-draw.uniform(50, 90, (queries, depth)).astype(np.float32), axis=1)
            docs = shard * depth + draw.permuted(np.tile(np.arange(depth), (queries, 1)), axis=1)
            columns = {"query_id": np.repeat(np.arange(queries), depth), "doc_id": docs.reshape(-1), "score": scores.reshape(-1)}
            pq.write_table(pa.table(columns), unfinished / f"{shard:05}.parquet", use_dictionary=False, compression="none")
        unfinished.rename(folder)
    return folder


def run(bench):
    _, collection, length = next(iter(data.text_of(bench)))
    texts = data.repeated(bench, collection, MEGABYTES)
    count = sum(1 for _ in data.lines(texts))
    tokens = bench.work / "tokens"
    data.run_ours(bench, "tokenize", "--tokenizer", bench.minilm, texts, "--shard-rows", SHARD_ROWS, "-o", f"{tokens}/")
    whole, parts = bench.work / "whole", bench.work / "parts"
    embed = ["--model", bench.minilm, "--max-length", length, tokens]
    one = Program("embed", anew(whole, bench.ours("embed", *embed, "-o", f"{whole}/")))
    here = bench.ours("embed", *embed, "--cluster", "here", "-o", f"{parts}/")
    work = f"embed, MiniLM-L6, float32, {count:,} texts in shards of {SHARD_ROWS:,}"
    ours = Program("embed --cluster here", anew(parts, here))
    bench.contest("cluster", work, ours, [Program(one.label, one.command, aim=0.95)], count, "texts", note=NOTE)
    bench.check(same(whole, parts), f"cluster, {work}, here")
    with cluster(bench, 2) as (address, _):
        shared = bench.ours("embed", *embed, "--cluster", address, "-o", f"{parts}/")
        ours = Program("embed, two workers with a core each", anew(parts, shared))
        bench.contest("cluster", work, ours, [Program("embed, two cores", one.command, aim=0.9)], count, "texts", note=NOTE)
        bench.check(same(whole, parts), f"cluster, {work}, two workers")

    # As many shards as there are texts: what is left is what a shard costs whatever its size.
    few = data.first(bench, texts, bench.size(SMALL, 10))
    tokenize = ["--tokenizer", bench.minilm, few, "--shard-rows", 1, "-o", f"{parts}/"]
    small = bench.size(SMALL, 10)
    with cluster(bench, 2) as (address, scheduler):
        shared = Program("two workers", anew(parts, bench.ours("tokenize", *tokenize, "--cluster", address)))
        before = processor_seconds(scheduler)
        seconds = sorted(result.wall for result in bench.in_turn([shared])[shared.label])
        scheduling = (processor_seconds(scheduler) - before) / bench.repeats / small
    work = f"tokenize, {small:,} shards of one text"
    bench.fact("cluster", work, "a shard, by each of two workers", seconds[len(seconds) // 2] * 2000 / small, "ms")
    bench.fact("cluster", work, "the scheduler's processor time for a shard", 1000 * scheduling, "ms")

    shards, queries = bench.size(SHARDS, 10), bench.size(QUERIES, 10)
    folder = lists(bench, shards, queries, DEPTH)
    rows = shards * queries * DEPTH
    query = MERGE.format(depth=DEPTH)
    merging = Program("merging", bench.ours("sql", "--threads", 2, "-t", f"shards={folder}", query))
    seconds = sorted(result.wall for result in bench.in_turn([merging])[merging.label])
    work = f"merge {shards:,} shards × {queries:,} queries × top {DEPTH:,}"
    bench.fact("cluster", work, "the plan alone, two cores", rows / seconds[len(seconds) // 2] / 1e6, "million rows/s")
