"""`vary synth`: training data from engines, and contact sheets to look at it; one file per engine."""

from __future__ import annotations

import argparse
from importlib import import_module
from types import ModuleType

__all__ = ["add_parser", "run"]

ENGINES = ("lines", "text", "pdf", "formula", "chart", "scene", "annotations")
"""In the order of the help; each is a module of this package with `add_parser(engines)` and `run(args)`."""
COMMANDS = (*ENGINES, "check", "preview")


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register the group and its engines."""
    parser = subparsers.add_parser(
        "synth",
        help="make training data",
        description="Makes training data as WebDataset shards with a manifest.  The same options give the "
        "same samples, whatever the number of workers; a run that was stopped goes on when the command is "
        "given again.",
        allow_abbrev=False,
    )
    engines = parser.add_subparsers(dest="engine", metavar="ENGINE", title="engines", required=True)
    for name in COMMANDS:
        _module(name).add_parser(engines)


def run(args: argparse.Namespace) -> int:
    """Run the chosen engine; returns the exit code."""
    code: int = _module(args.engine).run(args)
    return code


def _module(name: str) -> ModuleType:
    return import_module(f"{__name__}.{name}")
