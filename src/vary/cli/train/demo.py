"""`vary train demo`: the whole method at small size, and whether the new vocabulary helps."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vary.cli import console
from vary.cli.train.running import check_packages, rows_as_text

__all__ = ["SIZES", "add_parser", "run"]

SIZES = ("small", "ci")
"""As in `vary.training.demo.sizes`, which is too heavy to ask here; a test compares them."""
MOST_WORKERS = 4
"""Each takes somewhat less than 1 GB of memory."""
EPILOG = """\
examples:
  vary train demo --out runs/demo
  vary train demo --out runs/trial --size ci --seeds 2 --workers 1
"""


def add_parser(recipes: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Registers the command."""
    parser = console.add_command(
        recipes,
        "demo",
        help="the whole method in miniature: does a new vision vocabulary help?",
        description="Writes a vision vocabulary, grafts it beside a small CLIP onto a small language model, "
        "trains on several tasks, tunes, and compares the same with CLIP alone; on a CPU, in minutes.  "
        "Called again with the same folder it goes on where it stopped.",
        epilog=EPILOG,
    )
    add = parser.add_argument
    add("--out", type=Path, required=True, metavar="DIR", help="the folder for everything that is made")
    add("--size", choices=SIZES, default="small", help="small: some minutes; ci: about one (default: small)")
    add(
        "--seeds",
        type=console.positive_int,
        default=3,
        metavar="N",
        help="how often the comparison is repeated (default: %(default)s)",
    )
    add("--seed", type=console.whole_number, default=0, metavar="N", help="the first seed (default: 0)")
    add(
        "--workers",
        type=console.positive_int,
        metavar="N",
        help=f"models of the comparison to train at once (default: one a core, up to {MOST_WORKERS})",
    )
    add(
        "--threads",
        type=console.positive_int,
        default=1,
        metavar="N",
        help="threads that the towers are trained with (default: 1; such small networks hardly gain by more)",
    )


def run(args: argparse.Namespace) -> int:
    """Shows it; progress goes to standard error, the report's sentences to standard output."""
    check_packages()
    console.quiet_libraries()
    import torch

    from vary.evaluation.metrics import edit_distance
    from vary.outputs.answers import parse_boxes
    from vary.training.demo import SIZES as KNOWN
    from vary.training.demo import Judges, run_demo
    from vary.training.demo.report import claims

    edit_distance("", "")  # a missing package is said before minutes of work
    torch.set_num_threads(args.threads)
    judges = Judges(
        distance=edit_distance,
        boxes=lambda text: [(box.label, box.edges) for box in parse_boxes(text).boxes],
    )
    started = time.monotonic()

    def show(stage: str, row: Mapping[str, Any]) -> None:
        kept = {name: row[name] for name in ("step", "loss") if name in row}
        print(
            f"{time.monotonic() - started:6.0f} s  {stage}: {rows_as_text(kept)}", file=sys.stderr, flush=True
        )

    report = run_demo(
        KNOWN[args.size],
        args.out,
        seeds=args.seeds,
        judges=judges,
        seed=args.seed,
        workers=args.workers or min(MOST_WORKERS, os.cpu_count() or 1),
        progress=show,
    )
    for sentence in claims(report):
        print(sentence)
    console.note(f"{args.out / 'report.md'}: the report")
    return console.EXIT_OK
