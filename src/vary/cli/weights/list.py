"""`vary weights list`: the checkpoints that are known, and those that are here."""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING, Any

from vary.assets import default_checkpoint
from vary.cli import console, info
from vary.cli.checkpoints import SHIPPED
from vary.cli.weights import sizes
from vary.errors import CheckpointError

if TYPE_CHECKING:
    from vary.weights.fetching.registry import Entry

__all__ = ["add_parser", "run"]

DESCRIPTION = """\
Lists the checkpoints that can be fetched by name and those that were fetched.  What no public source states
is left open.  --json gives all that is known of each, with the source of every fact.
"""

EPILOG = """\
examples:
  vary weights list
  vary weights list --json
"""

NANO_TITLE = "printed English, and Chinese with more errors, line by line, on a CPU"


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register the command."""
    parser = console.add_command(
        subparsers,
        "list",
        help="list known and fetched checkpoints",
        description=DESCRIPTION,
        epilog=EPILOG,
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of text")


def run(args: argparse.Namespace) -> int:
    """Print the list."""
    from vary.weights.fetching.store import home

    rows = [_nano(), *_known()]
    if args.json:
        facts = {"home": str(home()), "checkpoints": rows}
        print(json.dumps(facts, ensure_ascii=False, indent=2))
    else:
        print(_text(rows, str(home() / "weights")))
    return console.EXIT_OK


def _nano() -> dict[str, Any]:
    """What the package ships."""
    folder = default_checkpoint()
    weights = sorted(folder.glob("*.safetensors"))
    return {
        "name": SHIPPED,
        "title": NANO_TITLE,
        "sources": ["this package"],
        "parameters": sum(map(info.stored_parameters, weights)) or None,
        "size": sizes.in_words(sum(path.stat().st_size for path in weights)),
        "licence": "Apache-2.0",
        "notice": "",
        "state": "shipped" if weights else "not in this installation",
        "folder": str(folder),
        "fetched": [],
        "facts": {},
    }


def _known() -> list[dict[str, Any]]:
    """The checkpoints of the registry, then others that were fetched or lie in their place."""
    from vary.weights.fetching.registry import entries
    from vary.weights.fetching.store import checkpoint_folder, find, read_record

    record = read_record()
    names = list(dict.fromkeys((*entries(), *record.names())))
    rows = []
    for name in names:
        entry, folder, files = _entry(name), find(name), record.files(name)
        fetched = [
            {
                "source": lying.source,
                "revision": lying.revision,
                "date": held.date,
                "licence": held.licence,
                "files": list(lying.files),
            }
            for lying in record.parts(name)
            if (held := record.held(lying.source, lying.revision)) is not None
        ]
        rows.append(
            {
                "name": name,
                "title": entry.title,
                "sources": [part.source for part in entry.parts],
                "parameters": entry.parameters,
                "size": sizes.in_words(sum(file.size for file in files.values())) if files else entry.size,
                "licence": next((part["licence"] for part in fetched if part["licence"]), entry.licence),
                "notice": entry.notice,
                "state": _state(here=folder is not None, fetched=bool(fetched)),
                "folder": str(folder or checkpoint_folder(name)),
                "fetched": fetched,
                "facts": dict(entry.facts),
            }
        )
    return rows


def _entry(name: str) -> Entry:
    """What is known of a checkpoint; it may have been fetched under a name that the list has no more."""
    from vary.weights.fetching.registry import Entry, find_entry

    try:
        return find_entry(name)
    except CheckpointError:
        return Entry(name, "fetched under a name that is not in the list any more", ())


def _state(*, here: bool, fetched: bool) -> str:
    if here:
        return "fetched" if fetched else "copied by hand"
    return "fetched before, deleted" if fetched else "not fetched"


def _text(rows: list[dict[str, Any]], place: str) -> str:
    """The list as a table, and below it what does not fit in."""
    head = ("NAME", "PARAMETERS", "SIZE", "LICENCE", "STATE", "SOURCE")
    table = [head, *(_cells(row) for row in rows)]
    widths = [max(len(cells[column]) for cells in table) for column in range(len(head) - 1)]
    lines = [
        "  ".join([*(cell.ljust(width) for cell, width in zip(cells, widths, strict=False)), cells[-1]])
        for cells in table
    ]
    by_notice: dict[str, list[str]] = {}
    for row in rows:
        if row["notice"]:
            by_notice.setdefault(row["notice"], []).append(row["name"])
    lines += ["", *(f"{', '.join(names)}: {notice}." for notice, names in by_notice.items())]
    return "\n".join([*lines, f"Fetched weights lie in {place}."])


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    state = row["state"]
    if row["fetched"] and (revision := row["fetched"][0]["revision"]):
        state += f" ({revision[:7]})"
    return (
        row["name"],
        sizes.parameters_in_words(row["parameters"]) if row["parameters"] else "not stated",
        row["size"] or "not stated",
        row["licence"] or "not stated",
        state,
        ", ".join(row["sources"]),
    )
