"""Damages inputs and kills commands at random, and says what came of it that should not have.

Healthy inputs are made from the quick start's fixture. Then, until TORTURE_SECONDS are over (600), one input after
another is damaged and given to a command that reads it, and commands that write are killed. A command must end within
20 seconds and 1 GiB, either well, with an output that we can read and that has only finite numbers, or with exit code 1,
one line, and nothing changed. A killed one must leave its output as it was or whole, and the next run nothing else.

    python3 tests/torture/torture.py [SEED]

TORTURE_JOBS is the number of commands at once, TORTURE_KILLS the share of kills (0.1).
"""

import concurrent.futures
import contextlib
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import healthy

BIN = Path(os.environ.get("BIN", Path(os.environ.get("CARGO_TARGET_DIR", "target")) / "release")).resolve()
SECONDS, MEMORY = 20, 1 << 30
HUGE = [0, 1, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 1 << 40, (1 << 62) + 1, (1 << 63) - 1, (1 << 64) - 1]
ODD = [b"", b" ", b"\t", b"nan", b"Infinity", b"-1", b"1e999", b"9" * 30, b"\xff\xfe", b"\xef\xbb\xbf", b"\x00", b"\r", b"\xe2\x80\xa8", b"\x0c", b'"', b"{" * 2000]
WRITERS = [
    "tokenize --tokenizer M collection.tsv -o out.arrow",
    "embed --model M d.tokens.arrow -o out.parquet",
    "rank --index d.arrow --top-k 50 q.arrow -o out.arrow",
    "index --factory HNSW8 d.arrow -o out.faiss",
    "mine-negatives --qrels qrels.parquet run.parquet -o out.parquet",
    "remap-ids --to official --queries q.tokens.arrow --docs d.tokens.arrow run.parquet -o out.trec",
    "score --qrels qrels.parquet run.parquet --per-query out.parquet",
    healthy.TRAIN.replace("--steps 2", "--steps 12 --save-every 2") + " -o out",
]


def mutate(data, rng, text):
    """Damaged `data`, and what was done to it."""
    data = bytearray(data)
    at = rng.randrange(len(data))
    width = rng.choice([1, 2, 4, 8])
    if text and rng.random() < 0.5:
        fields = data.split(b"\t") if b"\t" in data else data.split(b" ")
        place = rng.randrange(len(fields))
        fields[place] = rng.choice(ODD)
        return (b"\t" if b"\t" in data else b" ").join(fields), f"odd field {place}"
    # Half of the damage goes where the structure is: the beginning and the end.
    if rng.random() < 0.5:
        at = min(at, 2000) if rng.random() < 0.5 else max(0, len(data) - 1 - at % 4000)
    kind = rng.choice(["bits", "delete", "insert", "huge", "huge", "zero", "cut", "swap", "repeat"])
    if kind == "bits":
        for _ in range(rng.choice([1, 1, 8])):
            data[rng.randrange(at, min(len(data), at + 64))] ^= 1 << rng.randrange(8)
    elif kind == "delete":
        del data[at : at + rng.choice([1, 4, 8, 100])]
    elif kind == "insert":
        data[at:at] = rng.randbytes(rng.choice([1, 4, 8, 100]))
    elif kind == "huge":
        data[at : at + width] = (rng.choice(HUGE) & ((1 << 8 * width) - 1)).to_bytes(width, "little")
    elif kind == "zero":
        data[at : at + rng.choice([1, 8, 64])] = bytes(min(len(data) - at, rng.choice([1, 8, 64])))
    elif kind == "cut":
        del data[at:]
    elif kind == "swap":
        other = rng.randrange(len(data))
        data[at : at + 16], data[other : other + 16] = data[other : other + 16], data[at : at + 16]
    else:
        data[at:at] = data[at : at + rng.choice([8, 64, 1000])]
    return bytes(data), f"{kind} at byte {at}"


