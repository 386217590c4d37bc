"""`vary weights`: checkpoints fetched, converted, listed and verified; one file per command."""

from __future__ import annotations

import argparse
from importlib import import_module
from types import ModuleType

__all__ = ["add_parser", "run"]

ACTIONS = ("fetch", "list", "convert", "verify")
"""In the order of the help; each is a module of this package with `add_parser` and `run`."""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register the group and its commands."""
    parser = subparsers.add_parser(
        "weights",
        help="fetch, list, convert and verify checkpoints",
        description="Checkpoints of the Vary family: fetched by name, from other formats into ours and back, "
        "and verified.",
        allow_abbrev=False,
    )
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION", title="actions")
    for name in ACTIONS:
        _module(name).add_parser(actions)


def run(args: argparse.Namespace) -> int:
    """Run one of the commands."""
    code: int = _module(args.action).run(args)
    return code


def _module(name: str) -> ModuleType:
    return import_module(f"{__name__}.{name}")
