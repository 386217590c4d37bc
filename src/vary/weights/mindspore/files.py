"""MindSpore's checkpoint files (`.ckpt`), read and written without MindSpore, one tensor at a time."""

from __future__ import annotations

import os
import secrets
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from io import BufferedReader
from pathlib import Path

import torch
from torch import Tensor

from vary.errors import CheckpointError
from vary.weights.folders import PART, check_new, check_space
from vary.weights.mindspore.format import (
    CRC_BYTES,
    CRC_MARK,
    MAX_NAME,
    SLICE,
    TYPES,
    Entry,
    header,
    read_directory,
    shown,
)
from vary.weights.mindspore.wire import WireReader

__all__ = ["Entry", "MindSporeFile", "write_mindspore"]

SUFFIX = ".ckpt"
CHUNK = 2**20

FETCH = "fetch it again"
ENCRYPTED = (
    "an encrypted MindSpore file ({0}); load it with mindspore.load_checkpoint(FILE, dec_key=KEY, "
    "dec_mode='{0}') and save that without a key"
)
PICKLED = "{}, as PyTorch writes it; give it the ending .pth if it is a PyTorch checkpoint"
FOREIGN = (
    (b"\xd8\x5e\x3a\x7f", ENCRYPTED.format("AES-GCM")),
    (b"\xd9\x5e\x3a\x7f", ENCRYPTED.format("AES-CBC")),
    (b"\xda\x5e\x3a\x7f", ENCRYPTED.format("SM4-CBC")),
    (b"PK\x03\x04", PICKLED.format("a zip archive")),
    (b"\x80", PICKLED.format("a pickle")),
    (b"\x1f\x8b", "compressed by gzip; unpack it"),
    (
        b"version https://git-lfs",
        "a Git LFS pointer, not the file it stands for; get that with `git lfs pull`",
    ),
    (b"<", f"a web page or other markup; {FETCH}"),
)
"""How files of other kinds begin, and what is said of one that cannot be read."""


