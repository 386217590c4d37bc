"""The files of a checkpoint folder: which of them hold the weights, and JSON and text read and written."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vary.errors import CheckpointError

__all__ = ["JSON_ERRORS", "checkpoint_files", "read_json", "read_text", "write_json", "write_text"]

# In this order: a file for everything, or the index of several.
FILE_NAMES = (
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
)
# In a folder without any of these, the only file with one of these endings.
OTHER_ENDINGS = (".ckpt", ".pth", ".pt", ".bin", ".safetensors")
SHARD = re.compile(r"(.+)-\d+-of-\d+(\.\w+)")
JSON_ERRORS = (ValueError, LookupError, TypeError, AttributeError, OverflowError, RecursionError)
"""What comes of reading a JSON file whose values are others than expected."""


def read_text(path: Path) -> str:
    """A file of text.

    Raises:
        CheckpointError: if it is missing, or no text.
    """
    try:
        return path.read_bytes().decode()
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise CheckpointError(f"{path} is no UTF-8 text ({error}); fetch it again") from error


def write_text(path: Path, text: str) -> None:
    """Writes a file of text; what a string may hold but UTF-8 cannot, such as a strange name, is escaped."""
    path.write_bytes(text.encode(errors="backslashreplace"))


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Writes a JSON object; escapes of `write_text` are JSON's too."""
    write_text(path, json.dumps(content, ensure_ascii=False, indent=2) + "\n")


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
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path} is no JSON: {error}") from error
    if not isinstance(content, dict):
        raise CheckpointError(f"{path} holds a {type(content).__name__}, but a JSON object is expected")
    return content


def checkpoint_files(path: Path) -> list[Path]:
    """The files that hold the weights: `path` itself, or those of a checkpoint directory.

    Raises:
        CheckpointError: if there are none, or some that the index names are missing.
    """
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise CheckpointError(f"{path} is not there; expected the folder or the weights file of a checkpoint")
    found = next((path / name for name in FILE_NAMES if (path / name).is_file()), None)
    if found is None:
        return [_only_file(path)]
    if found.suffix != ".json":
        return [found]
    names = read_json(found).get("weight_map")
    if not isinstance(names, dict) or not names or not all(isinstance(name, str) for name in names.values()):
        raise CheckpointError(f"{found} has no weight_map from tensor names to files")
    files = sorted(set(names.values()))
    if outside := [name for name in files if Path(name).name != name]:
        raise CheckpointError(f"{found} names files outside its directory: {', '.join(outside)}")
    if missing := [name for name in files if not (path / name).is_file()]:
        raise CheckpointError(f"{path} lacks {', '.join(missing)} of {found.name}; fetch the missing files")
    return [path / name for name in files]


def _only_file(folder: Path) -> Path:
    """The one file of a folder that looks like weights under a name of its own, such as `vary_toy.ckpt`."""
    found = sorted(path for path in folder.iterdir() if path.suffix in OTHER_ENDINGS and path.is_file())
    if not found:
        raise CheckpointError(
            f"{folder} holds no weights; expected one of {', '.join(FILE_NAMES)}, or one file ending in "
            f"{', '.join(OTHER_ENDINGS)}"
        )
    if shard := SHARD.fullmatch(found[0].name):
        index = f"{shard[1]}{shard[2]}.index.json"
        raise CheckpointError(
            f"{folder} holds {found[0].name}, but no {index} that lists its parts; fetch it"
        )
    if len(found) > 1:
        names = ", ".join(path.name for path in found)
        raise CheckpointError(f"{folder} holds several files of weights ({names}); name the one to take")
    return found[0]
