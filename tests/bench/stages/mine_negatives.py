"""mine-negatives beside scripts for pandas and polars."""

import pyarrow as pa
import pyarrow.parquet as pq

import data
from contest import Program

QUERIES, NEGATIVES, MARGIN, DOCUMENTS = 500_000, 200, 10, 8_841_823
NOTE = "Ours is the whole process; the baselines' time starts after Python's imports. Parquet in and out."
COLUMNS = ["query_id", "doc_id", "rank"]


def equal(mine, theirs):
    """Whether two files of negatives hold the same rows in the same order, part by part."""
    a, b = pq.ParquetFile(mine), pq.ParquetFile(theirs)
    if a.metadata.num_rows != b.metadata.num_rows:
        return False

    def parts(file):
        """Batches of exactly so many rows, whatever the row groups."""
        held, size = [], 1 << 20
        for batch in file.iter_batches(size, columns=COLUMNS):
            table = pa.Table.from_batches(held + [batch])
            while len(table) >= size:
                yield table.slice(0, size)
                table = table.slice(size)
            held = table.to_batches()
        if held:
            yield pa.Table.from_batches(held)

    return all(all((x[name].to_numpy() == y[name].to_numpy()).all() for name in COLUMNS) for x, y in zip(parts(a), parts(b)))


def run(bench):
    count = bench.size(QUERIES, 1000)
    found = data.run(bench, count, NEGATIVES + MARGIN, DOCUMENTS)
    qrels = data.qrels_within(bench, found)
    mine, by_pandas, by_polars = (bench.work / f"negatives-{name}.parquet" for name in ("ours", "pandas", "polars"))
    ours = Program("mine-negatives", bench.ours("mine-negatives", "--ids", "internal", "--qrels", qrels, "--top-k", NEGATIVES, found, "-o", mine))
    baselines = [
        Program("pandas", bench.baseline("mine_pandas", found, qrels, by_pandas, NEGATIVES), aim=3),
        Program("polars", bench.baseline("mine_polars", found, qrels, by_polars, NEGATIVES), aim=3),
    ]
    work = f"{count:,} queries × {NEGATIVES} of {NEGATIVES + MARGIN}"
    rows = count * (NEGATIVES + MARGIN) / 1e6
    bench.contest("mine-negatives", work, ours, baselines, rows, "million rows", note=NOTE)
    for path in (by_pandas, by_polars):
        bench.check(equal(mine, path), f"mine-negatives, {work}, {path.stem}")
        path.unlink()
    mine.unlink()
