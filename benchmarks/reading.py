"""From process start to text: time and peak memory of `vary read` on pages, each in a process of its own.

python benchmarks/reading.py examples/page.png [...]
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("pages", nargs="+")
    parser.add_argument("--repeat", type=int, default=3)
    args = parser.parse_args()
    print(f"{os.cpu_count()} cores, Python {sys.version.split()[0]}; the best of {args.repeat}")
    for page in args.pages:
        runs = [measure(page) for _ in range(args.repeat)]
        seconds, mebibytes, characters = min(runs)
        print(
            f"{page}: {seconds:.2f} s from process start to {characters} characters, peak {mebibytes:.0f} MiB"
        )


def measure(page: str) -> tuple[float, float, int]:
    """Wall seconds, peak resident MiB and characters of one reading."""
    started = time.monotonic()
    process = subprocess.Popen([sys.executable, "-m", "vary", "read", page], stdout=subprocess.PIPE)
    assert process.stdout is not None
    text = process.stdout.read().decode()
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"vary read {page} ended with status {os.waitstatus_to_exitcode(status)}")
    return time.monotonic() - started, usage.ru_maxrss / 1024, len(text)


if __name__ == "__main__":
    main()
