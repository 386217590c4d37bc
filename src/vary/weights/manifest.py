"""The manifest of a checkpoint folder: every file with its size and SHA-256, in `manifest.json`."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path

from vary import __version__
from vary.errors import CheckpointError
from vary.model.checkpoint_files import JSON_ERRORS, write_json
from vary.weights.fetching.store import StoredFile
from vary.weights.hashing import hash_file

__all__ = [
    "FINGERPRINT",
    "MANIFEST",
    "Finding",
    "FindingKind",
    "check_files",
    "check_manifest",
    "write_manifest",
]

MANIFEST, FINGERPRINT = "manifest.json", "fingerprint.json"
FORMAT = 1
APART = frozenset({MANIFEST, FINGERPRINT})
"""Not listed: the manifest itself, and the fingerprint, which may be written after it."""

Progress = Callable[[int, int | None], None]


class FindingKind(StrEnum):
    """How a file differs from what was written down."""

    MISSING = "missing"
    EXTRA = "extra"
    CHANGED = "changed"


@dataclass(frozen=True, slots=True)
class Finding:
    """One difference: what it is, the file's name in the folder, and the details."""

    kind: FindingKind
    name: str
    detail: str = ""

    def __str__(self) -> str:
        return f"{self.kind} {self.name}" + (f": {self.detail}" if self.detail else "")


def write_manifest(folder: Path, *, progress: Progress | None = None) -> Path:
    """Write `manifest.json` over all files of a folder and of those below it; hidden ones are left out.

    Raises:
        CheckpointError: if there is no such folder, it holds nothing, or it cannot be written.
    """
    names = _names(folder)
    if not names:
        raise CheckpointError(f"{folder}: holds no files; a manifest lists those of a checkpoint")
    files = _hashed(folder, names, progress)
    content = {
        "format": FORMAT,
        "vary": __version__,
        "files": {name: asdict(file) for name, file in files.items()},
    }
    path, draft = folder / MANIFEST, folder / f".{MANIFEST}.new"
    try:
        write_json(draft, content)
        draft.replace(path)
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be written ({error.strerror})") from error
    return path


def check_manifest(folder: Path, *, progress: Progress | None = None) -> list[Finding]:
    """Compare a folder with its `manifest.json`; an empty list means that nothing differs.

    Raises:
        CheckpointError: if there is no manifest, or it is none.
    """
    return check_files(folder, _read(folder / MANIFEST), progress=progress)


def check_files(
    folder: Path, expected: Mapping[str, StoredFile], *, extra: bool = True, progress: Progress | None = None
) -> list[Finding]:
    """Compare a folder with a list of files: sizes first, and the SHA-256 of those whose size is right.

    `extra` says whether files that are not in the list count as differences.
    """
    present = _names(folder)
    findings = [Finding(FindingKind.MISSING, name) for name in sorted(expected.keys() - set(present))]
    if extra:
        unknown = sorted(set(present) - expected.keys())
        findings += [Finding(FindingKind.EXTRA, name, "is not in the list") for name in unknown]
    to_hash = []
    for name in sorted(expected.keys() & set(present)):
        size, wanted = (folder / name).stat().st_size, expected[name].size
        if size == wanted:
            to_hash.append(name)
        else:
            detail = f"{size:,} bytes, expected {wanted:,}"
            findings.append(Finding(FindingKind.CHANGED, name, detail))
    for name, file in _hashed(folder, to_hash, progress).items():
        if file.sha256 != expected[name].sha256:
            detail = f"SHA-256 {file.sha256}, expected {expected[name].sha256}"
            findings.append(Finding(FindingKind.CHANGED, name, detail))
    return sorted(findings, key=lambda finding: finding.name)


def _names(folder: Path) -> list[str]:
    """The files of a folder and those below it by their names from it, sorted, without hidden ones."""
    if not folder.is_dir():
        raise CheckpointError(f"{folder}: is no folder; give that of a checkpoint")
    names = [path.relative_to(folder) for path in folder.rglob("*") if path.is_file()]
    shown = [name for name in names if not any(part.startswith(".") for part in name.parts)]
    return sorted({name.as_posix() for name in shown} - APART)


def _hashed(folder: Path, names: list[str], progress: Progress | None) -> dict[str, StoredFile]:
    """Sizes and checksums; `progress` is called with the bytes that were read and all."""
    sizes = {name: (folder / name).stat().st_size for name in names}
    done, total = 0, sum(sizes.values())

    def advance(count: int) -> None:
        nonlocal done
        done += count
        if progress is not None:
            progress(done, total)

    try:
        return {name: StoredFile(sizes[name], hash_file(folder / name, advance)) for name in names}
    except OSError as error:
        raise CheckpointError(f"{error.filename or folder}: cannot be read ({error.strerror})") from error


def _read(path: Path) -> dict[str, StoredFile]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content["format"] != FORMAT:
            raise CheckpointError(f"{path}: has format {content['format']}, expected {FORMAT}; update vary")
        return {
            str(name): StoredFile(int(file["size"]), str(file["sha256"]))
            for name, file in content["files"].items()
        }
    except FileNotFoundError as error:
        raise CheckpointError(f"{path}: is not there; write one with vary weights verify --record") from error
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror})") from error
    except JSON_ERRORS as error:
        raise CheckpointError(f"{path}: is no manifest ({type(error).__name__}: {error})") from error
