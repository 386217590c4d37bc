"""Data sets on disk: WebDataset tar files with a manifest.

A folder holds `shard-000000.tar`, `shard-000001.tar`, ... and `manifest.json`.  A sample is two members of a
tar file, `KEY.png` and `KEY.json` with `task`, `prompt`, `answer`, `boxes`, `source`, `licence` and what
else its engine knows. A shard has its final name only when it is whole (written beside, then renamed), and a
`.json` note beside it while the data set is being written; `manifest.json` comes last.  Writing again into
the same folder goes on where it stopped.

Each shard is made from its own page numbers, so it has the same samples whatever the number of workers.
"""

from __future__ import annotations

import io
import json
import multiprocessing
import os
import platform
import tarfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from vary.datagen.corpus import file_sha256
from vary.datagen.lines.engine import LineEngine, LineSample
from vary.errors import DataError

__all__ = [
    "MANIFEST",
    "ShardItem",
    "describe_engine",
    "read_manifest",
    "read_shard",
    "read_shards",
    "write_shards",
]

MANIFEST = "manifest.json"
SCHEMA = "vary-shards/1"
_PAGES_PER_SHARD = 1_000_000
"""Room between the first page numbers of two shards."""

Record = dict[str, Any]


@dataclass(frozen=True, slots=True)
class ShardItem:
    """One stored sample: its key, picture (uint8, (H, W) gray or (H, W, 3) RGB) and record."""

    key: str
    image: NDArray[np.uint8]
    record: Record

    @property
    def answer(self) -> str:
        """What the model shall answer: for a text line, exactly what is written on it."""
        return str(self.record["answer"])


# writing


@dataclass(frozen=True, slots=True)
class _Job:
    """One shard to write: `lines` samples from the pages `number * _PAGES_PER_SHARD` onwards."""

    folder: Path
    number: int
    lines: int


_ENGINE: LineEngine | None = None
"""The engine of a worker process."""


def _start_worker(engine: LineEngine) -> None:
    global _ENGINE
    _ENGINE = engine
    cv2.setNumThreads(1)


def _work(job: _Job) -> Record:
    if _ENGINE is None:
        raise DataError("a shard worker was started without an engine: use write_shards")
    return _write_shard(_ENGINE, job)


def write_shards(
    engine: LineEngine,
    folder: str | Path,
    *,
    lines: int,
    lines_per_shard: int = 5000,
    workers: int = 1,
    progress: Callable[[int], None] | None = None,
) -> Record:
    """Write `lines` samples of `engine` to `folder` and return the manifest.

    Goes on with an unfinished data set of the same configuration; does nothing to a finished one.
    `progress` is called with the number of samples that are on disk.  Raises `DataError` when the folder
    holds something else.
    """
    if lines < 1 or lines_per_shard < 1 or workers < 1:
        raise DataError(
            f"lines={lines}, lines_per_shard={lines_per_shard}, workers={workers}: expected at least 1 each"
        )
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    head = {**describe_engine(engine), "lines": lines, "lines_per_shard": lines_per_shard}
    started = _begin(folder, head)
    if "counts" in started:
        return started
    jobs = [
        _Job(folder, number, min(lines_per_shard, lines - first))
        for number, first in enumerate(range(0, lines, lines_per_shard))
    ]
    notes = {job.number: note for job in jobs if (note := _finished(job)) is not None}
    done = sum(note["samples"] for note in notes.values())
    for note in _run([job for job in jobs if job.number not in notes], engine, workers):
        notes[note["number"]] = note
        done += note["samples"]
        if progress:
            progress(done)
    manifest = {**head, **_totals([notes[job.number] for job in jobs])}
    _write_atomically(folder / MANIFEST, _json_bytes(manifest, indent=1))
    for job in jobs:
        _note_path(folder, job.number).unlink(missing_ok=True)
    return manifest


