"""Where a data set comes from, as JSON values: hashes of files, versions of packages, settings."""

from __future__ import annotations

import json
import platform
from collections.abc import Collection, Iterable
from dataclasses import asdict
from importlib import metadata
from pathlib import Path
from typing import Any

from vary.datagen.corpus import file_sha256
from vary.errors import DataError

__all__ = ["file_records", "package_versions", "settings_record"]

COMMON = ("vary-toy", "numpy", "opencv-python-headless", "pillow")
"""What every engine's samples depend on."""


def package_versions(*names: str) -> dict[str, str | None]:
    """Versions of Python, the packages that every engine uses, and `names`; None where one is missing."""
    versions: dict[str, str | None] = {"python": platform.python_version()}
    for name in (*COMMON, *names):
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            versions[name] = None
    return versions


def file_records(paths: Iterable[str | Path]) -> list[dict[str, str]]:
    """Name (without folder) and SHA-256 of each file.

    Raises:
        DataError: if one cannot be read.
    """
    records = []
    for path in map(Path, paths):
        try:
            records.append({"file": path.name, "sha256": file_sha256(path)})
        except OSError as error:
            raise DataError(f"{path}: cannot be read, {error.strerror or error}") from error
    return records


def settings_record(config: Any, leave_out: Collection[str] = ()) -> dict[str, Any]:
    """The fields of a configuration (a dataclass) as JSON values, paths as their file names.

    `leave_out` names fields that are told otherwise, or that say where files lie and not what is in them.
    """
    fields = {name: value for name, value in asdict(config).items() if name not in leave_out}
    record: dict[str, Any] = json.loads(json.dumps(fields, default=_plain, ensure_ascii=False))
    return record


def _plain(value: object) -> object:
    if isinstance(value, Path):
        return value.name
    raise DataError(f"a setting is {value!r}: expected numbers, texts, paths and sequences of them")
