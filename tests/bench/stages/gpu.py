"""What a GPU is for, at sizes worth one: passages a second, exact search over as many vectors as MS MARCO has passages,
and training steps with the paper's batches; a RoBERTa-base shape throughout, in bfloat16.

    BENCH_DEVICE=cuda make bench-gpu     (BENCH_DEVICE=cpu BENCH_SCALE=0.0005 tries it without a GPU)
"""

import shutil

import numpy as np
import pyarrow as pa
import pyarrow.ipc

import data
from contest import Program
from stages import train_adore, train_star
from stages.embed import least_cosine, operations
from stages.rank import same

TOKENS, NATURAL_PASSAGES, LENGTHS = 40_000_000, 20_000, (128, 256, 512)
DOCUMENTS, DIM, QUERIES, TOP_K = 8_841_823, 768, 6_980, 1000
STAR_BATCH = 256
NOTE = "Ours is the whole process, model loading included; the baseline's time starts with its model on the device, tokens in memory."
RANK_NOTE = "From an embeddings file in float16 to a run; ours is the whole process, the baseline's time starts after imports."
SCHEMA = pa.schema([("id", pa.int64()), ("key", pa.string()), ("token_ids", pa.list_(pa.int32()))])


def tokens_of(bench, name, lists):
    """Token lists, again and again until there are TOKENS of them."""
    path = bench.data / f"gpu-{name}.tokens.arrow"
    if not path.exists():
        whole = pa.array(lists, pa.list_(pa.int32()))
        times = max(1, round(TOKENS * bench.scale / len(whole.flatten())))

        def batches():
            for time in range(times):
                ids = np.arange(time * len(whole), (time + 1) * len(whole))
                yield pa.record_batch([pa.array(ids), pa.array(ids).cast(pa.string()), whole], SCHEMA)

        data.stream(path, SCHEMA, batches())
    with pa.memory_map(str(path)) as file:
        return path, pa.ipc.open_file(file).read_all().num_rows


def embed(bench, model):
    natural = data.tokens(bench, data.passages(bench, bench.size(NATURAL_PASSAGES, 100)), model=model)
    with pa.memory_map(str(natural)) as file:
        lists = pa.ipc.open_file(file).read_all()["token_ids"].to_pylist()
    works = [("natural lengths, 75 tokens on average", "natural", lists)]
    draw = np.random.default_rng(8)
    for length in LENGTHS:
        rows = draw.integers(10, 50_000, (bench.size(2048, 4), length), dtype=np.int32)
        rows[:, 0], rows[:, -1] = 0, 2
        works.append((f"{length} tokens", str(length), rows.tolist()))
    for what, name, lists in works:
        tokens, count = tokens_of(bench, name, lists)
        mine, theirs = bench.work / "gpu.arrow", bench.work / "gpu.npy"
        command = bench.ours("embed", "--model", model, "--max-length", 512, "--precision", "bf16", tokens, "-o", mine)
        baseline = Program("Hugging Face, bfloat16, sorted by length", bench.baseline("embed_device", model, tokens, theirs, 512), aim=1.4)
        work = f"RoBERTa-base shape, {what}, {count:,} texts"
        ceiling = ("GFLOP bfloat16", operations(model, tokens, 512), 0.45)
        bench.contest("gpu embed", work, Program("embed --precision bf16", command), [baseline], count, "texts", ceiling, NOTE)
        cosine = least_cosine(data.matrix(mine)[1], data.matrix(theirs)[1])
        bench.check(cosine > 0.99, f"gpu embed, {what}: cosine {cosine:.4f} to the baseline's vectors")


def drawn(bench, name, rows, seed):
    """Vectors in float16, drawn on the device."""
    import torch

    path = bench.data / f"gpu-{name}-{rows}.arrow"
    schema = pa.schema([("id", pa.int64()), ("embedding", pa.list_(pa.float16(), DIM))])

    def batches():
        draw = torch.Generator(bench.device).manual_seed(seed)
        for start in range(0, rows, 65_536):
            count = min(65_536, rows - start)
            found = torch.randn(count, DIM, generator=draw, device=bench.device, dtype=torch.float32).half().cpu().numpy()
            column = pa.FixedSizeListArray.from_arrays(pa.array(found.reshape(-1)), DIM)
            yield pa.record_batch([pa.array(np.arange(start, start + count)), column], schema)

    return path if path.exists() else data.stream(path, schema, batches())


def documents(bench):
    """As many as MS MARCO's passages, or as the disk has room for."""
    room = int(0.7 * shutil.disk_usage(bench.data).free) // (2 * DIM)
    found = sorted(bench.data.glob("gpu-docs-*.arrow"))
    rows = int(found[-1].stem.rsplit("-", 1)[1]) if found else min(bench.size(DOCUMENTS, 4000), room)
    return drawn(bench, "docs", rows, 9), rows


def rank(bench, docs, rows):
    count = bench.size(QUERIES, 50)
    queries = drawn(bench, "queries", count, 10)
    mine, theirs = bench.work / "run-ours.parquet", bench.work / "run-torch.parquet"
    ours = Program("rank", bench.ours("rank", "--index", docs, "--top-k", TOP_K, queries, "-o", mine))
    baseline = Program("torch matmul + topk", bench.baseline("rank_torch", docs, queries, theirs, TOP_K, 65_536), aim=1.5)
    work = f"{count:,} queries, {rows:,} × {DIM}, top {TOP_K}"
    products = ("GFLOP float32", 2 * rows * DIM * count / 1e9, None)
    bench.contest("gpu rank", work, ours, [baseline], count, "queries", products, RANK_NOTE)
    # Among millions of documents drawn at random, many have nearly the same score.
    same(bench, f"gpu rank, {work}", mine, theirs, least=0.99)


def run(bench):
    model = data.roberta(bench)
    embed(bench, model)
    train_star.measure(bench, "gpu train-star", "RoBERTa-base shape", model, bench.size(STAR_BATCH, 8), "bf16")
    docs, rows = documents(bench)
    rank(bench, docs, rows)
    tokens, count = train_star.queries(bench, model)
    qrels, _ = train_star.judgements(bench, count, rows)
    name = "RoBERTa-base shape, bf16"
    train_adore.measure(bench, "gpu train-adore", name, model, tokens, qrels, docs, f"{rows:,} × {DIM}", "bf16")
