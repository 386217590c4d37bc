"""Shards read back, one sample at a time; a tar file is taken as hostile until it has shown otherwise."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from vary.datagen.sample import Record, Sample
from vary.datagen.shards.records import (
    MANIFEST,
    MAX_PICTURE_BYTES,
    MAX_RECORD_BYTES,
    SCHEMA,
    decode_sample,
)
from vary.errors import DataError

__all__ = [
    "grouped_members",
    "opened",
    "read_keyed",
    "read_manifest",
    "read_shard",
    "read_shards",
    "sample_of",
    "shard_paths",
]

_LIMITS = {"png": MAX_PICTURE_BYTES, "jpg": MAX_PICTURE_BYTES, "json": MAX_RECORD_BYTES}
"""What members there are, by suffix, and how many bytes one may have."""
_MAX_MANIFEST_BYTES = 256 * 2**20


def read_manifest(folder: str | Path) -> Record:
    """The manifest of a data set; one that is not finished has no `shards` yet.

    Raises:
        DataError: if there is none, or it is broken or of another schema; the message names the file.
    """
    path = Path(folder) / MANIFEST
    try:
        if path.stat().st_size > _MAX_MANIFEST_BYTES:
            raise DataError(f"{path}: larger than {_MAX_MANIFEST_BYTES} bytes, not a manifest of ours")
        manifest = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{path}: no readable manifest, {error}; `vary synth` writes one") from error
    schema = manifest.get("schema") if isinstance(manifest, dict) else None
    if schema != SCHEMA:
        raise DataError(f"{path}: schema {schema!r}, expected {SCHEMA!r}; make the data set anew")
    record: Record = manifest
    return record


def read_shards(folder: str | Path) -> Iterator[Sample]:
    """All samples of a finished data set, shard after shard.

    Raises:
        DataError: if the data set is not finished, or a shard of its manifest is missing or broken.
    """
    for path in shard_paths(folder):
        yield from read_shard(path)


def shard_paths(folder: str | Path) -> list[Path]:
    """The shards of a finished data set, in order.

    Raises:
        DataError: if it is not finished, or its manifest names files elsewhere.
    """
    folder = Path(folder)
    manifest = read_manifest(folder)
    if "shards" not in manifest:
        raise DataError(f"{folder}: the data set is not finished; run the command that began it again")
    shards = manifest["shards"]
    names = [shard.get("file") if isinstance(shard, dict) else None for shard in shards]
    for name in names:
        if not isinstance(name, str) or not name or Path(name).name != name:
            raise DataError(f"{folder / MANIFEST}: names the shard {name!r}; expected a file of its folder")
    return [folder / str(name) for name in names]


def read_shard(path: str | Path) -> Iterator[Sample]:
    """The samples of one tar file, in its order.

    Raises:
        DataError: as `read_keyed`.
    """
    return (sample for _, sample in read_keyed(path))


def read_keyed(path: str | Path) -> Iterator[tuple[str, Sample]]:
    """The samples of one tar file, each with its key.

    Raises:
        DataError: naming file and key, for a broken file, and for one with compressed data, links, devices,
            names that lead elsewhere, or members that are no sample's or larger than the limits.
    """
    path = Path(path)
    with opened(path) as tar:
        yield from _samples(path, tar)


@contextmanager
def opened(path: Path) -> Iterator[tarfile.TarFile]:
    """A shard open for reading.

    Raises:
        DataError: naming the file, for whatever is wrong with it, while it is open too.
    """
    try:
        # "r:" takes no compressed archive: what is read is never more than what lies on the disk.
        with tarfile.open(path, "r:") as tar:
            yield tar
    except (OSError, tarfile.TarError, ValueError, EOFError) as error:
        # ValueError: what the tarfile module raises for some broken numbers in headers.
        raise DataError(f"{path}: not a readable shard, {error}") from error


def _samples(path: Path, tar: tarfile.TarFile) -> Iterator[tuple[str, Sample]]:
    for key, members in grouped_members(path, tar):
        streams = {suffix: tar.extractfile(member) for suffix, member in members.items()}
        data = {suffix: stream.read() for suffix, stream in streams.items() if stream is not None}
        yield key, sample_of(path, key, data)


Members = dict[str, tarfile.TarInfo]
"""A sample's members by suffix: one `json` and at most one picture."""


def grouped_members(path: Path, tar: tarfile.TarFile) -> Iterator[tuple[str, Members]]:
    """The members of each sample of an open shard, with its key; nothing of them is read yet.

    Raises:
        DataError: as `read_keyed`, for what the heads of members tell.
    """
    key, members = "", Members()
    for member in tar:
        name, suffix = _checked_name(path, member)
        if name != key and members:
            yield key, _whole(path, key, members)
            members = {}
        key = name
        if suffix in members:
            raise DataError(f"{path}: member {member.name!r} comes twice")
        members[suffix] = member
    if members:
        yield key, _whole(path, key, members)


def _checked_name(path: Path, member: tarfile.TarInfo) -> tuple[str, str]:
    """A member's key and suffix."""
    name, _, suffix = member.name.rpartition(".")
    if not member.isreg() or member.issparse():
        raise DataError(f"{path}: member {member.name!r} is no plain file; shards hold nothing else")
    strange = name.startswith("/") or ".." in name.split("/") or not name.isprintable() or "\\" in name
    if not name or strange:
        raise DataError(f"{path}: member {member.name!r} has a name that no sample has")
    if suffix not in _LIMITS:
        raise DataError(f"{path}: member {member.name!r} is none of {', '.join(_LIMITS)}")
    if member.size > _LIMITS[suffix]:
        raise DataError(
            f"{path}: member {member.name!r} has {member.size} bytes, expected at most {_LIMITS[suffix]}"
        )
    return name, suffix


def _whole(path: Path, key: str, members: Members) -> Members:
    if "json" not in members or len(members) > 2:
        found = ", ".join(f"{key}.{suffix}" for suffix in members)
        raise DataError(f"{path}: a sample is {found}; expected one .json and at most one picture")
    return members


def sample_of(path: Path, key: str, data: dict[str, bytes]) -> Sample:
    """A sample from what its members hold, by suffix.

    Raises:
        DataError: naming file and key, if it is broken.
    """
    picture = next((part for suffix, part in data.items() if suffix != "json"), None)
    try:
        return decode_sample(data["json"], picture)
    except DataError as error:
        raise DataError(f"{path}: sample {key!r} cannot be used: {error}") from error
