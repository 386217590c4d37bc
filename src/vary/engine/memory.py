"""How much memory a device has free, and whether a model fits: asked before it is loaded, not by a crash."""

from __future__ import annotations

import ctypes
import os
import sys
from pathlib import Path

import torch

from vary.errors import DeviceError

__all__ = ["available_memory", "check_fits", "gigabytes"]

MEMINFO = Path("/proc/meminfo")
CGROUP = Path("/sys/fs/cgroup")


def available_memory(device: torch.device) -> int | None:
    """Bytes that a device can give to a model now; None where that cannot be said.

    Of a CPU it is what the system says is available, and within a container never more than its limit leaves.
    """
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return int(free)
    if device.type != "cpu":
        return None
    bounds = [bound for bound in (_system_memory(), _container_memory()) if bound is not None]
    return min(bounds, default=None)


def check_fits(needed: int, device: torch.device, what: str, remedy: str) -> None:
    """Raises DeviceError, with both numbers and the remedy, if `needed` bytes are not there on a device.

    Args:
        needed: bytes.
        device: where.
        what: that needs them, as the beginning of a sentence.
        remedy: what to do instead.
    """
    there = available_memory(device)
    if there is not None and needed > there:
        raise DeviceError(
            f"{what} needs about {gigabytes(needed)} of memory, and {device} has {gigabytes(there)} free; "
            f"{remedy}"
        )


def gigabytes(count: int) -> str:
    """Bytes for people: `2.6 GB`; below 0.1 GB in megabytes, `30.5 MB`."""
    return f"{count / 1e9:.1f} GB" if count >= 1e8 else f"{count / 1e6:.1f} MB"


def _system_memory() -> int | None:
    platform = str(sys.platform)  # not narrowed to the one that types are checked on
    if platform == "linux":
        for line in MEMINFO.read_text(encoding="ascii").splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
        return None
    if platform == "win32":
        return _windows_memory()
    try:  # nothing says what is free, so all that there is
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError):
        return None


def _windows_memory() -> int | None:
    class Status(ctypes.Structure):
        _fields_ = (
            ("length", ctypes.c_uint32),
            ("load", ctypes.c_uint32),
            *((name, ctypes.c_uint64) for name in ("total", "available", "a", "b", "c", "d", "e")),
        )

    status = Status(length=ctypes.sizeof(Status))
    kernel = getattr(ctypes, "windll").kernel32  # noqa: B009 - is there on Windows alone
    return int(status.available) if kernel.GlobalMemoryStatusEx(ctypes.byref(status)) else None


def _container_memory() -> int | None:
    """What the limit of the process's control group leaves, version 2 or 1; None without a limit."""
    for limit_file, used_file in (
        (CGROUP / "memory.max", CGROUP / "memory.current"),
        (CGROUP / "memory/memory.limit_in_bytes", CGROUP / "memory/memory.usage_in_bytes"),
    ):
        try:
            limit, used = (file.read_text(encoding="ascii").strip() for file in (limit_file, used_file))
        except OSError:
            continue
        # Version 1 says "no limit" by a number larger than any memory.
        if limit.isdigit() and int(limit) < 1 << 60:
            return max(0, int(limit) - int(used))
    return None
