"""`vary train`: recipes that write a vision vocabulary, graft it and tune; one file per recipe."""

from __future__ import annotations

import argparse
from importlib import import_module
from types import ModuleType

__all__ = ["add_parser", "run"]

RECIPES = ("lines", "vocabulary", "multitask", "sft")
COMMANDS = (*RECIPES, "confidence", "demo", "plan")
"""In the order of the help; each is a module of this package with `add_parser(recipes)` and `run(args)`."""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Registers the group and its recipes."""
    parser = subparsers.add_parser(
        "train",
        help="train a model",
        description="Trains models of the Vary family: stage 1 writes a vision vocabulary with a "
        "small decoder (`vocabulary`; `lines` for models that read text lines), stage 2 teaches a decoder to "
        "use it (`multitask`), and `sft` tunes the whole.  `plan` says what that costs, `demo` does it in "
        "little, and `confidence` fits what a line model's confidence means.",
        allow_abbrev=False,
    )
    recipes = parser.add_subparsers(dest="recipe", required=True, metavar="RECIPE", title="recipes")
    for name in COMMANDS:
        _module(name).add_parser(recipes)


def run(args: argparse.Namespace) -> int:
    """Runs the chosen recipe; returns the exit code."""
    code: int = _module(args.recipe).run(args)
    return code


def _module(name: str) -> ModuleType:
    return import_module(f"{__name__}.{name}")
