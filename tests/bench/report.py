"""The table of a bench run: on the terminal, as Markdown and as Parquet."""

import importlib.metadata
import json
import os
import platform
import subprocess

import pyarrow as pa
import pyarrow.parquet as pq

PACKAGES = "torch sentence-transformers transformers tokenizers faiss-cpu numpy pandas polars pyarrow pytrec-eval-terrier ranx ir_measures bm25s PyStemmer numba"
TEXT, NUMBER = pa.string(), pa.float64()
COLUMNS = {
    "stage": TEXT, "work": TEXT, "ours": TEXT, "ours_value": NUMBER, "baseline": TEXT, "baseline_value": NUMBER,
    "unit": TEXT, "ratio": NUMBER, "ratio_min": NUMBER, "ratio_max": NUMBER, "ours_peak_mib": NUMBER,
    "baseline_peak_mib": NUMBER, "ceiling": TEXT, "ceiling_fraction": NUMBER, "aim": TEXT, "met": pa.bool_(), "note": TEXT,
}
HEAD = "stage|work|ours||baseline||unit|ratio (min–max)|peak MiB, ours|baseline|of the ceiling|aim|met"


def device(bench):
    """Machine and versions."""
    model = platform.processor()
    for line in open("/proc/cpuinfo", encoding="utf-8"):
        if line.startswith("model name"):
            model = line.split(":", 1)[1].strip()
            break
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    version = subprocess.run([bench.bin / "rank", "--version"], capture_output=True, text=True).stdout.split()[-1:]
    versions = {"hardmine": "".join(version), "python": platform.python_version()}
    versions |= {name: importlib.metadata.version(name) for name in PACKAGES.split()}
    return {
        "device": f"{model}, {len(os.sched_getaffinity(0))} cores, {memory:.0f} GiB",
        "versions": ", ".join(f"{name} {version}" for name, version in versions.items()),
        "repeats": str(bench.repeats),
        "scale": f"{bench.scale:g}",
        "ceilings": json.dumps(bench.ceilings),
    }


def number(value, digits=3):
    if value is None:
        return ""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.{digits}g}"


def cells(row):
    ratio = f"{row['ratio']:.2f} ({row['ratio_min']:.2f}–{row['ratio_max']:.2f})" if row.get("ratio") else ""
    met = {True: "yes", False: "no", None: ""}[row.get("met")]
    share = f"{row['ceiling_fraction']:.0%} of {row['ceiling']}" if row.get("ceiling") else ""
    return [
        row["stage"], row["work"], row["ours"], number(row.get("ours_value"), 4 if row.get("baseline") else 6), row.get("baseline") or "–",
        number(row.get("baseline_value"), 4), row["unit"], ratio, number(row.get("ours_peak_mib"), 4),
        number(row.get("baseline_peak_mib"), 4), share, row.get("aim") or "", met,
    ]


def markdown(bench):
    facts = device(bench)
    lines = [f"Device: {facts['device']}.", f"Versions: {facts['versions']}."]
    lines.append(f"Median of {bench.repeats} repetitions, in turn; a ratio above 1 is ours being faster.")
    if bench.ceilings:
        lines.append("Ceilings: " + ", ".join(f"{name} {number(value, 4)}/s" for name, value in bench.ceilings.items()) + ".")
    if bench.scale != 1:
        lines.append(f"**Sizes are {bench.scale:g} of the real ones: these figures mean nothing.**")
    lines += ["", f"|{HEAD}|", "|" + "---|" * (HEAD.count("|") + 1)]
    lines += ["|" + "|".join(cells(row)) + "|" for row in bench.rows]
    notes = dict.fromkeys(f"- {row['stage']}, {row['ours']}: {row['note']}" for row in bench.rows if row.get("note"))
    return "\n".join([*lines, "", *notes]) + "\n"


def write(bench, path):
    """`path`.md and `path`.parquet."""
    path.with_suffix(".md").write_text(markdown(bench), encoding="utf-8")
    columns = {name: pa.array([row.get(name) for row in bench.rows], kind) for name, kind in COLUMNS.items()}
    pq.write_table(pa.table(columns).replace_schema_metadata(device(bench)), path.with_suffix(".parquet"))


def show(bench):
    """On the terminal, in aligned columns."""
    rows = [HEAD.split("|"), *map(cells, bench.rows)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    print("\n" + "\n".join(" ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in rows))
    print("\n" + markdown(bench).split("\n\n")[0])
