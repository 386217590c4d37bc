"""The tensors of a checkpoint's files, mapped when they are read: safetensors, PyTorch, MindSpore."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from vary.errors import CheckpointError
from vary.weights.mindspore.files import MindSporeFile

__all__ = ["TensorFiles", "TensorInfo"]

NESTED = ("model", "state_dict")
"""Where training frameworks put the state dict in a file that holds an optimizer too."""
ZIP_MAGIC, PICKLE_MAGIC = b"PK\x03\x04", b"\x80"
OBJECT = re.compile(r"GLOBAL (\S+)")
"""How torch names an object that is no tensor; around it stands advice to load it all the same."""


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """A tensor's shape and type."""

    shape: tuple[int, ...]
    dtype: torch.dtype

    @property
    def nbytes(self) -> int:
        """Its size in bytes."""
        return int(torch.Size(self.shape).numel()) * self.dtype.itemsize


class TensorFiles:
    """All tensors of some files by name.

    What is read stays mapped from its file as long as the tensors live, so that taking a few at a time never
    holds a whole checkpoint in memory.  Files of PyTorch before 1.6 cannot be mapped and stay in memory.

    Attributes:
        files: the files.
        info: shape and type of every tensor, in the files' order.

    Raises:
        CheckpointError: if a file is missing, broken, holds anything but tensors, or a tensor stands in two
            files.
    """

    def __init__(self, files: Iterable[Path]) -> None:
        self.files = tuple(files)
        self.info: dict[str, TensorInfo] = {}
        self._places: dict[str, Path] = {}
        self._unmapped: dict[Path, Mapping[str, Tensor]] = {}
        self._mindspore: dict[Path, MindSporeFile] = {}
        for path in self.files:
            info = self._open(path)
            if twice := sorted(self.info.keys() & info.keys()):
                raise CheckpointError(f"{path} repeats tensors of another file: {', '.join(twice)}")
            self.info.update(info)
            self._places.update(dict.fromkeys(info, path))

    def read(self, names: Iterable[str]) -> dict[str, Tensor]:
        """Some of the tensors, mapped into memory: they take none until they are used."""
        wanted: dict[Path, list[str]] = {}
        for name in names:
            wanted.setdefault(self._places[name], []).append(name)
        found: dict[str, Tensor] = {}
        for path, members in wanted.items():
            found |= self._read(path, members)
        return found

    def verify(self) -> None:
        """Holds files that state a checksum to it, as MindSpore's may; reads them whole.

        Raises:
            CheckpointError: if one is damaged.
        """
        for file in self._mindspore.values():
            file.verify()

    def _open(self, path: Path) -> dict[str, TensorInfo]:
        if _kind(path) == "mindspore":
            self._mindspore[path] = file = MindSporeFile(path)
            return {name: TensorInfo(entry.shape, entry.dtype) for name, entry in file.entries.items()}
        tensors = self._tensors(path)
        return {name: TensorInfo(tuple(tensor.shape), tensor.dtype) for name, tensor in tensors.items()}

    def _read(self, path: Path, names: Iterable[str]) -> dict[str, Tensor]:
        if path in self._mindspore:
            return {name: self._mindspore[path].read(name) for name in names}
        tensors = self._tensors(path)
        return {name: tensors[name] for name in names}

    def _tensors(self, path: Path) -> Mapping[str, Tensor]:
        if path in self._unmapped:
            return self._unmapped[path]
        if _kind(path) == "safetensors":
            return _read_safetensors(path)
        mapped = _first_bytes(path).startswith(ZIP_MAGIC)
        tensors = _read_pytorch(path, mapped=mapped)
        if not mapped:
            self._unmapped[path] = tensors
        return tensors


def _kind(path: Path) -> str:
    """What a file of weights is: by its ending, and where endings are shared by its first bytes."""
    if path.suffix == ".safetensors":
        return "safetensors"
    is_pytorch = path.suffix != ".ckpt" or _first_bytes(path).startswith((ZIP_MAGIC, PICKLE_MAGIC))
    return "pytorch" if is_pytorch else "mindspore"


def _first_bytes(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(4)
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read ({error.strerror})") from error


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path} is no readable safetensors file: {error}; fetch it again") from error


def _read_pytorch(path: Path, *, mapped: bool) -> dict[str, Tensor]:
    try:
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
    except Exception as error:  # the unpickler raises anything at all on a broken file
        raise CheckpointError(f"{path} is no PyTorch file of plain tensors ({_reason(error)})") from error
    if not isinstance(content, dict):
        raise CheckpointError(f"{path} holds a {type(content).__name__}, but tensors by name are expected")
    for key in NESTED:
        if isinstance(inner := content.get(key), dict):
            content = inner
            break
    if wrong := [str(name) for name, value in content.items() if not _is_plain(value)]:
        raise CheckpointError(f"{path} holds more than plain tensors: {', '.join(wrong)}")
    return dict(content)


def _reason(error: Exception) -> str:
    """Why a PyTorch file was not loaded, without the library's advice to run what is in it."""
    if (found := OBJECT.search(str(error))) is not None:
        return f"it holds {found[1]}, which is never loaded; save the tensors alone"
    if "weights_only" in str(error):
        return "it is something else, or damaged; fetch it again"
    first = str(error).strip().split("\n")[0]
    return f"{type(error).__name__}: {first}; fetch it again"


def _is_plain(value: object) -> bool:
    """Whether it is a tensor of numbers side by side, neither sparse nor quantized."""
    return isinstance(value, Tensor) and value.layout == torch.strided and not value.is_quantized
