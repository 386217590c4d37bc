"""Files of results: a file appears complete or not at all, and never replaces one that is there."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from vary.errors import OutputError

__all__ = ["write_new_bytes", "write_new_file"]


def write_new_file(path: Path, text: str) -> Path:
    """Write `text` as UTF-8, as `write_new_bytes` does; a lone surrogate becomes an escape."""
    return write_new_bytes(path, text.encode("utf-8", "backslashreplace"))


def write_new_bytes(path: Path, content: bytes) -> Path:
    """Write `content` to `path`, or to STEM-2, STEM-3, ... where that exists; returns the file's path.

    The content is complete under a temporary name before the file gets its own, so no half file is ever seen.

    Raises OutputError, and leaves nothing behind, where the disk is full or the folder cannot be written.
    """
    made: list[Path] = []
    try:
        descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=".vary-", suffix=".part")
        made.append(Path(temporary))
        with open(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o666 & ~_umask())
        target = _reserve(path)
        made.append(target)
        os.replace(temporary, target)
    except (OSError, ValueError) as error:  # a name with a null byte in it is a ValueError
        for leftover in made:
            leftover.unlink(missing_ok=True)
        reason = getattr(error, "strerror", None) or error
        raise OutputError(f"{path}: cannot be written ({reason})") from error
    return target


def _reserve(path: Path) -> Path:
    """The first of STEM, STEM-2, STEM-3, ... that does not exist, made as an empty file to keep the name."""
    number, target = 1, path
    while True:
        try:
            os.close(os.open(target, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
        except FileExistsError:
            number += 1
            target = path.with_name(f"{path.stem}-{number}{path.suffix}")
        else:
            return target


def _umask() -> int:
    """The process's file mode mask, which can only be read by setting it."""
    mask = os.umask(0o077)
    os.umask(mask)
    return mask
