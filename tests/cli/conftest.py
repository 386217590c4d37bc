"""The command line, in this process or as one of its own, around a reader that needs no model."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import pytest

from vary.cli.main import main

FAKE = Path(__file__).parent / "fake_vary.py"


class Ran(NamedTuple):
    """What a run of the command came to."""

    code: int
    out: str
    err: str


@pytest.fixture(scope="session")
def fake_module() -> ModuleType:
    spec = importlib.util.spec_from_file_location("fake_vary", FAKE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def fake_reader(fake_module: ModuleType, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The class of the fake reader, with its records `loaded` and `calls`."""
    return fake_module.install(monkeypatch)


@pytest.fixture
def vary(fake_reader: Any, capsys: pytest.CaptureFixture[str]) -> Callable[..., Ran]:
    """Run `vary ARGUMENTS` in this process."""

    def run(*arguments: str | Path) -> Ran:
        try:
            code = main([str(argument) for argument in arguments])
        except SystemExit as stop:  # argparse
            code = stop.code if isinstance(stop.code, int) else 1
        captured = capsys.readouterr()
        return Ran(code, captured.out, captured.err)

    return run


@pytest.fixture
def vary_process() -> Callable[..., subprocess.Popen[str]]:
    """Start `vary ARGUMENTS` as a process of its own, its streams in pipes."""

    def start(*arguments: str | Path, **options: Any) -> subprocess.Popen[str]:
        streams = {
            "stdin": subprocess.DEVNULL,
            "stdout": subprocess.PIPE,
            "stderr": subprocess.PIPE,
            **options,
        }
        return subprocess.Popen(
            [sys.executable, str(FAKE), *map(str, arguments)], text=True, encoding="utf-8", **streams
        )

    return start


@pytest.fixture
def files(tmp_path: Path) -> Callable[..., list[Path]]:
    """Make empty files of these names in a folder of their own."""

    def make(*names: str) -> list[Path]:
        paths = [tmp_path / "in" / name for name in names]
        for path in paths:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
        return paths

    return make
