"""`vary weights fetch`: download a checkpoint by name, its licence shown before."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from vary.cli import console
from vary.cli.checkpoints import SHIPPED
from vary.cli.weights import sizes

if TYPE_CHECKING:
    from vary.weights.fetching.hub import Plan

__all__ = ["add_parser", "run"]

DESCRIPTION = """\
Downloads a checkpoint from the public hub, or the address where it lies, and prints its folder.  Source,
licence, size and target are shown before anything is downloaded; on a terminal you are asked, elsewhere --yes
is needed.  A download that was interrupted goes on where it stopped.  Revision and checksums are recorded at
the first fetch and checked at every later one, after the files were deleted too.  This is the only command of
vary that opens a connection.
"""

EPILOG = """\
environment:
  VARY_HOME    where fetched weights lie (default: the folder for data of the user)
  HF_ENDPOINT  another server of the hub's files
  HF_TOKEN     for repositories whose terms have to be accepted

examples:
  vary weights fetch vary-toy
  vary weights fetch vary-toy --yes && vary read page.png --model vary-toy
  vary weights fetch stepfun-ai/GOT-OCR-2.0-hf --revision main
"""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register the command."""
    parser = console.add_command(
        subparsers,
        "fetch",
        help="download a checkpoint by name",
        description=DESCRIPTION,
        epilog=EPILOG,
    )
    add = parser.add_argument
    add("name", metavar="NAME", help="a name of `vary weights list`, or a repository of the hub, OWNER/NAME")
    add("--revision", metavar="REV", help="a branch, tag or commit (default: as at the first fetch)")
    add("--update", action="store_true", help="take what the source has now, although it is not what it was")
    add("--yes", action="store_true", help="do not ask; whoever gives it accepts the licence")


def run(args: argparse.Namespace) -> int:
    """Show what will be done, ask, download, print the folder."""
    console.allow_network()
    if args.name == SHIPPED:
        console.complain(f"{SHIPPED} comes with the package; there is nothing to fetch")
        return console.EXIT_OK
    from vary.weights.fetching.hub import execute, prepare

    with console.progress_bar(f"checking {args.name}", "B") as progress:
        plan = prepare(args.name, revision=args.revision, update=args.update, progress=progress)
    if plan.is_done:
        console.complain(f"{plan.entry.name} is here, and as it was at its first fetch")
    elif not plan.missing:
        console.complain(f"{plan.entry.name}: all files are here already; they are recorded as they are")
    else:
        console.complain("\n".join(_described(plan)))
        if not (args.yes or _agrees()):
            console.complain("nothing was downloaded")
            return console.EXIT_FAILED
    with console.progress_bar(plan.entry.name, "B") as progress:
        folder = execute(plan, progress=progress)
    print(folder)
    return console.EXIT_OK


def _described(plan: Plan) -> list[str]:
    """The facts that a user should know before the download."""
    entry = plan.entry
    lines = [f"{entry.name}: {entry.title}"]
    for offer in plan.offers:
        names = [file.name for file in offer.files if file.name not in plan.here]
        size = [file.request.size for file in offer.files if file.name not in plan.here]
        known = sizes.in_words(sum(s or 0 for s in size)) if None not in size else "of unknown size"
        lines += [
            f"  source    {offer.part.source}" + (f" at {offer.server}" if offer.part.repository else ""),
            *([f"  revision  {offer.revision}"] if offer.revision else []),
            f"  licence   {offer.licence or 'the source states none'}",
            f"  files     {', '.join(names) or 'all here'} ({known})",
        ]
    if entry.notice:
        lines.append(f"  notice    {entry.notice}")
    lines.append(f"  target    {plan.folder}")
    return lines


def _agrees() -> bool:
    """Ask on the terminal.

    Raises:
        UsageError: if there is none.
    """
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise console.UsageError("nobody can be asked here; read the licence above and give --yes")
    sys.stderr.write("Download? [y/N] ")
    sys.stderr.flush()
    return sys.stdin.readline().strip().lower() in ("y", "yes")
