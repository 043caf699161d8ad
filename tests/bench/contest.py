"""Programs measured in turn: ours, a baseline, the next baseline, ours again, and so on."""

import importlib.util
import json
import os
import shlex
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Callable

HERE = Path(__file__).resolve().parent
MIB = 1 << 20


class Failed(Exception):
    """A program that went wrong; the text is one line."""


@dataclass
class Result:
    """What one call of a program took: seconds, bytes, and the JSON object it printed last, if it did."""

    seconds: float
    wall: float
    peak: int
    own: int
    said: dict


@dataclass
class Program:
    """A bash command; the time it is judged by is what it says itself, what `seconds` finds, or the whole process."""

    label: str
    command: str
    seconds: Callable[[], float] | None = None
    aim: float | None = None
    note: str = ""


@dataclass
class Bench:
    root: Path
    bin: Path
    out: Path
    scale: float
    repeats: int
    text: Path | None
    rows: list = field(default_factory=list)
    wrong: list = field(default_factory=list)
    ceilings: dict = field(default_factory=dict)

    def __post_init__(self):
        self.data.mkdir(parents=True, exist_ok=True)
        self.work.mkdir(parents=True, exist_ok=True)

    @property
    def data(self):
        """Inputs, kept from run to run; a scale has its own."""
        return self.out / "data" if self.scale == 1 else self.out / f"data-{self.scale:g}"

    @property
    def work(self):
        """Outputs, written over from run to run."""
        return self.out / "work"

    @property
    def minilm(self):
        return self.root / ".deps" / "minilm"

    @property
    def quickstart(self):
        return self.root / "out" / "quickstart" / "data"

    def size(self, number, least=1):
        return max(least, round(number * self.scale))

    def baseline(self, script, *arguments):
        """The command of a script of baselines/."""
        words = [sys.executable, HERE / "baselines" / f"{script}.py", *arguments]
        return shlex.join(map(str, words))

    @property
    def device(self):
        """Where both sides compute: BENCH_DEVICE, cpu or cuda."""
        return os.environ.get("BENCH_DEVICE", "cpu")

    def ours(self, binary, *arguments):
        device = ["--device", self.device] if binary in ("embed", "rank", "train") else []
        return shlex.join(map(str, [self.bin / binary, *arguments, *device])) + " -q"

    def environment(self):
        found = dict(os.environ, PATH=f"{self.bin}:{os.environ['PATH']}", TOKENIZERS_PARALLELISM="true")
        found.update(HF_HUB_OFFLINE="1", TRANSFORMERS_VERBOSITY="error", PYTHONWARNINGS="ignore")
        if self.device != "cpu":
            # Ours then runs with the baselines' libtorch, which has CUDA.
            folder = str(Path(importlib.util.find_spec("torch").origin).parent / "lib")
            found["LD_LIBRARY_PATH"] = ":".join(filter(None, [folder, found.get("LD_LIBRARY_PATH")]))
        # What make exports for its pipes would slow a lone Python program down.
        found.pop("GOMP_SPINCOUNT", None)
        return found

    def call(self, program, own_memory_limit=None, forget=(), prefix=""):
        """Runs a program once."""
        with tempfile.TemporaryDirectory(dir=self.work) as folder:
            taken, said, complaint = (Path(folder) / name for name in ("taken.json", "stdout", "stderr"))
            words = [sys.executable, "-S", HERE / "measure.py", taken]
            if own_memory_limit:
                words += ["--own-memory-limit", own_memory_limit]
            for path in forget:
                words += ["--forget", path]
            words += ["--", *shlex.split(prefix), "bash", "-euo", "pipefail", "-c", program.command]
            with open(said, "w") as stdout, open(complaint, "w") as stderr:
                subprocess.run(list(map(str, words)), stdout=stdout, stderr=stderr, env=self.environment())
            lines = complaint.read_text(errors="replace").strip().splitlines() or ["no message"]
            if not taken.exists():
                raise Failed(f"{program.label}: {lines[-1]}")
            record = json.loads(taken.read_text())
            if record["rc"] != 0:
                raise Failed(f"{program.label}: exit code {record['rc']}: {lines[-1]}")
            last = (said.read_text(errors="replace").strip().splitlines() or [""])[-1]
        said = json.loads(last) if last.startswith("{") else {}
        seconds = said["seconds"] if "seconds" in said else program.seconds() if program.seconds else record["wall"]
        return Result(seconds, record["wall"], record["peak"], record["own"], said)

    def in_turn(self, programs, **limits):
        """The results of each program, in the order of the repetitions."""
        found = {program.label: [] for program in programs}
        for repeat in range(self.repeats):
            for program in programs:
                result = self.call(program, **limits)
                found[program.label].append(result)
                text = f"{program.label}: {result.seconds:.3f} s of {result.wall:.3f}, {result.peak / MIB:.0f} MiB"
                print(f"  {repeat + 1}/{self.repeats} {text}", file=sys.stderr, flush=True)
        return found

    def contest(self, stage, work, ours, baselines, count=None, unit="s", ceiling=None, note="", **limits):
        """Ours against each baseline; a row for each. `count` of `unit` are done by a call; `ceiling` is
        `(name, work of a call in the ceiling's unit, aim or None)`. Returns the results by label."""
        print(f"{stage}: {work}", file=sys.stderr, flush=True)
        found = self.in_turn([ours, *baselines], **limits)
        mine = found[ours.label]
        speed = (lambda seconds: count / seconds) if count else (lambda seconds: seconds)
        for baseline in baselines:
            other = found[baseline.label]
            ratios = [b.seconds / a.seconds for a, b in zip(mine, other)]
            ratio = statistics.median(ratios)
            row = {
                "stage": stage,
                "work": work,
                "ours": ours.label,
                "baseline": baseline.label,
                "unit": f"{unit}/s" if count else unit,
                "ours_value": speed(middle(mine)),
                "baseline_value": speed(middle(other)),
                "ratio": ratio,
                "ratio_min": min(ratios),
                "ratio_max": max(ratios),
                "ours_peak_mib": max(result.peak for result in mine) / MIB,
                "baseline_peak_mib": max(result.peak for result in other) / MIB,
                "aim": f"≥ {baseline.aim:g} ×" if baseline.aim else None,
                "met": ratio >= baseline.aim if baseline.aim else None,
                "note": " ".join(filter(None, [ours.note, baseline.note, note])),
            }
            if ceiling:
                name, amount, _ = ceiling
                row["ceiling"] = name
                row["ceiling_fraction"] = amount / middle(mine) / self.ceiling(name)
            self.rows.append(row)
        if ceiling and ceiling[2]:
            name, amount, aim = ceiling
            self.fact(stage, work, f"share of {name}", amount / middle(mine) / self.ceiling(name), "", f"≥ {aim:g}", aim.__le__)
        return found

    def fact(self, stage, work, what, value, unit, aim=None, holds=None, peak=None, note=""):
        """A row without a baseline."""
        row = {"stage": stage, "work": work, "ours": what, "unit": unit, "ours_value": value, "aim": aim, "note": note}
        row["met"] = bool(holds(value)) if holds else None
        row["ours_peak_mib"] = peak / MIB if peak else None
        self.rows.append(row)

    def check(self, holds, text):
        """Both sides must have done the same work."""
        if not holds:
            self.wrong.append(f"results differ: {text}")
            print(f"bench: {self.wrong[-1]}", file=sys.stderr, flush=True)

    def ceiling(self, name):
        """What this machine does at best, measured once a run."""
        if not self.ceilings:
            self.ceilings = self.call(Program("ceilings", self.baseline("ceiling", "--size", self.size(4096, 512)))).said
        return self.ceilings[name]


def middle(results):
    return statistics.median(result.seconds for result in results)
