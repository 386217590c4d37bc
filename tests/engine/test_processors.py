"""The number of threads: limits of a container count, of either version of control groups."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from vary.engine.light.model import default_threads
from vary.engine.processors import processors


@pytest.fixture(autouse=True)
def eight(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)


def count(folder: Path, own: str, files: dict[str, str]) -> int:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="ascii")
    (folder / "own").write_text(own, encoding="ascii")
    return processors(groups=folder, own=folder / "own")


@pytest.mark.parametrize(
    ("limit", "expected"),
    [
        ("max 100000", 8),
        ("200000 100000", 2),
        ("150000 100000", 2),
        ("20000 100000", 1),
        ("9900000 100000", 8),
    ],
)
def test_the_limit_of_a_container(tmp_path: Path, limit: str, expected: int) -> None:
    assert count(tmp_path, "0::/\n", {"cpu.max": f"{limit}\n"}) == expected


def test_the_least_of_the_groups_around_counts(tmp_path: Path) -> None:
    files = {"a/b/cpu.max": "600000 100000\n", "a/cpu.max": "300000 100000\n", "c/cpu.max": "100000 100000\n"}
    assert count(tmp_path, "0::/a/b\n", files) == 3


@pytest.mark.parametrize(("quota", "expected"), [("-1", 8), ("400000", 4)])
def test_the_limit_of_the_first_version(tmp_path: Path, quota: str, expected: int) -> None:
    files = {"cpu,cpuacct/x/cpu.cfs_quota_us": f"{quota}\n", "cpu,cpuacct/x/cpu.cfs_period_us": "100000\n"}
    own = "9:name=systemd:/x\n3:cpuset:/x\n1:cpu,cpuacct:/x\n0::/\n"
    assert count(tmp_path, own, files) == expected


def test_without_control_groups_or_with_nonsense(tmp_path: Path) -> None:
    assert processors(groups=tmp_path, own=tmp_path / "none") == 8
    assert count(tmp_path, "0::/\n", {"cpu.max": "100000 0\n"}) == 8


def test_what_the_environment_says_comes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vary.engine.light.model.processors", lambda: 3)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    assert default_threads() == 3
    monkeypatch.setenv("OMP_NUM_THREADS", "5")
    assert default_threads() == 5
    monkeypatch.setenv("OMP_NUM_THREADS", "0")
    assert default_threads() == 3
