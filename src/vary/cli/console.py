"""What every command shares at the terminal: exit codes, messages, argument types, progress.

Results go to standard output and nothing else does; messages and progress go to standard error.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import sys
from collections.abc import Callable, Iterator

from vary.engine.devices import DEVICE_CHOICES, DEVICE_KINDS
from vary.errors import VaryError

__all__ = [
    "EXIT_BROKEN_PIPE",
    "EXIT_FAILED",
    "EXIT_INTERRUPTED",
    "EXIT_OK",
    "EXIT_USAGE",
    "UsageError",
    "add_model_options",
    "complain",
    "device_name",
    "positive_int",
    "positive_number",
    "prepare_streams",
    "progress_bar",
    "quiet_libraries",
]

EXIT_OK = 0
EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_INTERRUPTED = 130
EXIT_BROKEN_PIPE = 141

Progress = Callable[[int, int | None], None]
"""Called with what is done and, where it is known, how much there is."""


class UsageError(VaryError):
    """The command line asks for something that does not fit together."""


def complain(message: str) -> None:
    """Write one message to standard error."""
    print(f"vary: {message}", file=sys.stderr, flush=True)


def prepare_streams() -> None:
    """Results are UTF-8 whatever the locale says; a message is never lost to a character it cannot show."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(encoding="utf-8", errors="backslashreplace")
    if isinstance(sys.stderr, io.TextIOWrapper):
        sys.stderr.reconfigure(errors="backslashreplace")


def quiet_libraries() -> None:
    """Call before transformers is imported: no progress bars or advice of its own, and no network."""
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")


def positive_int(text: str) -> int:
    """An argument that is a whole number of at least 1."""
    try:
        value = int(text)
    except ValueError:
        value = 0
    if value < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number of at least 1, found {text!r}")
    return value


def whole_number(text: str) -> int:
    """An argument that is a whole number of at least 0."""
    try:
        value = int(text)
    except ValueError:
        value = -1
    if value < 0:
        raise argparse.ArgumentTypeError(f"expected a whole number of at least 0, found {text!r}")
    return value


def positive_number(text: str) -> float:
    """An argument that is a finite number above 0."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0.0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"expected a number above 0, found {text!r}")
    return value


def device_name(text: str) -> str:
    """An argument that names a device, with an index or without; the device itself is looked for later."""
    kind, colon, index = text.partition(":")
    if (kind in DEVICE_KINDS and (not colon or index.isdigit())) or text == "auto":
        return text
    raise argparse.ArgumentTypeError(
        f"expected {', '.join(DEVICE_CHOICES)} or a numbered one (cuda:1), found {text!r}"
    )


def add_model_options(parser: argparse.ArgumentParser) -> None:
    """The options of every command that loads a checkpoint: --model and --device."""
    parser.add_argument(
        "--model",
        metavar="CHECKPOINT",
        help="folder of a checkpoint (default: vary-nano, which the package ships)",
    )
    parser.add_argument(
        "--device",
        type=device_name,
        default="auto",
        metavar="DEVICE",
        help=f"one of {', '.join(DEVICE_CHOICES)}; a device that is not there is an error (default: auto)",
    )


@contextlib.contextmanager
def progress_bar(label: str, unit: str) -> Iterator[Progress | None]:
    """A bar on standard error where that is a terminal, else None; it is wiped away at the end."""
    if not sys.stderr.isatty():
        yield None
        return
    from tqdm import tqdm

    with tqdm(desc=label, unit=unit, leave=False, file=sys.stderr, dynamic_ncols=True) as bar:

        def advance(done: int, total: int | None) -> None:
            bar.total = total
            bar.n = done
            bar.refresh()

        yield advance
