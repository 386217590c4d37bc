"""One writer per data set: the lock that a run holds on its folder.

The system gives the lock up with the process, so that a killed run never bars the next one.  Its file is
there while the run lasts, and is no part of the data set.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from vary.errors import DataError, OutputError

try:
    import fcntl
except ImportError:  # a system without it: there nothing tells two runs apart
    _LOCKS = False
else:
    _LOCKS = True

__all__ = ["LOCK", "only_writer"]

LOCK = ".writing.lock"


@contextmanager
def only_writer(folder: Path) -> Iterator[None]:
    """Hold the lock of a folder, which must be there, for as long as the block lasts.

    Raises:
        DataError: if another process holds it.
        OutputError: if its file cannot be made.
    """
    if not _LOCKS:
        yield
        return
    path = folder / LOCK
    try:
        descriptor = _taken(path)
    except BlockingIOError as error:
        raise DataError(
            f"{folder}: another process writes a data set to this folder; wait for its end and give the same "
            "command again, or choose another folder"
        ) from error
    except OSError as error:
        raise OutputError(f"{folder}: cannot be written, {error.strerror or error}") from error
    try:
        yield
    finally:
        # In this order: whoever finds the file again finds it locked, or makes one of its own.
        with suppress(OSError):  # left there it bars nobody
            path.unlink(missing_ok=True)
        os.close(descriptor)


def _taken(path: Path) -> int:
    """The descriptor of the lock's file, locked.

    Raises:
        BlockingIOError: if another process has it.
        OSError: if the file cannot be opened.
    """
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_file_of(descriptor, path):
                return descriptor
        except BlockingIOError:
            os.close(descriptor)
            raise
        except OSError:  # a file system that has no locks
            return descriptor
        os.close(descriptor)  # its holder removed the file in between


def _is_file_of(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False
