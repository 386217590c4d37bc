"""Checkpoints from one format into another: total, strict, reversible, and a few tensors in memory at a time.

convert("Vary-toy", "vary-toy")                       the authors' folder into ours
convert("vary-toy", "back", to="authors")             and back, bit for bit
convert("vary-toy", "ms", to="mindspore")             MindOCR's .ckpt
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import Any

import torch

from vary import __version__
from vary.errors import CheckpointError
from vary.model.checkpoint_files import read_json, read_text, write_json, write_text
from vary.weights.folders import check_new, copy_file, new_folder
from vary.weights.formats.layouts import OURS, Layout, find_family
from vary.weights.formats.processors import (
    FAST,
    TIKTOKEN,
    VOCABULARY,
    build_processor,
    copy_tokenizer,
    find_tokenizer,
    tokenizer_files,
)
from vary.weights.formats.their_settings import TARGETS, choose_layout, their_settings
from vary.weights.loading import as_dtype, build_generation_config
from vary.weights.manifest import write_manifest
from vary.weights.sources import CONFIG, ORIGIN, Source, open_source
from vary.weights.writing import (
    Cast,
    write_mindspore_file,
    write_pytorch_files,
    write_safetensors_files,
    write_training_file,
)

__all__ = ["ORIGIN", "Report", "convert"]

SHARD_BYTES = 10**9
KEPT = ("*.tiktoken", "vocab.json", "merges.txt", "added_tokens.json", "LICENSE*", "NOTICE*")
"""Files of a checkpoint that go along whatever the format: what a tokenizer is made from, licences."""
BESIDE = (
    *("tokenizer_config.json", "special_tokens_map.json"),
    *("generation_config.json", "preprocessor_config.json"),
)
"""Small files of other formats that ours have too, with another content: remembered for the way back."""
TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json")
OTHER_FILES = ("generation_config.json",)
PROCESSOR_FILES = ("processor_config.json", "chat_template.jinja", "additional_chat_templates")

Progress = Callable[[int, int | None], None]


@dataclass(slots=True)
class Report:
    """What a conversion did.

    Attributes:
        source, target: the layouts' names.
        files: what was written, with sizes in bytes.
        parameters: how many numbers the weights are.
        dtypes: their type before and after.
        left_out: tensors of the source that the target does not hold, because they are computed or doubled.
        rounded: numbers that another type could not hold exactly.
        notes: what else a user should know.
    """

    source: str
    target: str
    files: dict[str, int] = field(default_factory=dict)
    parameters: int = 0
    dtypes: tuple[str, str] = ("", "")
    left_out: tuple[str, ...] = ()
    rounded: int = 0
    notes: list[str] = field(default_factory=list)


def convert(
    source: str | PathLike[str],
    target: str | PathLike[str],
    *,
    to: str = "vary",
    dtype: torch.dtype | str | None = None,
    tokenizer: str | PathLike[str] | None = None,
    settings: Mapping[str, Any] | None = None,
    shard_bytes: int = SHARD_BYTES,
    progress: Progress | None = None,
) -> Report:
    """Writes a checkpoint in another format; `target` is whole, or it is not there.

    Args:
        source: a folder of ours, or a folder or file of another format (see `vary.weights.formats.layouts`).
        target: the folder to write, which must be new or empty.
        to: `vary` for our format; `authors`, `mindspore` or `got-ocr2` for theirs.
        dtype: of the weights; None keeps the source's.
        tokenizer: the tokenizer's file or folder, where it does not lie beside the weights.
        settings: keys of the source's `config.json` that win over it.
        shard_bytes: largest weights file; up to three times as much is in memory at a time.  MindSpore's file
            is written tensor by tensor in any case.
        progress: called with the bytes that are written, and with how many there are.

    Raises:
        CheckpointError: if the source is broken or does not fit (all that does not is listed), the target is
            not empty, a number does not fit the type, or the disk is full; nothing is left behind.
    """
    if to not in ("vary", *TARGETS):
        raise CheckpointError(f"unknown target '{to}'; expected one of vary, {', '.join(TARGETS)}")
    opened = open_source(source, settings=settings)
    origin = _origin(opened)
    layout = OURS if to == "vary" else choose_layout(to, opened.config, origin.get("layout"))
    cast = Cast(as_dtype(dtype))
    infos = {name: opened.info(name) for name in opened.places}
    needed = sum(cast.nbytes(info) for info in infos.values())
    report = Report(
        source=opened.layout.name,
        target=layout.name,
        parameters=sum(torch.Size(info.shape).numel() for info in infos.values()),
        dtypes=(_name(opened.dtype), _name(cast.dtype or opened.dtype)),
        left_out=opened.left_out,
    )
    _set_type(opened, cast)
    check_new(Path(target))
    opened.tensors.verify()
    with new_folder(Path(target), needed=needed) as folder:
        # First what is small, and may be wrong.
        _write_companions(folder, opened, layout, origin, tokenizer, report)
        _write_weights(folder, opened, layout, origin, cast, shard_bytes, _counted(progress, needed))
        if layout is OURS:
            write_manifest(folder)
        report.files = {path.name: path.stat().st_size for path in sorted(folder.iterdir()) if path.is_file()}
    report.rounded = cast.rounded
    return report


def _write_weights(
    folder: Path,
    source: Source,
    layout: Layout,
    origin: Mapping[str, Any],
    cast: Cast,
    shard_bytes: int,
    advance: Callable[[int], None],
) -> None:
    head = bool(origin.get("has_head", True))
    if layout.name == "mindocr":
        write_mindspore_file(folder / "vary_toy.ckpt", source, layout, cast, advance)
    elif layout.name == "vary-tiny-600k":
        write_training_file(folder / "checkpoint.pth", source, layout, cast, advance, tied_head=head)
    elif layout is OURS or layout.name.startswith("got"):
        write_safetensors_files(folder, source, cast, shard_bytes, advance, layout=layout)
    else:
        write_pytorch_files(folder, source, layout, cast, shard_bytes, advance, tied_head=head)


def _write_companions(
    folder: Path,
    source: Source,
    layout: Layout,
    origin: Mapping[str, Any],
    tokenizer: str | PathLike[str] | None,
    report: Report,
) -> None:
    """Everything beside the weights: configuration, tokenizer, processor, licences, origin."""
    family = layout.family or source.layout.family or find_family(origin.get("layout"))
    if family is None and tokenizer is not None:
        raise CheckpointError(
            f"{source.path} is in our format and was not converted from another, so how its prompts are "
            "written is not known; leave --tokenizer out"
        )
    file = None if family is None else find_tokenizer(family, source.folder, tokenizer)
    if file is not None and (layout is not OURS or file.name != FAST):
        copy_tokenizer(file, folder)
    _copy(source.folder, folder, KEPT)
    if layout is not OURS:
        _write_their_settings(folder, source, layout, origin)
        if file is None or file.name == FAST:
            _copy(source.folder, folder, TOKENIZER_FILES)
    else:
        _write_our_settings(folder, source, origin)
        if family is not None and file is not None and (source.layout is not OURS or tokenizer is not None):
            build_processor(family, source.config, source.folder, file).save_pretrained(folder)
    if not any((folder / name).is_file() for name in (FAST, TIKTOKEN, VOCABULARY)):
        wanted = "a tokenizer" if family is None else tokenizer_files(family)
        report.notes.append(
            "no tokenizer beside the weights: tokenizer and processor are left out, so this checkpoint does "
            f"not read yet; convert again with {wanted} in place, or with --tokenizer"
        )


def _write_our_settings(folder: Path, source: Source, origin: Mapping[str, Any]) -> None:
    source.config.save_pretrained(folder)
    if source.layout is OURS:
        _copy(source.folder, folder, (*TOKENIZER_FILES, *PROCESSOR_FILES, *OTHER_FILES, ORIGIN))
        return
    build_generation_config(source.layout, source.config).save_pretrained(folder)
    write_json(folder / ORIGIN, origin)


def _write_their_settings(folder: Path, source: Source, layout: Layout, origin: Mapping[str, Any]) -> None:
    """`config.json` where the format has one, and what lay beside it when the checkpoint was theirs."""
    dtype = _name(source.config.dtype)
    original = origin.get("config") or {}
    if layout.architecture is not None or original or layout.name == "mindocr":
        changed = None if dtype == origin.get("dtype") else dtype
        write_json(folder / CONFIG, their_settings(layout, source.config, original, dtype=changed))
    beside = origin.get("beside", {}) if layout.name == origin.get("layout") else {}
    for name in BESIDE:
        if isinstance(beside.get(name), str):
            write_text(folder / name, beside[name])


def _origin(source: Source) -> dict[str, Any]:
    """What to remember of the source for the way back, or what it remembers itself."""
    if source.layout is OURS:
        path = source.folder / ORIGIN
        origin = read_json(path) if path.is_file() else {}
        if not all(isinstance(origin.get(key, {}), dict) for key in ("config", "beside")):
            raise CheckpointError(
                f"{path} is no record of a conversion; remove it, and all of it is told anew"
            )
        return origin
    return {
        "vary_version": __version__,
        "layout": source.layout.name,
        "files": [path.name for path in source.tensors.files],
        "dtype": _name(source.dtype),
        "has_head": _has_head(source),
        "left_out": list(source.left_out),
        "config": dict(source.settings),
        "beside": {name: read_text(path) for name in BESIDE if (path := source.folder / name).is_file()},
    }


def _has_head(source: Source) -> bool:
    place = source.layout.names.theirs("lm_head.weight")
    return place is not None and place.name in source.tensors.info


def _set_type(source: Source, cast: Cast) -> None:
    """Has the configuration say the type that is written, since that is the one that will be loaded."""
    config = source.config
    parts = (config.text_config, config.vision_vocabulary_config, config.clip_config)
    config.dtype = cast.dtype or as_dtype(config.dtype) or source.dtype
    for part in parts:
        if getattr(part, "dtype", None) is not None:
            part.dtype = config.dtype


def _copy(source: Path, target: Path, patterns: tuple[str, ...]) -> None:
    for pattern in patterns:
        for path in sorted(source.glob(pattern)):
            if path.is_dir():
                shutil.copytree(path, target / path.name, dirs_exist_ok=True, copy_function=copy_file)
            elif not (target / path.name).exists():
                copy_file(path, target / path.name)


def _counted(progress: Progress | None, total: int) -> Callable[[int], None]:
    """Adds up what is written."""
    done = 0

    def advance(nbytes: int) -> None:
        nonlocal done
        done += nbytes
        if progress is not None:
            progress(done, total)

    return advance


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
