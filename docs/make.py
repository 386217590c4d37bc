"""Writes what is generated in the documents: `make docs`.  A test compares it with what it is made from.

docs/cli.md comes from the parsers of the command line, docs/files.md and the README's map of rooms from the
modules' docstrings.
"""

from __future__ import annotations

import argparse
import ast
import re
from collections.abc import Iterator
from pathlib import Path

from vary.cli.main import build_parser

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "src" / "vary"
FILE_MAP = re.compile(r"(?<=<!-- file map -->\n).*?(?=<!-- end of file map -->)", re.DOTALL)

FILES_HEADER = """\
# The files

Made from the modules' docstrings by `make docs`; a test holds it to them.
"""

HEADER = """\
# The command line

Made from the parsers by `make docs`; a test holds it to them.
"""


def room_map() -> str:
    """A table of the files directly in src/vary and of its rooms, the folders, with what they are for."""
    files = sorted(path for path in PACKAGE.glob("*.py"))
    rooms = sorted(path for path in PACKAGE.rglob("__init__.py") if path.parent != PACKAGE)
    names = [(path.name, path) for path in files]
    names += [(f"{room.parent.relative_to(PACKAGE).as_posix()}/", room) for room in rooms]
    rows = [f"| `{name}` | {_cell(_first_sentence(path))} |" for name, path in names]
    return "\n".join(["| file or room | what it holds |", "|---|---|", *rows, ""])


def files_page() -> str:
    """docs/files.md: every file of src/vary, room by room, with the first sentence of its docstring."""
    parts = [FILES_HEADER]
    for room in sorted({path.parent for path in PACKAGE.rglob("*.py")}):
        name = room.relative_to(PACKAGE.parent).as_posix()
        files = sorted(path for path in room.glob("*.py") if path.name != "__init__.py" or room == PACKAGE)
        rows = [f"| `{path.name}` | {_cell(_first_sentence(path))} |" for path in files]
        said = _first_sentence(room / "__init__.py")
        parts.append(
            "\n".join(
                [f"## `{name}`", "", f"{said}.", "", "| file | what it holds |", "|---|---|", *rows, ""]
            )
        )
    return "\n".join(parts)


def _first_sentence(path: Path) -> str:
    docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    paragraph = " ".join(docstring.partition("\n\n")[0].split())
    return re.split(r"(?<=[a-z`)\"])\. |\.$|:$", paragraph)[0]


def with_file_map(readme: str) -> str:
    """The README with the file map of today between its two marks."""
    return FILE_MAP.sub(lambda _: room_map(), readme)


def cli_reference() -> str:
    """The whole reference in Markdown: one section per command, whatever the version of Python's argparse."""
    return "\n".join([HEADER, *(_section(parser) for parser in _leaves(build_parser()))])


def _leaves(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    """The parser and, below it, every command's and sub-command's, in the order of registration."""
    yield parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for child in action.choices.values():
                yield from _leaves(child)


def _section(parser: argparse.ArgumentParser) -> str:
    lines = [f"## `{parser.prog}`", ""]
    if parser.description:
        lines += [" ".join(parser.description.split()), ""]
    rows = [row for action in parser._actions for row in _rows(action, parser._get_formatter())]
    lines += ["| argument | what it is |", "|---|---|", *rows, ""]
    if parser.epilog:
        lines += ["```text", parser.epilog.rstrip(), "```", ""]
    return "\n".join(lines)


def _rows(action: argparse.Action, formatter: argparse.HelpFormatter) -> Iterator[str]:
    """The table rows of one argument; a group of commands has one for each."""
    if isinstance(action, argparse._HelpAction):
        return
    if isinstance(action, argparse._SubParsersAction):
        for choice in action._choices_actions:
            yield f"| `{choice.dest}` | {_cell(choice.help)} |"
        return
    value = action.metavar if isinstance(action.metavar, str) else None
    if value is None and action.choices is not None:
        value = "|".join(map(str, action.choices))
    if value is None and action.nargs != 0:
        value = action.dest.upper().replace("_", "-") if action.option_strings else action.dest
    many = " ..." if action.nargs in ("+", "*") else ""
    names = ", ".join(action.option_strings)
    text = " ".join(part for part in (names, value) if part) + many
    help_text = formatter._expand_help(action) if action.help else ""
    yield f"| `{_cell(text)}` | {_cell(help_text)}{' (required)' if _must(action) else ''} |"


def _must(action: argparse.Action) -> bool:
    return bool(action.option_strings) and action.required


def _cell(text: str | None) -> str:
    return (text or "").replace("|", "\\|")


if __name__ == "__main__":
    (ROOT / "docs" / "cli.md").write_text(cli_reference(), encoding="utf-8")
    (ROOT / "docs" / "files.md").write_text(files_page(), encoding="utf-8")
    readme = ROOT / "README.md"
    readme.write_text(with_file_map(readme.read_text(encoding="utf-8")), encoding="utf-8")
