"""`vary train sft`: fine-tuning on instructions, or on data of one's own."""

from __future__ import annotations

import argparse

from vary.cli import console
from vary.cli.train.conversations import add_conversation_options, run_conversations

__all__ = ["add_parser", "run"]

EPILOG = """\
examples:
  vary train sft --model vary-toy --data llava.json --images coco/ --out runs/sft --batch 64 --micro-batch 4
  vary train sft --model runs/multi/model --data mine.json --validation held.json --lora 8 --out runs/mine
"""


def add_parser(recipes: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Registers the command."""
    parser = console.add_command(
        recipes,
        "sft",
        help="fine-tune on instructions or on your own data",
        description="Fine-tuning: as stage 2, more gently.",
        epilog=EPILOG,
    )
    add_conversation_options(parser)


def run(args: argparse.Namespace) -> int:
    """Trains; returns the exit code."""
    from vary.training.recipes import SftRecipe

    return run_conversations(args, SftRecipe)
