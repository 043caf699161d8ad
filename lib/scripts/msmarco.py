"""Fetches MS MARCO and the judgements of TREC DL 2019, unpacks them and counts the rows of every file.

    python3 lib/scripts/msmarco.py passage|doc FOLDER [--from URL] [--trec-from URL] [--rows FILE] [--tries N]

A download that was cut off goes on where it stopped, in the next try or the next run. A file gets its name
only when its archive was read to the end and it has the rows that were published; one that has its name
already is counted, not fetched. --from and --trec-from name a mirror (http, https, file or a folder), and
--rows a TSV file (file name, rows) for a mirror that holds another collection.
"""

import argparse
import errno
import gzip
import http.client
import os
import posixpath
import re
import shutil
import sys
import tarfile
import time
import urllib.error
import urllib.request
import zlib
from pathlib import Path

MSMARCO = "https://msmarco.z22.web.core.windows.net/msmarcoranking"
TREC = "https://trec.nist.gov/data/deep"

# Rows as in the tables of MS MARCO's and TREC DL 2019's pages and as ir_datasets' tests count them. Where only the
# tests have a file, or the two differ (qrels of documents: 384,597 and 5,478 in the tables), they are the tests'.
TEST = ("msmarco-test2019-queries.tsv", 200, "msmarco-test2019-queries.tsv.gz")
FILES = {
    "passage": [
        ("collection.tsv", 8_841_823, "collectionandqueries.tar.gz"),
        ("queries.train.tsv", 808_731, "collectionandqueries.tar.gz"),
        ("queries.dev.small.tsv", 6_980, "collectionandqueries.tar.gz"),
        ("queries.eval.small.tsv", 6_837, "collectionandqueries.tar.gz"),
        ("qrels.train.tsv", 532_761, "collectionandqueries.tar.gz"),
        ("qrels.dev.small.tsv", 7_437, "collectionandqueries.tar.gz"),
        TEST,
        ("2019qrels-pass.txt", 9_260, "2019qrels-pass.txt"),
    ],
    "doc": [
        ("msmarco-docs.tsv", 3_213_835, "msmarco-docs.tsv.gz"),
        ("msmarco-doctrain-queries.tsv", 367_013, "msmarco-doctrain-queries.tsv.gz"),
        ("msmarco-doctrain-qrels.tsv", 367_013, "msmarco-doctrain-qrels.tsv.gz"),
        ("msmarco-docdev-queries.tsv", 5_193, "msmarco-docdev-queries.tsv.gz"),
        ("msmarco-docdev-qrels.tsv", 5_193, "msmarco-docdev-qrels.tsv.gz"),
        ("docleaderboard-queries.tsv", 5_793, "docleaderboard-queries.tsv.gz"),
        TEST,
        ("2019qrels-docs.txt", 16_258, "2019qrels-docs.txt"),
    ],
}
# The archives and what is in them, while both are there.
SPACE = {"passage": "5 GB", "doc": "31 GB"}

BLOCK = 1 << 20
TIMEOUT = 60


class Failed(Exception):
    """What the user is told, in one line."""


class Broken(Exception):
    """What is wrong with an archive."""


class Cut(Exception):
    """Why a transfer ended early; another try may go on."""


def say(text):
    # On a terminal a line of progress may stand there.
    print(("\r\x1b[K" if sys.stderr.isatty() else "") + f"msmarco: {text}", file=sys.stderr, flush=True)


def megabytes(size):
    return f"{size / 1e6:,.1f} MB"


class Progress:
    """A line that is written over, on a terminal only."""

    def __init__(self, what):
        self.what, self.next = what, 0.0

    def at(self, done, total=None):
        if sys.stderr.isatty() and time.monotonic() > self.next:
            self.next = time.monotonic() + 0.2
            of = f" of {megabytes(total)}" if total else ""
            sys.stderr.write(f"\r\x1b[Kmsmarco: {self.what}: {megabytes(done)}{of}")
            sys.stderr.flush()


# ---- download ------------------------------------------------------------------------------------------


