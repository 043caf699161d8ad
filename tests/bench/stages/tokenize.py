"""tokenize, TSV to Parquet, beside tokenizers from Python and beside RoBERTa's BPE in Python line by line."""

import os

import pyarrow.parquet as pq

import data
from contest import Program

MEGABYTES = 20
NOTE = "Ours is the whole process; the baselines' time starts after Python's imports."


def token_ids(path):
    return pq.read_table(path, columns=["token_ids"])["token_ids"].to_pylist()


def run(bench):
    cores = len(os.sched_getaffinity(0))
    roberta = data.roberta(bench)
    for name, collection, _ in data.text_of(bench):
        texts = data.repeated(bench, collection, MEGABYTES)
        megabytes = texts.stat().st_size / 1e6
        unigram = data.unigram(bench, name, collection)
        for family, model in [("WordPiece", bench.minilm), ("byte-level BPE", roberta), ("Unigram", unigram)]:
            mine = bench.work / "tokens.parquet"
            theirs = {kind: bench.work / f"tokens-{kind}.parquet" for kind in ("batch", "fast", "one", "all")}
            ours = Program("tokenize", bench.ours("tokenize", "--tokenizer", model, "--max-length", "512", texts, "-o", mine))
            script = bench.baseline("tokenize_hf", texts, model / "tokenizer.json", theirs["batch"])
            fast = bench.baseline("tokenize_hf", texts, model / "tokenizer.json", theirs["fast"], "--fast")
            baselines = [
                Program("tokenizers encode_batch", script, aim=3 if family == "Unigram" else 2),
                Program("tokenizers encode_batch_fast", fast),
            ]
            if family == "byte-level BPE":
                for kind, count in [("one", 1), ("all", cores)]:
                    script = bench.baseline("tokenize_roberta_python", texts, model, theirs[kind], count)
                    label = f"RobertaTokenizer (Python), {count} process{'es' if count > 1 else ''}"
                    baselines.append(Program(label, script, aim=20))
            work = f"{family}, {name} text, {megabytes:.1f} MB"
            bench.contest("tokenize", work, ours, baselines, megabytes, "MB", note=NOTE)
            expected = token_ids(mine)
            for kind in ("batch", "fast") + (("one", "all") if family == "byte-level BPE" else ()):
                found = token_ids(theirs[kind])
                different = sum(a != b for a, b in zip(expected, found)) + abs(len(expected) - len(found))
                bench.check(different == 0, f"tokenize, {work}, {kind}: {different} of {len(expected)} rows")
