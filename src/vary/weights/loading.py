"""Checkpoints of any format that is known, loaded for reading: the model, its tokenizer and processor."""

from __future__ import annotations

from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Any

import torch
from transformers import GenerationConfig

from vary.errors import CheckpointError
from vary.model.checkpoint_files import checkpoint_files, read_json
from vary.model.configuration import VaryConfig
from vary.model.loading import LIBRARY_ERRORS, load_model, quiet_library, why
from vary.model.modeling import VaryForConditionalGeneration
from vary.model.processing import VaryProcessor
from vary.weights.fetching.store import find
from vary.weights.formats.layouts import Family, Layout, find_family
from vary.weights.formats.processors import FAST, build_processor, tokenizer_files
from vary.weights.sources import ORIGIN, WEIGHT_TYPES, Source, is_ours, open_source

__all__ = [
    "as_dtype",
    "build_generation_config",
    "generation_config_of",
    "load_checkpoint",
    "load_foreign",
    "load_source",
    "open_checkpoint",
    "resolve_checkpoint",
]

Dtype = torch.dtype | str | None


def load_checkpoint(
    path: str | PathLike[str],
    *,
    dtype: Dtype = None,
    tokenizer: str | PathLike[str] | None = None,
    settings: Mapping[str, Any] | None = None,
) -> tuple[VaryForConditionalGeneration, VaryProcessor]:
    """The model and the processor of a checkpoint; nothing is looked for on the network.

    Args:
        path: a folder of ours, a folder or file of another format (see `vary.weights.formats.layouts`), or
            the name of a checkpoint that was fetched.
        dtype: the weights' type, such as `torch.bfloat16` or "bfloat16"; None keeps the checkpoint's.
        tokenizer: the tokenizer's file or folder (`qwen.tiktoken`), where it does not lie beside the weights;
            of a folder of ours only where that was converted from another format.
        settings: for other formats, keys of their `config.json` that win over it.

    Raises:
        CheckpointError: if anything is missing, broken or does not fit.
    """
    folder = resolve_checkpoint(path)
    kind = as_dtype(dtype)
    if is_ours(folder):
        origin = _check_tokenizer(folder, tokenizer)
        model = load_model(folder, dtype=kind)
        return model, _processor_of_ours(folder, origin, model.config, tokenizer)
    source, processor = open_checkpoint(folder, tokenizer=tokenizer, settings=settings)
    return load_source(source, dtype=kind), processor


def open_checkpoint(
    path: str | PathLike[str],
    *,
    tokenizer: str | PathLike[str] | None = None,
    settings: Mapping[str, Any] | None = None,
) -> tuple[Source, VaryProcessor]:
    """The files and the processor of a checkpoint, and no weights yet; arguments and errors as above."""
    folder = resolve_checkpoint(path)
    if is_ours(folder):
        origin = _check_tokenizer(folder, tokenizer)
        source = open_source(folder)
        return source, _processor_of_ours(folder, origin, source.config, tokenizer)
    source = open_source(folder, settings=settings)
    family = source.layout.family
    assert family is not None, "every format but ours has a family"
    return source, build_processor(family, source.config, source.folder, tokenizer)


def generation_config_of(source: Source) -> GenerationConfig:
    """How a checkpoint's answers end."""
    if (source.folder / "generation_config.json").is_file() and is_ours(source.folder):
        return GenerationConfig.from_pretrained(source.folder, local_files_only=True)
    return build_generation_config(source.layout, source.config)


def resolve_checkpoint(path: str | PathLike[str]) -> Path:
    """The folder or file that a path or the name of a fetched checkpoint stands for.

    Raises:
        CheckpointError: if it is neither.
    """
    folder = Path(path)
    found = folder if folder.exists() else find(str(path))
    if found is None:
        raise CheckpointError(
            f"{folder}: there is no such folder or file; give a checkpoint's path, or fetch one by name "
            "(vary weights list)"
        )
    if found.is_file() and is_ours(found.parent) and checkpoint_files(found.parent) == [found]:
        return found.parent  # the only file of weights in a folder of ours
    return found


