"""Programs that engines start: each leads a group of processes, and the group ends whatever happens."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

__all__ = ["end_all_programs", "running_program"]

_RUNNING: set[subprocess.Popen[bytes]] = set()
"""The programs of this process that may still run."""
_STARTING = threading.Lock()
"""Held while a program is started and noted, so that `end_all_programs` misses none."""


@contextmanager
def running_program(command: Sequence[str], **options: Any) -> Iterator[subprocess.Popen[bytes]]:
    """The started program; leaving the block, by an interrupt too, kills it and all that it started.

    It runs in a session of its own, which Ctrl-C at the terminal does not reach.  `options` are those of
    `subprocess.Popen`.

    Raises:
        OSError: if it cannot be started.
    """
    with _STARTING:
        process = subprocess.Popen(command, start_new_session=True, **options)
        _RUNNING.add(process)
    try:
        yield process
    finally:
        _kill(process)
        process.wait()
        for pipe in (process.stdin, process.stdout, process.stderr):
            if pipe is not None:
                with suppress(OSError):  # what was written and never read
                    pipe.close()
        _RUNNING.discard(process)


def end_all_programs() -> None:
    """Kill every program that runs; for a process that ends right after it, as no more can be started."""
    # Never given back: a program that another thread starts from here on would outlive this process.
    _STARTING.acquire(timeout=10)
    for process in tuple(_RUNNING):
        _kill(process)


def _kill(process: subprocess.Popen[bytes]) -> None:
    if not hasattr(os, "killpg"):
        process.kill()
        return
    # After its own end too: the helpers of a browser that fell over go on, under its number as their group.
    with suppress(ProcessLookupError, PermissionError):  # nobody is left, or (macOS) only the dead
        os.killpg(process.pid, signal.SIGKILL)
