"""Kernels of every kind of processor against the plain ones: here, emulated, and under sanitizers."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

import vary.engine.native
from vary.engine.native import kernels_name
from vary.errors import NativeError

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
SANITIZERS = ("-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")
PROCESSORS = ("amx", "avx2", "avx512", "neon", "plain")
FILES = {
    "compare_kernels": ("kernels", *(f"kernels_{name}" for name in PROCESSORS), "pack", "threads", "forks"),
    "compare_vision": (*(f"vision_{name}" for name in PROCESSORS), "threads", "forks"),
}
"""Of each comparison what it is built from."""
PACKAGES = "g++ libsimde-dev g++-aarch64-linux-gnu qemu-user"

pytestmark = [pytest.mark.slow, pytest.mark.parametrize("comparison", FILES)]


def compare(
    comparison: str,
    folder: Path,
    names: Sequence[str],
    *flags: str,
    compiler: str = "g++",
    runner: tuple[str, ...] = (),
) -> None:
    """Builds a comparison and runs it for kernels of these names."""
    for needed in (compiler, *runner):
        assert shutil.which(needed), f"{needed} is missing; install it: apt-get install {PACKAGES}"
    program = folder / "compare"
    files = [HERE / f"{comparison}.cpp", *(SOURCES / f"{name}.cpp" for name in FILES[comparison])]
    subprocess.run(
        [compiler, *FLAGS, *flags, f"-I{SOURCES}", f"-I{HERE}", *map(str, files), "-o", str(program)],
        check=True,
    )
    for name in names:
        found = subprocess.run([*runner, str(program), name], capture_output=True, text=True, check=False)
        assert found.returncode == 0, found.stdout + found.stderr
        assert f"{name} against plain C++: 0 differences" in found.stdout


def runs_here(name: str) -> bool:
    try:
        return bool(kernels_name(name))
    except NativeError:
        return False


def test_avx512_emulated(comparison: str, tmp_path: Path) -> None:
    compare(comparison, tmp_path, ["AVX-512"], "-DVARY_EMULATE_AVX512")


def test_amx_emulated_under_sanitizers(comparison: str, tmp_path: Path) -> None:
    # Which see what the emulated tiles load, and not what the processor's do.
    compare(comparison, tmp_path, ["AMX"], "-DVARY_EMULATE_AVX512", "-DVARY_EMULATE_AMX", *SANITIZERS)


def test_neon_emulated(comparison: str, tmp_path: Path) -> None:
    compiler, runner = "aarch64-linux-gnu-g++", ("qemu-aarch64",)
    compare(comparison, tmp_path, ["NEON"], "-static", compiler=compiler, runner=runner)


def test_this_machine_under_sanitizers(comparison: str, tmp_path: Path) -> None:
    names = [name for name in ("AMX", "AVX-512", "AVX2", "NEON") if runs_here(name)]
    assert names, "the kernels were not built"
    compare(comparison, tmp_path, names, *SANITIZERS)
