"""Fetching checkpoints from the public hub or a direct address: what `vary weights fetch` does.

`prepare` asks the sources and says what would be done, `execute` does it.  What a source gave at the first
fetch is recorded (in the store) and checked ever after.  The hub's address and the user's token are
`huggingface_hub`'s; the bytes come through `download`, so that files of the hub and of direct addresses alike
go on where a download was killed, and are hashed as they arrive.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from vary.errors import DownloadError
from vary.weights.fetching import download as transport
from vary.weights.fetching.offers import Offer, Wanted, direct_offer, hub_offer, refused
from vary.weights.fetching.registry import Entry, find_entry
from vary.weights.fetching.store import (
    Held,
    Lying,
    Record,
    StoredFile,
    checkpoint_folder,
    locked,
    now,
    read_record,
    update_record,
)
from vary.weights.folders import check_space
from vary.weights.hashing import Advance, git_id, hash_file

__all__ = ["Plan", "execute", "fetch", "prepare"]

PROGRESS_STEP = 2**22
"""Bytes between two calls of a progress function: pieces arrive much faster than anybody can look."""

Progress = Callable[[int, int | None], None]
"""Called with the bytes that are done and, where it is known, those of all."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What a fetch would do.

    Attributes:
        entry: the checkpoint.
        folder: where it will lie.
        offers: what its sources have; empty where nothing had to be asked, since all is here.
        here: the files that are here already and right.
    """

    entry: Entry
    folder: Path
    offers: tuple[Offer, ...]
    here: Mapping[str, StoredFile]

    @property
    def files(self) -> tuple[Wanted, ...]:
        """All files of the checkpoint."""
        return tuple(file for offer in self.offers for file in offer.files)

    @property
    def missing(self) -> tuple[Wanted, ...]:
        """Those that have to be downloaded."""
        return tuple(file for file in self.files if file.name not in self.here)

    @property
    def is_done(self) -> bool:
        """Whether everything is here and recorded, so that nothing is left to do."""
        return not self.offers

    @property
    def bytes_missing(self) -> int | None:
        """How many bytes the missing files have; None where a server does not say it."""
        sizes = [file.request.size for file in self.missing]
        return None if None in sizes else sum(size for size in sizes if size is not None)


def fetch(
    name: str,
    *,
    revision: str | None = None,
    update: bool = False,
    endpoint: str | None = None,
    progress: Progress | None = None,
) -> Path:
    """Fetch a checkpoint and return its folder.  Arguments and errors as those of `prepare`."""
    plan = prepare(name, revision=revision, update=update, endpoint=endpoint, progress=progress)
    return execute(plan, progress=progress)


def prepare(
    name: str,
    *,
    revision: str | None = None,
    update: bool = False,
    endpoint: str | None = None,
    progress: Progress | None = None,
) -> Plan:
    """Find out what fetching a checkpoint takes.  Nothing is downloaded, and where all is here nothing asked.

    Args:
        name: of the list (`vary weights list`), or a repository of the hub, `owner/name`.
        revision: a branch, tag or commit of the repository; by default what lies or lay in the checkpoint's
            folder, and at the very first fetch the default branch.
        update: take what the source has now, although something else was recorded.
        endpoint: the hub's address; by default `huggingface_hub`'s, which `HF_ENDPOINT` sets.
        progress: called while the files that are here are hashed.

    Raises:
        CheckpointError: for an unknown name, or a broken record.
        DownloadError: if a source cannot be reached or refuses, or what it has is not what was recorded.
    """
    entry = find_entry(name)
    folder = checkpoint_folder(entry.name)
    record = read_record()
    recorded = record.files(entry.name)
    if revision is None and not update and recorded:
        advance = _counter(progress, sum(stored.size for stored in recorded.values()))
        here = {file: stored for file, stored in recorded.items() if _matches(folder / file, stored, advance)}
        if here.keys() == recorded.keys():
            return Plan(entry, folder, (), here)
    if revision is not None and not entry.parts[0].repository:
        raise DownloadError(
            f"{entry.name} comes from a direct address, which has no revisions; leave --revision out"
        )
    _check_allowed(entry, record)
    placed = {lying.source: lying.revision for lying in record.parts(entry.name)}
    offers = []
    for number, part in enumerate(entry.parts):
        try:
            if part.repository:
                asked = revision if number == 0 else None
                before = placed.get(part.source)
                offer = hub_offer(
                    part, record, revision=asked, placed=before, update=update, endpoint=endpoint
                )
            else:
                offer = direct_offer(part, record, update=update)
        except transport.Unreachable as error:
            raise DownloadError(f"{error}\n{_by_hand(entry, record)}") from error
        offers.append(offer)
    wanted = [file for offer in offers for file in offer.files]
    advance = _counter(progress, sum(_size(folder / file.name) for file in wanted))
    here = {
        file.name: found
        for file in wanted
        if (found := _present(folder / file.name, file.request, advance)) is not None
    }
    return Plan(entry, folder, tuple(offers), here)


def execute(plan: Plan, *, progress: Progress | None = None) -> Path:
    """Download what is missing, record it, and put the checkpoint in its place; returns its folder.

    Killed half-way it leaves `.NAME.partial` beside the place, from which the next call goes on.

    Raises:
        CheckpointError: if the disk has too little room.
        DownloadError: if the download fails, or other bytes arrive than were recorded.
    """
    if plan.is_done:
        return plan.folder
    folder = plan.folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    lock = folder.with_name(f".{folder.name}.lock")
    with locked(lock, f"another vary is fetching {plan.entry.name}"):
        work = _Work(plan)
        check_space(folder, max(0, (plan.bytes_missing or 0) - work.bytes_here()))
        try:
            files = {**plan.here, **_download(plan, work, progress)}
        except transport.Unreachable as error:
            raise DownloadError(
                f"{error}\nWhat has arrived is kept: the same command goes on from there.\n"
                f"{_by_hand(plan.entry, read_record())}"
            ) from error
        repaired = folder.is_dir() and _lies(plan) == read_record().parts(plan.entry.name)
        _remember(plan, files)
        work.put_in_place(repair=repaired)
    return folder


def _check_allowed(entry: Entry, record: Record) -> None:
    if os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE"):
        raise DownloadError(
            "HF_HUB_OFFLINE is set, so no connection is opened; unset it to fetch weights\n"
            f"{_by_hand(entry, record)}"
        )


def _by_hand(entry: Entry, record: Record) -> str:
    """What to do without a network."""
    lines = [f"Without a network, copy these files to {checkpoint_folder(entry.name)} by hand:"]
    known = {lying.source: lying.files for lying in record.parts(entry.name)}
    for part in entry.parts:
        if part.address:
            lines.append(f"  {part.address}")
            continue
        names = known.get(part.source) or part.files
        listed = ", ".join(names) or "the configuration, the weights and the tokenizer's files"
        place = f"{part.repository}/tree/main/{part.folder}".rstrip("/")
        lines.append(f"  from https://huggingface.co/{place}: {listed}")
    lines.append(f"and check them with: vary weights verify {entry.name}")
    if any(part.repository for part in entry.parts):
        lines.append("Another server of the hub's files can be named by the variable HF_ENDPOINT.")
    return "\n".join(lines)


def _counter(progress: Progress | None, total: int | None) -> Advance:
    """Adds up the bytes of pieces, and calls `progress` now and then."""
    done = told = 0

    def advance(count: int) -> None:
        nonlocal done, told
        done += count
        if progress is not None and (abs(done - told) >= PROGRESS_STEP or done == total):
            told = done
            progress(done, total)

    return advance


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


def _matches(path: Path, stored: StoredFile, advance: Advance) -> bool:
    """Whether a file is there, as it was fetched."""
    try:
        return path.stat().st_size == stored.size and hash_file(path, advance) == stored.sha256
    except OSError:
        return False


def _present(path: Path, request: transport.Request, advance: Advance) -> StoredFile | None:
    """A file that is here and is the wanted one; None where it is not, or cannot be told."""
    try:
        size = path.stat().st_size
        if not request.is_known or (request.size is not None and size != request.size):
            return None
        if request.git and git_id(path) != request.git:
            return None
        found = StoredFile(size, hash_file(path, advance))
    except OSError:
        return None
    return None if request.sha256 and found.sha256 != request.sha256 else found


def _lies(plan: Plan) -> tuple[Lying, ...]:
    return tuple(
        Lying(offer.part.source, offer.revision, tuple(file.name for file in offer.files))
        for offer in plan.offers
    )


def _download(plan: Plan, work: _Work, progress: Progress | None) -> dict[str, StoredFile]:
    """Download what is missing; what an interrupted call finished is checked and taken."""
    advance = _counter(progress, plan.bytes_missing)
    files: dict[str, StoredFile] = {}
    for offer in plan.offers:
        for file in offer.files:
            if file.name in plan.here:
                continue
            if (finished := work.finished(file, advance)) is not None:
                files[file.name] = finished
                continue
            target = work.place(file.name)
            try:
                sha256 = transport.download(file.request, target, progress=advance)
            except transport.StatusError as error:
                raise refused(offer.part, error, offer.server, offer.revision) from error
            files[file.name] = StoredFile(target.stat().st_size, sha256)
            work.note(file.name, sha256)
    return files


def _remember(plan: Plan, files: Mapping[str, StoredFile]) -> None:
    """Record what the sources gave."""
    with update_record() as record:
        for offer in plan.offers:
            given = {file.name: files[file.name] for file in offer.files}
            held = Held(offer.revision, now(), offer.licence, offer.server, given)
            record.add(offer.part.source, offer.asked, held)
        record.place(plan.entry.name, _lies(plan))


class _Work:
    """The folder in which a download grows, and a note beside it: which revisions, which files are finished.

    What an older download of other revisions left there goes away.
    """

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.folder = plan.folder.with_name(f".{plan.folder.name}.partial")
        self._notes = self.folder.with_name(f"{self.folder.name}.json")
        self._wanted = [[lying.source, lying.revision] for lying in _lies(plan)]
        self._finished: dict[str, str] = {}
        try:
            noted = json.loads(self._notes.read_text(encoding="utf-8"))
            if noted["wanted"] == self._wanted:
                self._finished = dict(noted["finished"])
            else:
                shutil.rmtree(self.folder, ignore_errors=True)
        except (OSError, ValueError, LookupError, TypeError):
            shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(exist_ok=True)
        self._write()

    def _write(self) -> None:
        content = {"wanted": self._wanted, "finished": self._finished}
        self._notes.write_text(json.dumps(content), encoding="utf-8")

    def bytes_here(self) -> int:
        """How much has arrived already."""
        return sum(path.stat().st_size for path in self.folder.rglob("*") if path.is_file())

    def place(self, name: str) -> Path:
        """Where a file goes."""
        target = self.folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        return target

    def note(self, name: str, sha256: str) -> None:
        """Remember that a file is whole."""
        self._finished[name] = sha256
        self._write()

    def finished(self, file: Wanted, advance: Advance) -> StoredFile | None:
        """A file that an interrupted call has finished, if it still is what was noted and is wanted."""
        path, noted = self.folder / file.name, self._finished.get(file.name)
        if noted is None or not path.is_file():
            return None
        stored = StoredFile(path.stat().st_size, noted)
        wanted = file.request.size in (None, stored.size) and file.request.sha256 in ("", noted)
        return stored if wanted and _matches(path, stored, advance) else None

    def put_in_place(self, *, repair: bool) -> None:
        """Make the files the checkpoint: a repair goes file by file, anything else as a whole folder."""
        folder = self.plan.folder
        if repair:
            for file in self.plan.missing:
                (folder / file.name).parent.mkdir(parents=True, exist_ok=True)
                (self.folder / file.name).replace(folder / file.name)
            shutil.rmtree(self.folder, ignore_errors=True)
        else:
            for name in self.plan.here:
                _link_or_copy(folder / name, self.place(name))
            older = folder.with_name(f".{folder.name}.old")
            shutil.rmtree(older, ignore_errors=True)
            if folder.exists():
                folder.rename(older)
            self.folder.rename(folder)
            shutil.rmtree(older, ignore_errors=True)
        self._notes.unlink(missing_ok=True)


def _link_or_copy(source: Path, target: Path) -> None:
    target.unlink(missing_ok=True)
    try:
        os.link(source, target)
    except OSError:  # a disk that knows no links
        shutil.copyfile(source, target)
