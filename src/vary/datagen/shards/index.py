"""Samples of a data set by number: where each lies in which shard, without reading any."""

from __future__ import annotations

import json
from pathlib import Path
from typing import NamedTuple

from vary.datagen.sample import Record, Sample
from vary.datagen.shards.reading import grouped_members, opened, read_manifest, sample_of, shard_paths
from vary.errors import DataError

__all__ = ["ShardIndex"]


class _Place(NamedTuple):
    """Where a sample lies: its shard's number, its key, and (first byte, bytes) of its members by suffix."""

    shard: int
    key: str
    members: dict[str, tuple[int, int]]


class ShardIndex:
    """A finished data set to draw from in any order.

    Only the heads of the shards' members are read at first; a sample is read from its file each time, so the
    index can be pickled and shared by forked processes.

    Raises:
        DataError: if the data set is not finished, or a shard is missing or no shard.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self.manifest: Record = read_manifest(folder)
        """What the samples were made from."""
        self._paths = shard_paths(folder)
        self._places: list[_Place] = []
        for number, path in enumerate(self._paths):
            with opened(path) as tar:
                for key, members in grouped_members(path, tar):
                    where = {suffix: (info.offset_data, info.size) for suffix, info in members.items()}
                    self._places.append(_Place(number, key, where))

    def __len__(self) -> int:
        return len(self._places)

    def key(self, number: int) -> str:
        """The key of sample `number` (0 and up), which no other sample of the data set has."""
        return self._places[number].key

    def record(self, number: int) -> Record:
        """The stored JSON of a sample, not checked further; its image is not read.

        Raises:
            DataError: naming file and key, if it cannot be read or is no JSON object.
        """
        place = self._places[number]
        path = self._paths[place.shard]
        try:
            record = json.loads(_read(path, place, "json"))
        except (ValueError, RecursionError) as error:
            raise DataError(f"{path}: the record of sample {place.key!r} is no JSON, {error}") from error
        if not isinstance(record, dict):
            raise DataError(f"{path}: the record of sample {place.key!r} is no JSON object")
        return record

    def sample(self, number: int) -> Sample:
        """A sample with its image.

        Raises:
            DataError: naming file and key, if it is broken.
        """
        place = self._places[number]
        path = self._paths[place.shard]
        return sample_of(path, place.key, {suffix: _read(path, place, suffix) for suffix in place.members})


def _read(path: Path, place: _Place, suffix: str) -> bytes:
    first, size = place.members[suffix]
    try:
        with path.open("rb") as file:
            file.seek(first)
            data = file.read(size)
    except OSError as error:
        raise DataError(f"{path}: not readable, {error.strerror or error}") from error
    if len(data) != size:
        raise DataError(f"{path}: sample {place.key!r} is cut off; the shard has changed, make it anew")
    return data
