"""The tensors of a checkpoint directory, mapped from its files: safetensors or PyTorch, one or several."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from vary.errors import CheckpointError

__all__ = ["checkpoint_files", "read_json", "read_tensors"]

# In this order: a file for everything, or the index of several.
FILE_NAMES = (
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
)


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object.

    Raises:
        CheckpointError: if the file is missing or holds anything else.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise CheckpointError(
            f"{path} cannot be read ({error.strerror}); a checkpoint directory has one"
        ) from error
    except ValueError as error:
        raise CheckpointError(f"{path} is no JSON: {error}") from error
    if not isinstance(content, dict):
        raise CheckpointError(f"{path} holds a {type(content).__name__}, but a JSON object is expected")
    return content


def checkpoint_files(folder: Path) -> list[Path]:
    """The files that hold the weights of a checkpoint directory.

    Raises:
        CheckpointError: if there are none, or some that the index names are missing.
    """
    found = next((folder / name for name in FILE_NAMES if (folder / name).is_file()), None)
    if found is None:
        raise CheckpointError(f"{folder} holds no weights; expected one of {', '.join(FILE_NAMES)}")
    if found.suffix != ".json":
        return [found]
    names = read_json(found).get("weight_map")
    if not isinstance(names, dict) or not names or not all(isinstance(name, str) for name in names.values()):
        raise CheckpointError(f"{found} has no weight_map from tensor names to files")
    files = sorted(set(names.values()))
    if outside := [name for name in files if Path(name).name != name]:
        raise CheckpointError(f"{found} names files outside its directory: {', '.join(outside)}")
    if missing := [name for name in files if not (folder / name).is_file()]:
        raise CheckpointError(f"{folder} lacks {', '.join(missing)} of {found.name}; fetch the missing files")
    return [folder / name for name in files]


def read_tensors(folder: Path) -> dict[str, Tensor]:
    """All tensors of a checkpoint directory by name, mapped into memory: a tensor takes none until it is
    used.

    Raises:
        CheckpointError: if a file is missing, broken, holds anything but tensors, or a tensor stands in two
            files.
    """
    tensors: dict[str, Tensor] = {}
    for path in checkpoint_files(folder):
        part = _read_safetensors(path) if path.suffix == ".safetensors" else _read_pytorch(path)
        if twice := sorted(tensors.keys() & part.keys()):
            raise CheckpointError(f"{path} repeats tensors of another file: {', '.join(twice)}")
        tensors.update(part)
    return tensors


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path} is no readable safetensors file: {error}; fetch it again") from error


def _read_pytorch(path: Path) -> dict[str, Tensor]:
    try:
        with path.open("rb") as file:
            zipped = file.read(4) == b"PK\x03\x04"  # files of PyTorch before 1.6 cannot be mapped
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=zipped)
    except Exception as error:  # the unpickler raises anything at all on a broken file
        reason = str(error).strip().split("\n")[0]
        raise CheckpointError(
            f"{path} is no PyTorch file of plain tensors ({type(error).__name__}: {reason}); fetch it again"
        ) from error
    if not isinstance(content, dict):
        raise CheckpointError(f"{path} holds a {type(content).__name__}, but tensors by name are expected")
    if wrong := [str(name) for name, value in content.items() if not isinstance(value, Tensor)]:
        raise CheckpointError(f"{path} holds more than tensors: {', '.join(wrong)}")
    return dict(content)
