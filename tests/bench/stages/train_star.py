"""A step of train star beside a Hugging Face style loop, on passages as long as MS MARCO's."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

import data
from contest import Program

PASSAGES, BATCH, STEPS, SKIP = 20_000, 32, 12, 3
NOTE = "Steps after the first three, by the clock of the training loop on both sides; AdamW, one hard negative a query."


def queries(bench, model):
    """Tokens of the quick start's training queries, their relevant passage drawn: the row numbers are what counts."""
    tokens = data.tokens(bench, bench.quickstart / "queries.train.tsv", "query", model)
    with pa.memory_map(str(tokens)) as file:
        return tokens, pa.ipc.open_file(file).read_all().num_rows


def judgements(bench, count, documents):
    """Internal qrels, one relevant passage a query, and 200 negatives each."""
    qrels, negatives = (bench.data / f"star-{name}-{documents}.parquet" for name in ("qrels", "negatives"))
    if not negatives.exists():
        draw = np.random.default_rng(3)
        ids = np.array([draw.choice(documents, 201, replace=False) for _ in range(count)])
        pair = {"query_id": np.arange(count), "doc_id": ids[:, 0], "relevance": np.ones(count, np.int32)}
        depth = ids.shape[1] - 1
        rows = {"query_id": np.repeat(np.arange(count), depth), "doc_id": ids[:, 1:].reshape(-1)}
        rows["rank"] = np.tile(np.arange(1, depth + 1, dtype=np.int32), count)
        rows["score"] = (100 - rows["rank"]).astype(np.float32)
        for path, columns in [(qrels, pair), (negatives, rows)]:
            with data.whole(path) as temporary:
                pq.write_table(pa.table(columns), temporary)
    return qrels, negatives


def logged(model, batch, skip):
    """Seconds of the steps after the first ones, and the mean loss, from a training log."""
    log = pq.read_table(model / "training-log.parquet")
    steps = batch / log["queries_per_second"].to_numpy()
    return float(steps[skip:].sum()), float(log["loss"].to_numpy().mean()), log


def fresh(model, command):
    """Training goes on from a checkpoint that is there: so none may be."""
    return f"rm -rf {model} {model}.*; {command}"


def run(bench):
    measure(bench, "train-star", "MiniLM-L6", bench.minilm, BATCH)


def measure(bench, stage, name, start, batch, precision="f32"):
    """Steps of so many queries from the model `start`."""
    documents = bench.size(PASSAGES, 500)
    docs = data.tokens(bench, data.passages(bench, documents), model=start)
    query_tokens, count = queries(bench, start)
    qrels, negatives = judgements(bench, count, documents)
    model = bench.work / "star"
    # No step may be the last one of an epoch, which has fewer queries.
    steps = min(bench.size(STEPS, 3) + SKIP, count // batch)
    files = ["--ids", "internal", "--queries", query_tokens, "--docs", docs, "--qrels", qrels, "--negatives", negatives]
    options = ["--steps", steps, "--batch-size", batch, "--precision", precision, "--similarity", "dot", "--optimizer", "adamw", "--max-query-length", 24, "--max-doc-length", 120]
    command = bench.ours("train", "star", "--init", start, *files, *options, "-o", model)
    ours = Program("train star", fresh(model, command), lambda: logged(model, batch, SKIP)[0])
    loop = bench.baseline("train_star", start, query_tokens, docs, qrels, negatives, steps, SKIP, batch)
    work = f"{name}, {precision}, batch {batch}, tokens 24/≤120 (75 on average), {steps - SKIP} steps"
    baseline = Program("Hugging Face loop, padded to the longest", loop, aim=3)
    found = bench.contest(stage, work, ours, [baseline], steps - SKIP, "steps", note=NOTE)
    mine, theirs = logged(model, batch, SKIP)[1], found[baseline.label][-1].said["loss"]
    # Both draw batches and dropout of their own: the loss is the same only on average, and that of many queries.
    many = steps * batch >= 256
    bench.check(not many or abs(mine / theirs - 1) < 0.25, f"{stage}: mean loss {mine:.3f}, the loop's {theirs:.3f}")
