"""Data sets written by any engine: jobs handed out to processes or to Ray, resumed, summed up in a manifest.

Each shard is made from its own indices, so it holds the same samples whatever the number of workers.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing, contextmanager
from dataclasses import replace
from multiprocessing.connection import wait as wait_for_end
from pathlib import Path
from typing import Any

import cv2

from vary.datagen.programs import end_all_programs
from vary.datagen.provenance import package_versions
from vary.datagen.sample import Engine, Record
from vary.datagen.shards.jobs import (
    INDICES_PER_SHARD,
    Job,
    broken_limit,
    finished_note,
    remove_shard,
    remove_unnamed,
    too_many_broken,
    write_atomically,
    write_shard,
)
from vary.datagen.shards.locking import only_writer
from vary.datagen.shards.reading import read_manifest
from vary.datagen.shards.records import MANIFEST, SCHEMA, json_bytes
from vary.errors import DataError, OutputError

__all__ = ["describe_engine", "write_shards"]

Progress = Callable[[int], None]
"""Called with the number of samples that are made."""
_EVERY = 0.2
"""Seconds between two calls, where no shard ends between them."""


def write_shards(
    engine: Engine,
    folder: str | Path,
    *,
    samples: int | None = None,
    samples_per_shard: int = 1000,
    workers: int | None = None,
    ray: str | None = None,
    progress: Progress | None = None,
) -> Record:
    """Write a data set of `engine` to `folder` and return its manifest.

    An endless engine needs `samples`; a finite one gives all it has, or its first `samples`.  Goes on with an
    unfinished data set of the same settings; does nothing to a finished one.  The work is done by `workers`
    processes of this machine (None: one), or by the Ray cluster at the address `ray` (`local` starts one
    here), at most `workers` shards at a time (None: as many as it has cores); the folder is then one that
    every machine of the cluster has.

    Raises:
        DataError: if the folder holds another data set, another process writes it, the engine fails, or
            nothing comes of it.
        OutputError: if the folder cannot be written.
        MissingDependencyError: if Ray is asked for and not installed.
    """
    for name, value in (("samples", samples), ("samples_per_shard", samples_per_shard), ("workers", workers)):
        if value is not None and value < 1:
            raise DataError(f"{name}={value}: expected at least 1")
    if samples is None and engine.length is None:
        raise DataError(f"the engine {engine.name!r} has no end: say how many samples it shall make")
    folder = Path(folder)
    head = {**describe_engine(engine), "samples": samples, "samples_per_shard": samples_per_shard}
    stored = _stored(folder, head)
    if stored is not None and "shards" in stored:
        return stored  # before anything is written: the folder may be one to read only
    with _writable(folder):
        folder.mkdir(parents=True, exist_ok=True)
    with only_writer(folder):
        run = _Run(engine, folder, workers, ray, progress)
        return _written(run, head, samples, samples_per_shard)


def _written(run: _Run, head: Record, samples: int | None, samples_per_shard: int) -> Record:
    """Begin the data set or go on with it, to its end; returns its manifest."""
    engine, folder = run.engine, run.folder
    started = _begin(folder, head)
    if "shards" in started:
        return started
    jobs = _jobs(engine, samples, samples_per_shard)
    notes = {job.number: note for job in jobs if (note := finished_note(folder, job.number)) is not None}
    limit = samples if engine.length is not None else None
    _complete(jobs, notes, run, limit)
    ordered = [notes[job.number] for job in jobs if job.number in notes]
    if limit is not None:
        ordered = _cut(jobs, ordered, run, limit)
    manifest = {**head, **_totals(ordered, engine)}
    # Workers end the shard that they are in when enough is reached: those notes never came back to us.
    remove_unnamed(folder, ordered)
    write_atomically(folder / MANIFEST, json_bytes(manifest, indent=1))
    for note in ordered:
        remove_shard(folder, note, files=False)
    return manifest


def describe_engine(engine: Engine) -> Record:
    """What an engine's samples depend on; the head of a manifest and of a training run's record."""
    described = engine.describe()
    versions = {**package_versions(), **described.get("versions", {})}
    return {"schema": SCHEMA, "engine": engine.name, **described, "versions": versions}


def _jobs(engine: Engine, samples: int | None, per_shard: int) -> list[Job]:
    length = engine.length
    if length is None:
        assert samples is not None
        return [
            Job(
                number=number,
                first=number * INDICES_PER_SHARD,
                stop=None,
                samples=min(per_shard, samples - first),
                per_file=per_shard,
                broken_allowed=None,
            )
            for number, first in enumerate(range(0, samples, per_shard))
        ]
    # How many samples an index gives is known to the engine alone, if at all: documents have many pages.
    indices = max(1, per_shard // max(1, int(getattr(engine, "samples_per_index", 1))))
    return [
        Job(
            number=number,
            first=first,
            stop=min(first + indices, length),
            samples=None,
            per_file=per_shard,
            broken_allowed=broken_limit(length),
        )
        for number, first in enumerate(range(0, length, indices))
    ]


class _Run:
    """Who does the work: this process, several, or Ray."""

    def __init__(
        self, engine: Engine, folder: Path, workers: int | None, ray: str | None, progress: Progress | None
    ) -> None:
        self.engine, self.folder, self.workers, self.ray = engine, folder, workers, ray
        self.progress = progress or (lambda done: None)
        self.done = 0
        """Samples on disk."""

    def notes(self, jobs: list[Job]) -> Generator[Record, None, None]:
        """The notes of jobs, in the order in which they end."""
        if self.ray is not None:
            from vary.datagen.ray_runner import run_jobs

            notes = run_jobs(self.engine, self.folder, jobs, address=self.ray, workers=self.workers)
        elif (count := min(self.workers or 1, len(jobs))) == 1:
            notes = self._here(jobs)
        else:
            notes = self._in_processes(jobs, count)
        with closing(notes):
            for note in notes:
                self.done += note["samples"]
                self.progress(self.done)
                yield note

    def _here(self, jobs: list[Job]) -> Generator[Record, None, None]:
        for job in jobs:
            made, told = 0, 0.0

            def tick() -> None:
                nonlocal made, told
                made += 1
                if time.monotonic() - told > _EVERY:
                    told = time.monotonic()
                    self.progress(self.done + made)

            yield write_shard(self.engine, self.folder, job, tick)

    def _in_processes(self, jobs: list[Job], count: int) -> Generator[Record, None, None]:
        # Not forked: OpenCV's threads do not survive a fork, and the child then waits for them for ever.
        context = multiprocessing.get_context("spawn")
        made, stop = context.Value("q", 0), context.Event()
        before = self.done
        pool = ProcessPoolExecutor(
            count, context, initializer=_start_worker, initargs=(self.engine, self.folder, made, stop)
        )
        try:
            pending = {pool.submit(_work, job) for job in jobs}
            while pending:
                ended, pending = wait(pending, timeout=_EVERY, return_when=FIRST_COMPLETED)
                for future in ended:
                    yield future.result()
                self.progress(max(self.done, before + made.value))
        except BrokenProcessPool as error:
            raise DataError(
                "a worker process was ended from outside, perhaps for want of memory; give the same command "
                "again to go on, with fewer workers"
            ) from error
        finally:
            stop.set()
            pool.shutdown(wait=True, cancel_futures=True)


_WORKER: tuple[Engine, Path, Any, Any] | None = None
"""What a worker process works with: engine, folder, the count of samples that all share, and a stop sign."""


class _Stopped(Exception):
    """The run was given up; nobody waits for this shard."""


def _start_worker(engine: Engine, folder: Path, made: Any, stop: Any) -> None:
    global _WORKER
    _WORKER = (engine, folder, made, stop)
    cv2.setNumThreads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the first process gets it too, and says when to stop
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """A worker whose first process was killed would wait for work for ever."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    wait_for_end([parent.sentinel])
    end_all_programs()
    # The programs' temporary folders stay: the thread that would remove them may be deep in foreign code.
    os._exit(1)


