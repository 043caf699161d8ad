"""Measures our binaries beside what users would pick instead, on this machine, in one run.

    BIN=target/release .deps/bench/bin/python tests/bench/bench.py [--scale 1] [--repeats 3] [STAGE…]

Stages: tokenize embed embed-bf16 embed-int8 train-star train-adore rank rank-limit compressed lexical mine-negatives score memory beside,
and, only when named, growth, cluster, quickstart and gpu, which computes on BENCH_DEVICE (cuda; or cpu, to try it). Ours and the baselines run in turn, as processes, `--repeats` times
(BENCH_REPEATS). --scale makes all sizes smaller, to try the bench out: its figures mean nothing then.
BENCH_TEXT is a collection.tsv (or .gz), or its folder, that tokenize and embed are measured on as well. Inputs are
made once, in out/bench/data. The table goes to the terminal and to out/bench/table.{md,parquet}.
"""

import argparse
import importlib
import os
import sys
from pathlib import Path

import report
from contest import Bench, Failed

STAGES = "tokenize embed embed-bf16 embed-int8 train-star train-adore rank rank-limit compressed lexical mine-negatives score memory beside".split()
NAMED = "growth cluster quickstart gpu".split()
ROOT = Path(__file__).resolve().parent.parent.parent


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("stages", nargs="*", metavar="STAGE", help="all but quickstart if none is named")
    parser.add_argument("--scale", type=float, default=float(os.environ.get("BENCH_SCALE", 1)))
    parser.add_argument("--repeats", type=int, default=int(os.environ.get("BENCH_REPEATS", 3)))
    found = parser.parse_args()
    unknown = set(found.stages) - {*STAGES, *NAMED}
    if unknown:
        parser.error(f"no stage {', '.join(sorted(unknown))}; there are {' '.join([*STAGES, *NAMED])}")
    if "BIN" not in os.environ:
        parser.error("BIN is not set: the folder of the binaries, target/release; or use make bench")
    return found


def collection(given):
    """The file that BENCH_TEXT names, or the collection in its folder."""
    if not given:
        return None
    path = Path(given).resolve()
    found = [file for file in (path, path / "collection.tsv", path / "collection.tsv.gz") if file.is_file()]
    if not found:
        sys.exit(f"bench: BENCH_TEXT: no collection.tsv in {given}")
    return found[0]


def main():
    found = arguments()
    stages = found.stages or STAGES
    out = ROOT / "out" / "bench"
    text = collection(os.environ.get("BENCH_TEXT"))
    bench = Bench(ROOT, Path(os.environ["BIN"]).resolve(), out, found.scale, found.repeats, text)
    failed = []
    for stage in stages:
        try:
            importlib.import_module(f"stages.{stage.replace('-', '_')}").run(bench)
        except Failed as error:
            failed.append(f"{stage}: {error}")
            print(f"bench: {failed[-1]}", file=sys.stderr, flush=True)
        # What is there stays there if a later stage goes wrong.
        report.write(bench, out / ("table" if stages == STAGES else "-".join(stages)))
    report.show(bench)
    for line in failed + bench.wrong:
        print(f"bench: {line}", file=sys.stderr)
    sys.exit(1 if failed or bench.wrong else 0)


if __name__ == "__main__":
    main()
