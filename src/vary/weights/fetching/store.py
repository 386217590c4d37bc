"""Where fetched weights lie, and the record of first fetches that they are checked against ever after.

`$VARY_HOME/weights/NAME` holds a checkpoint, `$VARY_HOME/weights.json` the record.  The record outlives the
files: what was fetched once and deleted must come back the same.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

from vary.errors import CheckpointError, DownloadError

__all__ = [
    "Held",
    "Lying",
    "Record",
    "StoredFile",
    "checkpoint_folder",
    "find",
    "home",
    "locked",
    "now",
    "read_record",
    "update_record",
]

RECORD = "weights.json"
FORMAT = 1
WEIGHTS_ENDINGS = (".safetensors", ".bin", ".ckpt", ".pth", ".pt")


def home() -> Path:
    """The folder of vary's data: `$VARY_HOME`, else the platform's folder for data of the user."""
    if given := os.environ.get("VARY_HOME"):
        return Path(given).expanduser().absolute()
    user = Path.home()
    if sys.platform == "darwin":
        return user / "Library" / "Application Support" / "vary"
    if sys.platform == "win32":
        local = os.environ.get("LOCALAPPDATA")
        return (Path(local) if local else user / "AppData" / "Local") / "vary"
    data = Path(os.environ.get("XDG_DATA_HOME") or "")
    # The specification: a relative path is invalid and to be ignored.
    return (data if data.is_absolute() else user / ".local" / "share") / "vary"


def checkpoint_folder(name: str) -> Path:
    """Where a checkpoint of this name lies, or would; `owner/name` becomes `owner--name`."""
    return home() / "weights" / name.replace("/", "--")


def find(name: str) -> Path | None:
    """The folder of a fetched checkpoint, or one that was copied there by hand; None if there is none.

    A download that is not finished is never found: it grows in another folder.
    """
    if not name or name.startswith((".", "/")) or set(name) & set("\\:") or ".." in name:
        return None
    folder = checkpoint_folder(name)
    try:
        files = [path for path in folder.iterdir() if path.suffix in WEIGHTS_ENDINGS and path.is_file()]
    except OSError:
        return None
    return folder if files else None


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A file as it was fetched."""

    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Lying:
    """What of one source lies in a checkpoint's folder: the names of the files, and their revision."""

    source: str
    revision: str
    files: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Held:
    """What one source gave at one revision, at the first fetch.

    Attributes:
        revision: the commit of a hub repository; "" for a direct address.
        date: of the first fetch.
        licence: as the source showed it then; "" if it showed none.
        server: where the bytes came from.
        files: by name, as they were.
    """

    revision: str
    date: str
    licence: str
    server: str
    files: Mapping[str, StoredFile]


