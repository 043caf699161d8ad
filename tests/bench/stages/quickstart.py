"""make quickstart after the build, into a fresh folder: data, model, all rows, the table."""

import shutil

from contest import Program

LIMIT = 300


def run(bench):
    folder = bench.work / "quickstart"
    shutil.rmtree(folder, ignore_errors=True)
    where = folder.relative_to(bench.root)
    bench.call(Program("make build", f"make -C {bench.root} build"))
    command = f"make -C {bench.root} quickstart QUICKSTART={where}"
    result = bench.call(Program("make quickstart", command))
    bench.fact("quickstart", "all rows, after the build", "make quickstart", result.wall, "s", "< 300 s", LIMIT.__gt__, result.peak)
