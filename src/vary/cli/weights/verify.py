"""`vary weights verify`: shapes, hashes and a fingerprint of a checkpoint folder."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from vary.cli import console
from vary.cli.checkpoints import find_checkpoint
from vary.errors import CheckpointError, TaskError

if TYPE_CHECKING:
    from vary.model.configuration import VaryConfig
    from vary.weights.verification import Report

__all__ = ["add_parser", "run"]

DESCRIPTION = """\
Checks a checkpoint three times: that its tensors are those of its configuration; that its files are those of
their first fetch, of manifest.json or of a public checksum; and that the model makes of a fixed image what
fingerprint.json says, within a tolerance.  The exit code is 1 if anything differs, or nothing was checked.
"""

EPILOG = """\
examples:
  vary weights verify vary-toy
  vary weights verify path/to/checkpoint --record
  vary weights verify path/to/checkpoint --no-run
"""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register the command."""
    parser = console.add_command(
        subparsers,
        "verify",
        help="check shapes, hashes and a fingerprint",
        description=DESCRIPTION,
        epilog=EPILOG,
    )
    add = parser.add_argument
    add("folder", metavar="DIR", help="a checkpoint's folder, or the name of a fetched one")
    add(
        "--record",
        action="store_true",
        help="write manifest.json and fingerprint.json into the folder where they are not there",
    )
    add("--no-run", action="store_true", help="leave the fingerprint out, for which the model is loaded")
    add(
        "--device",
        type=console.device_name,
        default="cpu",
        metavar="DEVICE",
        help="where the fingerprint is computed (default: cpu)",
    )


def run(args: argparse.Namespace) -> int:
    """Check, and print what came of it."""
    console.quiet_libraries()
    from vary.engine.devices import resolve_device
    from vary.weights.verification import verify

    folder = _folder(args.folder)
    device = resolve_device(args.device)
    with console.progress_bar("hashing", "B") as progress:
        report = verify(
            folder,
            query=_query,
            record=args.record,
            run=not args.no_run,
            device=device,
            progress=progress,
        )
    print(_text(report))
    return console.EXIT_OK if report.ok else console.EXIT_FAILED


def _folder(given: str) -> Path:
    """The folder that a path or a name stands for."""
    path = find_checkpoint(given)
    if not path.is_dir():
        raise CheckpointError(f"{path}: is a file; give the folder of the checkpoint")
    return path


def _query(config: VaryConfig) -> str:
    """The prompt of the checkpoint's first task that has one; line readers take none."""
    from vary.inputs.tasks import resolve_task

    if config.window == "lines":
        return ""
    for task in config.tasks:
        try:
            return resolve_task(task, config.tasks, next(iter(config.languages), "en")).prompt
        except TaskError:
            continue  # a task that needs a subject, such as a question
    return ""


def _text(report: Report) -> str:
    """A check a line, its further details below."""
    lines = [str(report.folder)]
    for check in report.checks:
        first, *rest = check.details or ("",)
        lines.append(f"  {check.name:12s} {check.status:12s} {first}".rstrip())
        lines += [" " * 28 + detail for detail in rest]
    return "\n".join(lines)
