"""The `vary` command: builds the parsers, runs one command, turns errors into messages and exit codes.

Only argparse and the commands' light modules are imported here; a command imports what it needs when it runs.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from vary import __version__
from vary.cli import bench, chat, console, evaluate, info, predict, read, synth, train, vocabulary, weights
from vary.errors import (
    CheckpointError,
    DeviceError,
    MissingDependencyError,
    SettingsError,
    TaskError,
    VaryError,
)

__all__ = ["build_parser", "main"]

COMMANDS = {
    "read": read,
    "chat": chat,
    "predict": predict,
    "weights": weights,
    "vocabulary": vocabulary,
    "info": info,
    "evaluate": evaluate,
    "bench": bench,
    "synth": synth,
    "train": train,
}

DESCRIPTION = "Reads documents with vision-language models of the Vary family."

EPILOG = """\
exit codes:
  0    everything was done; for `vary read`: every page is ok or blank
  1    something failed: a file, a page, an output, a run
  2    nothing could start: wrong usage, or a device, checkpoint, task or package that is not there
  130  interrupted

examples:
  vary read page.png
  vary read scans/ report.pdf -o texts --format markdown
  vary chat page.png --model vary-toy
  vary weights convert Vary-toy vary-toy
  vary info
"""

# What the user asked for is not there: the command could not start.
_CANNOT_START = (
    CheckpointError,
    DeviceError,
    MissingDependencyError,
    SettingsError,
    TaskError,
    console.UsageError,
)


def build_parser() -> argparse.ArgumentParser:
    """The parser of the whole command line, every command registered."""
    parser = argparse.ArgumentParser(
        prog="vary",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"vary {__version__}")
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND", title="commands", required=True)
    for module in COMMANDS.values():
        module.add_parser(subparsers)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code; argparse itself exits with 2 on wrong usage."""
    console.prepare_streams()
    args = build_parser().parse_args(argv)
    try:
        code: int = COMMANDS[args.command].run(args)
        sys.stdout.flush()
    except VaryError as error:
        console.complain(str(error))
        return console.EXIT_USAGE if isinstance(error, _CANNOT_START) else console.EXIT_FAILED
    except KeyboardInterrupt:
        console.complain("interrupted")
        return console.EXIT_INTERRUPTED
    except BrokenPipeError:
        # The reader of our output went away, as `head` does: not an error worth a word.
        _silence_stdout()
        return console.EXIT_BROKEN_PIPE
    except OSError as error:
        if error.filename is not None:
            console.complain(f"{error.filename}: {error.strerror}")
            return console.EXIT_FAILED
        if error.errno is None:
            raise
        _silence_stdout()
        console.complain(f"standard output cannot be written: {error.strerror or error}")
        return console.EXIT_FAILED
    return code


def _silence_stdout() -> None:
    """Send what is still buffered nowhere, so that the interpreter's last flush does not fail again."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
