"""`vary train vocabulary`: stage 1, a vision vocabulary is written with a small decoder."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from vary.cli import console
from vary.cli.train.conversations import add_conversation_options, load_given, run_conversations

if TYPE_CHECKING:
    from vary.model.modeling import VaryForConditionalGeneration
    from vary.model.processing import VaryProcessor

__all__ = ["add_parser", "run"]

EPILOG = """\
examples:
  vary train vocabulary --text opt-125m --data pages charts --out runs/tiny --batch 512 --micro-batch 8
  vary train vocabulary --model vary-tiny --data pages scenes --epochs 2 --out runs/tiny-plus
  vary vocabulary extract runs/tiny/model vocabulary
"""


def add_parser(recipes: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Registers the command."""
    parser = console.add_command(
        recipes,
        "vocabulary",
        help="write a vision vocabulary with a small decoder (stage 1)",
        description="Stage 1 on whole pages: everything is trained.  Begins from a checkpoint (--model), or "
        "from a new vision network in front of a small language model (--text).",
        epilog=EPILOG,
    )
    parser.add_argument(
        "--text", metavar="DIR", help="folder of a causal language model, such as OPT-125M or a small Qwen2"
    )
    parser.add_argument(
        "--image-size",
        type=console.positive_int,
        metavar="PX",
        help="side of the pages that a new vision network is shown (default: 1024)",
    )
    add_conversation_options(parser, model_required=False)


def run(args: argparse.Namespace) -> int:
    """Trains; returns the exit code."""
    if (args.model is None) == (args.text is None):
        raise console.UsageError(
            "begin either from a checkpoint (--model) or from a language model (--text), and not from both"
        )
    if args.image_size is not None and args.text is None:
        raise console.UsageError("--image-size is for a new vision network (--text)")
    from vary.training.recipes import VocabularyRecipe

    return run_conversations(args, VocabularyRecipe, load_given if args.model else _new)


def _new(args: argparse.Namespace) -> tuple[VaryForConditionalGeneration, VaryProcessor]:
    """A new vision network of the published size in front of the language model."""
    import torch

    from vary.model.configuration import VisionVocabularyConfig
    from vary.model.grafting import graft_processor, load_text_tokenizer
    from vary.model.parts import from_parts

    torch.manual_seed(args.seed or 0)
    vision = VisionVocabularyConfig(**({} if args.image_size is None else {"image_size": args.image_size}))
    model = from_parts(vision_vocabulary=vision, text=args.text, dtype=torch.float32)
    tokenizer = load_text_tokenizer(args.text)
    if tokenizer is None:
        raise console.UsageError(f"{args.text}: there is no tokenizer; expected it beside the weights")
    return model, graft_processor(model.config, tokenizer)
