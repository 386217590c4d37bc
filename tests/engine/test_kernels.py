"""Kernels of every kind of processor against the plain ones: here, emulated, and under sanitizers."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

import vary.engine.native

SOURCES = Path(vary.engine.native.__file__).parent
HERE = Path(__file__).parent / "native"
FLAGS = (
    "-std=c++17",
    "-O1",
    "-fno-math-errno",
    "-ffp-contract=off",
    "-pthread",
    "-Wno-psabi",
    "-Wno-maybe-uninitialized",
)
FILES = ("kernels", "kernels_avx2", "kernels_avx512", "kernels_neon", "kernels_plain", "pack", "threads")
PACKAGES = "g++ libsimde-dev g++-aarch64-linux-gnu qemu-user"

pytestmark = pytest.mark.slow


def compare(
    folder: Path, kernels: str, *flags: str, compiler: str = "g++", runner: tuple[str, ...] = ()
) -> None:
    """Builds the comparison and runs it."""
    for program in (compiler, *runner):
        assert shutil.which(program), f"{program} is missing; install it: apt-get install {PACKAGES}"
    program = folder / "compare"
    files = [HERE / "compare_kernels.cpp", *(SOURCES / f"{name}.cpp" for name in FILES)]
    subprocess.run(
        [compiler, *FLAGS, *flags, f"-I{SOURCES}", f"-I{HERE}", *map(str, files), "-o", str(program)],
        check=True,
    )
    found = subprocess.run([*runner, str(program), kernels], capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stdout + found.stderr
    assert f"{kernels} against plain C++: 0 differences" in found.stdout


def test_avx512_emulated(tmp_path: Path) -> None:
    compare(tmp_path, "AVX-512", "-DVARY_EMULATE_AVX512")


def test_neon_emulated(tmp_path: Path) -> None:
    compare(tmp_path, "NEON", "-static", compiler="aarch64-linux-gnu-g++", runner=("qemu-aarch64",))


def test_this_machine_under_sanitizers(tmp_path: Path) -> None:
    best = vary.engine.native.kernels_name()
    compare(tmp_path, best, "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")
