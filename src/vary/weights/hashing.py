"""Checksums of files, read in pieces: SHA-256, and the id that git gives a file."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

__all__ = ["CHUNK", "Advance", "git_id", "hash_file"]

CHUNK = 2**20
"""Bytes that are read at a time."""

Advance = Callable[[int], None]
"""Called with the number of bytes that have just been read, or have just arrived."""


def hash_file(path: Path, advance: Advance = lambda _: None) -> str:
    """The SHA-256 of a file, in hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while piece := stream.read(CHUNK):
            digest.update(piece)
            advance(len(piece))
    return digest.hexdigest()


def git_id(path: Path) -> str:
    """The id of the git blob that a file is: SHA-1 over its size and its bytes, in hexadecimal."""
    digest = hashlib.sha1(b"blob %d\0" % path.stat().st_size, usedforsecurity=False)
    with path.open("rb") as stream:
        while piece := stream.read(CHUNK):
            digest.update(piece)
    return digest.hexdigest()
