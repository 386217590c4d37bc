"""The public checkpoints that are known by name, each fact with its source (`registry.json`)."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

from vary.errors import CheckpointError, did_you_mean

__all__ = ["Entry", "Part", "entries", "find_entry"]

REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}", re.ASCII)
"""`owner/name`, as the hub writes it."""


@dataclass(frozen=True, slots=True)
class Part:
    """Files that come from one place: a hub repository or a direct address.

    Attributes:
        repository: `owner/name` on the hub, or "".
        address: of one file, or "".
        folder: of the repository, in which the checkpoint lies; "" for its top.
        files: as they were seen there; empty where nobody has listed them.
        exact: whether just these files are wanted; else their names decide (see `vary.weights.fetching.hub`).
        sha256: of files whose checksum a public source gives.
    """

    repository: str = ""
    address: str = ""
    folder: str = ""
    files: tuple[str, ...] = ()
    exact: bool = False
    sha256: Mapping[str, str] = field(default_factory=dict)

    @property
    def source(self) -> str:
        """What it is recorded under: the repository and the folder in it, or the address."""
        return f"{self.repository}/{self.folder}".rstrip("/") if self.repository else self.address


@dataclass(frozen=True, slots=True)
class Entry:
    """One checkpoint; an empty field means that no public source gives it.

    Attributes:
        name: for `vary weights fetch`.
        title: what it is, in a line.
        parts: where its files come from.
        parameters: how many it has.
        size: of its weights, as the source shows it.
        licence: as the source of the files states it.
        notice: what the authors say elsewhere about the use of it.
        facts: by field, the page that gives it.
    """

    name: str
    title: str
    parts: tuple[Part, ...]
    parameters: int | None = None
    size: str = ""
    licence: str = ""
    notice: str = ""
    facts: Mapping[str, str] = field(default_factory=dict)


@cache
def entries() -> Mapping[str, Entry]:
    """All known checkpoints by name, in the order of the list."""
    content = json.loads(Path(__file__).with_name("registry.json").read_text(encoding="utf-8"))
    return MappingProxyType({item["name"]: _entry(item) for item in content["checkpoints"]})


def find_entry(name: str) -> Entry:
    """The checkpoint of a name, or that of a hub repository `owner/name`, known or not.

    Raises:
        CheckpointError: if it is neither; the message lists the names, and says which one may be meant.
    """
    if (known := entries().get(name.lower())) is not None:
        return known
    if REPOSITORY.fullmatch(name) and ".." not in name:
        return Entry(name, "a repository of the hub, by its own name", (Part(repository=name),))
    raise CheckpointError(
        f"there is no checkpoint '{name}'{did_you_mean(name, entries())}; known are {', '.join(entries())}; "
        "any other repository of the hub is named owner/name"
    )


def _entry(item: Mapping[str, Any]) -> Entry:
    parts = tuple(
        Part(**{**part, "files": tuple(part.get("files", ())), "sha256": part.get("sha256", {})})
        for part in item["parts"]
    )
    return Entry(**{**item, "parts": parts})
