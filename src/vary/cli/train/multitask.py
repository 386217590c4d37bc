"""`vary train multitask`: stage 2, a decoder learns to use vision vocabularies."""

from __future__ import annotations

import argparse

from vary.cli import console
from vary.cli.train.conversations import add_conversation_options, run_conversations

__all__ = ["add_parser", "run"]

EPILOG = """\
examples:
  vary train multitask --model grafted --data pages:1 charts:0.5 talk.json --out runs/multi --batch 32
  vary train multitask --model vary-toy --data mine.json --lora --out runs/mine --steps 500
  vary train multitask --model grafted --data mine.json --out runs/trial --debug --cpu --precision no
"""


def add_parser(recipes: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Registers the command."""
    parser = console.add_command(
        recipes,
        "multitask",
        help="teach a decoder to use frozen vision networks (stage 2)",
        description="Stage 2: the vision networks are frozen, projectors and decoder learn all tasks.",
        epilog=EPILOG,
    )
    add_conversation_options(parser)


def run(args: argparse.Namespace) -> int:
    """Trains; returns the exit code."""
    from vary.training.recipes import MultitaskRecipe

    return run_conversations(args, MultitaskRecipe)
