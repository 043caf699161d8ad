"""Training and encoding alone and beside as many busy processes as there are cores, who leave them half of the time."""

import os
import statistics

import data
from contest import Program
from stages.train_star import fresh

STEPS, BATCH = 12, 24
# A fair share, and 30 % for what is lost when a core is taken away in the middle of a step.
AIM = 1.3
NOTE = "Whole processes. A fair share of the cores would take twice as long as alone; the ratio is to that."


def commands(bench):
    """`(work, command)` of what is measured."""
    passages = data.tokens(bench, bench.quickstart / "collection.tsv")
    queries = data.tokens(bench, bench.quickstart / "queries.train.tsv", "query")
    model = bench.work / "beside"
    files = ["--queries", queries, "--docs", passages, "--qrels", bench.quickstart / "qrels.train.tsv"]
    lengths = ["--max-query-length", 24, "--max-doc-length", 40]
    steps = ["--steps", bench.size(STEPS, 2), "--batch-size", BATCH]
    train = bench.ours("train", "inbatch", "--init", bench.minilm, *files, *lengths, *steps, "-o", model)
    yield f"train inbatch, {bench.size(STEPS, 2)} steps of {BATCH}", fresh(model, train)
    yield "embed, 4,930 texts", bench.ours("embed", "--model", bench.minilm, "--max-length", 64, passages, "-o", f"{model}.arrow")
    collection = bench.quickstart / "collection.tsv"
    tokenize = bench.ours("tokenize", "--tokenizer", bench.minilm, collection)
    yield "tokenize | embed", f"{tokenize} | " + bench.ours("embed", "--model", bench.minilm, "-o", f"{model}.arrow")


def run(bench):
    cores = len(os.sched_getaffinity(0))
    loops = " ".join(["(while :; do :; done) & busy=\"$busy $!\";"] * cores)
    for work, command in commands(bench):
        alone = Program("alone", command)
        crowded = f"busy=; {loops} trap 'kill $busy' EXIT; {command}"
        # The busy loops end with the shell; what is timed is the command and the start of the loops.
        beside = Program(f"beside {cores} busy processes", crowded)
        found = bench.in_turn([alone, beside])
        ratios = [b.wall / (2 * a.wall) for a, b in zip(found[alone.label], found[beside.label])]
        seconds = {label: statistics.median(result.wall for result in results) for label, results in found.items()}
        text = f"{seconds[alone.label]:.1f} s alone, {seconds[beside.label]:.1f} s beside {cores} busy processes"
        bench.fact("beside", f"{work}: {text}", "time ÷ fair share", statistics.median(ratios), "×", f"≤ {AIM:g}", AIM.__ge__, note=NOTE)
