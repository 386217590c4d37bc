"""What this machine can do at most, measured: streaming memory, copying it, and multiplying matrices."""

from __future__ import annotations

import contextlib
import mmap
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["Limits", "synchronise"]

PROBE, SECONDS = 256, 0.2
"""Side of the first matrices, and how long a measurement should take; sides double until it does."""
SIDES = {"cpu": 4096, "other": 16384}
BUFFER = {"cpu": 2**30, "other": 2**32}
"""Bytes that are streamed: far more than any cache holds."""
ROW = 4096
REPEATS = 10
"""Times that an accelerator does something while it is timed, so that starting and waiting count little."""


def synchronise(device: torch.device) -> None:
    """Waits for what was begun on an accelerator."""
    if device.type != "cpu":
        getattr(torch, device.type).synchronize(device)


@dataclass(slots=True)
class Limits:
    """Measures one thing at a time; buffers are made once."""

    device: torch.device
    _buffer: Tensor | None = None
    _sides: dict[str, int] | None = None

    def read(self) -> float:
        """Bytes a second that come from memory at most: the better of a sum and a product with a vector."""
        matrix = self._memory()
        vector = torch.ones(ROW, device=self.device)
        ways: tuple[Callable[[], object], ...] = (lambda: matrix.sum(), lambda: matrix @ vector)
        return max(matrix.nbytes / self._seconds(way) for way in ways)

    def copy(self) -> float:
        """Bytes a second that are read and written while memory is copied."""
        matrix = self._memory()
        half = len(matrix) // 2
        return matrix.nbytes / self._seconds(lambda: matrix[:half].copy_(matrix[half:]))

    def multiply(self, dtype: str) -> float:
        """Operations a second of a product of two square matrices; 0 where the type cannot be multiplied."""
        sides = self._sides = self._sides or {}
        kind, most = getattr(torch, dtype), SIDES.get(self.device.type, SIDES["other"])
        side = sides.get(dtype, PROBE)
        while True:
            left, right = (torch.randn(side, side, device=self.device).to(kind) for _ in range(2))
            try:
                seconds = self._seconds(lambda: left @ right)  # noqa: B023 - called at once
            except RuntimeError:  # not implemented for this type on this device
                return 0.0
            if dtype in sides or seconds >= SECONDS or side >= most:
                break
            side *= 2
        sides[dtype] = side
        return 2.0 * side**3 / seconds

    def _seconds(self, work: Callable[[], object]) -> float:
        times = 1
        if self.device.type != "cpu":
            work()
            times = REPEATS
        synchronise(self.device)
        started = time.perf_counter()
        for _ in range(times):
            work()
        synchronise(self.device)
        return (time.perf_counter() - started) / times

    def _memory(self) -> Tensor:
        """(rows, ROW) float32, in large pages where the system has them: with small ones less is reached."""
        if self._buffer is None:
            size = BUFFER.get(self.device.type, BUFFER["other"])
            if self.device.type == "cpu":
                memory = mmap.mmap(-1, size)
                with contextlib.suppress(AttributeError, OSError):
                    memory.madvise(mmap.MADV_HUGEPAGE)
                flat = torch.frombuffer(memory, dtype=torch.float32)
            else:
                # Accelerators read and multiply zeros and ones faster than other numbers.
                flat = torch.empty(size // 4, device=self.device).uniform_()
            self._buffer = flat.view(-1, ROW)
            if self.device.type == "cpu":
                self._buffer.fill_(1.0)
        return self._buffer
