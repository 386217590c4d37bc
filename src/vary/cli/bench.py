"""`vary bench`: how fast the model is here, beside the machine's limits and installed peers."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from vary.bench.names import INTEGERS, PEERS, PHASES, SHAPES, VISIONS, VISIONS_OF_A_CPU
from vary.cli import console

if TYPE_CHECKING:
    from vary.bench.reading import PageTruth
    from vary.bench.settings import BenchSettings

__all__ = ["add_parser", "run"]

NONE = "none"

EPILOG = """\
Everyone runs in a process of its own and is measured in turns, so that a busy moment hits all alike; times
are medians.  What is not installed is named with the line that installs it.  Peers with integer weights take
their own fastest group size unless the precision names one.

examples:
  vary bench
  vary bench --against all --json result.json --plot result.png
  vary bench vary-toy-folder --only decode --quantize int4,int4-g128
  vary bench --shape tiny --repeat 2 --only encode,decode
"""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register the command."""
    parser = console.add_command(
        subparsers,
        "bench",
        help="measure speed and memory, beside this machine's limits and installed peers",
        description="Measures encoding, prompts, decoding, whole pages and memory of a checkpoint, or of\n"
        "random weights of a shape, which are made in place.",
        epilog=EPILOG,
    )
    add = parser.add_argument
    add("checkpoint", nargs="?", metavar="CHECKPOINT", help="a checkpoint's folder in our format")
    add("--shape", choices=SHAPES, help="random weights of this shape (default: vary-toy)")
    add(
        "--against",
        type=_names("peer", (*PEERS, "all")),
        default=[],
        metavar="NAMES",
        help=f"peers to measure too, with commas between: {', '.join(PEERS)} or all",
    )
    add(
        "--only",
        type=_names("phase", PHASES),
        metavar="PHASES",
        help=f"of {', '.join(PHASES)} (default: all, on a CPU without pages)",
    )
    add(
        "--repeat",
        type=console.positive_int,
        default=5,
        metavar="N",
        help="measurements of each (default: 5)",
    )
    add("--threads", type=console.positive_int, metavar="N", help="of the CPU (default: its cores)")
    add(
        "--quantize",
        type=_names("precision", (*INTEGERS, NONE)),
        metavar="NAMES",
        help="integer weights: int4, int8, a group as in int4-g64, or none (default on a CPU: int4,int8)",
    )
    add(
        "--dtype",
        type=_names("type", (*console.DTYPES, NONE)),
        metavar="NAMES",
        help="float weights, or none (default: float32 on a CPU, bfloat16 elsewhere)",
    )
    add(
        "--vision",
        type=_names("precision", (*VISIONS, NONE)),
        metavar="NAMES",
        help="our kernels for the vision vocabulary network: float32, int16, int8, bfloat16 (AMX only), "
        "or none; the first one that runs here is used for pages beside integer weights (default on a CPU: "
        f"{','.join(VISIONS_OF_A_CPU)})",
    )
    add("--device", type=console.device_name, default="auto", metavar="DEVICE", help="as for `vary read`")
    add("--images", type=_numbers, default=[1], metavar="NUMBERS", help="encoded at once (default: 1)")
    add("--pages", type=console.positive_int, default=16, metavar="N", help="read at once (default: 16)")
    add("--prompt", type=console.positive_int, default=300, metavar="N", help="its tokens (default: 300)")
    add(
        "--answer", type=console.positive_int, default=719, metavar="N", help="a page's tokens (default: 719)"
    )
    add(
        "--verify",
        type=_numbers,
        default=[4, 8],
        metavar="NUMBERS",
        help="tokens of a step, as where drafts are verified (default: 4,8)",
    )
    add("--sequences", type=_numbers, default=[4, 16], metavar="NUMBERS", help="at a time (default: 4,16)")
    add(
        "--limit",
        type=console.positive_number,
        default=300.0,
        metavar="SECONDS",
        help="for a measurement with its repetitions; slower ones get fewer (default: 300)",
    )
    add("--page", metavar="IMAGE", help="that Tesseract and vary-nano read (default: one that is painted)")
    add("--truth", type=Path, metavar="FILE", help="what stands on --page, to count errors")
    add("--page-language", choices=("en", "zh"), default="en", help="of --page (default: en)")
    add("--seed", type=console.whole_number, default=0, metavar="N", help="of random weights (default: 0)")
    add("--json", type=Path, metavar="FILE", help="store the result; a name that is taken gets a number")
    add(
        "--plot", type=Path, metavar="FILE", help="draw the result (.png); a name that is taken gets a number"
    )


