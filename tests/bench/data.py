"""Makes the bench's inputs, each once, in the folder of its scale; a file is there whole or not at all.

Texts are real: the quick-start collection and the help of azure-cli's options. Vectors and runs are drawn
with fixed seeds.
"""

import contextlib
import gzip
import os
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.ipc
import pyarrow.parquet as pq

from contest import Failed

OPTION_HELP = re.compile(r'help="([^"]{30,})"')
# Tokens of a passage: mean and deviation near those of MS MARCO's passages, cut off at 16 and 118.
PASSAGE_TOKENS, PASSAGE_DEVIATION, SHORTEST, LONGEST = 75, 27, 16, 118
ROWS_AT_ONCE = 1 << 20


@contextlib.contextmanager
def whole(path):
    """A temporary name that becomes `path` when all went well."""
    temporary = path.with_name(f".{path.name}")
    yield temporary
    if temporary.is_dir() and path.exists():
        shutil.rmtree(path)
    os.replace(temporary, path)


def lines(path):
    """`(id, rest)` of a collection, packed or not."""
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "rt", encoding="utf-8", newline="\n") as file:
        for line in file:
            yield line.rstrip("\n").split("\t", 1)


def text_of(bench):
    """`(name, collection, most tokens to embed)` of the collections that text stages are measured on."""
    found = [("quick-start", bench.quickstart / "collection.tsv", 256)]
    return found + ([(bench.text.parent.name, bench.text, 256)] if bench.text else [])


def repeated(bench, collection, megabytes):
    """A collection, again and again under new ids, until it has so many MB."""
    path = bench.data / f"{collection.parent.name}-{collection.stem}-{megabytes}mb.tsv"
    if not path.exists():
        rows, written, number = [text for _, text in lines(collection)], 0, 0
        with whole(path) as temporary, open(temporary, "w", encoding="utf-8", newline="\n") as file:
            while written < megabytes * bench.scale * 1e6:
                line = f"{number}\t{rows[number % len(rows)]}\n"
                file.write(line)
                written, number = written + len(line.encode()), number + 1
    return path


def unpacked(bench, path):
    """A file as it is without gzip."""
    if path.suffix != ".gz":
        return path
    target = bench.data / f"{path.parent.name}-{path.stem}"
    if not target.exists():
        with whole(target) as temporary, gzip.open(path) as packed, open(temporary, "wb") as file:
            shutil.copyfileobj(packed, file)
    return target


def first(bench, collection, rows):
    """The first rows of a collection."""
    path = bench.data / f"{collection.parent.name}-{collection.stem.split('.')[0]}-{rows}.tsv"
    if not path.exists():
        with whole(path) as temporary, open(temporary, "w", encoding="utf-8", newline="\n") as file:
            for number, (key, text) in enumerate(lines(collection)):
                if number == rows:
                    break
                file.write(f"{key}\t{text}\n")
    return path


