"""Where a benchmark runs: processor, memory, system, versions, commit, and how busy the machine is."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vary import __version__

if TYPE_CHECKING:
    import torch

__all__ = [
    "available_memory",
    "load_average",
    "machine_facts",
    "package_versions",
    "peak_memory",
    "restart_peak",
]

PACKAGES = ("torch", "transformers", "numpy")


def machine_facts(device: torch.device, threads: int) -> dict[str, Any]:
    """What a figure needs to be repeated."""
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "threads": threads,
        "memory_bytes": _memory("MemTotal"),
        "device": str(device),
        "device_name": _device_name(device),
        "system": platform.platform(),
        "python": platform.python_version(),
        "vary": __version__,
        "commit": _commit(),
        "packages": package_versions(*PACKAGES),
    }


def package_versions(*names: str) -> dict[str, str]:
    """The versions of those packages that are installed."""
    found = {}
    for name in names:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def load_average() -> float | None:
    """Processes that wanted to run during the last minute; None where the system does not say."""
    try:
        return round(os.getloadavg()[0], 2)
    except (OSError, AttributeError):
        return None


def available_memory() -> int | None:
    """Bytes that new processes can have; None where the system does not say."""
    return _memory("MemAvailable")


def peak_memory() -> int:
    """The most bytes that were resident in this process since the last `restart_peak`."""
    status = _table(Path("/", "proc", "self", "status"))
    if "VmHWM" in status:
        return status["VmHWM"]
    import resource

    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if platform.system() == "Darwin" else most * 1024


def restart_peak() -> bool:
    """Forgets the peak so far, where the system can; returns whether it did."""
    try:
        Path("/", "proc", "self", "clear_refs").write_text("5")
    except OSError:
        return False
    return True


def _device_name(device: torch.device) -> str:
    if device.type == "cpu":
        return _processor()
    import torch

    backend = getattr(torch, device.type)
    name = getattr(backend, "get_device_name", None)
    return str(name(device)) if name else device.type


def _processor() -> str:
    """Its name as the system has it."""
    try:
        text = Path("/", "proc", "cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in text.splitlines() if line.startswith("model name")]
    name = names[0] if names else platform.machine()
    return f"{name} ({_instructions(text)})"


def _instructions(text: str) -> str:
    """The widest vector instructions that matter here."""
    flags = set(text.split())
    known: Mapping[str, str] = {
        "amx_int8": "AMX",
        "avx512_vnni": "AVX512-VNNI",
        "avx512f": "AVX512",
        "avx_vnni": "AVX-VNNI",
        "avx2": "AVX2",
        "asimd": "NEON",
    }
    return next((name for flag, name in known.items() if flag in flags), "no vector instructions known")


def _memory(name: str) -> int | None:
    return _table(Path("/", "proc", "meminfo")).get(name)


def _table(path: Path) -> dict[str, int]:
    """The entries of one of the kernel's tables that are in kB, in bytes."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError:
        return {}
    rows = (line.replace(":", " ").split() for line in lines)
    return {row[0]: 1024 * int(row[1]) for row in rows if len(row) == 3 and row[2] == "kB"}


def _commit() -> str | None:
    """The commit of the checkout that this package runs from, `+` behind it where files were changed."""
    folder = Path(__file__).resolve().parent

    def git(*words: str) -> str:
        done = subprocess.run(
            ["git", "-C", str(folder), *words], capture_output=True, text=True, check=True, timeout=20
        )
        return done.stdout.strip()

    try:
        if git("ls-files", "--error-unmatch", "../__init__.py") == "":
            return None
        changed = git("status", "--porcelain", "--untracked-files=no", "--", "..")
        return git("rev-parse", "--short=12", "HEAD") + ("+" if changed else "")
    except (OSError, subprocess.SubprocessError):
        return None
