"""One shard's work: which indices of an engine it holds, and writing it whole or not at all."""

from __future__ import annotations

import io
import json
import os
import re
import tarfile
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from vary.datagen.corpus import file_sha256
from vary.datagen.sample import Draw, Engine, Record, Sample
from vary.datagen.shards.records import encode_sample, json_bytes
from vary.errors import DataError, OutputError

__all__ = [
    "Job",
    "broken_limit",
    "finished_note",
    "remove_shard",
    "remove_unnamed",
    "write_atomically",
    "write_shard",
]

INDICES_PER_SHARD = 1_000_000
"""Room between the first indices of two shards of an endless engine."""
BROKEN_SHARE = 0.1
BROKEN_ALWAYS = 3
"""So many broken indices of a finite engine never stop a run; beyond them, at most this share of all."""

_OURS = re.compile(r"shard-\d{6,}(-\d{3,})?\.(tar|json)")
"""Names of shards and of their notes; what else a user keeps in the folder is not ours to remove."""

Tick = Callable[[], None]
"""Called after each sample; may raise to stop the work."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One shard to write.

    Attributes:
        number: of the shard.
        first: its first index.
        stop: the index after its last one; None for an endless engine.
        samples: how many samples it takes at most; None: all of its indices.
        per_file: a shard of more samples is written as several files.
        broken_allowed: so many indices may be broken; None: none may.
    """

    number: int
    first: int
    stop: int | None
    samples: int | None
    per_file: int
    broken_allowed: int | None


def broken_limit(length: int) -> int:
    """How many of so many indices may be broken before a run stops."""
    return max(BROKEN_ALWAYS, int(BROKEN_SHARE * length))


def write_shard(engine: Engine, folder: Path, job: Job, tick: Tick = lambda: None) -> Record:
    """Make the samples of one job and store them; returns its note: files, hashes, counts.

    Raises:
        DataError: if an index of an endless engine is broken, or too many of a finite one.
        OutputError: if the folder cannot be written, for instance because the disk is full.
    """
    note_path = _note_path(folder, job.number)
    with _storing(folder), _Files(folder, job) as files:
        record = _fill(engine, job, files, tick)
        files.finish()
        note = {"number": job.number, "files": files.records, **record}
        write_atomically(note_path, json_bytes(note))
        files.publish()
    return note


def _fill(engine: Engine, job: Job, files: _Files, tick: Tick) -> Record:
    """Add the job's samples to the files; returns what its note says of them."""
    counts, dropped = Counter[str](), Counter[str]()
    broken: list[Record] = []
    index = job.first
    while not (_full(files, job) or index == job.stop):
        try:
            draw = engine.draw(index)
        except DataError as error:
            if job.broken_allowed is None:
                raise
            broken.append({"index": index, "source": _source(engine, index), "reason": str(error)})
            if len(broken) > job.broken_allowed:
                raise too_many_broken(broken, job.broken_allowed) from error
            draw = Draw(())
        index += 1
        counts.update(draw.counts)
        dropped.update(draw.dropped)
        for sample in draw.samples:
            if _full(files, job):
                break
            files.add(encode_sample(sample, getattr(engine, "jpeg_quality", None)))
            counts.update(_counted(sample))
            tick()
        _check_yield(index - job.first, files.samples, dropped, job)
    return {
        "samples": files.samples,
        "counts": {"indices": index - job.first, **counts},
        "dropped": dict(dropped),
        "broken": broken,
    }


def _full(files: _Files, job: Job) -> bool:
    return job.samples is not None and files.samples >= job.samples


def _counted(sample: Sample) -> Counter[str]:
    return Counter(
        {
            "characters": len(sample.answer) + sum(len(answer) for _, answer in sample.later),
            "boxes": len(sample.boxes),
            f"tasks/{sample.task}": 1,
            f"languages/{sample.language}": 1,
            f"licences/{sample.licence}": 1,
        }
    )


