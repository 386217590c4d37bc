"""Peak memory of reading one page on this CPU, with every type and precision, beside what `vary` expects.

python benchmarks/memory.py CHECKPOINT PAGE [--max-new-tokens 64] [--dtype bfloat16] [--quantize none int4]

Every setting is `vary read` in a process of its own, twice: the first start packs or rounds the weights of a
larger model and stores them, later ones map the file.  A peak is the largest resident memory of that process
alone, mapped files that it has touched included; in the first row stands that of a process which only imports
what reads.  `expected` is what `vary.memory.memory_needed` says, weights and a page, on top of the first row.
A setting that fails stands there with its message; a page that is cut at the limit of tokens is none.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

DTYPES, PRECISIONS = ("float32", "bfloat16", "float16"), ("none", "int8", "int4")
VARY = [sys.executable, "-m", "vary"]
IMPORTS = [sys.executable, "-c", "import vary.backends.pytorch"]
UNIT = 1 if sys.platform == "darwin" else 1024  # of ru_maxrss


@dataclass(frozen=True)
class Run:
    """A process that ended: its peak in bytes, its exit code, and why it failed; "" if it did not."""

    peak: int
    code: int
    message: str

    def __str__(self) -> str:
        if self.code < 0:
            return f"killed by signal {-self.code}"
        return self.message or f"{self.peak / 1e9:.2f} GB"


def run(command: list[str], page: str = "") -> Run:
    """Runs a command; what it says of a page that it read is no failure.

    Nothing that is larger than Python itself may have been imported here before: Linux counts the memory of
    whoever started a process as the process's own.
    """
    with tempfile.TemporaryFile("w+") as errors:
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=errors)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        errors.seek(0)
        said = (errors.read().splitlines() or [""])[-1].removeprefix("vary: ")
    failed = process.returncode and not said.startswith(f"{page}: page ")
    return Run(usage.ru_maxrss * UNIT, process.returncode, said if failed else "")


def reading(args: argparse.Namespace, dtype: str, precision: str) -> list[str]:
    """The command line of a setting."""
    options = ["--model", args.checkpoint, "--device", "cpu", "--dtype", dtype, "--draft", "off"]
    options += ["--max-new-tokens", str(args.max_new_tokens)]
    options += [] if precision == "none" else ["--quantize", precision]
    return [*VARY, "read", args.page, *options]


def expected(checkpoint: str, dtype: str, precision: str) -> str:
    """What `vary` refuses a machine for, if it has less."""
    from vary.errors import VaryError
    from vary.memory import memory_needed
    from vary.weights.loading import as_dtype, resolve_checkpoint
    from vary.weights.sources import open_source

    try:
        source = open_source(resolve_checkpoint(checkpoint))
        needed = memory_needed(source, as_dtype(dtype), None if precision == "none" else precision)
    except VaryError as error:
        return str(error)
    return f"{needed.device / 1e9:.2f} GB"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("checkpoint", help="a folder with weights and tokenizer")
    parser.add_argument("page", help="an image")
    parser.add_argument("--max-new-tokens", type=int, default=64)
    parser.add_argument("--dtype", nargs="+", choices=DTYPES, default=DTYPES)
    parser.add_argument("--quantize", nargs="+", choices=PRECISIONS, default=PRECISIONS)
    args = parser.parse_args()
    for place in (args.checkpoint, args.page):
        if not Path(place).exists():
            parser.error(f"{place}: there is no such file or folder")
    settings = [(dtype, precision) for dtype in args.dtype for precision in args.quantize]
    base = run(IMPORTS)
    runs = []
    for dtype, precision in settings:
        print(f"{dtype}, {precision}", file=sys.stderr, flush=True)
        command = reading(args, dtype, precision)
        runs.append((run(command, args.page), run(command, args.page)))
    print("| dtype | quantize | peak, first start | peak, later starts | expected |")
    print("|---|---|---|---|---|")
    print(f"| imports alone | | {base} | {base} | |")
    for (dtype, precision), (first, later) in zip(settings, runs, strict=True):
        said = expected(args.checkpoint, dtype, precision)
        print(f"| {dtype} | {precision} | {first} | {later} | {said} |", flush=True)


if __name__ == "__main__":
    main()
