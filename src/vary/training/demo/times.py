"""How long the stages take, and on what."""

from __future__ import annotations

import json
import os
import platform
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from vary.training.running import write_json

__all__ = ["Times", "hardware"]


class Times:
    """What the stages of a folder took, in a file there; what a stage that is gone on with takes is added."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @contextmanager
    def stage(self, name: str, *, processors: bool = True) -> Iterator[None]:
        """Notes the seconds of a stage, and those that the processors worked in this process."""
        begun, worked = time.monotonic(), time.process_time()
        yield
        took = {"seconds": time.monotonic() - begun}
        if processors:
            took["processor_seconds"] = time.process_time() - worked
        self.add(name, took)

    def add(self, name: str, took: Mapping[str, float]) -> None:
        """Adds to what a stage took."""
        times = self.read()
        before = times.get(name, {})
        now = {what: before.get(what, 0.0) + value for what, value in took.items()}
        write_json(self.path, {**times, name: now})

    def read(self) -> dict[str, dict[str, float]]:
        """All stages so far."""
        if not self.path.exists():
            return {}
        found: dict[str, dict[str, float]] = json.loads(self.path.read_text(encoding="utf-8"))
        return found


def hardware() -> dict[str, Any]:
    """What the figures were measured on."""
    return {
        "processor": _processor_name(),
        "cores": os.cpu_count(),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
        "torch": torch.__version__,
    }


def _processor_name() -> str:
    """As the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
