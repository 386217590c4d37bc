"""Free memory of the machine and of a container, and the refusal of what does not fit."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from vary.engine import memory
from vary.errors import DeviceError

CPU = torch.device("cpu")


def pretend(
    monkeypatch: pytest.MonkeyPatch, folder: Path, files: dict[str, str], kilobytes: int = 8_000_000
) -> None:
    """A machine with so much memory and such control group files."""
    (folder / "meminfo").write_text(f"MemTotal: 9 kB\nMemAvailable: {kilobytes} kB\n")
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(f"{text}\n")
    monkeypatch.setattr(memory, "MEMINFO", folder / "meminfo")
    monkeypatch.setattr(memory, "CGROUP", folder)
    monkeypatch.setattr(memory.sys, "platform", "linux")


def test_this_machine_has_some() -> None:
    there = memory.available_memory(CPU)
    assert there is None or there > 10_000_000


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, 8_192_000_000),
        ({"memory.max": "max", "memory.current": "5"}, 8_192_000_000),
        ({"memory.max": "3000000000", "memory.current": "1000000000"}, 2_000_000_000),
        ({"memory.max": "1000", "memory.current": "2000"}, 0),
        ({"memory/memory.limit_in_bytes": "500", "memory/memory.usage_in_bytes": "100"}, 400),
        (
            {"memory/memory.limit_in_bytes": "9223372036854771712", "memory/memory.usage_in_bytes": "100"},
            8_192_000_000,
        ),
    ],
)
def test_the_smaller_of_the_machine_and_the_container(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, files: dict[str, str], expected: int
) -> None:
    pretend(monkeypatch, tmp_path, files)
    assert memory.available_memory(CPU) == expected


def test_what_does_not_fit_is_refused_with_both_numbers(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pretend(monkeypatch, tmp_path, {}, kilobytes=2_000_000)
    memory.check_fits(2_000_000_000, CPU, "x", "y")
    with pytest.raises(
        DeviceError, match=r"^vary-toy needs about 9\.0 GB of memory, and cpu has 2\.0 GB free; use less$"
    ):
        memory.check_fits(9_000_000_000, CPU, "vary-toy", "use less")


def test_where_nothing_is_known_nothing_is_refused() -> None:
    memory.check_fits(1 << 60, torch.device("meta"), "x", "y")


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0.0 MB"),
        (1_500_000, "1.5 MB"),
        (99_000_000, "99.0 MB"),
        (100_000_000, "0.1 GB"),
        (2_600_000_000, "2.6 GB"),
    ],
)
def test_bytes_for_people(count: int, text: str) -> None:
    assert memory.gigabytes(count) == text
