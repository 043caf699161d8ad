"""Healthy inputs made by the real binaries from the quick start's fixture, and the commands that read each of them."""

import collections
import gzip
import re
import shutil
import subprocess
from pathlib import Path

FIXTURES = Path(__file__).resolve().parent.parent / "fixtures"
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
VOCABULARY = 1000
TRAIN = "train inbatch --init M --queries q.tokens.arrow --docs d.tokens.arrow --qrels qrels.parquet --batch-size 8 --steps 2 --device cpu"
ADORE = "train adore --init M --queries q.tokens.arrow --qrels qrels.parquet --batch-size 8 --steps 2 --top-k 20 --device cpu"
STAR = TRAIN.replace("inbatch", "star")

# What makes each input, in order; OUT is the name in front.
RECIPES = [
    ("d.tokens.arrow", "tokenize --tokenizer M collection.tsv -o OUT"),
    ("d.tokens.arrows", "tokenize --tokenizer M collection.tsv -o OUT"),
    ("d.tokens.parquet", "tokenize --tokenizer M collection.tsv -o OUT"),
    ("q.tokens.arrow", "tokenize --tokenizer M --kind query queries.train.tsv -o OUT"),
    ("qrels.parquet", "remap-ids --to internal --queries q.tokens.arrow --docs d.tokens.arrow qrels.train.tsv -o OUT"),
    ("qrels.arrow", "remap-ids --to internal --queries q.tokens.arrow --docs d.tokens.arrow qrels.train.tsv -o OUT"),
    ("qrels.arrows", "remap-ids --to internal --queries q.tokens.arrow --docs d.tokens.arrow qrels.train.tsv -o OUT"),
    ("d.arrow", "embed --model M d.tokens.arrow -o OUT"),
    ("d.arrows", "embed --model M d.tokens.arrow -o OUT"),
    ("d.parquet", "embed --model M d.tokens.arrow -o OUT"),
    ("q.arrow", "embed --model M q.tokens.arrow -o OUT"),
    ("run.parquet", "rank --index d.arrow --top-k 20 q.arrow -o OUT"),
    ("run.arrow", "rank --index d.arrow --top-k 20 q.arrow -o OUT"),
    ("run.arrows", "rank --index d.arrow --top-k 20 q.arrow -o OUT"),
    ("official.tsv", "remap-ids --to official --queries q.tokens.arrow --docs d.tokens.arrow run.parquet -o OUT"),
    ("official.trec", "remap-ids --to official --queries q.tokens.arrow --docs d.tokens.arrow run.parquet -o OUT"),
    ("negatives.parquet", "mine-negatives --qrels qrels.parquet --top-k 10 run.parquet -o OUT"),
    ("flat.faiss", "index d.arrow -o OUT"),
    ("hnsw.faiss", "index --factory HNSW8 d.arrow -o OUT"),
    ("ivf.faiss", "index --factory IVF4,Flat d.arrow -o OUT"),
    ("pq.faiss", "index --factory IVF4,PQ8x4 d.arrow -o OUT"),
    ("id.faiss", "index --factory IDMap,Flat d.arrow -o OUT"),
]

# Commands that read FILE, by the inputs they are tried on; {} is the rest of the command line's output.
REMAP = "remap-ids --to official --queries q.tokens.arrow --docs d.tokens.arrow FILE -o out.trec"
SQL = ["sql", "-t", "t=FILE", "-o", "out.parquet", "SELECT * FROM t"]
READERS = [
    (["collection.tsv", "collection.tsv.gz", "collection.jsonl"], "tokenize --tokenizer M FILE -o out.arrow"),
    (["queries.train.tsv"], "tokenize --tokenizer M --kind query --judged qrels.train.tsv FILE -o out.arrow"),
    (["qrels.train.tsv"], "tokenize --tokenizer M --kind query --judged FILE queries.train.tsv -o out.arrow"),
    (["qrels.train.tsv"], "remap-ids --to internal --queries q.tokens.arrow --docs d.tokens.arrow FILE -o out.parquet"),
    (["d.tokens.arrow", "d.tokens.arrows", "d.tokens.parquet"], "embed --model M FILE -o out.arrow"),
    (["d.tokens.arrow"], "remap-ids --to official --queries q.tokens.arrow --docs FILE run.parquet -o out.tsv"),
    (["d.arrow", "d.arrows", "d.parquet"], "index --factory IVF4,Flat FILE -o out.faiss"),
    (["d.arrow", "d.arrows", "d.parquet"], "rank --index FILE --top-k 20 q.arrow -o out.parquet"),
    (["q.arrow"], "rank --index d.arrow --top-k 20 FILE -o out.arrow"),
    (["flat.faiss", "hnsw.faiss", "ivf.faiss", "pq.faiss", "id.faiss"], "rank --index FILE --top-k 20 q.arrow -o out.parquet"),
    (["run.parquet", "run.arrow", "run.arrows"], "mine-negatives --qrels qrels.parquet FILE -o out.parquet"),
    (["qrels.parquet", "qrels.arrow", "qrels.arrows"], "mine-negatives --qrels FILE run.parquet -o out.arrow"),
    (["run.parquet", "run.arrow", "run.arrows"], REMAP),
    (["run.parquet", "run.arrow"], "score --qrels qrels.parquet FILE --per-query out.parquet"),
    (["official.tsv", "official.trec", "official.tsv.gz"], "score --qrels qrels.train.tsv FILE --per-query out.arrow"),
    (["run.lz4.arrow", "run.zstd.arrows"], "score --qrels qrels.train.tsv FILE --per-query out.arrow"),
    (["run.lz4.arrow", "run.zstd.arrows", "run.parquet", "qrels.arrow", "official.trec", "d.tokens.parquet"], SQL),
    (["tokens.zstd.arrow"], "embed --model M FILE -o out.arrow"),
    (["d.tokens.arrow", "d.tokens.arrows"], TRAIN.replace("d.tokens.arrow", "FILE") + " -o out"),
    (["qrels.arrows", "qrels.parquet"], TRAIN.replace("qrels.parquet", "FILE") + " -o out"),
    (["negatives.parquet"], STAR + " --negatives FILE -o out"),
    (["d.arrow"], ADORE + " --embeddings FILE -o out"),
    (["M/model.safetensors", "M/config.json", "M/modules.json"], "embed --model M q.tokens.arrow -o out.arrow"),
    (["P/pytorch_model.bin", "P/config.json"], "embed --model P q.tokens.arrow -o out.arrow"),
    (["M/vocab.txt"], "tokenize --tokenizer M queries.train.tsv -o out.arrow"),
    (["T/tokenizer.json"], "tokenize --tokenizer T queries.train.tsv -o out.arrow"),
]

