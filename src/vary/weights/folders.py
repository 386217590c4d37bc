"""Checkpoint folders that are whole or not there: written under another name, then renamed."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from vary.errors import CheckpointError

__all__ = ["PART", "check_new", "check_space", "leftovers", "new_folder"]

PART = ".part-"
"""Between a folder's name and some digits while it is being written: `NAME.part-1f0c93aa`."""
SPARE_BYTES = 64 * 2**20


def check_new(target: Path) -> None:
    """Raises CheckpointError where `target` is a file, or a folder that holds anything."""
    if target.is_dir():
        if any(target.iterdir()):
            raise CheckpointError(
                f"{target} is a folder that is not empty; name a new one, nothing is overwritten"
            )
    elif target.exists() or target.is_symlink():
        raise CheckpointError(f"{target} exists already; name a new one, nothing is overwritten")


def check_space(target: Path, needed: int) -> None:
    """Raises CheckpointError where the disk of `target` has less than `needed` bytes and some to spare."""
    place = target.absolute()
    while not place.exists():
        place = place.parent
    free = shutil.disk_usage(place).free
    if free < needed + SPARE_BYTES:
        raise CheckpointError(
            f"{target} needs {needed / 1e9:.1f} GB and the disk has {free / 1e9:.1f} GB free; "
            "make room or name a place on another disk"
        )


def leftovers(target: Path) -> list[Path]:
    """What writes of `target` that were killed have left beside it; one that still runs is among them."""
    if not target.parent.is_dir():
        return []
    return sorted(path for path in target.parent.iterdir() if path.name.startswith(f"{target.name}{PART}"))


@contextmanager
def new_folder(target: Path, *, needed: int = 0) -> Iterator[Path]:
    """A folder to write into, which becomes `target` at the end, or goes away again after an error.

    Raises:
        CheckpointError: if `target` is there and not empty, or the disk has not `needed` bytes free, or
            anything cannot be written.
    """
    check_new(target)
    check_space(target, needed)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        folder = target.with_name(f"{target.name}{PART}{secrets.token_hex(4)}")
        folder.mkdir()
    except OSError as error:
        raise CheckpointError(f"{target} cannot be written ({error.strerror}); name another place") from error
    try:
        yield folder
        if target.is_dir():
            target.rmdir()  # empty, as was checked
        folder.rename(target)
    except OSError as error:
        raise CheckpointError(
            f"{target} cannot be written ({error.strerror or error}); nothing was left there"
        ) from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)