def load_foreign(
    path: str | PathLike[str], *, dtype: Dtype = None, settings: Mapping[str, Any] | None = None
) -> VaryForConditionalGeneration:
    """The model alone of a checkpoint of another format; no tokenizer is needed.  Arguments as above."""
    return load_source(open_source(path, settings=settings), dtype=dtype)


def load_source(source: Source, *, dtype: Dtype = None) -> VaryForConditionalGeneration:
    """The model of an opened checkpoint; its tensors stay mapped from their files where the type is kept."""
    kind = as_dtype(dtype) or source.dtype
    state = {name: tensor.to(kind) for name, tensor in source.read(source.places).items()}
    # Built on the meta device, then given these very tensors; the library fills in its computed tables.
    with quiet_library():
        model: VaryForConditionalGeneration = VaryForConditionalGeneration.from_pretrained(
            None, config=source.config, state_dict=state, dtype=kind
        )
    model.generation_config = build_generation_config(source.layout, source.config)
    return model


def build_generation_config(layout: Layout, config: VaryConfig) -> GenerationConfig:
    """How answers of a layout's checkpoints end."""
    text = config.text_config
    others = layout.family.stops if layout.family is not None else ()
    stops = [stop for stop in (text.eos_token_id, *others) if stop is not None and stop < text.vocab_size]
    return GenerationConfig(
        bos_token_id=text.bos_token_id,
        eos_token_id=list(dict.fromkeys(stops)) or None,
        pad_token_id=text.pad_token_id,
    )


def as_dtype(dtype: Dtype) -> torch.dtype | None:
    """A type of weights, given itself or by its name; None passes through.

    Raises:
        CheckpointError: for any other.
    """
    if dtype is None or dtype in WEIGHT_TYPES:
        return dtype if isinstance(dtype, torch.dtype) else None
    for known in WEIGHT_TYPES:
        if str(known) == f"torch.{dtype}":
            return known
    name = str(dtype).removeprefix("torch.")
    raise CheckpointError(f"no type '{name}' of weights; expected float32, bfloat16 or float16")


def _check_tokenizer(folder: Path, tokenizer: str | PathLike[str] | None) -> Family | None:
    """The format's family that a folder of ours was converted from; None if it never was.

    Raises:
        CheckpointError: if it needs a tokenizer that was not given, or was given one that it does not need.
    """
    origin = read_json(folder / ORIGIN) if (folder / ORIGIN).is_file() else {}
    family = find_family(origin.get("layout"))
    if tokenizer is not None and family is None:
        raise CheckpointError(
            f"{folder} was not converted from another format and has a tokenizer of its own; "
            "leave --tokenizer out"
        )
    if tokenizer is None and family is not None and not (folder / FAST).is_file():
        raise CheckpointError(
            f"{folder}: it was converted without a tokenizer, so it does not read; convert again with "
            f"{tokenizer_files(family)} beside the weights, or name its place (--tokenizer)"
        )
    return family


def _processor_of_ours(
    folder: Path, origin: Family | None, config: VaryConfig, tokenizer: str | PathLike[str] | None
) -> VaryProcessor:
    """Of a folder of ours: its own, or with a tokenizer of the format that it was converted from."""
    if origin is None or tokenizer is None:
        return _own_processor(folder)
    return build_processor(origin, config, folder, tokenizer)


def _own_processor(folder: Path) -> VaryProcessor:
    try:
        with quiet_library():
            processor: VaryProcessor = VaryProcessor.from_pretrained(
                folder, local_files_only=True, trust_remote_code=False
            )
    except LIBRARY_ERRORS as error:
        raise CheckpointError(
            f"{folder}: the processor or tokenizer cannot be loaded ({why(error)})"
        ) from error
    return processor