def answer(url, have):
    """The response for what follows the first `have` bytes; None when nothing does."""
    # Some servers refuse Python's own name.
    headers = {"User-Agent": "hardmine", **({"Range": f"bytes={have}-"} if have else {})}
    try:
        return urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=TIMEOUT)
    except urllib.error.HTTPError as error:
        if error.code == 416 and have:
            # All is here, or more than there is to have: then what is here comes from another file.
            return None if error.headers.get("Content-Range") == f"bytes */{have}" else answer(url, 0)
        if error.code in (408, 429) or error.code >= 500:
            raise Cut(f"the server says {error.code} {error.reason}") from None
        raise Failed(f"{url}: the server says {error.code} {error.reason}; hint: is the address right?") from None
    except (OSError, http.client.HTTPException, ValueError) as error:
        reason = getattr(error, "reason", error)
        # A file that is not there, or an address that is none, is the same in the next try.
        passing = isinstance(reason, (OSError, http.client.HTTPException)) and url.startswith(("http://", "https://"))
        if passing and not isinstance(reason, http.client.InvalidURL):
            raise Cut(f"cannot be reached ({reason})") from None
        raise Failed(f"{url}: cannot be read ({reason}); hint: is the address right?") from None


def receive(url, part, progress):
    """Adds to `part` what of `url` it lacks."""
    have = size(part)
    response = answer(url, have)
    if response is None:
        return
    with response:
        start = 0
        # A server that knows no ranges sends everything again, with another status.
        if response.status == 206:
            span = re.match(r"bytes (\d+)-", response.headers.get("Content-Range", ""))
            start = int(span[1]) if span else -1
            if start != have:
                raise Cut("the server sends another part than it was asked for")
        length = response.headers.get("Content-Length")
        total = start + int(length) if length and length.isdigit() else None
        with open(part, "ab" if start else "wb") as file:
            done = start
            while True:
                try:
                    block = response.read1(BLOCK)
                except (OSError, http.client.HTTPException) as error:
                    raise Cut(f"the connection broke ({error})") from None
                if not block:
                    break
                file.write(block)
                done += len(block)
                progress.at(done, total)
    if total is not None and done != total:
        raise Cut(f"the connection ended after {done:,} of {total:,} bytes")


def size(path):
    return path.stat().st_size if path.exists() else 0


def download(url, target, tries):
    """Fetches `url` to `target`, by way of `target`.part."""
    part = target.with_name(target.name + ".part")
    best, failures = size(part), 0
    say(f"fetching {url}" + (f" from byte {best:,} on" if best else ""))
    progress = Progress(f"fetching {target.name}")
    while True:
        try:
            receive(url, part, progress)
            break
        except Cut as cut:
            # A long download may be cut often, as long as it goes on.
            failures = 1 if size(part) > best else failures + 1
            best = max(best, size(part))
            if failures >= tries:
                hint = f"run it again to go on from byte {size(part):,}" if size(part) else "try again later"
                raise Failed(f"{url}: {cut}; hint: {hint}") from None
            wait = min(2 ** (failures - 1), 60)
            say(f"{url}: {cut}; trying again in {wait} s")
            time.sleep(wait)
    say(f"fetched {target.name}: {size(part):,} bytes")
    os.replace(part, target)


# ---- unpack --------------------------------------------------------------------------------------------


def write(source, target, progress):
    """Copies a stream to a file and returns the number of its lines."""
    lines, done, last = 0, 0, b"\n"
    with open(target, "wb") as file:
        while block := source.read(BLOCK):
            file.write(block)
            lines += block.count(b"\n")
            done += len(block)
            last = block[-1:]
            progress.at(done)
    return lines + (last != b"\n")


def members(archive, stream, names):
    """`(name, stream)` of the wanted files of a tar archive, or of the one file that `stream` is."""
    if not archive.name.endswith(".tar.gz"):
        yield names[0], stream
        return
    with tarfile.open(fileobj=stream, mode="r|") as tar:
        for member in tar:
            # Only the last part of its path is looked at, and only to choose: the archive names no file of ours.
            name = posixpath.basename(member.name)
            if name in names and member.isfile():
                yield name, tar.extractfile(member)


def unpack(archive, names):
    """Writes files of an archive beside it, under names that end in `.new`; returns each one's rows."""
    rows = {}
    try:
        with open(archive, "rb") as packed:
            stream = gzip.GzipFile(fileobj=packed) if archive.name.endswith(".gz") else packed
            for name, source in members(archive, stream, names):
                rows[name] = write(source, fresh(archive, name), Progress(f"unpacking {name}"))
                say(f"unpacked {name}: {rows[name]:,} rows")
            # The checksum is at the end.
            while stream.read(BLOCK):
                pass
    except (EOFError, zlib.error, gzip.BadGzipFile, tarfile.TarError) as error:
        raise Broken(f"cut off or damaged ({error})") from None
    missing = [name for name in names if name not in rows]
    if missing:
        raise Broken(f"has no {', '.join(missing)} in it")
    return rows


def fresh(archive, name):
    return archive.with_name(name + ".new")


def check(where, name, found, expected, hint):
    if found != expected[name]:
        raise Failed(f"{where}: expected {expected[name]:,} rows, found {found:,}; hint: {hint}")


