"""What every recipe's command shares: the options of how to step, and how progress is shown."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vary.cli import console
from vary.errors import MissingDependencyError

if TYPE_CHECKING:
    from vary.training.loop import Progress
    from vary.training.settings import RunSettings

__all__ = [
    "add_run_options",
    "changed_settings",
    "check_packages",
    "finish_run",
    "rows_as_text",
    "shown_progress",
]

NUMBERS: tuple[tuple[str, Any, str], ...] = (
    ("steps", console.positive_int, "optimizer steps of the whole run"),
    ("time_limit", console.number, "minutes after which the run ends, its rate and curriculum by the clock"),
    ("learning_rate", console.positive_number, "its peak"),
    ("warmup_fraction", console.share, "share of the run in which the rate rises"),
    ("decay_fraction", console.share, "last share of the run in which a trapezoid's rate falls"),
    ("final_fraction", console.number, "where the rate ends, as a share of its peak"),
    ("weight_decay", console.number, "of matrices"),
    ("clip", console.positive_number, "the largest norm of the gradient"),
    ("ema_decay", console.share, "average the weights, and export the average; such as 0.999"),
    ("seed", console.whole_number, "of new weights, data and dropout"),
    ("workers", console.whole_number, "processes that make batches"),
    ("log_every", console.positive_int, "steps between rows of the log"),
    ("save_every", console.whole_number, "steps between checkpoints, 0 for none"),
    ("evaluate_every", console.whole_number, "steps between evaluations, 0 for none"),
    ("keep", console.positive_int, "checkpoints that stay"),
    ("max_bad_share", console.share, "stop when more samples than this share cannot be learned from"),
)
CHOICES: tuple[tuple[str, tuple[str, ...], str], ...] = (
    ("schedule", ("cosine", "trapezoid", "constant"), "of the learning rate"),
    ("precision", ("bf16", "fp16", "no"), "of the arithmetic; no: float32"),
)
SWITCHES: tuple[tuple[str, str], ...] = (
    ("compile", "compile the layers; for long runs on a GPU"),
    ("tensorboard", "write the figures for TensorBoard too"),
)


def add_run_options(
    parser: argparse.ArgumentParser, *, numbers: tuple[tuple[str, Any, str], ...] = ()
) -> None:
    """The options that every recipe has, and some numbers of its own; without one its default counts."""
    add = parser.add_argument
    add("--out", type=Path, required=True, metavar="DIR", help="the run's folder")
    add("--resume", action="store_true", help="go on from the newest checkpoint in --out")
    for name, kind, what in (*numbers, *NUMBERS):
        add(_flag(name), type=kind, metavar="N", help=what)
    for name, choices, what in CHOICES:
        add(_flag(name), choices=choices, help=what)
    for name, what in SWITCHES:
        add(_flag(name), action=argparse.BooleanOptionalAction, help=what)
    add("--cpu", action="store_true", help="keep off a GPU that is there")


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def changed_settings(args: argparse.Namespace, settings: RunSettings) -> RunSettings:
    """The settings with what the command line says."""
    from dataclasses import fields, replace

    names = {field.name for field in fields(settings)}
    given = {name: value for name, value in vars(args).items() if name in names and value is not None}
    return replace(settings, **given)


def check_packages() -> None:
    """Raises MissingDependencyError where training could not begin or not end: said before hours of it."""
    try:
        for name in ("accelerate", "matplotlib.figure"):
            import_module(name)
    except ImportError as error:
        raise MissingDependencyError(
            "training needs packages that are not installed: pip install 'vary-toy[train]'"
        ) from error


@contextmanager
def shown_progress(label: str) -> Iterator[Progress]:
    """Rows of the log on standard error as they are written, and a bar at a terminal.

    The bar begins with the first row: of several processes one alone is given rows.
    """
    with ExitStack() as stack:
        bars: list[Any] = []

        def show(row: Mapping[str, Any]) -> None:
            if not bars:
                bars.append(stack.enter_context(console.progress_bar(label, "step")))
            [advance] = bars
            figures = dict(row)
            steps = figures.pop("steps")
            if advance is not None:
                sys.stderr.write("\r\033[K")
            print(rows_as_text(figures), file=sys.stderr, flush=True)
            if advance is not None:
                advance(int(row["step"]), int(steps))

        yield show


def rows_as_text(row: Mapping[str, Any]) -> str:
    """A row of the log as a line."""
    return "  ".join(
        f"{name} {value:.4g}" if isinstance(value, float) else f"{name} {value}"
        for name, value in row.items()
    )


def finish_run(out: Path) -> None:
    """Draws the loss curve and says where the model is: once, if several processes have trained."""
    from accelerate import PartialState

    from vary.training.plots import plot_log
    from vary.training.running import MODEL_FOLDER

    if PartialState().is_main_process:
        plot_log(out / "log.csv", out / "loss.png")
        console.note(f"{out / MODEL_FOLDER}: the trained model, ready for `vary read --model`")