def passages(bench, rows):
    """Passages as long as MS MARCO's: real sentences, joined in a random order and cut at a word."""
    path = bench.data / f"passages-{rows}.tsv"
    if not path.exists():
        from tokenizers import Tokenizer

        sentences = {text for _, text in lines(bench.quickstart / "collection.tsv")}
        for source in (bench.root / ".deps" / "azure-cli").rglob("*.py"):
            sentences.update(OPTION_HELP.findall(source.read_text(encoding="utf-8", errors="replace")))
        sentences = [" ".join(sentence.split()) for sentence in sorted(sentences)]
        tokenizer = Tokenizer.from_file(str(bench.minilm / "tokenizer.json"))
        tokenizer.no_padding()
        tokenizer.no_truncation()
        lengths = [len(each.ids) for each in tokenizer.encode_batch(sentences, add_special_tokens=False)]
        draw = np.random.default_rng(1)
        with whole(path) as temporary, open(temporary, "w", encoding="utf-8", newline="\n") as file:
            for number in range(rows):
                wanted = int(np.clip(draw.normal(PASSAGE_TOKENS, PASSAGE_DEVIATION), SHORTEST, LONGEST))
                words = []
                while wanted > 0:
                    chosen = draw.integers(len(sentences))
                    found = sentences[chosen].split()
                    if lengths[chosen] > wanted:
                        found = found[: max(1, len(found) * wanted // lengths[chosen])]
                    words += found
                    wanted -= lengths[chosen]
                file.write(f"{number}\t{' '.join(words)}\n")
    return path


def tokens(bench, texts, kind="passage", model=None):
    """What our tokenize makes of a file of texts."""
    model = model or bench.minilm
    path = bench.data / f"{texts.stem}-{model.name}.{kind}.arrow"
    if not path.exists():
        run_ours(bench, "tokenize", "--tokenizer", model, "--kind", kind, texts, "-o", path)
    return path


def run_ours(bench, binary, *arguments):
    words = list(map(str, [bench.bin / binary, "-q", *arguments]))
    done = subprocess.run(words, capture_output=True, text=True)
    if done.returncode != 0:
        raise Failed((done.stderr.strip().splitlines() or [f"{binary} failed"])[-1])
    return done.stdout


def unigram(bench, name, collection):
    """A Unigram tokenizer with XLM-RoBERTa's normalizer, pre-tokenizer and special tokens, and 32,000 pieces trained on
    `collection`, which is called `name`: XLM-RoBERTa's own vocabulary is in no package."""
    path = bench.data / f"unigram-{name}"
    if not path.exists():
        from tokenizers import Tokenizer, models, processors, trainers

        like = Tokenizer.from_file(str(bench.root / "tests/fixtures/encoders/xlm_roberta/tokenizer.json"))
        tokenizer = Tokenizer(models.Unigram())
        tokenizer.normalizer, tokenizer.pre_tokenizer = like.normalizer, like.pre_tokenizer
        special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
        trainer = trainers.UnigramTrainer(
            vocab_size=32_000, special_tokens=special, unk_token="<unk>", show_progress=False
        )
        tokenizer.train_from_iterator((text for _, text in lines(collection)), trainer)
        ends = [(token, tokenizer.token_to_id(token)) for token in ("<s>", "</s>")]
        tokenizer.post_processor = processors.TemplateProcessing("<s> $A </s>", "<s> $A </s> $B </s>", ends)
        with whole(path) as temporary:
            temporary.mkdir(exist_ok=True)
            tokenizer.save(str(temporary / "tokenizer.json"))
    return path


def roberta(bench):
    """A model of RoBERTa-base's shape: its tokenizer's files, random weights, first-token pooling, in the layout of
    sentence-transformers."""
    path = bench.data / "roberta-base-shape"
    if not path.exists():
        import torch
        from sentence_transformers import SentenceTransformer, models
        from transformers import RobertaConfig, RobertaModel, RobertaTokenizerFast, logging

        logging.set_verbosity_error()
        fixtures = bench.root / "tests" / "fixtures" / "tokenization"
        with whole(path) as temporary:
            shutil.rmtree(temporary, ignore_errors=True)
            plain = temporary.with_name(".roberta-plain")
            plain.mkdir(exist_ok=True)
            for name in ("vocab.json", "merges.txt"):
                (plain / name).write_bytes(gzip.decompress((fixtures / f"{name}.gz").read_bytes()))
            RobertaTokenizerFast(str(plain / "vocab.json"), str(plain / "merges.txt"), model_max_length=512).save_pretrained(plain)
            torch.manual_seed(1)
            config = RobertaConfig(vocab_size=50265, max_position_embeddings=514, type_vocab_size=1, layer_norm_eps=1e-5)
            RobertaModel(config, add_pooling_layer=False).save_pretrained(plain)
            body = models.Transformer(str(plain), max_seq_length=256)
            SentenceTransformer(modules=[body, models.Pooling(config.hidden_size, "cls")]).save(str(temporary))
            for name in ("vocab.json", "merges.txt"):
                shutil.copy(plain / name, temporary / name)
            shutil.rmtree(plain)
    return path


def stream(path, schema, batches):
    """Batches into a Parquet or an Arrow file."""
    with whole(path) as temporary:
        if path.suffix == ".parquet":
            with pq.ParquetWriter(temporary, schema) as file:
                for batch in batches:
                    file.write_batch(batch)
        else:
            with pa.ipc.new_file(str(temporary), schema) as file:
                for batch in batches:
                    file.write_batch(batch)
    return path


def vectors(bench, name, rows, dim, seed, centres=2000):
    """Embeddings around `centres` points, the same points for every file of a dimension, so that queries have near
    documents and far ones."""
    path = bench.data / f"{name}-{rows}x{dim}.arrow"
    schema = pa.schema([("id", pa.int64()), ("embedding", pa.list_(pa.float32(), dim))])

    def batches():
        points = np.random.default_rng(0).standard_normal((centres, dim), np.float32)
        draw = np.random.default_rng(seed)
        for start in range(0, rows, 8192):
            count = min(8192, rows - start)
            found = points[draw.integers(centres, size=count)]
            found += 0.8 * draw.standard_normal((count, dim), np.float32)
            # Norms differ, as they do for encoders that don't normalise.
            found *= draw.uniform(0.25, 0.35, (count, 1)).astype(np.float32)
            column = pa.FixedSizeListArray.from_arrays(pa.array(found.reshape(-1)), dim)
            yield pa.record_batch([pa.array(np.arange(start, start + count)), column], schema)

    return path if path.exists() else stream(path, schema, batches())


def compressed(bench, rows, dim, subvectors):
    """An index of random codes and centroids behind a random rotation, as faiss writes OPQ, one list and PQ: how long a
    scan takes depends on none of these numbers, and training would take minutes."""
    path = bench.data / f"opq{subvectors}-{rows}x{dim}.faiss"
    if not path.exists():
        import faiss

        draw = np.random.default_rng(8)
        centroids = 0.3 * draw.standard_normal((subvectors, 256, dim // subvectors), np.float32)
        coarse = faiss.IndexFlatIP(dim)
        coarse.add(draw.standard_normal((1, dim), np.float32) / np.float32(dim**0.5))
        index = faiss.IndexIVFPQ(coarse, dim, 1, subvectors, 8, faiss.METRIC_INNER_PRODUCT)
        index.by_residual = True
        faiss.copy_array_to_vector(centroids.ravel(), index.pq.centroids)
        codes, ids = draw.integers(256, size=(rows, subvectors), dtype=np.uint8), np.arange(rows)
        index.invlists.add_entries(0, rows, faiss.swig_ptr(ids), faiss.swig_ptr(codes))
        index.ntotal, index.is_trained = rows, True
        rotation = faiss.OPQMatrix(dim, subvectors)
        orthonormal = np.linalg.qr(draw.standard_normal((dim, dim)))[0].astype(np.float32)
        faiss.copy_array_to_vector(orthonormal.ravel(), rotation.A)
        rotation.is_trained, rotation.is_orthonormal = True, True
        with whole(path) as temporary:
            faiss.write_index(faiss.IndexPreTransform(rotation, index), str(temporary))
    return path


RUN = [("rank", pa.int32()), ("score", pa.float32())]


def run(bench, queries, depth, documents, kind=".parquet"):
    """A run in internal ids: distinct random documents a query, scores falling."""
    path = bench.data / f"run-{queries}x{depth}of{documents}{kind}"
    schema = pa.schema([("query_id", pa.int64()), ("doc_id", pa.int64()), *RUN])

    def batches():
        draw = np.random.default_rng(2)
        at_once = max(1, ROWS_AT_ONCE // depth)
        for start in range(0, queries, at_once):
            count = min(at_once, queries - start)
            # Equal steps from a random start: distinct, and as hard to compress as random ids.
            step = draw.integers(documents // (depth + 1) // 2, documents // (depth + 1), (count, 1), endpoint=True)
            ids = (draw.integers(documents, size=(count, 1)) + step * draw.permuted(np.tile(np.arange(depth), (count, 1)), axis=1)) % documents
            scores = -np.sort(-draw.uniform(50, 90, (count, depth)).astype(np.float32), axis=1)
            columns = [np.repeat(np.arange(start, start + count), depth), ids.reshape(-1)]
            columns += [np.tile(np.arange(1, depth + 1, dtype=np.int32), count), scores.reshape(-1)]
            yield pa.record_batch([pa.array(column) for column in columns], schema)

    return path if path.exists() else stream(path, schema, batches())


def qrels_within(bench, run_path):
    """Qrels in internal ids: one document of the first 20 of every query of a run, and of every tenth query two."""
    path = run_path.with_name(f"qrels-{run_path.stem}.parquet")
    schema = pa.schema([("query_id", pa.int64()), ("doc_id", pa.int64()), ("relevance", pa.int32())])

    def batches():
        file = pq.ParquetFile(run_path)
        for batch in file.iter_batches(ROWS_AT_ONCE, columns=["query_id", "doc_id", "rank"]):
            query, doc, rank = (column.to_numpy() for column in batch.columns)
            chosen = (rank == query % 20 + 1) | ((query % 10 == 0) & (rank == query % 7 + 30))
            columns = [query[chosen], doc[chosen], np.ones(chosen.sum(), np.int32)]
            yield pa.record_batch([pa.array(column) for column in columns], schema)

    return path if path.exists() else stream(path, schema, batches())


def official(bench, queries, depth, documents=8_841_823):
    """The same run as Parquet with text ids and as MS MARCO's TSV, and its qrels as TSV."""
    paths = [bench.data / f"official-{queries}x{depth}{kind}" for kind in (".parquet", ".tsv", ".qrels.tsv")]
    if not all(path.exists() for path in paths):
        source = run(bench, queries, depth, documents)
        table = pq.read_table(source)
        query, doc, rank = (table[name].to_numpy() for name in ("query_id", "doc_id", "rank"))
        # Scores that single precision keeps apart: nobody may settle ties in another way.
        score = (100 - rank / 16).astype(np.float32)
        text = [pa.array(column).cast(pa.string()) for column in (query, doc)]
        schema = pa.schema([("query_id", pa.string()), ("doc_id", pa.string()), *RUN])
        stream(paths[0], schema, pa.table([*text, pa.array(rank), pa.array(score)], schema=schema).to_batches())
        with whole(paths[1]) as temporary, open(temporary, "w") as file:
            file.writelines(f"{q}\t{d}\t{r}\n" for q, d, r in zip(query.tolist(), doc.tolist(), rank.tolist()))
        chosen = (rank == query % min(300, depth) + 1) | ((query % 10 == 0) & (rank == query % 7 + 2))
        with whole(paths[2]) as temporary, open(temporary, "w") as file:
            file.writelines(f"{q}\t0\t{d}\t1\n" for q, d in zip(query[chosen].tolist(), doc[chosen].tolist()))
    return paths


def matrix(path):
    """`(ids, vectors)` of an embeddings file, mapped where it can be."""
    if path.suffix == ".npy":
        found = np.load(path)
        return np.arange(len(found)), found
    table = pa.ipc.open_file(pa.memory_map(str(path))).read_all()
    column = table["embedding"].combine_chunks()
    column = column.chunk(0) if isinstance(column, pa.ChunkedArray) else column
    return table["id"].to_numpy(), column.flatten().to_numpy().reshape(len(table), -1)
