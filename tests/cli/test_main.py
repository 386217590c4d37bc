"""The command as a whole: help, version, wrong usage, exit codes of errors."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import vary as package
from vary.cli import console
from vary.cli import main as main_module
from vary.cli.main import COMMANDS, build_parser
from vary.errors import InputError, MissingDependencyError, TrainingError


def _parsers(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    yield parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for child in action.choices.values():
                yield from _parsers(child)


PARSERS = {parser.prog: parser for parser in _parsers(build_parser())}


def test_help_is_light_and_lists_every_command() -> None:
    code = (
        "import sys\nfrom vary.cli.main import main\n"
        "try:\n    main(['--help'])\nexcept SystemExit as stop:\n    assert stop.code == 0\n"
        "heavy = {'torch', 'transformers', 'numpy', 'PIL', 'cv2', 'tqdm'} & set(sys.modules)\n"
        "sys.exit(str(heavy) if heavy else 0)"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert [name for name in COMMANDS if f"\n    {name}" not in ran.stdout] == []
    assert ran.stderr == ""


@pytest.mark.parametrize("prog", PARSERS)
def test_every_command_and_every_option_has_help(prog: str) -> None:
    parser = PARSERS[prog]
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            assert [choice.dest for choice in action._choices_actions if choice.help] == list(action.choices)
        else:
            assert action.help, f"{prog}: {action.dest}"
    assert parser.format_help().startswith(f"usage: {prog}")


@pytest.mark.parametrize("prog", [name for name, parser in PARSERS.items() if not parser._subparsers])
def test_every_command_has_an_example(prog: str) -> None:
    assert any(f"  {prog}" in (parser.epilog or "") for parser in PARSERS.values())


def test_module_and_script_are_the_same_command() -> None:
    ran = subprocess.run(
        [sys.executable, "-m", "vary", "--version"], capture_output=True, text=True, check=True
    )
    assert ran.stdout == f"vary {package.__version__}\n"


@pytest.mark.parametrize("arguments", [[], ["fly"], ["read"], ["--fast"], ["evaluate"], ["info", "page.png"]])
def test_wrong_usage_exits_with_2_and_prints_no_result(
    vary: Callable[..., Any], arguments: list[str]
) -> None:
    ran = vary(*arguments)
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith("usage: vary")


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (InputError("a.png: is empty"), 1),
        (TrainingError("loss is nan"), 1),
        (MissingDependencyError("pip install 'vary-toy[train]'"), 2),
        (console.UsageError("does not fit"), 2),
        (PermissionError(13, "Permission denied", "out"), 1),
    ],
)
def test_errors_become_messages_and_exit_codes(
    vary: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, error: Exception, code: int
) -> None:
    def fail(args: argparse.Namespace) -> int:
        raise error

    monkeypatch.setattr(main_module.info, "run", fail)
    text = "out: Permission denied" if isinstance(error, OSError) else str(error)
    assert vary("info") == (code, "", f"vary: {text}\n")


@pytest.mark.parametrize(
    ("function", "text"),
    [
        (console.positive_int, "0"),
        (console.positive_int, "1.5"),
        (console.positive_number, "-1"),
        (console.positive_number, "nan"),
        (console.positive_number, "inf"),
        (console.positive_number, "many"),
        (console.device_name, "gpu"),
        (console.device_name, "auto:1"),
    ],
)
def test_argument_types_refuse(function: Callable[[str], object], text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="found"):
        function(text)


def test_argument_types_accept() -> None:
    assert console.positive_int("12") == 12
    assert console.positive_number("72.5") == 72.5
    assert console.device_name("cuda:1") == "cuda:1"


def test_no_bar_where_standard_error_is_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    with console.progress_bar("x", "page") as progress:
        assert progress is None
    assert capsys.readouterr().err == ""


def test_a_bar_on_a_terminal(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    with console.progress_bar("page.png", "page") as progress:
        assert progress is not None
        progress(1, 2)
    captured = capsys.readouterr()
    assert "page.png" in captured.err
    assert "1/2" in captured.err
    assert captured.out == ""


def test_a_full_standard_output_is_an_error(
    vary_process: Callable[..., subprocess.Popen[str]], files: Callable[..., list[Path]]
) -> None:
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("this system has no device that is always full")
    with full.open("w") as stdout:
        process = vary_process("read", *files("a.png"), stdout=stdout)
        assert process.wait(60) == 1
    assert process.stderr is not None
    with process.stderr as stderr:
        assert stderr.read() == "vary: standard output cannot be written: No space left on device\n"


@pytest.mark.parametrize(
    ("closed", "code", "out", "err"),
    [
        (0, 0, "文 of a.png 1\n", ""),
        (1, 1, "", "vary: standard output cannot be written: Bad file descriptor\n"),
        (2, 0, "文 of a.png 1\n", ""),
    ],
)
def test_a_stream_that_is_closed_from_the_start(
    vary_process: Callable[..., subprocess.Popen[str]],
    files: Callable[..., list[Path]],
    closed: int,
    code: int,
    out: str,
    err: str,
) -> None:
    process = vary_process("read", *files("a.png"), preexec_fn=lambda: os.close(closed))
    assert (*process.communicate(timeout=60), process.returncode) == (out, err, code)


def test_results_in_files_need_no_standard_output(
    vary_process: Callable[..., subprocess.Popen[str]], files: Callable[..., list[Path]], tmp_path: Path
) -> None:
    process = vary_process(
        "read", *files("a.png"), "-o", str(tmp_path / "a.txt"), preexec_fn=lambda: os.close(1)
    )
    assert (*process.communicate(timeout=60), process.returncode) == ("", "", 0)
    assert (tmp_path / "a.txt").read_text(encoding="utf-8") == "文 of a.png 1\n"


def test_messages_hold_nothing_that_a_terminal_obeys(vary: Callable[..., Any]) -> None:
    ran = vary("read", "no\x1b[31m such\x9b2J\rfile\x07.png")
    assert ran.code == 1
    assert ran.err == "vary: no\ufffd[31m such\ufffd2J\ufffdfile\ufffd.png: no such file\n"
