"""Checkpoints whose language model is decoded by the native kernels, from weights that are packed once."""

from __future__ import annotations

import hashlib
import logging
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from os import PathLike
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor

from vary.engine.decoders.native import NativeDecoder
from vary.engine.native import load_library
from vary.engine.packing import PackedModel, TextShape, pack_model, write_packed
from vary.engine.precisions import Precision, precision
from vary.engine.stored_tensors import remove_leftovers
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
    "made_once",
    "mode_of",
    "packed_model",
    "packed_places",
    "text_weights",
]

LANGUAGE_MODEL = "model.language_model."
SMALL = 64 << 20
"""A language model with fewer bytes of weights is packed by every process: it takes no time, and no file."""

LAYER = re.compile(r".*\.layers\.\d+\.")
"""How the names of a layer's tensors begin."""

LOG = logging.getLogger(__name__)
Made = TypeVar("Made")


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why the native kernels do not decode a language model.

    Attributes:
        short: in a word or two.
        reason: with the remedy, where there is one.
        missing: whether they would, if they were there.
    """

    short: str
    reason: str
    missing: bool = False


def kernels_refuse(config: VaryConfig, device: torch.device) -> Refusal | None:
    """Why the native kernels do not decode a model's language model on a device; None where they do."""
    if device.type != "cpu":
        return Refusal(device.type, f"the native kernels decode on a CPU, not on {device}")
    unfit = None
    try:
        TextShape.of(config.text_config)
    except NativeError as error:
        unfit = Refusal("not for the native kernels", str(error))
    try:
        load_library()
    except NativeError as error:
        return Refusal("no native kernels", str(error), missing=unfit is None)
    return unfit


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
    written in the user's data; from then on they are mapped and the checkpoint's own are not read.  Where
    neither can be written every process packs them in memory.

    Args:
        path, tokenizer: as in `vary.weights.loading.load_checkpoint`.
        quantize: the precision of the language model's matrices, such as `int4`; see
            `vary.engine.packing.PRECISIONS`.
        dtype: of the vision parts.
        threads: that decode; PyTorch's number by default.

    Raises:
        CheckpointError: if anything is missing, broken or does not fit.
        NativeError: if the kernels are not there, or do not compute this model.
    """
    kind = precision(quantize)
    load_library()
    source, processor = open_checkpoint(path, tokenizer=tokenizer)
    model, decoder = load_packed(source, kind, dtype, threads)
    return model, processor, decoder


def load_packed(
    source: Source, kind: Precision, dtype: torch.dtype, threads: int | None = None, *, stored: bool = True
) -> tuple[VaryForConditionalGeneration, NativeDecoder]:
    """The model and the decoder of an opened checkpoint; arguments and errors as in `load_quantized`.

    With `stored` as false, packed weights are neither looked for nor left in a file.
    """
    text = source.config.text_config
    packed = packed_model(source, kind) if stored else pack_model(text, text_weights(source), kind)
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
    """The packed weights of a checkpoint, packed now if they are not there or not of it as it is."""
    config, weight, identity = source.config.text_config, text_weights(source), identity_of(source)
    shape = TextShape.of(config)
    text = [name for name in source.places if name.startswith(TEXT_PREFIXES)]
    small = sum(source.info(name).nbytes for name in text) < SMALL
    return made_once(
        () if small else packed_places(source, kind),
        f"the {kind.name} weights of {source.path.name} are packed",
        load=lambda file: PackedModel.open(file, identity, shape),
        store=lambda file, begun: write_packed(
            file, config, weight, kind, identity, mode=mode_of(source), begun=begun
        ),
        make=lambda: pack_model(config, weight, kind),
    )


def made_once(
    places: Iterable[Path],
    what: str,
    *,
    load: Callable[[Path], Made],
    store: Callable[[Path, Callable[[], None]], None],
    make: Callable[[], Made],
) -> Made:
    """What lies at the first of some places, or is stored at the first that takes it, or is made in memory.

    What takes time is logged before it begins, as a warning, which Python shows without being asked.

    Args:
        places: the files, in the order in which they are looked for; none if nothing should be stored.
        what: is done, for people: "the int8-g64 weights of vary-toy are packed".
        load: from a file; NativeError if it is not of today's weights, or damaged.
        store: in a file; calls its second argument when it has begun.  OSError where there is no room.
        make: in memory.
    """
    problems = []
    for file in places:
        try:
            remove_leftovers(file)
            if file.is_file():
                return load(file)
        except (NativeError, OSError) as error:  # it is written anew
            problems.append(str(error))
        try:
            store(file, partial(LOG.warning, "%s once, which takes a while, and stored in %s", what, file))
            return load(file)
        except (NativeError, OSError) as error:
            problems.append(
                str(error) if isinstance(error, NativeError) else f"{file}: {error.strerror or error}"
            )
    if problems:
        LOG.warning(
            "%s by every start, which takes a while, because they cannot be stored (%s); make room there, or "
            "name a folder with room (VARY_HOME)",
            what,
            "; ".join(problems),
        )
    return make()


def mode_of(source: Source) -> int:
    """The permissions of files made from a checkpoint's weights: who may not read these reads no copy."""
    mode = 0o666
    for file in source.tensors.files:
        mode &= file.stat().st_mode
    return mode


def text_weights(source: Source) -> Callable[[str], Tensor]:
    """The language model's tensors by their names in the library's model.

    Opening a large file for each of hundreds takes longer than packing them, so the tensors of a layer are
    mapped together; and not more, as what was read of mapped files counts as this process's memory.
    """
    kept: dict[str, Tensor] = {}

    def weight(name: str) -> Tensor:
        whole = name if name == HEAD else f"{LANGUAGE_MODEL}{name}"
        if whole not in source.places:
            whole = next(place for place in source.places if place.endswith(EMBEDDINGS))  # a tied head
        if whole not in kept:
            kept.clear()
            kept.update(source.read(_together(source, whole)))
        return kept[whole]

    return weight


def _together(source: Source, name: str) -> list[str]:
    """The names of a tensor and those that are read with it: its layer's, or all biases and norms."""
    if len(source.info(name).shape) == 1:
        return [
            other
            for other in source.places
            if other.startswith(TEXT_PREFIXES) and len(source.info(other).shape) == 1
        ]
    layer = LAYER.match(name)
    return [name] if layer is None else [other for other in source.places if other.startswith(layer[0])]


def identity_of(source: Source) -> str:
    """Which weights these are: names, sizes and times of their files."""
    facts = [
        f"{file.name} {status.st_size} {status.st_mtime_ns}"
        for file in sorted(source.tensors.files)
        for status in (file.stat(),)
    ]
    return hashlib.sha256("\n".join(facts).encode()).hexdigest()
