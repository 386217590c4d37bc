"""Ray makes the same shards as processes of this machine, whatever its size."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fake_engines import FakeEngine
from vary.datagen.lines.engine import LineEngine
from vary.datagen.ray_runner import _start
from vary.datagen.shards import read_manifest, write_shards
from vary.errors import DataError, MissingDependencyError, OutputError

TESTS = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """A Ray of this machine, with three workers; the tests share it."""
    import os

    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    import ray

    for attempt in range(4):  # Ray gives up after half a minute, which a busy machine may take to start it
        try:
            ray.init(
                num_cpus=3,
                include_dashboard=False,
                log_to_driver=False,
                logging_level="ERROR",
                object_store_memory=100 * 2**20,
                runtime_env={"env_vars": {"PYTHONPATH": str(TESTS)}},
            )
            break
        except Exception as error:  # Ray has no class of its own for a start that is too slow
            ray.shutdown()
            if attempt == 3 or "timed out during startup" not in str(error):
                raise
    yield ray
    ray.shutdown()


def hashes(folder: Path) -> dict[str, str]:
    """SHA-256 of every shard, as the manifest says; `write_shards` took them off the files."""
    return {shard["file"]: shard["sha256"] for shard in read_manifest(folder)["shards"]}


@pytest.mark.parametrize("length", [None, 60])
def test_one_worker_three_workers_and_processes_agree(
    cluster: Any, tmp_path: Path, length: int | None
) -> None:
    engine = FakeEngine(length=length, broken=(7,) if length else ())
    options = {"samples": 100, "samples_per_shard": 12}
    write_shards(engine, tmp_path / "processes", workers=2, **options)
    for workers in (1, 3, None):
        reported: list[int] = []
        write_shards(
            engine,
            tmp_path / f"ray{workers}",
            workers=workers,
            ray="local",
            progress=reported.append,
            **options,
        )
        assert hashes(tmp_path / f"ray{workers}") == hashes(tmp_path / "processes")
        assert read_manifest(tmp_path / f"ray{workers}") == read_manifest(tmp_path / "processes")
        assert max(reported) >= 100
    for file in hashes(tmp_path / "processes"):
        assert (tmp_path / "ray3" / file).read_bytes() == (tmp_path / "processes" / file).read_bytes()
    assert cluster.is_initialized(), "the session was there before and is not ours to end"


def test_lines_by_ray(cluster: Any, tmp_path: Path, engine: LineEngine) -> None:
    for name, options in (("here", {}), ("ray", {"ray": "local"})):
        write_shards(engine, tmp_path / name, samples=45, samples_per_shard=15, workers=3, **options)
    assert hashes(tmp_path / "ray") == hashes(tmp_path / "here")


def test_ray_goes_on_where_processes_stopped(cluster: Any, tmp_path: Path) -> None:
    class Stopping(FakeEngine):
        def draw(self, index: int) -> Any:
            if index >= 1_000_000:
                raise KeyboardInterrupt
            return super().draw(index)

    with pytest.raises(KeyboardInterrupt):
        write_shards(Stopping(), tmp_path / "mixed", samples=60, samples_per_shard=20)
    before = (tmp_path / "mixed" / "shard-000000.tar").stat().st_mtime_ns
    write_shards(FakeEngine(), tmp_path / "mixed", samples=60, samples_per_shard=20, ray="local")
    write_shards(FakeEngine(), tmp_path / "whole", samples=60, samples_per_shard=20)
    assert (tmp_path / "mixed" / "shard-000000.tar").stat().st_mtime_ns == before
    assert hashes(tmp_path / "mixed") == hashes(tmp_path / "whole")


def test_errors_come_back_whole(cluster: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DataError, match=r"^file-1000002\.bin: it is broken, expected a whole one$"):
        write_shards(FakeEngine(broken=(1_000_002,)), tmp_path, samples=40, samples_per_shard=20, ray="local")
    assert not list(tmp_path.glob(".*")), "something half is left"
    # A machine that writes to a disk of its own.
    monkeypatch.setattr("vary.datagen.ray_runner.finished_note", lambda folder, number: None)
    with pytest.raises(OutputError, match="all machines of the cluster share"):
        write_shards(FakeEngine(), tmp_path / "elsewhere", samples=5, ray="local")


@pytest.mark.parametrize("address", ["127.0.0.1:9", "nonsense", "ray://127.0.0.1:9", ":7", "a:b"])
def test_a_cluster_that_is_not_there(address: str) -> None:
    class NoRay:
        def init(self, **options: object) -> None:
            pytest.fail("would wait for minutes")

    with pytest.raises(DataError, match=f"no Ray cluster at '{address}'.*HOST:PORT"):
        _start(NoRay(), address, None)


def test_without_ray(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'vary-toy\[ray\]'"):
        write_shards(FakeEngine(), tmp_path, samples=5, ray="local")