def _run(jobs: list[_Job], engine: LineEngine, workers: int) -> Iterator[Record]:
    if workers == 1 or len(jobs) < 2:
        for job in jobs:
            yield _write_shard(engine, job)
        return
    # Not forked: OpenCV's threads do not survive a fork, and the child then waits for them for ever.
    context = multiprocessing.get_context("spawn")
    count = min(workers, len(jobs))
    with ProcessPoolExecutor(count, context, initializer=_start_worker, initargs=(engine,)) as pool:
        futures = [pool.submit(_work, job) for job in jobs]
        try:
            for future in as_completed(futures):
                yield future.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def describe_engine(engine: LineEngine) -> Record:
    """What an engine's samples depend on: texts, fonts, settings, versions; the head of a manifest."""
    config = asdict(engine.config)
    files = [Path(file) for file in config.pop("corpus")]
    versions = {
        name: _version(name)
        for name in ("pillow", "opencv-python-headless", "numpy", "fonttools", "vary-toy")
    }
    return {
        "schema": SCHEMA,
        "engine": "text",
        "split": engine.config.split,
        "seed": engine.config.seed,
        "config": json.loads(json.dumps(config)),
        "corpus": [{"file": file.name, "sha256": file_sha256(file)} for file in files],
        "fonts": {family: [f.style for f in faces] for family, faces in engine.fonts.by_family().items()},
        "versions": {"python": platform.python_version(), **versions},
    }


def _version(distribution: str) -> str | None:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def _begin(folder: Path, head: Record) -> Record:
    """The folder's manifest if it is this very data set; writes the unfinished one where there is none.

    An unfinished manifest has no `counts`.  Raises `DataError` if the folder's data set is made differently.
    """
    path = folder / MANIFEST
    for rest in folder.glob(".*.partial"):
        rest.unlink()  # of a run that was killed
    if not path.exists():
        strangers = sorted(entry.name for entry in folder.glob("*.tar"))
        if strangers:
            raise DataError(f"{folder} holds {strangers[0]} but no {MANIFEST}: choose an empty folder")
        _write_atomically(path, _json_bytes(head, indent=1))
        return head
    stored = read_manifest(folder)
    different = [key for key, value in head.items() if stored.get(key) != value]
    if different:
        key = different[0]
        raise DataError(
            f"{folder} holds a data set with other {', '.join(different)} "
            f"({key}: {_short(stored.get(key))}, now {_short(head[key])}): "
            "choose another folder, or remove this one"
        )
    return stored


def _short(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) < 80 else text[:77] + "..."


def _finished(job: _Job) -> Record | None:
    """The note of a shard that is whole, or None."""
    note_path = _note_path(job.folder, job.number)
    if not (note_path.exists() and _shard_path(job.folder, job.number).exists()):
        return None
    note: Record = json.loads(note_path.read_text(encoding="utf-8"))
    return note


def _totals(notes: list[Record]) -> Record:
    dropped, families = Counter[str](), Counter[str]()
    for note in notes:
        dropped.update(note["dropped"])
        families.update(note["families"])
    return {
        "counts": {
            "samples": sum(note["samples"] for note in notes),
            "pages": sum(note["pages"] for note in notes),
            "painted_lines": sum(note["painted_lines"] for note in notes),
            "characters": sum(note["characters"] for note in notes),
            "dropped": dict(sorted(dropped.items())),
            "families": dict(sorted(families.items())),
        },
        "shards": [{key: note[key] for key in ("file", "samples", "sha256")} for note in notes],
    }


def _write_shard(engine: LineEngine, job: _Job) -> Record:
    """Write one shard and its note; both appear under their names only when they are whole."""
    path = _shard_path(job.folder, job.number)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    counts: Counter[str] = Counter()
    dropped, families = Counter[str](), Counter[str]()
    index = job.number * _PAGES_PER_SHARD
    try:
        with tarfile.open(partial, "w", format=tarfile.USTAR_FORMAT) as tar:
            while counts["samples"] < job.lines:
                page = engine.page_samples(index)
                index += 1
                counts.update(pages=1, painted_lines=page.painted)
                dropped.update(page.dropped)
                for sample in page.samples[: job.lines - counts["samples"]]:
                    key = f"{job.number:06d}-{counts['samples']:06d}"
                    _add(tar, f"{key}.png", _png(sample.image))
                    _add(tar, f"{key}.json", _json_bytes(_record(sample)))
                    counts.update(samples=1, characters=len(sample.text))
                    families[sample.family] += 1
                if counts["pages"] >= 200 and counts["samples"] < counts["pages"] // 50:
                    raise DataError(
                        f"{counts['pages']} pages gave {counts['samples']} lines, left out: {dict(dropped)}; "
                        "relax max_width_px, min_chars or columns"
                    )
        note = {
            "number": job.number,
            "file": path.name,
            "sha256": file_sha256(partial),
            **counts,
            "dropped": dict(dropped),
            "families": dict(families),
        }
        _write_atomically(_note_path(job.folder, job.number), _json_bytes(note))
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
    return note


