"""Packs the binaries into a wheel that takes libtorch from the torch of the same environment.

    python3 lib/scripts/wheel.py BINARIES DIST

The binaries go to the environment's bin folder, and find its libraries by paths relative to themselves, so that
neither LD_LIBRARY_PATH nor Python is needed to start one. What torch does not bring (the rest of LAPACK, for faiss)
lies in hardmine.libs. The wheel's tag is of the newest glibc that a binary asks for.
"""

import base64
import hashlib
import json
import platform
import re
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from fetch import DEPS, TORCH

ROOT = Path(__file__).resolve().parents[2]
NAMES = sorted(path.stem for path in (ROOT / "bins").glob("*.rs"))
LAPACK = DEPS / "blas/lib/libscipy_openblas.so"

# From ENVIRONMENT/bin, for the versions of Python that torch has wheels for; the last is of pip install --target.
PACKAGES = [f"lib/python3.{minor}/site-packages" for minor in range(10, 15)] + ["."]
RUN_PATH = ":".join(f"$ORIGIN/../{folder}/{name}" for folder in PACKAGES for name in ("torch/lib", "hardmine.libs"))

# The oldest glibc that torch's own wheel runs on.
GLIBC_OF_TORCH = 28

# Files that hold a licence or a notice, at the top of a crate or of the C or C++ sources that it brings.
LICENCE = re.compile(r"(un)?licen[cs]e|copying|notice|copyright", re.I)


def output(*command):
    return subprocess.run([str(word) for word in command], check=True, capture_output=True, text=True, cwd=ROOT).stdout


def installed(binary, folder):
    """A copy of `binary` as it is installed: with the run path of an environment, without symbols."""
    copy = Path(folder) / binary.name
    output("strip", "-o", copy, binary)
    output(DEPS / "patchelf/patchelf", "--set-rpath", RUN_PATH, copy)
    return copy.read_bytes()


def glibc(files):
    """The minor version of the newest glibc whose symbols the files ask for."""
    versions = re.findall(r"\bGLIBC_2\.(\d+)", "".join(output("readelf", "-V", "-W", file) for file in files))
    return max([GLIBC_OF_TORCH, *map(int, versions)])


def crates():
    """The crates that are compiled into the binaries, ours left out."""
    host = f"{platform.machine()}-unknown-linux-gnu"
    metadata = json.loads(output("cargo", "metadata", "--format-version=1", "--locked", "--filter-platform", host))
    packages = {package["id"]: package for package in metadata["packages"]}
    edges = {node["id"]: node["deps"] for node in metadata["resolve"]["nodes"]}
    seen, todo = set(), [metadata["resolve"]["root"]]
    while todo:
        crate = todo.pop()
        if crate not in seen:
            seen.add(crate)
            todo += [edge["pkg"] for edge in edges[crate] if any(kind["kind"] is None for kind in edge["dep_kinds"])]
    return sorted((packages[crate] for crate in seen if packages[crate]["source"]), key=lambda crate: crate["name"])


def licences():
    """The licences of all that is in the wheel and not ours: each text once, after the names of those it is of."""
    owners = {}
    for crate in crates():
        folder = Path(crate["manifest_path"]).parent
        name = f"{crate['name']} {crate['version']} ({crate['license']})"
        texts = [path for path in [*folder.glob("*"), *folder.glob("*/*")] if LICENCE.match(path.name) and path.is_file()]
        for path in texts:
            owners.setdefault(path.read_text(errors="replace").strip(), []).append(name)
        if not texts:
            owners.setdefault("(The crate brings no text; its licence is the one that is named above.)", []).append(name)
    openblas = (DEPS / "patchelf/openblas-licence.txt").read_text()
    owners.setdefault(openblas.strip(), []).append("OpenBLAS, hardmine.libs/libscipy_openblas.so")
    rule = "\n\n" + "=" * 80 + "\n\n"
    return rule.join("\n".join(dict.fromkeys(names)) + "\n\n" + text for text, names in owners.items()) + "\n"


def write(wheel, files, record):
    """Writes `files` (name → bytes, executable or not) and the list of their digests."""
    lines = []
    with zipfile.ZipFile(wheel, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, (content, mode) in files.items():
            entry = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
            entry.external_attr = (0o100000 | mode) << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, content)
            digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
            lines.append(f"{name},sha256={digest},{len(content)}\n")
        archive.writestr(zipfile.ZipInfo(record, (1980, 1, 1, 0, 0, 0)), "".join(lines) + f"{record},,\n")


def main():
    binaries, dist = map(Path, sys.argv[1:])
    version = re.search(r'^version = "(.+)"', (ROOT / "Cargo.toml").read_text(), re.M).group(1)
    description = re.search(r'^description = "(.+)"', (ROOT / "Cargo.toml").read_text(), re.M).group(1)
    built = [binaries / name for name in NAMES]
    tag = f"py3-none-manylinux_2_{glibc([*built, LAPACK])}_{platform.machine()}"
    info = f"hardmine-{version}.dist-info"
    metadata = f"""\
Metadata-Version: 2.4
Name: hardmine
Version: {version}
Summary: {description}
License-Expression: MIT OR Apache-2.0
License-File: LICENSE-MIT
License-File: LICENSE-APACHE
License-File: THIRD-PARTY.txt
Requires-Python: >=3.10
Requires-Dist: {TORCH}
Description-Content-Type: text/markdown

""" + (ROOT / "README.md").read_text()
    files = {}
    with tempfile.TemporaryDirectory() as folder:
        for binary in built:
            files[f"hardmine-{version}.data/scripts/{binary.name}"] = (installed(binary, folder), 0o755)
    files[f"hardmine.libs/{LAPACK.name}"] = (LAPACK.read_bytes(), 0o755)
    for name in ("LICENSE-MIT", "LICENSE-APACHE"):
        files[f"{info}/licenses/{name}"] = ((ROOT / name).read_bytes(), 0o644)
    files[f"{info}/licenses/THIRD-PARTY.txt"] = (licences().encode(), 0o644)
    files[f"{info}/METADATA"] = (metadata.encode(), 0o644)
    wheel = f"Wheel-Version: 1.0\nGenerator: hardmine\nRoot-Is-Purelib: false\nTag: {tag}\n"
    files[f"{info}/WHEEL"] = (wheel.encode(), 0o644)
    dist.mkdir(exist_ok=True)
    path = dist / f"hardmine-{version}-{tag}.whl"
    write(path, files, f"{info}/RECORD")
    print(path)


if __name__ == "__main__":
    main()