def _work(job: Job) -> Record:
    assert _WORKER is not None
    engine, folder, made, stop = _WORKER

    def tick() -> None:
        with made.get_lock():
            made.value += 1
        if stop.is_set():
            raise _Stopped

    return write_shard(engine, folder, job, tick)


def _complete(jobs: list[Job], notes: dict[int, Record], run: _Run, limit: int | None) -> None:
    """Do the jobs that have no note yet, until those from the first on hold `limit` samples."""
    run.done = sum(note["samples"] for note in notes.values())
    allowed = jobs[0].broken_allowed if jobs else None

    def enough() -> bool:
        if limit is None:
            return False
        total = 0
        for job in jobs:
            if job.number not in notes:
                return False
            total += notes[job.number]["samples"]
            if total >= limit:
                return True
        return False

    missing = [job for job in jobs if job.number not in notes]
    if not missing or enough():
        return
    broken = sum(len(note["broken"]) for note in notes.values())
    with closing(run.notes(missing)) as ended:
        for note in ended:
            notes[note["number"]] = note
            broken += len(note["broken"])
            if allowed is not None and broken > allowed:
                raise too_many_broken([e for n in sorted(notes) for e in notes[n]["broken"]], allowed)
            if enough():
                return


def _cut(jobs: list[Job], notes: list[Record], run: _Run, limit: int) -> list[Record]:
    """The first shards, which hold `limit` samples together; the last is made anew if it holds more."""
    kept: list[Record] = []
    rest = limit
    for note in notes:
        if rest == 0 or note["number"] != len(kept):  # behind a shard that was not needed any more
            remove_shard(run.folder, note, files=True)
            continue
        if note["samples"] > rest:
            remove_shard(run.folder, note, files=True)
            note = write_shard(run.engine, run.folder, replace(jobs[note["number"]], samples=rest))
        kept.append(note)
        rest -= note["samples"]
    return kept