def run(words, folder, kill=None):
    """Exit status, standard error, and peak memory of a command; `kill` is a delay and a signal."""
    process = subprocess.Popen(
        [BIN / words[0], *words[1:]], cwd=folder, env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
    )
    delay, number = kill or (SECONDS, signal.SIGKILL)
    late = threading.Event()

    def end():
        late.set()
        # Popen's own way would take the exit status away from wait4.
        with contextlib.suppress(ProcessLookupError):
            os.kill(process.pid, number)

    timer = threading.Timer(delay, end)
    timer.start()
    said = process.stderr.read().decode(errors="replace")
    _, status, usage = os.wait4(process.pid, 0)
    timer.cancel()
    process.returncode = os.waitstatus_to_exitcode(status)
    hung = kill is None and late.is_set()
    return process.returncode, said, usage.ru_maxrss * 1024, hung


def contents(path):
    """The bytes of a file or of all files of a folder; None if it is not there."""
    if path.is_dir():
        # A training log has times in it.
        files = [file for file in sorted(path.rglob("*")) if file.is_file() and file.name != "training-log.parquet"]
        return {str(file.relative_to(path)): file.read_bytes() for file in files}
    return path.read_bytes() if path.exists() else None


def output_of(words):
    """The name of a command's output."""
    return words[max(words.index(option) for option in ["-o", "--per-query"] if option in words) + 1]


def unsound(path, folder):
    """What is wrong with an output that a command was content with."""
    if path.suffix == ".faiss":
        code, said, *_ = run(["rank", "--index", path.name, "--top-k", "5", "q.arrow", "-o", "check.parquet"], folder)
        (folder / "check.parquet").unlink(missing_ok=True)
        return said if code else None
    if path.is_dir():
        code, said, *_ = run(["embed", "--model", path.name, "q.tokens.arrow", "-o", "check.arrow"], folder)
        (folder / "check.arrow").unlink(missing_ok=True)
        return said if code else None
    for name in ["check.csv", "check.json"]:
        code, said, *_ = run(["sql", "-t", f"t={path.name}", "-o", name, "SELECT * FROM t"], folder)
        table = folder / name
        text = table.read_text(errors="replace") if table.exists() else ""
        table.unlink(missing_ok=True)
        # An id may be nan, as it stands in ODD; CSV writes NaN. It has no lists, JSON no infinite numbers.
        if "not supported in CSV" not in said:
            break
    words = {word for line in text.splitlines() for word in line.split(",")}
    if code:
        return said
    return "numbers that are not finite" if words & {"NaN", "inf", "-inf"} else None


def damage(seed, inputs, keep):
    """One damaged input given to one command; returns violations."""
    rng = random.Random(seed)
    names, command = rng.choice(healthy.READERS)
    name = rng.choice(names)
    words = healthy.arguments(command, name)
    source = inputs / name
    text = source.suffix in (".tsv", ".trec", ".json", ".jsonl", ".txt")
    data, how = mutate(source.read_bytes(), rng, text)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        for entry in inputs.iterdir():
            if entry.name != Path(name).parts[0]:
                (folder / entry.name).symlink_to(entry)
        if "/" in name:
            shutil.copytree(inputs / Path(name).parts[0], folder / Path(name).parts[0])
            (folder / name).unlink()
        (folder / name).write_bytes(data)
        output = folder / output_of(words)
        old = rng.random() < 0.3 and output.name != "out"
        if old:
            output.write_text("precious")
        before = sorted(os.listdir(folder))
        code, said, memory, hung = run(words, folder)
        lines = [line for line in said.splitlines() if " WARN " not in line]
        problems = []
        if hung:
            problems.append(f"not over after {SECONDS} seconds")
        elif code < 0 or code not in (0, 1):
            problems.append(f"exit code {code}")
        if "internal error" in said or "panicked" in said:
            problems.append("panic")
        if memory > MEMORY:
            problems.append(f"{memory >> 20} MiB")
        if code == 1:
            if len(lines) != 1 or not lines[0].startswith(f"{words[0]}: "):
                problems.append("not one line")
            if sorted(os.listdir(folder)) != before or old and output.read_text() != "precious":
                problems.append("files are left or harmed")
        elif code == 0:
            wrong = unsound(output, folder)
            if wrong:
                problems.append(f"unsound output: {wrong.strip()}")
        if problems:
            kept = keep / f"{words[0]}-{seed}"
            kept.mkdir(parents=True)
            (kept / Path(name).name).write_bytes(data)
            story = f"{' '.join(words)}\n{name}: {how}\n{'; '.join(problems)}\n{said}"
            (kept / "command.txt").write_text(story)
            return [story]
    return []


