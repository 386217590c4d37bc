"""Checkpoint folders that are whole or not there: written under another name, then renamed."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from os import PathLike
from pathlib import Path

from safetensors import SafetensorError

from vary.errors import CheckpointError

__all__ = ["PART", "check_new", "check_space", "copy_file", "leftovers", "new_folder"]

PART = ".part-"
"""Between a folder's name and some digits while it is being written: `NAME.part-1f0c93aa`."""
SPARE_BYTES = 64 * 2**20


def check_new(target: Path) -> None:
    """Raises CheckpointError where `target` is a file, a folder that holds anything, or the one we are in."""
    if target.is_dir():
        if any(target.iterdir()):
            raise CheckpointError(
                f"{target} is a folder that is not empty; name a new one, nothing is overwritten"
            )
        if target.samefile(Path.cwd()):
            raise CheckpointError(f"{target} is the current folder, which cannot be replaced; name a new one")
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


def copy_file(source: str | PathLike[str], target: str | PathLike[str]) -> None:
    """Copies a file; raises CheckpointError with the name of the source where that cannot be read.

    What cannot be written stays an OSError, which `new_folder` explains.
    """
    reason = ""
    try:
        if Path(source).is_file():
            Path(source).open("rb").close()
        else:
            reason = "no file" if Path(source).exists() else "a link to nothing"
    except OSError as error:
        reason = error.strerror or str(error)
    if reason:
        raise CheckpointError(f"{source} cannot be copied ({reason}); put it right or take it away")
    shutil.copyfile(source, target)


def _check_text(target: Path) -> None:
    """Raises CheckpointError where the name is no UTF-8 text: not every library can write there."""
    try:
        str(target).encode()
    except UnicodeEncodeError as error:
        raise CheckpointError(f"the name {str(target)!r} is no UTF-8 text; name another place") from error


@contextmanager
def new_folder(target: Path, *, needed: int = 0) -> Iterator[Path]:
    """A folder to write into, which becomes `target` at the end, or goes away again after an error.

    Raises:
        CheckpointError: if `target` is there and not empty, its name is no text, the disk has not `needed`
            bytes free, or anything cannot be written.
    """
    check_new(target)
    _check_text(target)
    check_space(target, needed)
    if target.is_symlink():
        target = target.resolve()  # a link to an empty folder: the link stays, what it leads to is replaced
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
    except (OSError, SafetensorError) as error:
        reason = getattr(error, "strerror", None) or error
        raise CheckpointError(f"{target} cannot be written ({reason}); nothing was left there") from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)
