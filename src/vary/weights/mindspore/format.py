"""What a MindSpore checkpoint file consists of: its types and limits, and the directory of its tensors.

A file is one protobuf message, `Checkpoint`, as `mindspore.save_checkpoint` writes it (MindSpore 2.10,
`mindspore/train/serialization.py` and `checkpoint_pb2.py`):

    message Checkpoint     { repeated Value value = 1; }
    message Value          { required string tag = 1; oneof value { TensorProto tensor = 2;
                                                                    MapTensorProto maptensor = 3; } }
    message TensorProto    { repeated int64 dims = 1; required string tensor_type = 2;
                             required bytes tensor_content = 3; }

A parameter of more than 512 MiB stands in several values, one after the other, with the same tag and the
whole parameter's dims.  A scalar has no dims, or a single 0, which MindSpore's loader takes for the same.
Texts of `append_dict` have the type `str` and are stored in UTF-32.  With `crc_check=True` the file ends with
`crc_num` and a CRC-32 of what stands before it, in ten bytes.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby

import torch

from vary.errors import CheckpointError
from vary.weights.mindspore.wire import SPAN, VARINT, Field, WireReader, varint

__all__ = [
    "CRC_BYTES",
    "CRC_MARK",
    "DTYPES",
    "MAX_NAME",
    "SLICE",
    "TYPES",
    "Entry",
    "header",
    "read_directory",
]

DTYPES = {
    "Float16": torch.float16,
    "BFloat16": torch.bfloat16,
    "Float32": torch.float32,
    "Float64": torch.float64,
    "Bool": torch.bool,
    "Int8": torch.int8,
    "Int16": torch.int16,
    "Int32": torch.int32,
    "Int64": torch.int64,
    "UInt8": torch.uint8,
    "UInt16": torch.uint16,
    "UInt32": torch.uint32,
    "UInt64": torch.uint64,
}
"""What MindSpore calls the types that its own loader takes, but for 4 bit integers."""
TYPES = {dtype: name for name, dtype in DTYPES.items()}
TEXT = "str"

SLICE = 512 * 2**20
"""Bytes of a parameter that MindSpore puts into one value at most."""
MAX_NAME = 1024
"""Characters of a name, more than which MindSpore refuses to load."""
MAX_TEXT = 2**20
"""Bytes of a text of `append_dict`; ours, since texts are read with the directory."""
MAX_DIMS = 64

CRC_MARK = b"crc_num"
CRC_BYTES = 10


@dataclass(frozen=True, slots=True)
class Entry:
    """Where a tensor lies in a file.

    Attributes:
        dtype: its type.
        shape: its shape.
        parts: first byte and byte after the last of each of its slices in the file.
    """

    dtype: torch.dtype
    shape: tuple[int, ...]
    parts: tuple[tuple[int, int], ...]

    @property
    def nbytes(self) -> int:
        """Its size in bytes."""
        return math.prod(self.shape) * self.dtype.itemsize


def read_directory(wire: WireReader, stop: int) -> tuple[dict[str, Entry], dict[str, str]]:
    """The tensors, and the texts of `append_dict`, of the message in a file's first `stop` bytes.

    Raises:
        CheckpointError: without the file's name, if it is no such message, or holds anything but whole
            tensors of known types and texts, or no tensor at all.
    """
    entries: dict[str, Entry] = {}
    texts: dict[str, str] = {}
    values = (value for value in wire.fields(0, stop) if (value.number, value.kind) == (1, SPAN))
    for name, group in groupby((_slice(wire, value) for value in values), key=lambda part: part.name):
        if name in entries or name in texts:
            raise CheckpointError(f"{shown(name)} stands in it twice")
        parts = list(group)
        if parts[0].type == TEXT:
            texts[name] = _text(wire, parts)
        else:
            entries[name] = _entry(parts)
    if not entries:
        raise CheckpointError("it holds no tensor")
    return entries, texts


@dataclass(frozen=True, slots=True)
class _Slice:
    """A value of the file: a tensor or one slice of it."""

    name: str
    type: str
    dims: tuple[int, ...]
    start: int
    stop: int


def _slice(wire: WireReader, value: Field) -> _Slice:
    """What a value says; of fields that exclude each other the last counts, as protobuf has it."""
    name: str | None = None
    tensors: list[Field] = []
    is_map = False
    for part in wire.fields(value.start, value.stop):
        if part.kind != SPAN:
            continue
        if part.number == 1:
            name = _string(wire, part)
        elif part.number == 2:
            tensors.append(part)
            is_map = False
        elif part.number == 3:
            tensors.clear()
            is_map = True
    if name is None:
        raise CheckpointError(f"the entry at byte {value.start} has no name")
    if is_map:
        raise CheckpointError(
            f"{shown(name)} is a MapParameter, a hash table, which is not read; save without it"
        )
    try:
        return _tensor(wire, name, tensors)
    except CheckpointError as error:
        raise CheckpointError(f"{shown(name)}: {error}") from error


def _tensor(wire: WireReader, name: str, messages: list[Field]) -> _Slice:
    """The tensor of a value; a message that stands there several times is joined, as protobuf has it."""
    kind: str | None = None
    content: Field | None = None
    dims: list[int] = []
    for part in _all_fields(wire, messages):
        if part.number == 1 and part.kind in (VARINT, SPAN):
            # One by one, as MindSpore writes them, or packed.
            for size in [part.value] if part.kind == VARINT else wire.numbers(part.start, part.stop):
                dims.append(size)
                if len(dims) > MAX_DIMS:
                    raise CheckpointError(f"it has more than {MAX_DIMS} dims")
        elif part.number == 2 and part.kind == SPAN:
            kind = _string(wire, part)
        elif part.number == 3 and part.kind == SPAN:
            content = part
    if kind is None or content is None:
        raise CheckpointError("it has no tensor with a type and a content")
    return _Slice(name, kind, tuple(dims), content.start, content.stop)


def _all_fields(wire: WireReader, messages: list[Field]) -> Iterator[Field]:
    for message in messages:
        yield from wire.fields(message.start, message.stop)


def _string(wire: WireReader, part: Field) -> str:
    found = wire.span(part.start, part.stop, 4 * MAX_NAME)  # a character has up to four bytes
    try:
        return found.decode()
    except UnicodeDecodeError as error:
        raise CheckpointError(f"the name at byte {part.start} is no UTF-8 text") from error


def _entry(parts: list[_Slice]) -> Entry:
    first = parts[0]
    name, dims = shown(first.name), first.dims
    shape = "x".join(map(str, dims)) or "a scalar"
    if first.type not in DTYPES:
        known = ", ".join(DTYPES)
        raise CheckpointError(
            f"{name} is of type {shown(first.type)}, which is not read; expected one of {known}"
        )
    if any((part.type, part.dims) != (first.type, dims) for part in parts):
        raise CheckpointError(f"the slices of {name} differ in type or dims")
    # The dims are 64 bits with a sign; what is below zero is among these too.
    if math.prod(max(1, size) for size in dims) >= 2**60:
        raise CheckpointError(f"{name} is {shape}, which no file can hold")
    entry = Entry(DTYPES[first.type], dims, tuple((part.start, part.stop) for part in parts))
    found = sum(stop - start for start, stop in entry.parts)
    if dims == (0,) and found == entry.dtype.itemsize:
        return Entry(entry.dtype, (), entry.parts)
    if entry.nbytes != found:
        raise CheckpointError(
            f"{name} is {shape} of {first.type}, which takes {entry.nbytes} bytes, but {found} are there"
        )
    return entry


def _text(wire: WireReader, parts: list[_Slice]) -> str:
    """A text of `append_dict`: characters of four bytes each, as many as numpy found, then zeros."""
    if sum(part.stop - part.start for part in parts) > MAX_TEXT:
        raise CheckpointError(f"{shown(parts[0].name)} is a text of more than {MAX_TEXT} bytes")
    content = b"".join(wire.span(part.start, part.stop, MAX_TEXT) for part in parts)
    try:
        return content.decode("utf-32-le").rstrip("\0")
    except UnicodeDecodeError as error:
        raise CheckpointError(f"{shown(parts[0].name)} is no UTF-32 text") from error


def shown(text: str) -> str:
    """A text of a file as it may stand in a message: short, in quotes, without control characters."""
    return repr(text if len(text) <= 100 else f"{text[:97]}...")


def header(tag: bytes, dtype: torch.dtype, shape: tuple[int, ...], size: int) -> bytes:
    """What stands before the `size` bytes of a slice, from the key of `Checkpoint.value` on."""
    kind = TYPES[dtype].encode()
    inner = b"".join(b"\x08" + varint(length) for length in shape)
    inner += b"\x12" + varint(len(kind)) + kind + b"\x1a" + varint(size)
    outer = b"\x0a" + varint(len(tag)) + tag + b"\x12" + varint(len(inner) + size) + inner
    return b"\x0a" + varint(len(outer) + size) + outer
