"""The real mindspore package, in an interpreter of its own: its dependencies need not fit ours."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
VARIABLE = "VARY_MINDSPORE_PYTHON"
BESIDE = ROOT / ".venv-mindspore" / "bin" / "python"


def mindspore_python() -> Path:
    """The interpreter that has mindspore; the test is skipped where there is none.

    It is the one that the environment names, else that of `.venv-mindspore`, else the running one.
    """
    if named := os.environ.get(VARIABLE):
        return Path(named)
    if BESIDE.is_file():
        return BESIDE
    if importlib.util.find_spec("mindspore") is None:
        pytest.skip(f"no mindspore: name a Python that has it in {VARIABLE}, or make .venv-mindspore")
    return Path(sys.executable)


def run_mindspore(script: str, *arguments: str | os.PathLike[str]) -> str:
    """What a script prints that may import mindspore; a script that fails is a test that fails."""
    command = [mindspore_python(), "-c", script, *arguments]
    # The variables of the running environment would lead the other interpreter to our packages.
    outside = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    ran = subprocess.run(
        command, capture_output=True, text=True, encoding="utf-8", check=False, env=outside, timeout=540
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout
