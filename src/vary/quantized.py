"""Checkpoints whose language model is decoded by the native kernels, from weights that are packed once."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from os import PathLike
from pathlib import Path

import torch
from torch import Tensor

from vary.engine.decoders.native import NativeDecoder
from vary.engine.native import load_library
from vary.engine.packing import PackedModel, TextShape, write_packed
from vary.engine.precisions import Precision, precision
from vary.errors import NativeError
from vary.model.configuration import VaryConfig
from vary.model.modeling import VaryForConditionalGeneration
from vary.model.partial import TEXT_PREFIXES, vision_model
from vary.model.processing import VaryProcessor
from vary.weights.fetching.store import home
from vary.weights.loading import generation_config_of, open_checkpoint
from vary.weights.sources import EMBEDDINGS, HEAD, Source

__all__ = [
    "LANGUAGE_MODEL",
    "Refusal",
    "identity_of",
    "kernels_refuse",
    "load_packed",
    "load_quantized",
    "packed_model",
    "packed_places",
    "text_weights",
]

LANGUAGE_MODEL = "model.language_model."
SMALL = 64 << 20
"""A language model with fewer bytes of weights is packed by every process: it takes no time, and no file."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why the native kernels do not decode a language model.

    Attributes:
        short: in a word or two.
        reason: with the remedy, where there is one.
    """

    short: str
    reason: str


def kernels_refuse(config: VaryConfig, device: torch.device) -> Refusal | None:
    """Why the native kernels do not decode a model's language model on a device; None where they do."""
    if device.type != "cpu":
        return Refusal(device.type, f"the native kernels decode on a CPU, not on {device}")
    try:
        load_library()
    except NativeError as error:
        return Refusal("no native kernels", str(error))
    try:
        TextShape.of(config.text_config)
    except NativeError as error:
        return Refusal("not for the native kernels", str(error))
    return None


def load_quantized(
    path: str | PathLike[str],
    *,
    quantize: str,
    dtype: torch.dtype = torch.float32,
    tokenizer: str | PathLike[str] | None = None,
    threads: int | None = None,
) -> tuple[VaryForConditionalGeneration, VaryProcessor, NativeDecoder]:
    """A checkpoint for reading on a CPU: its vision parts in PyTorch, its language model in packed weights.

    Of all but small models the packed weights are stored beside the checkpoint, or where that cannot be
    written in the user's data, or in a temporary file; from then on they are mapped and the checkpoint's own
    are not read.

    Args:
        path, tokenizer: as in `vary.weights.loading.load_checkpoint`.
        quantize: the precision of the language model's matrices, such as `int4`; see
            `vary.engine.packing.PRECISIONS`.
        dtype: of the vision parts.
        threads: that decode; PyTorch's number by default.

    Raises:
        CheckpointError: if anything is missing, broken or does not fit.
        NativeError: if the kernels are not there, do not compute this model, or nothing can be stored.
    """
    kind = precision(quantize)
    load_library()
    source, processor = open_checkpoint(path, tokenizer=tokenizer)
    model, decoder = load_packed(source, kind, dtype, threads)
    return model, processor, decoder


def load_packed(
    source: Source, kind: Precision, dtype: torch.dtype, threads: int | None = None
) -> tuple[VaryForConditionalGeneration, NativeDecoder]:
    """The model and the decoder of an opened checkpoint; arguments and errors as in `load_quantized`."""
    TextShape.of(source.config.text_config)
    packed = packed_model(source, kind)
    names = [name for name in source.places if not name.startswith(TEXT_PREFIXES)]
    shares_head = source.config.vision_vocabulary_config.ctc_frames > 0
    head = text_weights(source)(HEAD) if shares_head else None
    model = vision_model(source.config, source.read(names), packed.embed, dtype, head)
    model.generation_config = generation_config_of(source)
    return model, NativeDecoder(packed, threads=threads)


def packed_places(source: Source, kind: Precision, ending: str = "packed") -> Iterator[Path]:
    """Where packed weights may lie, in the order in which they are looked for."""
    name = f"language-model.{kind.name}.{ending}"
    yield source.folder / name
    place = hashlib.sha256(str(source.path.resolve()).encode()).hexdigest()[:16]
    yield home() / "packed" / place / name


def packed_model(source: Source, kind: Precision) -> PackedModel:
    """The packed weights of a checkpoint, packed now if they are not there or not of these weights."""
    identity = identity_of(source)
    problems: list[str] = []
    text = [name for name in source.places if name.startswith(TEXT_PREFIXES)]
    if sum(source.info(name).nbytes for name in text) < SMALL:
        return _packed_for_now(source, kind, identity, problems)
    for file in packed_places(source, kind):
        try:
            if file.is_file():
                return PackedModel.open(file, identity)
        except NativeError as error:  # of older weights or another version: it is written anew
            problems.append(str(error))
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            write_packed(file, source.config.text_config, text_weights(source), kind, identity)
            return PackedModel.open(file, identity)
        except OSError as error:
            problems.append(f"{file}: {error}")
    return _packed_for_now(source, kind, identity, problems)


def _packed_for_now(source: Source, kind: Precision, identity: str, problems: list[str]) -> PackedModel:
    """Packed into a file that is gone with this process."""
    try:
        with tempfile.TemporaryDirectory(prefix="vary-") as folder:
            file = Path(folder) / "packed"
            write_packed(file, source.config.text_config, text_weights(source), kind, identity)
            return PackedModel.open(file, identity)  # stays mapped
    except OSError as error:
        raise NativeError(
            f"the packed weights of {source.path} cannot be stored: {'; '.join([*problems, str(error)])}; "
            "make room there, or name a folder with room (VARY_HOME)"
        ) from error


def text_weights(source: Source) -> Callable[[str], Tensor]:
    """The language model's tensors by their names in the library's model."""

    def weight(name: str) -> Tensor:
        whole = name if name == HEAD else f"{LANGUAGE_MODEL}{name}"
        if whole not in source.places:
            whole = next(place for place in source.places if place.endswith(EMBEDDINGS))  # a tied head
        return source.read([whole])[whole]

    return weight


def identity_of(source: Source) -> str:
    """Which weights these are: names, sizes and times of their files."""
    facts = [
        f"{file.name} {status.st_size} {status.st_mtime_ns}"
        for file in sorted(source.tensors.files)
        for status in (file.stat(),)
    ]
    return hashlib.sha256("\n".join(facts).encode()).hexdigest()