class MindSporeFile:
    """The directory of a MindSpore checkpoint file; the tensors stay in the file until they are read.

    The file is open only while something is read from it.

    Attributes:
        path: the file.
        entries: the tensors by name, in the file's order.
        texts: the texts of `append_dict`; its numbers are tensors of shape () among the entries.
        checksum: the CRC-32 that the file states, or None; `verify` compares it.

    Raises:
        CheckpointError: if the file cannot be read, is encrypted, cut off, of another kind, or holds anything
            but whole tensors of known types and texts; the message says what and where.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        if not os.path.isfile(self.path):  # false, not an error, where a folder may not be looked into
            what = "is a folder" if os.path.isdir(self.path) else "is not there"
            raise CheckpointError(f"{self.path} {what}; expected a MindSpore checkpoint file ({SUFFIX})")
        self._stamp: tuple[int, int] | None = None
        with self._opened() as file:
            status = os.fstat(file.fileno())
            self._stamp = status.st_size, status.st_mtime_ns
            self._stop, self.checksum = _checksum(file, status.st_size)
            try:
                self.entries, self.texts = read_directory(WireReader(file, status.st_size), self._stop)
            except CheckpointError as error:
                raise CheckpointError(f"{self.path} {_diagnosis(file, str(error))}") from error

    def read(self, name: str) -> Tensor:
        """A tensor by name, in memory of its own.

        Raises:
            CheckpointError: if there is none of this name, or the file has changed since it was opened.
        """
        if name not in self.entries:
            raise CheckpointError(f"{self.path} has no tensor {shown(name)} among its {len(self.entries)}")
        entry = self.entries[name]
        content = torch.empty(entry.nbytes, dtype=torch.uint8)
        free = content.numpy().data
        with self._opened() as file:
            for start, stop in entry.parts:
                file.seek(start)
                if file.readinto(free[: stop - start]) != stop - start:
                    raise self._changed()
                free = free[stop - start :]
        # Any byte but zero is true; torch wants a one.
        tensor = content != 0 if entry.dtype == torch.bool else content.view(entry.dtype)
        return tensor.reshape(entry.shape)

    def verify(self) -> bool:
        """Compare the file with the checksum it states; False if it states none.  Reads the whole file.

        Raises:
            CheckpointError: if they differ, or the file has changed since it was opened.
        """
        if self.checksum is None:
            return False
        found, left = 0, self._stop
        with self._opened() as file:
            while left:
                chunk = file.read(min(CHUNK, left))
                if not chunk:
                    raise self._changed()
                found, left = zlib.crc32(chunk, found), left - len(chunk)
        if found != self.checksum:
            sums = f"it states the CRC-32 {self.checksum:08x}, but has {found:08x}"
            raise CheckpointError(f"{self.path} is damaged: {sums}; {FETCH}")
        return True

    @contextmanager
    def _opened(self) -> Iterator[BufferedReader]:
        try:
            with self.path.open("rb") as file:
                status = os.fstat(file.fileno())
                if self._stamp not in (None, (status.st_size, status.st_mtime_ns)):
                    raise self._changed()
                yield file
        except OSError as error:
            raise CheckpointError(f"{self.path} cannot be read ({error.strerror or error})") from error

    def _changed(self) -> CheckpointError:
        return CheckpointError(f"{self.path} has changed since it was opened; open it again")


def _checksum(file: BufferedReader, size: int) -> tuple[int, int | None]:
    """Where the message of a file ends, and the checksum that stands behind it."""
    length = len(CRC_MARK) + CRC_BYTES
    file.seek(max(0, size - length))
    found = file.read(length)
    if not found.startswith(CRC_MARK) or len(found) < length:
        return size, None
    return size - length, int.from_bytes(found[len(CRC_MARK) :], "big")


def _diagnosis(file: BufferedReader, reason: str) -> str:
    """Why a file is no checkpoint: what it is instead, if that can be told, or else what is wrong in it."""
    file.seek(0)
    begin = file.read(32)
    if not begin:
        return f"is empty; {FETCH}"
    for mark, what in FOREIGN:
        if begin.startswith(mark):
            return f"is no MindSpore checkpoint but {what}"
    if begin[8:9] == b"{" and not any(begin[4:8]):
        return "is no MindSpore checkpoint but safetensors; give it the ending .safetensors"
    return f"is no whole MindSpore checkpoint: {reason}; {FETCH}"


def write_mindspore(
    path: str | os.PathLike[str],
    tensors: Iterable[tuple[str, Tensor]],
    *,
    checksum: bool = False,
    needed: int = 0,
) -> None:
    """Write a file that `mindspore.load_checkpoint` reads, byte for byte what MindSpore itself writes.

    One tensor is held at a time.  The file gets its name when it is complete; after an error nothing is left.

    Args:
        path: a new file whose name ends in `.ckpt`, as MindSpore's loader demands.
        tensors: names and tensors, on any device and of any strides.
        checksum: end the file with a CRC-32, as MindSpore's `crc_check=True` does.
        needed: bytes that must be free on the disk.

    Raises:
        CheckpointError: if the file exists or cannot be written, or MindSpore could not load a name or a
            tensor.
    """
    target = Path(path)
    if target.suffix != SUFFIX:
        raise CheckpointError(f"{target} must end in {SUFFIX}; MindSpore loads no other file")
    check_new(target)
    check_space(target, needed)
    names: set[str] = set()
    crc = 0
    with _new_file(target) as put:
        for name, tensor in tensors:
            tag = _tag(name, names)
            content = _content(name, tensor)
            for start in range(0, max(1, len(content)), SLICE):  # an empty tensor is one slice too
                part = content[start : start + SLICE]
                begin = header(tag, tensor.dtype, tuple(tensor.shape), len(part))
                put(begin)
                put(part)
                if checksum:
                    crc = zlib.crc32(part, zlib.crc32(begin, crc))
        if not names:
            raise CheckpointError(f"{target}: there are no tensors to write; MindSpore loads no empty file")
        if checksum:
            put(CRC_MARK + crc.to_bytes(CRC_BYTES, "big"))


def _tag(name: str, names: set[str]) -> bytes:
    """A name as it is stored; it joins `names`, where it may not be yet."""
    if name in names:
        raise CheckpointError(f"{shown(name)} is given twice; a file has one tensor of a name")
    if not 0 < len(name) <= MAX_NAME:
        raise CheckpointError(f"the name {shown(name)} has {len(name)} characters, not 1 to {MAX_NAME}")
    names.add(name)
    try:
        return name.encode()
    except UnicodeEncodeError as error:
        raise CheckpointError(f"the name {shown(name)} cannot be written as UTF-8") from error


def _content(name: str, tensor: Tensor) -> memoryview:
    """A tensor's bytes in the order of its elements; copied only from another device or other strides."""
    if tensor.dtype not in TYPES:
        known = ", ".join(str(dtype).removeprefix("torch.") for dtype in TYPES)
        raise CheckpointError(
            f"{shown(name)} is {tensor.dtype}, but MindSpore loads only {known}; convert it"
        )
    if tensor.is_meta or tensor.layout != torch.strided:
        what = "on the meta device, without values" if tensor.is_meta else f"a {tensor.layout} tensor"
        raise CheckpointError(f"{shown(name)} is {what}; only plain tensors can be written")
    if tensor.shape == (0,):
        raise CheckpointError(f"{shown(name)} is empty, which MindSpore takes for a scalar; leave it out")
    plain = tensor.detach().cpu().resolve_neg().contiguous()
    # Not reshape(-1): it keeps the stride of a single element, and then view refuses.
    return plain.as_strided((plain.numel(),), (1,)).view(torch.uint8).numpy().data


@contextmanager
def _new_file(target: Path) -> Iterator[Callable[[bytes | memoryview], None]]:
    """What writes into a new file, which gets its name at the end or goes away after any error."""
    part = target.with_name(f"{target.name}{PART}{secrets.token_hex(4)}")
    with _refusals(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        # Without a buffer there is nothing left to write, and to fail, when the file is closed.
        file = part.open("xb", buffering=0)

    def put(content: bytes | memoryview) -> None:
        left = memoryview(content)
        with _refusals(target):
            while left:
                left = left[file.write(left) :]

    try:
        with file:
            yield put
            with _refusals(target):
                os.fsync(file.fileno())  # some disks say only now that they are full
        check_new(target)
        with _refusals(target):
            part.rename(target)
    finally:
        with suppress(OSError):  # why it could not be written has been said
            part.unlink(missing_ok=True)


@contextmanager
def _refusals(target: Path) -> Iterator[None]:
    """Says of an operating system's error what could not be written."""
    try:
        yield
    except OSError as error:
        raise CheckpointError(
            f"{target} cannot be written ({error.strerror or error}); nothing was left there"
        ) from error
