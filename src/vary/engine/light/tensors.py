"""Tensors of a safetensors file, read one by one into float32, and nothing of the file kept.

Format: 8 bytes, the size N of the header (little-endian); N bytes of JSON, which gives each tensor's type,
shape and place; then the tensors' bytes, without gaps.  See the package `safetensors`.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from vary.errors import CheckpointError, NativeError

__all__ = ["TensorFile"]

LARGEST_HEADER = 100_000_000
"""Bytes, as the package `safetensors` has it."""
WIDTHS = {"F32": 4, "F16": 2, "BF16": 2, "I64": 8}
"""Bytes of a number, by type; of whole numbers only those that no kernel reads."""

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class _Place:
    dtype: str
    shape: tuple[int, ...]
    first: int


class TensorFile:
    """A file, open as long as the context lasts.

    Attributes:
        path: of the file.
        shapes: of every tensor, by name.

    Raises:
        CheckpointError: if the file is missing, or no whole safetensors file.
        NativeError: if a tensor has a type that is not read here.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._size = path.stat().st_size
            self._file = path.open("rb")
        except OSError as error:
            raise CheckpointError(f"{path} cannot be read ({error.strerror})") from error
        try:
            self._places = self._header()
        except BaseException:
            self._file.close()
            raise
        self.shapes = {name: place.shape for name, place in self._places.items()}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._file.close()

    def read(self, name: str) -> Floats:
        """A tensor in float32, in memory of its own.

        Raises:
            CheckpointError: if the file is shorter now than it was.
        """
        place = self._places[name]
        raw = self._bytes(place.first, math.prod(place.shape) * WIDTHS[place.dtype], f"the tensor {name}")
        if place.dtype == "BF16":  # the upper half of a float32
            values = np.frombuffer(raw, "<u2").astype(np.uint32)
            values <<= 16
            floats = values.view(np.float32)
        else:
            kinds = {"F32": "<f4", "F16": "<f2", "I64": "<i8"}
            floats = np.frombuffer(raw, kinds[place.dtype]).astype(np.float32)
        return floats.reshape(place.shape)

    def _bytes(self, first: int, count: int, what: str) -> bytes:
        try:
            self._file.seek(first)
            found = self._file.read(count)
        except OSError as error:
            raise CheckpointError(f"{self.path} cannot be read ({error.strerror})") from error
        if len(found) != count:
            raise self._broken(f"{what} ends at {first + len(found)} bytes, expected {first + count}")
        return found

    def _header(self) -> dict[str, _Place]:
        size = int.from_bytes(self._bytes(0, 8, "the size of its header"), "little")
        if not 2 <= size <= min(LARGEST_HEADER, self._size - 8):
            raise self._broken(f"its header has {size} bytes by its own account, the file {self._size}")
        try:
            header = json.loads(self._bytes(8, size, "the header"))
        except (ValueError, RecursionError) as error:
            raise self._broken(f"its header is no JSON: {error}") from error
        if not isinstance(header, dict):
            raise self._broken("its header is no JSON object")
        header.pop("__metadata__", None)
        found = [(name, *self._entry(name, entry)) for name, entry in header.items()]
        end = 0
        for name, place, last in sorted(found, key=lambda entry: (entry[1].first, entry[2])):
            if place.first != end:
                raise self._broken(f"the tensor {name} begins at {place.first}, expected {end}")
            end = last
        if 8 + size + end != self._size:
            raise self._broken(f"it has {self._size} bytes, expected {8 + size + end} by its header")
        return {name: _Place(place.dtype, place.shape, place.first + 8 + size) for name, place, _ in found}

    def _entry(self, name: str, entry: Any) -> tuple[_Place, int]:
        """A tensor's place among the tensors, and where it ends."""
        fields: dict[str, Any] = entry if isinstance(entry, dict) else {}
        kind: Any = fields.get("dtype")
        shape: Any = fields.get("shape")
        offsets: Any = fields.get("data_offsets")
        if not (isinstance(kind, str) and _sizes(shape) and _sizes(offsets) and len(offsets) == 2):
            raise self._broken(f"its header says {entry!r:.80} of the tensor {name}")
        if kind not in WIDTHS:
            raise NativeError(
                f"{self.path}: the tensor {name} is of type {kind}; without PyTorch only "
                f"{', '.join(WIDTHS)} are read"
            )
        first, last = offsets
        needed = math.prod(shape) * WIDTHS[kind]
        if last - first != needed:
            raise self._broken(f"the tensor {name} has {last - first} bytes, expected {needed}")
        return _Place(kind, tuple(shape), first), last

    def _broken(self, why: str) -> CheckpointError:
        return CheckpointError(f"{self.path} is no readable safetensors file: {why}; fetch it again")


def _sizes(values: Any) -> bool:
    """Whether it is a list of whole numbers from 0 on."""
    return isinstance(values, list) and all(type(value) is int and value >= 0 for value in values)