def run(args: argparse.Namespace) -> int:
    """Measure, print the table, store what was asked for; 1 if somebody who takes part failed."""
    console.quiet_libraries()
    for file in (args.json, args.plot):
        if file is not None and not file.absolute().parent.is_dir():
            raise console.UsageError(f"{file}: there is no folder {file.absolute().parent} to store it in")
    page = _page(args)
    settings = _settings(args)
    if args.plot is not None:
        from vary.bench.plot import check_plotting

        check_plotting()
    from vary.bench.running import run_bench
    from vary.bench.table import as_text

    with console.terminated_as_interrupt():
        result = run_bench(settings, page=page, error_rate=_error_rate, said=console.note)
    print(as_text(result), end="")
    if args.json is not None:
        from vary.outputs.files import write_new_file

        console.note(f"wrote {write_new_file(args.json, result.dumps())}")
    if args.plot is not None:
        from vary.bench.plot import plot_result
        from vary.outputs.files import write_new_bytes

        console.note(f"wrote {write_new_bytes(args.plot, plot_result(result))}")
    if result.interrupted:
        return console.EXIT_INTERRUPTED
    return console.EXIT_FAILED if result.failures else console.EXIT_OK


def _settings(args: argparse.Namespace) -> BenchSettings:
    """What is to be measured, by the options."""
    if args.checkpoint is not None and args.shape is not None:
        raise console.UsageError("give either a CHECKPOINT or a --shape, not both")
    from vary.bench.orders import Subject
    from vary.bench.settings import BenchSettings
    from vary.engine.devices import resolve_device

    device = resolve_device(args.device)
    cpu = device.type == "cpu"
    integers = args.quantize or (["int4", "int8"] if cpu else [NONE])
    dtypes = args.dtype or (["float32"] if cpu else ["bfloat16"])
    visions = args.vision or (VISIONS_OF_A_CPU if cpu else [NONE])
    subject = Subject(
        shape="" if args.checkpoint is not None else args.shape or "vary-toy",
        checkpoint=args.checkpoint or "",
        seed=args.seed,
        device=str(device),
        threads=args.threads or _cores(),
    )
    return BenchSettings(
        subject=subject,
        against=PEERS if "all" in args.against else args.against,
        phases=args.only or [phase for phase in PHASES if phase != "pages" or not cpu],
        dtypes=[] if NONE in dtypes else dtypes,
        integers=[] if NONE in integers else integers,
        visions=[] if NONE in visions else visions,
        repeat=args.repeat,
        images=args.images,
        pages=args.pages,
        prompt=args.prompt,
        answer=args.answer,
        verify=args.verify,
        sequences=args.sequences,
        limit=args.limit,
    )


def _page(args: argparse.Namespace) -> PageTruth | None:
    """The page that programs read, and its truth."""
    if args.page is None:
        if args.truth is not None:
            raise console.UsageError("--truth says what stands on a --page; give that too")
        return None
    if not Path(args.page).is_file():
        raise console.UsageError(f"{args.page}: there is no such image")
    from vary.bench.reading import PageTruth

    text = "" if args.truth is None else args.truth.read_text(encoding="utf-8")
    return PageTruth(args.page, text, args.page_language)


def _error_rate(reading: str, truth: str, language: str) -> float | None:
    """Errors a character; None where the package that counts them is not installed."""
    from vary.errors import MissingDependencyError
    from vary.evaluation.metrics import error_rate

    try:
        return error_rate(reading, truth, language).rate
    except MissingDependencyError:
        return None


def _cores() -> int:
    """Those that this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def _names(what: str, known: tuple[str, ...]) -> Callable[[str], list[str]]:
    """An argument of several names with commas between, each one of those known."""

    def parse(text: str) -> list[str]:
        names = list(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
        wrong = [name for name in names if name not in known]
        if wrong or not names:
            found = f"no {what} {wrong[0]!r}" if wrong else "found nothing"
            raise argparse.ArgumentTypeError(f"{found}; expected some of {', '.join(known)}")
        return names

    return parse


def _numbers(text: str) -> list[int]:
    """An argument of whole numbers of at least 1 with commas between."""
    return list(dict.fromkeys(console.positive_int(part.strip()) for part in text.split(",")))
