"""Puts healthy inputs into the corpus of each fuzz target, so that fuzzing begins at files that are read to their end."""

import os
import shutil
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "torture"))
import healthy  # noqa: E402

SEEDS = {
    "records": ["*.arrow", "*.arrows", "*.parquet"],
    "judgements": ["official.*", "qrels.train.tsv"],
    "corpus": ["collection.*", "queries.train.tsv"],
    "tokenizer": ["T/tokenizer.json"],
    "vocabulary": ["M/vocab.txt"],
    "safetensors": [],
    "pytorch": [],
    "compressed": [],
}
FIXTURES = {
    "safetensors": ["training/init/model.safetensors"],
    "pytorch": ["training/init/pytorch_model.bin", "checkpoints/*.bin"],
    "compressed": ["compression/index/*.index"],
}

with tempfile.TemporaryDirectory() as temporary:
    inputs = Path(temporary)
    healthy.make(inputs, Path(os.environ["BIN"]).resolve())
    for target, patterns in SEEDS.items():
        corpus = HERE / "corpus" / target
        corpus.mkdir(parents=True, exist_ok=True)
        found = [file for pattern in patterns for file in inputs.glob(pattern)]
        found += [file for pattern in FIXTURES.get(target, []) for file in healthy.FIXTURES.glob(pattern)]
        for file in found:
            shutil.copy(file, corpus / file.name)