class Record:
    """The record of first fetches: what every source gave at every revision, and what lies where."""

    def __init__(self, content: Mapping[str, Any] | None = None) -> None:
        content = content or {}
        self._asked: dict[str, dict[str, str]] = {}
        self._held: dict[str, dict[str, Held]] = {}
        self._checkpoints: dict[str, tuple[Lying, ...]] = {
            name: tuple(Lying(p["source"], p["revision"], tuple(p["files"])) for p in parts)
            for name, parts in content.get("checkpoints", {}).items()
        }
        for source, known in content.get("sources", {}).items():
            self._asked[source] = dict(known["asked"])
            self._held[source] = {
                revision: Held(
                    revision,
                    held["date"],
                    held["licence"],
                    held["server"],
                    {name: StoredFile(int(f["size"]), str(f["sha256"])) for name, f in held["files"].items()},
                )
                for revision, held in known["revisions"].items()
            }

    def revision(self, source: str, asked: str) -> str | None:
        """The revision that a source gave when `asked` (a branch, a tag) was first asked for, or accepted."""
        return self._asked.get(source, {}).get(asked)

    def held(self, source: str, revision: str) -> Held | None:
        """What the source gave at this revision."""
        return self._held.get(source, {}).get(revision)

    def parts(self, name: str) -> tuple[Lying, ...]:
        """What lies in a checkpoint's folder, source by source; empty if it was never fetched."""
        return self._checkpoints.get(name, ())

    def names(self) -> tuple[str, ...]:
        """The checkpoints that were fetched, those too whose files are gone since."""
        return tuple(self._checkpoints)

    def files(self, name: str) -> dict[str, StoredFile]:
        """All files of a checkpoint's folder as they were fetched; empty if it was never fetched."""
        found: dict[str, StoredFile] = {}
        for part in self.parts(name):
            held = self.held(part.source, part.revision)
            found |= {file: held.files[file] for file in part.files if held and file in held.files}
        return found

    def add(self, source: str, asked: str, held: Held) -> None:
        """Remember what a source gave when `asked` (or, with "", its revision) was asked for.

        Files that are known at this revision stay as they are; a direct address has only the latest ones.
        """
        if asked:
            self._asked.setdefault(source, {})[asked] = held.revision
        known = self.held(source, held.revision)
        if known is not None and held.revision:
            held = replace(known, files={**held.files, **known.files})
        self._held.setdefault(source, {})[held.revision] = held

    def place(self, name: str, parts: Iterable[Lying]) -> None:
        """Remember what lies in a checkpoint's folder."""
        self._checkpoints[name] = tuple(parts)

    def to_json(self) -> dict[str, Any]:
        """The record as it is written."""
        sources = {
            source: {
                "asked": self._asked.get(source, {}),
                "revisions": {
                    revision: {
                        "date": held.date,
                        "licence": held.licence,
                        "server": held.server,
                        "files": {name: asdict(file) for name, file in sorted(held.files.items())},
                    }
                    for revision, held in revisions.items()
                },
            }
            for source, revisions in self._held.items()
        }
        checkpoints = {name: [asdict(part) for part in parts] for name, parts in self._checkpoints.items()}
        return {"format": FORMAT, "sources": sources, "checkpoints": checkpoints}


def read_record() -> Record:
    """The record of this user; an empty one before the first fetch.

    Raises:
        CheckpointError: if the file is broken: then nothing can be checked against it.
    """
    path = home() / RECORD
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content["format"] != FORMAT:
            raise CheckpointError(f"{path} has format {content['format']}, expected {FORMAT}; update vary")
        return Record(content)
    except FileNotFoundError:
        return Record()
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise CheckpointError(
            f"{path} is no record of fetched weights ({type(error).__name__}: {error}); restore it, or "
            "remove it: then the next fetch of every checkpoint counts as the first"
        ) from error


@contextmanager
def update_record() -> Iterator[Record]:
    """The record, to be changed: it is written when the block ends without an error, whole or not at all."""
    path = home() / RECORD
    path.parent.mkdir(parents=True, exist_ok=True)
    with locked(path.with_name(f".{RECORD}.lock"), "another vary writes it", wait=True):
        record = read_record()
        yield record
        draft = path.with_name(f".{RECORD}.new")
        draft.write_text(json.dumps(record.to_json(), ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
        draft.replace(path)


def now() -> str:
    """The time in UTC, to the second."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


@contextmanager
def locked(path: Path, meaning: str, *, wait: bool = False) -> Iterator[None]:
    """Hold a lock file, which the system releases when the process ends, however it ends.

    Raises:
        DownloadError: if another process holds it and `wait` is not set; `meaning` is what the message says.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+b") as stream:
        try:
            _lock(stream, wait=wait)
        except OSError as error:
            raise DownloadError(f"{path}: is locked, {meaning}; wait until it has ended") from error
        yield


if sys.platform == "win32":
    import msvcrt

    def _lock(stream: IO[bytes], *, wait: bool) -> None:
        stream.seek(0)
        msvcrt.locking(stream.fileno(), msvcrt.LK_LOCK if wait else msvcrt.LK_NBLCK, 1)

else:
    import fcntl

    def _lock(stream: IO[bytes], *, wait: bool) -> None:
        fcntl.flock(stream, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
