"""How many processors this process may use: those it may run on, as far as its container's limit goes."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

__all__ = ["processors"]


def processors(*, groups: Path = Path("/sys/fs/cgroup"), own: Path = Path("/proc/self/cgroup")) -> int:
    """How many threads are worth starting, at least one.

    A container with 1.5 processors' time gets two: a thread fewer would leave time unused.

    Args:
        groups: where Linux shows its control groups.
        own: the file that says to which of them this process belongs.
    """
    affinity = getattr(os, "sched_getaffinity", None)
    count = len(affinity(0)) if affinity is not None else os.cpu_count() or 1
    return max(1, min([count, *(math.ceil(share) for share in _shares(groups, own))]))


def _shares(groups: Path, own: Path) -> Iterator[float]:
    """The limits, in processors, of this process' control group and of those around it."""
    for line in (_read(own) or "").splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        top = groups / controllers  # the second version has a single tree, without a name
        place = PurePosixPath(path)
        for group in (place, *place.parents):
            folder = top / group.relative_to("/")
            both = _read(folder / "cpu.max") or " ".join(
                _read(folder / f"cpu.cfs_{name}_us") or "" for name in ("quota", "period")
            )
            quota, _, period = both.strip().partition(" ")
            if quota.isdigit() and period.isdigit() and int(period):  # "max", or -1: no limit
                yield int(quota) / int(period)


def _read(file: Path) -> str | None:
    """What is in a file; None where it is not there or not ours to read."""
    try:
        return file.read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        return None
