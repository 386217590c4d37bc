"""Shards made by a Ray cluster: the jobs are rows of a Ray data set, each mapped in a task of its own.

A job says all that its shard depends on, so the cluster's size changes nothing but the time.  Every machine
has the package and the data set's folder; results are written there, and only notes travel back.
"""

from __future__ import annotations

import json
import logging
import os
import socket
from collections.abc import Generator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import cv2

from vary.datagen.sample import Engine, Record
from vary.datagen.shards.jobs import Job, finished_note, write_shard
from vary.errors import DataError, MissingDependencyError, OutputError, VaryError

__all__ = ["run_jobs"]

LOCAL = "local"
"""The address that starts a cluster of this machine alone."""
_ERRORS: dict[str, type[VaryError]] = {"DataError": DataError, "OutputError": OutputError}


def run_jobs(
    engine: Engine, folder: Path, jobs: list[Job], *, address: str, workers: int | None
) -> Generator[Record, None, None]:
    """Write the shards of `jobs` on the cluster at `address`; yields their notes in the order they end.

    Uses the session of Ray that this process has, if it has one; else starts or joins one and leaves it at
    the end.

    Raises:
        MissingDependencyError: without Ray.
        DataError: if the cluster cannot be reached, or as `write_shard`.
        OutputError: if shards are written where this machine does not see them.
    """
    ray, data = _ray()
    begun = not ray.is_initialized()
    if begun:
        _start(ray, address, workers)
    try:
        yield from _mapped(ray, data, engine, folder.absolute(), jobs, workers)
    finally:
        if begun:
            ray.shutdown()


def _ray() -> tuple[Any, Any]:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is reported to anybody
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise MissingDependencyError(
            "work on a cluster needs Ray, which is not installed: pip install 'vary-toy[ray]'"
        ) from error
    return ray, ray.data


def _start(ray: Any, address: str, workers: int | None) -> None:
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR", "address": address}
    if address == LOCAL:
        options |= {"num_cpus": workers, "include_dashboard": False}
    try:
        _check_address(address)
        ray.init(**options)
    except Exception as error:  # Ray raises plain exceptions too, when it starts too slowly on a busy machine
        raise DataError(
            f"no Ray cluster at {address!r}, {error}; expected HOST:PORT of a running one, auto for the one "
            "that this machine is part of, or local to start one here"
        ) from error


def _check_address(address: str) -> None:
    """Knock at the door first: Ray itself would wait for many minutes.

    Raises:
        ValueError: if it is no address.
        OSError: if nobody answers there.
    """
    if address in (LOCAL, "auto"):
        return
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if not (host and colon and port.isdigit()):
        raise ValueError("which is no address")
    with socket.create_connection((host, int(port)), timeout=5):
        pass


def _mapped(
    ray: Any, data: Any, engine: Engine, folder: Path, jobs: list[Job], workers: int | None
) -> Generator[Record, None, None]:
    context = data.DataContext.get_current()
    context.enable_progress_bars = False
    logging.getLogger("ray.data").setLevel(logging.ERROR)  # its talk is of plans and operators, not of shards
    work = _Work(ray.put(engine), folder)
    rows = data.from_items([{"job": json.dumps(asdict(job))} for job in jobs], override_num_blocks=len(jobs))
    tasks = data.TaskPoolStrategy(size=workers)
    for row in rows.map(work, compute=tasks).iter_rows():
        result = json.loads(row["result"])
        if "error" in result:
            raise _ERRORS[result["error"]](result["message"])
        if finished_note(folder, result["number"]) is None:
            raise OutputError(
                f"{folder}: shard {result['number']} was written, but not here; the folder must be on "
                "storage that all machines of the cluster share"
            )
        yield result


class _Work:
    """What a task does with a row; errors of ours come back as rows, so that their words stay whole."""

    def __init__(self, engine: Any, folder: Path) -> None:
        self.engine, self.folder = engine, folder

    def __call__(self, row: dict[str, Any]) -> dict[str, str]:
        import ray

        cv2.setNumThreads(1)
        try:
            note = write_shard(ray.get(self.engine), self.folder, Job(**json.loads(row["job"])))
        except tuple(_ERRORS.values()) as error:
            note = {"error": type(error).__name__, "message": str(error)}
        return {"result": json.dumps(note)}
