"""What the comparisons of kernels emulate of tiles is what a processor with AMX does."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

import vary.engine.native
from vary.engine.native import kernels_name

SOURCES = Path(vary.engine.native.__file__).parent
HERE = Path(__file__).parent / "native"
AMX = kernels_name() == "AMX"


def bits(folder: Path, *flags: str) -> str:
    """What the instructions make of the same numbers."""
    program = folder / "bits"
    source = HERE / "tiles_bits.cpp"
    command = ["g++", "-std=c++17", "-O2", "-Wno-psabi", *flags, f"-I{SOURCES}", f"-I{HERE}", source]
    subprocess.run([*map(str, command), "-o", str(program)], check=True)
    found = subprocess.run([str(program)], capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stdout + found.stderr
    return found.stdout


@pytest.mark.slow
@pytest.mark.skipif(not AMX, reason="no AMX here")
def test_emulated_tiles_have_the_processors_bits(tmp_path: Path) -> None:
    own = bits(tmp_path)
    assert own.count("\n") == 3
    assert bits(tmp_path, "-DVARY_EMULATE_AMX") == own