TOKENIZER = """{"version": "1.0", "truncation": null, "padding": null, "added_tokens": [%s],
"normalizer": {"type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": true, "strip_accents": null, "lowercase": true},
"pre_tokenizer": {"type": "BertPreTokenizer"},
"post_processor": {"type": "BertProcessing", "sep": ["[SEP]", 3], "cls": ["[CLS]", 2]},
"decoder": null, "model": {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
"max_input_chars_per_word": 100, "vocab": {%s}}}"""


def arguments(command, name):
    """The words of a command that reads `name`."""
    words = command.split() if isinstance(command, str) else command
    return [word.replace("FILE", name) for word in words]


def vocabulary(texts):
    """Letters, and the most frequent words."""
    words = collections.Counter(re.findall(r"[a-z]+|[0-9]|[^\sa-z0-9]", texts.lower()))
    letters = sorted({letter for word in words for letter in word})
    known = [*SPECIAL, *letters, *(f"##{letter}" for letter in letters)]
    known += [word for word, _ in words.most_common() if word not in known]
    known += [f"[unused{number}]" for number in range(VOCABULARY)]
    return known[:VOCABULARY]


def make(folder, binaries):
    """Makes the inputs in `folder`."""
    for name in ["collection.tsv", "queries.train.tsv", "qrels.train.tsv"]:
        shutil.copy(FIXTURES / "quickstart" / name, folder)
    for fixture in (FIXTURES / "damaged").glob("*.*.arrow*"):
        shutil.copy(fixture, folder)
    shutil.copytree(FIXTURES / "training" / "bert_mean", folder / "M")
    (folder / "P").mkdir()
    for name in ["config.json", "pytorch_model.bin"]:
        shutil.copy(FIXTURES / "training" / "init" / name, folder / "P")
    texts = (folder / "collection.tsv").read_text()
    known = vocabulary(texts)
    (folder / "M" / "vocab.txt").write_text("\n".join(known) + "\n")
    (folder / "T").mkdir()
    quoted = [token.replace("\\", "\\\\").replace('"', '\\"') for token in known]
    flags = '"single_word": false, "lstrip": false, "rstrip": false, "normalized": false, "special": true'
    added = ", ".join(f'{{"id": {id}, "content": "{token}", {flags}}}' for id, token in enumerate(SPECIAL))
    entries = ", ".join(f'"{token}": {id}' for id, token in enumerate(quoted))
    (folder / "T" / "tokenizer.json").write_text(TOKENIZER % (added, entries))
    rows = [line.split("\t", 1) for line in texts.splitlines()]
    lines = [f'{{"_id": "{key}", "text": "{re.sub(r"[^ -!#-Z^-~]", " ", text)}"}}\n' for key, text in rows]
    (folder / "collection.jsonl").write_text("".join(lines))
    for output, recipe in RECIPES:
        program, *words = recipe.replace("OUT", output).split()
        subprocess.run([binaries / program, "-q", *words], cwd=folder, check=True)
    for name in ["collection.tsv", "official.tsv"]:
        (folder / f"{name}.gz").write_bytes(gzip.compress((folder / name).read_bytes(), mtime=0))