def kill(seed, inputs, keep):
    """One command killed at a random moment, then run to its end."""
    rng = random.Random(seed)
    words = rng.choice(WRITERS).split()
    number = rng.choice([signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        for entry in inputs.iterdir():
            (folder / entry.name).symlink_to(entry)
        output = folder / output_of(words)
        before = set(os.listdir(folder))
        started = time.monotonic()
        problems = []
        code, said, *_ = run(words, folder)
        whole, took = contents(output), time.monotonic() - started
        if code:
            problems.append(f"a healthy run failed: {said}")
        old = rng.choice([None, "precious", whole]) if output.name != "out" else None
        shutil.rmtree(output) if output.is_dir() else output.unlink(missing_ok=True)
        if old:
            output.write_text("precious") if old == "precious" else output.write_bytes(old)
        was = contents(output)
        code, *_ = run(words, folder, (rng.random() * took * 1.1, number))
        if contents(output) not in (was, whole):
            problems.append("the output is neither as it was nor whole")
        if number != signal.SIGKILL and set(os.listdir(folder)) - before - {output.name} and output.name != "out":
            problems.append(f"left behind: {set(os.listdir(folder)) - before}")
        if number != signal.SIGKILL and code not in (0, 128 + number, -number):
            problems.append(f"exit code {code}")
        code, said, *_ = run(words, folder)
        if code or contents(output) != whole:
            problems.append(f"the next run ends otherwise: {said}")
        if set(os.listdir(folder)) - before - {output.name}:
            problems.append(f"left behind by the next run: {set(os.listdir(folder)) - before}")
        if problems:
            story = f"{' '.join(words)}\n{number.name}, seed {seed}\n{'; '.join(problems)}\n"
            keep.mkdir(parents=True, exist_ok=True)
            (keep / f"kill-{seed}.txt").write_text(story)
            return [story]
    return []


def main():
    seed = int(sys.argv[1]) if len(sys.argv) > 1 else random.SystemRandom().randrange(1 << 32)
    seconds = float(os.environ.get("TORTURE_SECONDS", 600))
    jobs = int(os.environ.get("TORTURE_JOBS", os.cpu_count() or 1))
    share = float(os.environ.get("TORTURE_KILLS", 0.1))
    print(f"torture: seed {seed}, {seconds:.0f} s", flush=True)
    keep = Path("out/torture") / str(seed)
    counts = {damage: 0, kill: 0}
    violations = 0
    with tempfile.TemporaryDirectory() as temporary:
        inputs = Path(temporary)
        healthy.make(inputs, BIN)
        end = time.monotonic() + seconds
        rng = random.Random(seed)
        with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
            running = {}
            while running or time.monotonic() < end:
                while len(running) < jobs and time.monotonic() < end:
                    kind = kill if rng.random() < share else damage
                    running[pool.submit(kind, rng.randrange(1 << 48), inputs, keep)] = kind
                done, _ = concurrent.futures.wait(running, return_when=concurrent.futures.FIRST_COMPLETED)
                for future in done:
                    counts[running.pop(future)] += 1
                    for story in future.result():
                        violations += 1
                        print(f"--- violation {violations}\n{story}", flush=True)
    print(f"torture: seed {seed}, {counts[damage]} mutations, {counts[kill]} kills, {violations} violations")
    if violations:
        print(f"torture: the damaged files are in {keep}")
    sys.exit(violations > 0)


if __name__ == "__main__":
    main()
