"""What the documents say is so: the file map, the command lines, the Python examples, the CLI reference."""

from __future__ import annotations

import argparse
import importlib.util
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from vary.cli.main import build_parser

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "src" / "vary"
README = (ROOT / "README.md").read_text(encoding="utf-8")
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]


def _blocks(text: str, language: str) -> list[str]:
    """The fenced code blocks of one language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)


def _maker() -> ModuleType:
    """The script that writes what is generated in the documents."""
    spec = importlib.util.spec_from_file_location("make_docs", ROOT / "docs" / "make.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_file_is_on_the_map() -> None:
    page = (ROOT / "docs" / "files.md").read_text(encoding="utf-8")
    found = []
    for part in re.split(r"^## ", page, flags=re.MULTILINE)[1:]:
        room = re.match(r"`(vary[\w/]*)`", part)
        assert room is not None
        rows = dict(re.findall(r"^\| `([\w]+\.py)` \| (.*) \|$", part, flags=re.MULTILINE))
        assert [name for name, text in rows.items() if not text] == []
        found += [f"{room[1]}/{name}" for name in rows]
    files = {path.relative_to(PACKAGE.parent).as_posix() for path in PACKAGE.rglob("*.py")}
    # A room's __init__.py only says what the room is for, in its heading; the front door has a row.
    files = {name for name in files if name == "vary/__init__.py" or not name.endswith("/__init__.py")}
    assert sorted(found) == sorted(files), "docs/files.md is not the tree: run `make docs`"


def test_the_maps_say_what_the_docstrings_say() -> None:
    assert _maker().with_file_map(README) == README, "run `make docs`"
    page = (ROOT / "docs" / "files.md").read_text(encoding="utf-8")
    assert _maker().files_page() == page, "run `make docs`"


def _vary_commands() -> list[str]:
    """Every `vary ...` line of a shell block or of a command's examples."""
    lines = [
        line.strip()
        for document in DOCUMENTS
        for language in ("bash", "sh", "shell", "console", "text")
        for block in _blocks(document.read_text(encoding="utf-8"), language)
        for line in block.replace("\\\n", " ").splitlines()
    ]
    return sorted({line.removeprefix("$ ") for line in lines if re.match(r"(\$ )?vary (?!-> )", line)})


@pytest.mark.parametrize("command", _vary_commands())
def test_every_documented_command_parses(command: str) -> None:
    words = shlex.split(command, comments=True)
    for stop in ("|", ">", "&&"):
        words = words[: words.index(stop)] if stop in words else words
    if "--help" in words:
        with pytest.raises(SystemExit, match=r"^0$"):
            build_parser().parse_args(words[1:])
    else:
        build_parser().parse_args(words[1:])


def _helps(parser: argparse.ArgumentParser) -> Iterator[str]:
    yield parser.format_help()
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for child in action.choices.values():
                yield from _helps(child)


def _excerpts() -> list[str]:
    """The paragraphs of help that the documents show."""
    blocks = [block for document in DOCUMENTS for block in _blocks(document.read_text("utf-8"), "text")]
    shown = [block for block in blocks if re.match(r"usage: vary|  -", block)]
    return [paragraph for block in shown for paragraph in block.strip("\n").split("\n\n")]


@pytest.mark.skipif(sys.version_info >= (3, 13), reason="later versions lay options out in another way")
@pytest.mark.parametrize("excerpt", _excerpts())
def test_documented_help_is_the_commands(excerpt: str) -> None:
    """Whatever the width of the terminal that it was taken from; single options may be shown of many."""
    paragraphs = ["".join(part.split()) for text in _helps(build_parser()) for part in text.split("\n\n")]
    shown = "".join(excerpt.split())
    whole = not excerpt.startswith(" ")
    assert shown in paragraphs if whole else any(shown in part for part in paragraphs), "take it anew"


def test_there_are_documented_commands() -> None:
    assert len(_vary_commands()) >= 5


def test_cli_reference_is_the_parsers() -> None:
    stored = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
    assert stored == _maker().cli_reference(), "docs/cli.md is not what the parsers say: run `make docs`"


@pytest.mark.parametrize("number", range(len(_blocks(README, "python"))))
def test_readme_python_runs(number: int, tmp_path: Path) -> None:
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    code = _blocks(README, "python")[number]
    ran = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr


def test_links_between_documents_hold() -> None:
    for document in DOCUMENTS:
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", document.read_text(encoding="utf-8")):
            assert (document.parent / target).exists(), f"{document.name}: {target} is not there"


def test_no_document_names_a_package_index() -> None:
    kept = ["README.md", "CONTRIBUTING.md", "Makefile", "pyproject.toml", "constraints.txt", ".ci/run"]
    for name in kept:
        text = (ROOT / name).read_text(encoding="utf-8")
        assert "--index-url" not in text, name
        assert "--find-links" not in text, name
