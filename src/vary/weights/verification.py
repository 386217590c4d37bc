"""Whether a checkpoint folder is what it says it is: its shapes, its hashes, and what the model computes."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import torch

from vary.errors import CheckpointError, VaryError
from vary.model.checkpoint_files import JSON_ERRORS, checkpoint_files, read_json
from vary.model.configuration import VaryConfig, VisionVocabularyConfig
from vary.model.loading import LIBRARY_ERRORS, why
from vary.model.vision_vocabulary import VisionVocabulary
from vary.weights.fetching.registry import entries
from vary.weights.fetching.store import StoredFile, checkpoint_folder, read_record
from vary.weights.fingerprint import (
    TOLERANCES,
    Fingerprint,
    compare,
    read_fingerprint,
    take_fingerprint,
    write_fingerprint,
)
from vary.weights.loading import load_checkpoint
from vary.weights.manifest import FINGERPRINT, MANIFEST, Finding, check_files, check_manifest, write_manifest
from vary.weights.sources import HEAD, is_ours, open_source, our_shapes

__all__ = ["Check", "Report", "Status", "verify"]

LISTED = 8
LARGEST_HEADER = 100 * 2**20

Progress = Callable[[int, int | None], None]
Query = Callable[[VaryConfig], str]
"""The prompt's text for a configuration: that of the checkpoint's first task."""


class Status(StrEnum):
    """What came of a check."""

    OK = "ok"
    DIFFERS = "differs"
    RECORDED = "recorded"
    NOT_CHECKED = "not checked"


@dataclass(frozen=True, slots=True)
class Check:
    """One check: `shapes`, `hashes` or `fingerprint`, what came of it, and the details, line by line."""

    name: str
    status: Status
    details: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Report:
    """All checks of a folder."""

    folder: Path
    checks: tuple[Check, ...]

    @property
    def ok(self) -> bool:
        """Whether nothing differs and something at least could be checked, or was recorded."""
        statuses = {check.status for check in self.checks}
        return Status.DIFFERS not in statuses and bool(statuses & {Status.OK, Status.RECORDED})


def verify(
    folder: Path,
    *,
    query: Query,
    record: bool = False,
    run: bool = True,
    device: torch.device | str = "cpu",
    progress: Progress | None = None,
) -> Report:
    """Check a checkpoint folder; takes no more memory than loading the model does.

    Args:
        folder: of ours, or of another format that can be loaded.
        query: gives the prompt's text of a fingerprint that is recorded.
        record: write `manifest.json` and `fingerprint.json` where there are none.
        run: compute the fingerprint, for which the model is loaded.
        device: on which it is computed.
        progress: called with the bytes that were hashed, and all.

    Raises:
        CheckpointError: if there is no such folder or nothing in it.
    """
    if not folder.is_dir():
        raise CheckpointError(f"{folder}: is no folder; give that of a checkpoint")
    if not any(folder.iterdir()):
        raise CheckpointError(f"{folder}: is empty; give the folder of a checkpoint")
    shapes = _guarded("shapes", lambda: _check_shapes(folder))
    hashes = _guarded("hashes", lambda: _check_hashes(folder, record, progress))
    loads = shapes.status is Status.OK
    fingerprint = _check_fingerprint(folder, query, record=record, run=run, device=device, loads=loads)
    return Report(folder, (shapes, hashes, fingerprint))


def _guarded(name: str, check: Callable[[], Check]) -> Check:
    """A check whose own errors are differences: the folder does not even let itself be checked."""
    try:
        return check()
    except CheckpointError as error:
        return Check(name, Status.DIFFERS, (str(error),))


def _check_shapes(folder: Path) -> Check:
    """Every tensor of the files against the configuration, without loading any."""
    if not (is_ours(folder) or _is_vocabulary(folder)):
        source = open_source(folder)
        count = len(source.tensors.info)
        what = f"{count} tensors of {source.layout.title}: each has its place and its shape"
        return Check("shapes", Status.OK, (what,))
    found: dict[str, tuple[int, ...]] = {}
    files = checkpoint_files(folder)
    for path in files:
        if path.suffix != ".safetensors":
            return Check("shapes", Status.NOT_CHECKED, (f"{path.name} is not in the safetensors format",))
        found |= _header(path)
    expected, optional = _expected(folder)
    wrong = {
        "missing": sorted(expected.keys() - found.keys() - optional),
        "unknown": sorted(found.keys() - expected.keys()),
        "misshapen": [
            f"{name} is {_size(found[name])}, expected {_size(shape)}"
            for name, shape in expected.items()
            if name in found and found[name] != shape
        ],
    }
    if any(wrong.values()):
        details = (f"{len(names)} {kind}: {_some(names)}" for kind, names in wrong.items() if names)
        return Check("shapes", Status.DIFFERS, tuple(details))
    what = f"{len(found)} tensors in {_some([path.name for path in files])} are those of config.json"
    return Check("shapes", Status.OK, (what,))


def _is_vocabulary(folder: Path) -> bool:
    """Whether a folder of ours holds a vision vocabulary alone."""
    path = folder / "config.json"
    return path.is_file() and read_json(path).get("model_type") == VisionVocabularyConfig.model_type


def _expected(folder: Path) -> tuple[dict[str, tuple[int, ...]], set[str]]:
    """The tensors that a folder's configuration makes, and those of them that may be left out."""
    try:
        if _is_vocabulary(folder):
            alone = VisionVocabularyConfig.from_pretrained(folder, local_files_only=True)
            with torch.device("meta"):
                state = VisionVocabulary(alone).state_dict()
            return {name: tuple(tensor.shape) for name, tensor in state.items()}, set()
        config = VaryConfig.from_pretrained(folder, local_files_only=True)
        return our_shapes(config), {HEAD} if config.tie_word_embeddings else set()
    except LIBRARY_ERRORS as error:
        raise CheckpointError(f"{folder / 'config.json'}: makes no model ({why(error)})") from error