def settle(folder, archive, names, expected):
    """Unpacks, checks, and gives the files their names, all or none."""
    try:
        for name, rows in unpack(archive, names).items():
            hint = "--rows FILE if another collection is meant, else this is not what was published; "
            check(name, name, rows, expected, hint + f"to fetch it again, remove {archive}")
        for name in names:
            os.replace(fresh(archive, name), folder / name)
    except Broken as broken:
        archive.unlink()
        raise Failed(f"{archive.name}: {broken}; hint: it was removed, run it again to fetch it anew") from None
    finally:
        for name in names:
            fresh(archive, name).unlink(missing_ok=True)
    archive.unlink()


# ---- what is there already -----------------------------------------------------------------------------


def present(folder, name, expected):
    """Whether a file is there, packed or not; what can be counted must have its rows."""
    for path in (folder / name, folder / f"{name}.gz", folder / f"{name}.zst"):
        if not path.exists():
            continue
        if path.suffix == ".zst":
            say(f"{path}: there already, and its rows not counted: Python reads no zstd")
            return True
        try:
            with gzip.open(path) if path.suffix == ".gz" else open(path, "rb") as file:
                rows = write(file, os.devnull, Progress(f"counting {path}"))
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise Failed(f"{path}: cut off or damaged ({error}); hint: remove it to fetch it again") from None
        check(path, name, rows, expected, "remove it to fetch it again, or use another folder")
        return True
    return False


def read_rows(path, expected):
    """The expected rows, with those of the file in their place."""
    expected = dict(expected)
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError:
        raise Failed(f"{path}: not text; hint: one line a file, as in `collection.tsv<TAB>300`") from None
    known = {name for files in FILES.values() for name, _, _ in files}
    for number, line in enumerate(lines, 1):
        name, _, rows = line.partition("\t")
        if name not in known or not (rows.isascii() and rows.isdigit()):
            wanted = "a file's name as in MS MARCO, a tab and its rows"
            raise Failed(f"{path}: line {number}: not {wanted}; hint: one line a file, as in `collection.tsv<TAB>300`")
        expected[name] = int(rows)
    return expected


def fetch(form, folder, msmarco, trec, rows, tries):
    expected = {name: count for name, count, _ in FILES[form]}
    if rows:
        expected = read_rows(rows, expected)
    folder.mkdir(parents=True, exist_ok=True)
    wanted = {}
    for name, _, archive in FILES[form]:
        if not present(folder, name, expected):
            wanted.setdefault(archive, []).append(name)
    # One for each form, so that both can be fetched at once.
    downloads = folder / f".{form}-download"
    for archive, names in wanted.items():
        downloads.mkdir(exist_ok=True)
        if not (downloads / archive).exists():
            base = trec if archive.startswith("2019qrels") else msmarco
            download(f"{base.rstrip('/')}/{archive}", downloads / archive, tries)
        settle(folder, downloads / archive, names, expected)
    if downloads.exists():
        shutil.rmtree(downloads)
    total = sum(expected[name] for name, _, _ in FILES[form])
    say(f"{folder}: all {len(FILES[form])} files of {form} ranking are there, {total:,} rows")


def address(text):
    return text if "://" in text else Path(text).resolve().as_uri()


def main():
    description, call, more = __doc__.split("\n\n")
    parser = argparse.ArgumentParser(description=description, usage=call.strip(), epilog=more, allow_abbrev=False)
    parser.add_argument("form", choices=FILES)
    parser.add_argument("folder", type=Path)
    for option, name, base, what in (("--from", "msmarco", MSMARCO, "MS MARCO"), ("--trec-from", "trec", TREC, "TREC")):
        what += "'s files [%(default)s]"
        parser.add_argument(option, dest=name, type=address, default=base, metavar="URL", help=what)
    parser.add_argument("--rows", type=Path, metavar="FILE", help="other numbers of rows: TSV, file name and rows")
    what = "tries that bring nothing before it gives up [%(default)s]"
    parser.add_argument("--tries", type=int, default=5, metavar="N", help=what)
    options = parser.parse_args()
    try:
        fetch(**vars(options))
    except Failed as failed:
        error = str(failed)
    except OSError as failed:
        space = f"; hint: {SPACE[options.form]} are needed" if failed.errno in (errno.ENOSPC, errno.EDQUOT) else ""
        error = f"{failed.filename or options.folder}: {failed.strerror or failed}{space}"
    except KeyboardInterrupt:
        say("interrupted; run it again to go on")
        sys.exit(130)
    else:
        return
    say(error)
    sys.exit(1)


if __name__ == "__main__":
    main()
