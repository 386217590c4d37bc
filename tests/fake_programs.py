"""Programs that take long and have a helper, and an engine that waits for one.

A module of its own, so that worker processes can import it.
"""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from fake_engines import FakeEngine
from vary.datagen.programs import running_program
from vary.datagen.sample import Draw

SLEEP = "sleep 300 & echo $! > {folder}/$$.helper; echo $$ > {folder}/$$.program; wait"
"""A shell script that notes its own number and that of its helper."""


def command(folder: Path) -> list[str]:
    """The program, which notes its numbers in a folder."""
    return ["sh", "-c", SLEEP.format(folder=folder)]


def wait_for_programs(folder: Path, count: int) -> None:
    """Until so many programs have noted that they and their helpers run."""
    deadline = time.monotonic() + 120
    while len(_numbers(folder)) < 2 * count:
        assert time.monotonic() < deadline, "no program was started"
        time.sleep(0.01)


def still_running(folder: Path, patience: float = 20.0) -> list[int]:
    """The numbers of the noted processes that have not ended after a while; they are ended now."""
    deadline = time.monotonic() + patience
    while (left := list(filter(_runs, _numbers(folder)))) and time.monotonic() < deadline:
        time.sleep(0.02)
    for number in left:
        with suppress(ProcessLookupError):
            os.kill(number, signal.SIGKILL)
    return left


def _numbers(folder: Path) -> list[int]:
    # A number is there once its line is whole.
    texts = [path.read_text("ascii") for path in (*folder.glob("*.helper"), *folder.glob("*.program"))]
    return [int(text) for text in texts if text.endswith("\n")]


def _runs(number: int) -> bool:
    """Whether a process is there and not merely waiting to be reaped; reads /proc."""
    try:
        status = Path(f"/proc/{number}/stat").read_text("utf-8", "replace")
    except OSError:
        return False
    return status.rpartition(")")[2].split()[0] not in "ZX"


@dataclass
class WaitingEngine(FakeEngine):
    """Waits for its program at every index."""

    folder: str = ""

    def draw(self, index: int) -> Draw:
        with running_program(command(Path(self.folder))) as process:
            process.wait()
        return super().draw(index)