def _check_yield(indices: int, samples: int, dropped: Counter[str], job: Job) -> None:
    """An endless engine that hardly gives anything would go on for ever."""
    if job.stop is not None:
        return
    if (indices >= 200 and samples < indices // 50) or indices >= INDICES_PER_SHARD:
        raise DataError(
            f"{indices} indices gave {samples} samples, left out: {dict(dropped)}; relax the engine's "
            "settings"
        )


def _source(engine: Engine, index: int) -> str:
    """What an index is, in the engine's words where it has them: `source_of(index)`."""
    source_of = getattr(engine, "source_of", None)
    return str(source_of(index)) if source_of is not None else f"{engine.name} {index}"


def too_many_broken(broken: list[Record], allowed: int) -> DataError:
    """The error of a run in which more than `allowed` indices are broken; names the first of them."""
    first = "; ".join(f"{entry['source']}: {entry['reason']}" for entry in broken[:3])
    return DataError(
        f"more than {allowed} broken files or records, which is what a run passes over: {first}; mend or "
        "remove them"
    )


class _Files:
    """The files of a shard, beside their final names until `publish`; gone again if that is not reached."""

    def __init__(self, folder: Path, job: Job) -> None:
        self.folder, self.job = folder, job
        self.samples = 0
        self.records: list[Record] = []
        self._partials: list[tuple[Path, Path]] = []
        self._tar: tarfile.TarFile | None = None
        self._in_file = 0

    def __enter__(self) -> _Files:
        return self

    def __exit__(self, *_: object) -> None:
        if self._tar is not None:
            assert self._tar.fileobj is not None
            with suppress(OSError):  # of a full disk, which has been told already
                self._tar.fileobj.close()  # without an end mark: what is thrown away needs none
        for partial, _final in self._partials:
            partial.unlink(missing_ok=True)

    def add(self, members: list[tuple[str, bytes]]) -> None:
        """Store the members of one sample under the next key."""
        if self._tar is None or self._in_file == self.job.per_file:
            self.finish()
            self._tar = self._opened()
        key = f"{self.job.number:06d}-{self.samples:06d}"
        for suffix, data in members:
            info = tarfile.TarInfo(f"{key}.{suffix}")
            info.size = len(data)  # no time, no owner: the same samples give the same bytes
            self._tar.addfile(info, io.BytesIO(data))
        self.samples += 1
        self._in_file += 1

    def _opened(self) -> tarfile.TarFile:
        part = len(self._partials)
        name = f"shard-{self.job.number:06d}" + (f"-{part:03d}" if part else "") + ".tar"
        partial = _partial(self.folder / name)
        self._partials.append((partial, self.folder / name))
        self._in_file = 0
        return tarfile.open(partial, "w", format=tarfile.USTAR_FORMAT)

    def finish(self) -> None:
        """Close the file that is being written and record it."""
        if self._tar is None:
            return
        self._tar.close()
        self._tar = None
        partial, final = self._partials[-1]
        self.records.append({"file": final.name, "samples": self._in_file, "sha256": file_sha256(partial)})

    def publish(self) -> None:
        """Give the files their names."""
        for partial, final in self._partials:
            os.replace(partial, final)


def finished_note(folder: Path, number: int) -> Record | None:
    """The note of a shard all of whose files are there, or None."""
    try:
        note: Record = json.loads(_note_path(folder, number).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    return note if all((folder / file["file"]).is_file() for file in note["files"]) else None


def remove_shard(folder: Path, note: Record, *, files: bool) -> None:
    """Take away a shard's note and, with `files`, the shard itself."""
    _note_path(folder, note["number"]).unlink(missing_ok=True)
    for file in note["files"] if files else ():
        (folder / file["file"]).unlink(missing_ok=True)


def remove_unnamed(folder: Path, notes: list[Record]) -> None:
    """Take away every shard and every note of one that `notes` do not name.

    Raises:
        OutputError: if the folder cannot be written.
    """
    kept = {_note_path(folder, note["number"]).name for note in notes}
    kept |= {file["file"] for note in notes for file in note["files"]}
    with _storing(folder):
        for path in folder.iterdir():
            if _OURS.fullmatch(path.name) and path.name not in kept:
                path.unlink(missing_ok=True)


def write_atomically(path: Path, data: bytes) -> None:
    """Write a file whole or not at all."""
    partial = _partial(path)
    try:
        partial.write_bytes(data)
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def _partial(path: Path) -> Path:
    """A name beside the final one that no other process, here or on another machine, has."""
    return path.with_name(f".{path.name}.{uuid.uuid4().hex}.partial")


def _note_path(folder: Path, number: int) -> Path:
    return folder / f"shard-{number:06d}.json"


@contextmanager
def _storing(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise OutputError(
            f"{folder}: cannot be written, {error.strerror or error}; what is finished stays: make room and "
            "give the same command again, it goes on from there"
        ) from error