def _begin(folder: Path, head: Record) -> Record:
    """The folder's manifest if it is this very data set; writes the unfinished one where there is none.

    Raises:
        DataError: if the folder's data set is made differently.
        OutputError: if the folder cannot be written.
    """
    with _writable(folder):
        for rest in folder.glob(".*.partial"):
            rest.unlink(missing_ok=True)  # of a run that was killed: no other is at work
        stored = _stored(folder, head)
        if stored is None:
            strangers = sorted(entry.name for entry in folder.glob("*.tar"))
            if strangers:
                raise DataError(f"{folder} holds {strangers[0]} but no {MANIFEST}: choose an empty folder")
            write_atomically(folder / MANIFEST, json_bytes(head, indent=1))
        return stored or head


def _stored(folder: Path, head: Record) -> Record | None:
    """The folder's manifest, None where there is none; an unfinished one has no `shards`.

    Raises:
        DataError: if the folder's data set is made differently.
    """
    with _writable(folder):
        if not (folder / MANIFEST).exists():
            return None
    stored = read_manifest(folder)
    now = json.loads(json_bytes(head))
    different = [key for key, value in now.items() if stored.get(key) != value]
    if different:
        key = different[0]
        raise DataError(
            f"{folder} holds a data set with other {', '.join(different)} "
            f"({key}: {_short(stored.get(key))}, now {_short(now[key])}): "
            "choose another folder, or remove this one"
        )
    return stored


@contextmanager
def _writable(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise OutputError(f"{folder}: cannot be written, {error.strerror or error}") from error


def _short(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) < 80 else text[:77] + "..."


def _totals(notes: list[Record], engine: Engine) -> Record:
    """What the whole data set comes to.

    Raises:
        DataError: if it has no sample.
    """
    dropped, counts = Counter[str](), Counter[str]()
    for note in notes:
        dropped.update(note["dropped"])
        counts.update(note["counts"])
    samples = sum(note["samples"] for note in notes)
    broken = [entry for note in notes for entry in note["broken"]]
    if not samples:
        why = "; ".join(f"{entry['source']}: {entry['reason']}" for entry in broken[:3])
        raise DataError(
            f"the engine {engine.name!r} gave no sample: left out {dict(sorted(dropped.items()))}, "
            f"{len(broken)} broken" + (f" ({why})" if why else "")
        )
    return {
        "counts": {"samples": samples, **_grouped(counts)},
        "dropped": dict(sorted(dropped.items())),
        "broken": broken,
        "shards": [file for note in notes for file in note["files"]],
    }


def _grouped(counts: Counter[str]) -> Record:
    """Counts by name; `fonts/Lato` is counted under `fonts`, by what stands behind the stroke."""
    record: Record = {}
    for name, count in sorted(counts.items()):
        group, stroke, member = name.partition("/")
        if not stroke:
            record[name] = count
        elif isinstance(inner := record.setdefault(group, {}), dict):
            inner[member] = count
        else:
            raise DataError(f"an engine counts {group!r} both as a number and as a group, {name!r}")
    return record