def _header(path: Path) -> dict[str, tuple[int, ...]]:
    """Names and shapes in a safetensors file, from its header; its length is checked against it too."""
    try:
        with path.open("rb") as stream:
            (length,) = struct.unpack("<Q", stream.read(8))
            if length > LARGEST_HEADER:
                raise ValueError(f"a header of {length} bytes")
            header = json.loads(stream.read(length))
        header.pop("__metadata__", None)
        ends = [int(entry["data_offsets"][1]) for entry in header.values()]
        shapes = {name: tuple(map(int, entry["shape"])) for name, entry in header.items()}
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror})") from error
    except (struct.error, *JSON_ERRORS) as error:
        raise CheckpointError(f"{path}: is no safetensors file ({error}); copy it again") from error
    expected, size = 8 + length + max(ends, default=0), path.stat().st_size
    if size != expected:
        raise CheckpointError(
            f"{path}: has {size:,} bytes, its header says {expected:,}; it is damaged: copy it again"
        )
    return shapes


def _check_hashes(folder: Path, record: bool, progress: Progress | None) -> Check:
    """Every file against the record of its first fetch, else the manifest, else the public checksums."""
    name = _fetched_name(folder)
    if name and (stored := read_record().files(name)):
        findings = check_files(folder, stored, extra=False, progress=progress)
        return _hashes(findings, f"{len(stored)} files are those of the first fetch")
    if (folder / MANIFEST).is_file():
        findings = check_manifest(folder, progress=progress)
        again = f"remove {MANIFEST} to record anew" if record and findings else ""
        return _hashes(findings, f"all files are those of {MANIFEST}", again)
    if record:
        write_manifest(folder, progress=progress)
        return Check("hashes", Status.RECORDED, (f"sizes and SHA-256 of all files are in {MANIFEST}",))
    known = entries().get(name or "")
    public = {file: sha256 for part in known.parts for file, sha256 in part.sha256.items()} if known else {}
    here = {
        file: StoredFile((folder / file).stat().st_size, sha256)
        for file, sha256 in public.items()
        if (folder / file).is_file()
    }
    if here:
        findings = check_files(folder, here, extra=False, progress=progress)
        return _hashes(
            findings, f"{', '.join(here)}: the checksum that is publicly known; no other file has one"
        )
    return Check("hashes", Status.NOT_CHECKED, (f"there is no {MANIFEST}; --record writes one",))


def _hashes(findings: list[Finding], good: str, hint: str = "") -> Check:
    if findings:
        shown = [str(finding) for finding in findings]
        return Check("hashes", Status.DIFFERS, (*shown, hint) if hint else tuple(shown))
    return Check("hashes", Status.OK, (good,))


def _fetched_name(folder: Path) -> str | None:
    """The name under which a folder was fetched, or would be."""
    names = (*read_record().names(), *entries())
    return next((name for name in names if checkpoint_folder(name).resolve() == folder.resolve()), None)


def _check_fingerprint(
    folder: Path, query: Query, *, record: bool, run: bool, device: torch.device | str, loads: bool
) -> Check:
    path = folder / FINGERPRINT
    stored = path.is_file()
    reasons = (
        (not (stored or record), f"there is no {FINGERPRINT}; --record writes one"),
        (not run, "left out: the model was not loaded"),
        (not loads, "the model cannot be loaded, since its shapes could not be confirmed"),
        (loads and _is_vocabulary(folder), "a vision vocabulary alone reads no page; graft it onto a model"),
    )
    if reason := next((reason for holds, reason in reasons if holds), ""):
        return Check("fingerprint", Status.NOT_CHECKED, (reason,))
    try:
        before = read_fingerprint(path) if stored else None
        model, processor = load_checkpoint(folder, dtype=before.dtype if before else None)
        model = model.eval().to(device)
        found = take_fingerprint(model, processor, before.query if before else query(model.config))
        return _record(path, found) if before is None else _compared(found, before, again=record)
    except VaryError as error:
        # What has run once must run again; what never did may lack a tokenizer.
        return Check("fingerprint", Status.DIFFERS if stored else Status.NOT_CHECKED, (str(error),))


def _record(path: Path, found: Fingerprint) -> Check:
    if found.dtype not in TOLERANCES:
        reason = f"the weights are {found.dtype}; there are fingerprints of {', '.join(TOLERANCES)} alone"
        return Check("fingerprint", Status.NOT_CHECKED, (reason,))
    write_fingerprint(path, found)
    what = f"what the model makes of the fixed image ({found.dtype}, {found.device}) is in {path.name}"
    return Check("fingerprint", Status.RECORDED, (what,))


def _compared(found: Fingerprint, before: Fingerprint, *, again: bool) -> Check:
    if differences := compare(found, before):
        hint = (f"remove {FINGERPRINT} to record anew",) if again else ()
        return Check("fingerprint", Status.DIFFERS, (*differences, *hint))
    exact = found.features_sha256 == before.features_sha256 and found.top == before.top
    how = "bit for bit" if exact else f"within {TOLERANCES[before.dtype]:g} of the spread"
    what = f"the same as recorded {how} ({found.dtype}; recorded on {before.device}, run on {found.device})"
    return Check("fingerprint", Status.OK, (what,))


def _size(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape)) or "a single number"


def _some(names: list[str]) -> str:
    rest = f" and {len(names) - LISTED} more" if len(names) > LISTED else ""
    return f"{', '.join(names[:LISTED])}{rest}"