def _record(sample: LineSample) -> Record:
    return {
        "task": "ocr",
        "prompt": "",  # a line model reads what it is shown
        "answer": sample.text,
        "boxes": [list(sample.box)],
        "source": sample.source,
        "licence": sample.licence,
        "language": sample.language,
        "font": sample.font,
        "family": sample.family,
        "size": round(sample.size, 2),
        "degradation": sample.degradation,
        "page": sample.page_index,
        "line": sample.line_index,
    }


def _png(image: NDArray[np.uint8]) -> bytes:
    _, data = cv2.imencode(".png", image, [cv2.IMWRITE_PNG_COMPRESSION, 3])
    return bytes(data)


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.size = len(data)  # no time, no owner: the same samples give the same bytes
    tar.addfile(info, io.BytesIO(data))


def _json_bytes(value: object, indent: int | None = None) -> bytes:
    return json.dumps(value, ensure_ascii=False, indent=indent).encode()


def _write_atomically(path: Path, data: bytes) -> None:
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    partial.write_bytes(data)
    os.replace(partial, path)


def _shard_path(folder: Path, number: int) -> Path:
    return folder / f"shard-{number:06d}.tar"


def _note_path(folder: Path, number: int) -> Path:
    return folder / f"shard-{number:06d}.json"


# reading


def read_manifest(folder: str | Path) -> Record:
    """The manifest of a data set; raises `DataError`, naming the file, when there is none or it is broken."""
    path = Path(folder) / MANIFEST
    try:
        manifest: Record = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: no readable manifest, {error}; `vary synth` writes one") from error
    if manifest.get("schema") != SCHEMA:
        raise DataError(f"{path}: schema {manifest.get('schema')!r}, expected {SCHEMA!r}")
    return manifest


def read_shard(path: str | Path) -> Iterator[ShardItem]:
    """The samples of one tar file, in its order; raises `DataError`, naming file and key, for a broken
    one."""
    path = Path(path)
    try:
        with tarfile.open(path) as tar:
            picture: tuple[str, bytes] | None = None
            for member in tar:
                stream = tar.extractfile(member)
                key, _, suffix = member.name.partition(".")
                data = stream.read() if stream else b""
                if suffix == "png":
                    picture = (key, data)
                elif suffix == "json" and picture is not None and picture[0] == key:
                    yield _item(path, key, picture[1], data)
                else:
                    raise DataError(
                        f"{path}: member {member.name!r} is not the second half of a .png and .json pair"
                    )
    except (OSError, tarfile.TarError) as error:
        raise DataError(f"{path}: not a readable shard, {error}") from error


def _item(path: Path, key: str, picture: bytes, record: bytes) -> ShardItem:
    image = cv2.imdecode(np.frombuffer(picture, np.uint8), cv2.IMREAD_UNCHANGED)
    if image is None:
        raise DataError(f"{path}: the picture of sample {key!r} is broken")
    if image.ndim == 3:
        image = cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
    try:
        return ShardItem(key, image, json.loads(record))
    except ValueError as error:
        raise DataError(f"{path}: the record of sample {key!r} is no JSON, {error}") from error


def read_shards(folder: str | Path) -> Iterator[ShardItem]:
    """All samples of a finished data set, shard after shard.

    Raises `DataError` when the data set is not finished or a shard of its manifest is missing.
    """
    folder = Path(folder)
    manifest = read_manifest(folder)
    if "shards" not in manifest:
        raise DataError(f"{folder}: the data set is not finished; run the command that began it again")
    yield from _read_all(folder / shard["file"] for shard in manifest["shards"])


def _read_all(paths: Iterable[Path]) -> Iterator[ShardItem]:
    for path in paths:
        yield from read_shard(path)
