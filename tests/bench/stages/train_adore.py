"""A step of train adore beside a loop like the reference's: faiss, then one query at a time."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

import data
from contest import Program
from stages.train_star import BATCH, SKIP, fresh, logged

DOCUMENTS, TOP_K, STEPS = 100_000, 200, 30
NOTE = (
    "Steps after the first three, by the clock of the training loop on both sides; queries as they are, up to 64 tokens. "
    "Documents on a CPU: the quick start's vectors, and mixtures of two of them with noise."
)


def documents(bench, rows):
    """The quick start's own vectors first, so that its judgements hold, then mixtures."""
    path = bench.data / f"adore-{rows}.arrow"
    if not path.exists():
        real = bench.data / "quickstart-minilm.arrow"
        if not real.exists():
            tokens = data.tokens(bench, bench.quickstart / "collection.tsv")
            data.run_ours(bench, "embed", "--model", bench.minilm, "--max-length", 64, tokens, "-o", real)
        found = data.matrix(real)[1]
        dim, draw = found.shape[1], np.random.default_rng(4)
        schema = pa.schema([("id", pa.int64()), ("embedding", pa.list_(pa.float32(), dim))])

        def batches():
            for start in range(0, rows, len(found)):
                block = found
                if start:
                    a, b = (found[draw.integers(len(found), size=len(found))] for _ in range(2))
                    block = 0.6 * a + 0.4 * b + 0.01 * draw.standard_normal(found.shape, np.float32)
                block = block[: max(rows - start, len(found) if not start else 0)].astype(np.float32)
                ids = pa.array(np.arange(start, start + len(block)))
                yield pa.record_batch([ids, pa.FixedSizeListArray.from_arrays(pa.array(block.reshape(-1)), dim)], schema)

        data.stream(path, schema, batches())
    return path


def run(bench):
    rows = bench.size(DOCUMENTS, 5000)
    embeddings = documents(bench, rows)
    tokens = data.tokens(bench, bench.quickstart / "queries.train.tsv", "query")
    qrels = bench.data / "adore-qrels.parquet"
    if not qrels.exists():
        ids = ["--queries", tokens, "--docs", data.tokens(bench, bench.quickstart / "collection.tsv"), "--to", "internal"]
        data.run_ours(bench, "remap-ids", *ids, bench.quickstart / "qrels.train.tsv", "-o", qrels)
    # The collection's fingerprint would not fit the longer embeddings.
    plain = bench.data / "adore-qrels-plain.parquet"
    if not plain.exists():
        table = pq.read_table(qrels).replace_schema_metadata(None)
        data.stream(plain, table.schema, table.to_batches())
    measure(bench, "train-adore", "MiniLM-L6, f32", bench.minilm, tokens, plain, embeddings, f"{rows:,} × 384")


def measure(bench, stage, name, start, tokens, qrels, embeddings, size, precision="f32"):
    """Steps over all embeddings of a file, of such a size, from the model `start`."""
    model, steps = bench.work / "adore", bench.size(STEPS, 3) + SKIP
    files = ["--ids", "internal", "--queries", tokens, "--qrels", qrels, "--embeddings", embeddings]
    options = ["--steps", steps, "--batch-size", BATCH, "--top-k", TOP_K, "--precision", precision, "--similarity", "dot"]
    command = bench.ours("train", "adore", "--init", start, *files, *options, "-o", model)
    ours = Program("train adore", fresh(model, command), lambda: logged(model, BATCH, SKIP)[0])
    loop = bench.baseline("train_adore", start, tokens, qrels, embeddings, steps, SKIP, BATCH, TOP_K)
    work = f"{name}, batch {BATCH}, top {TOP_K} of {size}, {steps - SKIP} steps"
    search = "faiss" if bench.device == "cpu" else "torch's search"
    baseline = Program(f"{search}, then a Python loop", loop, aim=4)
    found = bench.contest(stage, work, ours, [baseline], steps - SKIP, "steps", note=NOTE)
    _, loss, log = logged(model, BATCH, SKIP)
    said = found[baseline.label][-1].said
    mrr = float(log["mrr_10"].to_numpy().mean())
    # Both draw batches and dropout of their own: the same only on average.
    bench.check(abs(loss / said["loss"] - 1) < 0.3, f"{stage}: mean loss {loss:.4f}, the loop's {said['loss']:.4f}")
    bench.check(abs(mrr - said["mrr"]) < 0.1, f"{stage}: mean MRR@10 {mrr:.3f}, the loop's {said['mrr']:.3f}")
