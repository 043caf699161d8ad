"""Runs a command and writes what it took, as JSON: wall seconds, peak memory, exit code.

    python tests/bench/measure.py RESULT.json [--own-memory-limit BYTES] [--forget FILE]… -- COMMAND…

A small process of its own, since a child's peak starts at what its parent held. `peak` is the larger of
what the kernel says of the largest process (ru_maxrss) and of the sum over all processes of the command,
sampled; `own` is the sampled sum without mapped files, which the kernel can drop at any time.
"""

import json
import os
import resource
import sys
import threading
import time
from pathlib import Path

# Seconds between samples: short ones first, for commands that are done at once.
FIRST, EVERY = 0.002, 0.03


def descendants(pid):
    found = [pid]
    for process in found:
        try:
            for task in Path(f"/proc/{process}/task").iterdir():
                found += [int(child) for child in (task / "children").read_text().split()]
        except OSError:
            pass
    return found


def resident(pid):
    """`(all, own)` bytes that the command's processes have in memory."""
    total = own = 0
    for process in descendants(pid):
        try:
            for line in Path(f"/proc/{process}/status").read_text().splitlines():
                if line.startswith("VmRSS:"):
                    total += int(line.split()[1]) * 1024
                elif line.startswith("RssAnon:"):
                    own += int(line.split()[1]) * 1024
        except OSError:
            pass
    return total, own


def sample(pid, stop, peaks):
    wait = FIRST
    while not stop.wait(wait):
        peaks[:] = map(max, peaks, resident(pid))
        wait = min(wait * 1.05, EVERY)


def forget(path):
    """The file's pages leave the page cache: the command has to read them from the disk."""
    file = os.open(path, os.O_RDONLY)
    os.fsync(file)
    os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
    os.close(file)


def main():
    result, options = sys.argv[1], sys.argv[2:]
    while (option := options.pop(0)) != "--":
        value = options.pop(0)
        if option == "--forget":
            forget(value)
        elif option == "--own-memory-limit":
            resource.setrlimit(resource.RLIMIT_DATA, (int(value), int(value)))
        else:
            sys.exit(f"measure: unknown option {option}")
    peaks, stop = [0, 0], threading.Event()
    started = time.perf_counter()
    pid = os.posix_spawnp(options[0], options, os.environ)
    sampler = threading.Thread(target=sample, args=(pid, stop, peaks))
    sampler.start()
    _, status, usage = os.wait4(pid, 0)
    wall = time.perf_counter() - started
    stop.set()
    sampler.join()
    total, own = peaks
    record = {"wall": wall, "peak": max(usage.ru_maxrss * 1024, total), "own": own, "rc": os.waitstatus_to_exitcode(status)}
    Path(result).write_text(json.dumps(record))


if __name__ == "__main__":
    main()
