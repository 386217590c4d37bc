"""`vary vocabulary`: a vision vocabulary taken out of a checkpoint, or grafted onto a language model."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from vary.cli import console
from vary.cli.checkpoints import find_checkpoint

if TYPE_CHECKING:
    from vary.weights.grafts import Graft
    from vary.weights.vocabulary import Extraction

__all__ = ["add_parser", "run"]

EXTRACT_DESCRIPTION = """\
Writes the vision vocabulary network of a checkpoint into a folder of its own, every bit as it is, with the
preprocessing of its images.  It is an image encoder by itself, and a part for `vary vocabulary graft`.
"""

EXTRACT_EPILOG = """\
examples:
  vary vocabulary extract vary-toy vocabulary
  vary vocabulary extract Vary-tiny vocabulary
"""

GRAFT_DESCRIPTION = """\
Writes a checkpoint that has a vision vocabulary (and CLIP, if it is named) in front of a causal language
model of Transformers.  All weights are taken over but those of the projector between them, which is new and
has to be trained.
"""

GRAFT_EPILOG = """\
examples:
  vary vocabulary graft --vocabulary vocabulary --text Qwen2.5-0.5B grafted
  vary vocabulary graft --vocabulary vary-toy --clip vary-toy --text Llama-3.2-1B --dtype bfloat16 grafted
"""

LAYOUTS = ("auto", "chatml", "own", "plain")
"""As in `vary.model.grafting`, which is too heavy to ask here; a test compares them."""

NEXT_STEPS = """\
The projector is not trained: until it is, what the model writes has nothing to do with the image.
Next: train it with the vision networks frozen (docs/vocabulary.md shows how), then write the tasks that the
model has learned into config.json; until then `vary read` refuses it."""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register the group and its commands."""
    parser = subparsers.add_parser(
        "vocabulary",
        help="take a vision vocabulary out of a checkpoint, or graft it onto a language model",
        description="Vision vocabularies: taken out of checkpoints, grafted onto language models.",
        allow_abbrev=False,
    )
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION", title="actions")
    extract = console.add_command(
        actions,
        "extract",
        help="write a checkpoint's vision vocabulary into a folder of its own",
        description=EXTRACT_DESCRIPTION,
        epilog=EXTRACT_EPILOG,
    )
    extract.add_argument(
        "checkpoint",
        metavar="CKPT",
        help="a checkpoint's folder or file of weights in any known format, or the name of a fetched one",
    )
    extract.add_argument("out", metavar="OUT", help="the folder to write; it must be new or empty")
    graft = console.add_command(
        actions,
        "graft",
        help="write a checkpoint from a vision vocabulary and a language model",
        description=GRAFT_DESCRIPTION,
        epilog=GRAFT_EPILOG,
    )
    add = graft.add_argument
    add("out", metavar="OUT", help="the folder to write; it must be new or empty")
    add(
        "--vocabulary",
        required=True,
        metavar="DIR",
        help="what `extract` wrote, or a checkpoint in any known format",
    )
    add("--text", required=True, metavar="DIR", help="folder of a causal language model of Transformers")
    add(
        "--clip", metavar="DIR", help="folder of CLIP, or a checkpoint that has a CLIP branch (default: none)"
    )
    add("--dtype", choices=console.DTYPES, help="of all weights (default: the language model's)")
    add(
        "--layout",
        choices=LAYOUTS,
        default="auto",
        help="prompts as Vary-toy's (chatml), as the language model's own chat template, or plain "
        "(default: the first of these that its tokenizer allows)",
    )
    add("--seed", type=console.whole_number, default=0, metavar="N", help="of the projector (default: 0)")


def run(args: argparse.Namespace) -> int:
    """Run one of the commands; what was written is said on standard output."""
    console.quiet_libraries()
    from vary.weights.folders import leftovers

    target = Path(args.out)
    for leftover in leftovers(target):
        console.complain(f"{leftover} is left over from a run that was killed, or still runs; delete it")
    with console.terminated_as_interrupt():
        if args.action == "extract":
            from vary.weights.vocabulary import extract_vocabulary

            _print_extraction(target, extract_vocabulary(find_checkpoint(args.checkpoint), target))
            return console.EXIT_OK
        from vary.weights.grafts import graft_checkpoint

        graft = graft_checkpoint(
            find_checkpoint(args.vocabulary),
            args.text,
            target,
            clip=args.clip,
            dtype=args.dtype,
            layout=args.layout,
            seed=args.seed,
        )
        _print_graft(target, graft)
    return console.EXIT_OK


def _print_extraction(target: Path, done: Extraction) -> None:
    height, width = done.image
    tokens, channels = done.tokens
    _write(
        f"vision vocabulary of {done.origin['checkpoint']} ({done.origin['format']}): "
        f"{done.parameters:,} parameters, {done.dtype}",
        f"an image of {height} x {width} pixels becomes {tokens} tokens of {channels}",
        *_listed(target, done.files),
    )
    for note in done.notes:
        console.complain(note)


def _print_graft(target: Path, graft: Graft) -> None:
    total = sum(graft.parameters.values())
    start, end, pad = graft.image_tokens
    lines = [f"{total:,} parameters, {graft.dtype}"]
    lines += [f"  {count:>14,}  {name}" for name, count in graft.parameters.items()]
    lines += [
        f"image tokens: <img> {start}, </img> {end}, <imgpad> {pad}",
        f"layout of prompts: {graft.layout or 'none'}",
    ]
    _write(*lines, *_listed(target, graft.files), NEXT_STEPS)
    for note in graft.notes:
        console.complain(note)


def _listed(target: Path, files: Mapping[str, int]) -> list[str]:
    return [f"  {size:>14,}  {target / name}" for name, size in files.items()]


def _write(*lines: str) -> None:
    sys.stdout.write("\n".join(lines) + "\n")
