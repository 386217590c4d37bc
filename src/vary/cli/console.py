"""What every command shares at the terminal: exit codes, messages, argument types, progress.

Results go to standard output and nothing else does; messages and progress go to standard error.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import re
import signal
import sys
from collections.abc import Callable, Iterator
from typing import Any

from vary.engine.devices import DEVICE_CHOICES, DEVICE_KINDS
from vary.engine.precisions import PRECISIONS
from vary.errors import VaryError

__all__ = [
    "DTYPES",
    "EXIT_BROKEN_PIPE",
    "EXIT_FAILED",
    "EXIT_INTERRUPTED",
    "EXIT_OK",
    "EXIT_USAGE",
    "UsageError",
    "add_command",
    "add_memory_options",
    "add_model_options",
    "add_sampling_options",
    "allow_network",
    "complain",
    "device_name",
    "model_options",
    "note",
    "number",
    "positive_int",
    "positive_number",
    "prepare_stdin",
    "prepare_streams",
    "progress_bar",
    "quiet_libraries",
    "sampling_options",
    "share",
    "terminated_as_interrupt",
    "whole_number",
    "without_controls",
    "write_answer",
]

EXIT_OK = 0
EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_INTERRUPTED = 130
EXIT_BROKEN_PIPE = 141

DTYPES = ("float32", "bfloat16", "float16")
"""Types of weights that a user may ask for."""

Progress = Callable[[int, int | None], None]
"""Called with what is done and, where it is known, how much there is."""


class UsageError(VaryError):
    """The command line asks for something that does not fit together."""


_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def without_controls(text: str) -> str:
    """The text for a terminal, which obeys control characters: those of files and models must not act."""
    return _CONTROLS.sub("\N{REPLACEMENT CHARACTER}", text)


def complain(message: str) -> None:
    """Write one message to standard error."""
    print(f"vary: {without_controls(message)}", file=sys.stderr, flush=True)


def note(message: str) -> None:
    """Write one line to standard error that is no complaint."""
    print(without_controls(message), file=sys.stderr, flush=True)


def write_answer(text: str) -> None:
    """Write a part of an answer to standard output at once."""
    sys.stdout.write(without_controls(text) if sys.stdout.isatty() else text)
    sys.stdout.flush()


def prepare_streams() -> None:
    """Results are UTF-8 whatever the locale says; a message is never lost to a character it cannot show.

    A stream that was closed before the command began (`2>&-`) is an empty input, or takes messages and drops
    them; a closed standard output fails where a result goes to it.
    """
    if sys.stdin is None:
        sys.stdin = os.fdopen(os.open(os.devnull, os.O_RDONLY), encoding="utf-8")
    if sys.stdout is None:
        sys.stdout = os.fdopen(os.open(os.devnull, os.O_RDONLY), "w", encoding="utf-8")  # refuses to write
    if sys.stderr is None:
        sys.stderr = os.fdopen(os.open(os.devnull, os.O_WRONLY), "w", encoding="utf-8")
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(encoding="utf-8", errors="backslashreplace")
    if isinstance(sys.stderr, io.TextIOWrapper):
        sys.stderr.reconfigure(errors="backslashreplace")


def prepare_stdin(interactive: bool) -> None:
    """Piped questions are UTF-8, as answers are; a terminal keeps its own encoding, and has a history."""
    if isinstance(sys.stdin, io.TextIOWrapper):
        if interactive:
            sys.stdin.reconfigure(errors="replace")
        else:
            sys.stdin.reconfigure(encoding="utf-8", errors="replace")
    if interactive:
        with contextlib.suppress(ImportError):
            import readline  # noqa: F401 - gives `input` its history and editing


_OFFLINE = "HF_HUB_OFFLINE"
_set_here: set[str] = set()


def quiet_libraries() -> None:
    """Call before transformers is imported: no progress bars or advice of its own, and no network."""
    if _OFFLINE not in os.environ:
        os.environ[_OFFLINE] = "1"
        _set_here.add(_OFFLINE)
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")


def allow_network() -> None:
    """Take back what `quiet_libraries` forbade; what the user has forbidden stays forbidden."""
    if _OFFLINE in _set_here:
        _set_here.discard(_OFFLINE)
        os.environ.pop(_OFFLINE, None)


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


def share(text: str) -> float:
    """An argument that is a number above 0 and at most 1."""
    if (value := _number(text)) is None or not 0.0 < value <= 1.0:
        raise argparse.ArgumentTypeError(f"expected a number above 0 and at most 1, found {text!r}")
    return value


def number(text: str) -> float:
    """An argument that is a finite number of at least 0."""
    if (value := _number(text)) is None or not 0.0 <= value < float("inf"):
        raise argparse.ArgumentTypeError(f"expected a number of at least 0, found {text!r}")
    return value


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


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


def add_command(
    subparsers: argparse._SubParsersAction[argparse.ArgumentParser],
    name: str,
    *,
    help: str,
    description: str,
    epilog: str,
) -> argparse.ArgumentParser:
    """The parser of a command: its texts are shown as they are written, its options are never guessed."""
    return subparsers.add_parser(
        name,
        help=help,
        description=description,
        epilog=epilog,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )


def add_model_options(parser: argparse.ArgumentParser) -> None:
    """The options of every command that loads a checkpoint: which, where and as what."""
    parser.add_argument(
        "--model",
        metavar="CHECKPOINT",
        help="a checkpoint's folder, in our format or another's, its file of weights, or the name of a "
        "fetched one (default: vary-nano, which the package ships)",
    )
    parser.add_argument(
        "--tokenizer",
        metavar="FILE",
        help="the tokenizer (qwen.tiktoken) of a checkpoint in another format, where it lies elsewhere",
    )
    parser.add_argument(
        "--device",
        type=device_name,
        default="auto",
        metavar="DEVICE",
        help=f"one of {', '.join(DEVICE_CHOICES)}; a device that is not there is an error (default: auto)",
    )
    parser.add_argument(
        "--dtype",
        choices=DTYPES,
        help="of the weights (default: float32 on a CPU, elsewhere what the checkpoint has)",
    )
    add_memory_options(parser)


def add_memory_options(parser: argparse.ArgumentParser) -> None:
    """The options of every command that may compute where there is little memory."""
    parser.add_argument(
        "--quantize",
        choices=tuple(PRECISIONS),
        metavar="PRECISION",
        help=f"of the language model's weights alone: {', '.join(PRECISIONS)} (default: --dtype)",
    )
    parser.add_argument(
        "--offload",
        action="store_true",
        help="keep the weights in main memory, and move each layer's to the GPU when it is its turn: slow, "
        "for a GPU with too little memory",
    )


def model_options(args: argparse.Namespace) -> dict[str, Any]:
    """What these options ask of `Reader.load`."""
    names = ("device", "dtype", "tokenizer", "quantize", "offload")
    return {"checkpoint": args.model, **{name: getattr(args, name) for name in names}}


def add_sampling_options(parser: argparse.ArgumentParser) -> None:
    """The options that say how the next token is chosen, and the prompt layout; see `sampling_options`."""
    add = parser.add_argument
    add(
        "--layout",
        metavar="NAME",
        help="prompt and preprocessing, such as mindocr (default: the checkpoint's)",
    )
    add(
        "--temperature",
        type=number,
        metavar="T",
        help="above 0, tokens are drawn (default: 0, the likeliest)",
    )
    add("--top-k", type=whole_number, metavar="K", help="draw among the K likeliest tokens (default: 0, all)")
    add("--top-p", type=share, metavar="P", help="draw among the likeliest that make up P (default: 1, all)")
    add(
        "--repetition-penalty",
        type=positive_number,
        metavar="N",
        help="above 1, tokens that stand in the prompt or answer become less likely (default: 1)",
    )
    add(
        "--no-repeat-ngram-size",
        type=whole_number,
        metavar="N",
        help="no N tokens in a row occur twice (default: 0, they may)",
    )
    add(
        "--num-beams",
        type=positive_int,
        metavar="N",
        help="follow N answers at a time and take the likeliest, shown when it is done (default: 1)",
    )
    add("--seed", type=whole_number, metavar="N", help="of the draws, set anew for every answer or batch")


def sampling_options(args: argparse.Namespace) -> dict[str, Any]:
    """The fields of `Sampling` that the user gave.

    Raises UsageError for options of drawing where nothing is drawn: they would have no effect.
    """
    names = (
        "temperature",
        "top_k",
        "top_p",
        "repetition_penalty",
        "no_repeat_ngram_size",
        "num_beams",
        "seed",
    )
    given = {name: value for name in names if (value := getattr(args, name)) is not None}
    idle = [f"--{name.replace('_', '-')}" for name in ("top_k", "top_p") if name in given]
    if idle and not given.get("temperature"):
        raise UsageError(
            f"{' and '.join(idle)} only matter where tokens are drawn; give a --temperature above 0"
        )
    return given


@contextlib.contextmanager
def terminated_as_interrupt() -> Iterator[None]:
    """A polite kill (SIGTERM) interrupts like Ctrl-C, so that what is half written is cleared away."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextlib.contextmanager
def progress_bar(label: str, unit: str) -> Iterator[Progress | None]:
    """A bar on standard error where that is a terminal, else None; it is wiped away at the end."""
    if not sys.stderr.isatty():
        yield None
        return
    from tqdm import tqdm

    scale = unit == "B"  # bytes are shown as kB, MB and GB
    with tqdm(
        desc=without_controls(label),
        unit=unit,
        unit_scale=scale,
        leave=False,
        file=sys.stderr,
        dynamic_ncols=True,
    ) as bar:

        def advance(done: int, total: int | None) -> None:
            bar.total = total
            bar.n = done
            bar.refresh()

        yield advance
