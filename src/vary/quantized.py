"""Checkpoints whose language model is decoded by the native kernels, from weights that are packed once."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from os import PathLike
from pathlib import Path

import torch
from torch import Tensor

from vary.engine.decoders.native import NativeDecoder
from vary.engine.memory import check_fits, gigabytes
from vary.engine.native import load_library
from vary.engine.packing import PackedModel, TextShape, write_packed
from vary.engine.precisions import Precision, precision
from vary.errors import DeviceError, NativeError
from vary.model.modeling import VaryForConditionalGeneration
from vary.model.partial import TEXT_PREFIXES, vision_model
from vary.model.processing import VaryProcessor
from vary.weights.fetching.store import home
from vary.weights.loading import generation_config_of, open_checkpoint
from vary.weights.sources import EMBEDDINGS, HEAD, Source, open_source

__all__ = ["check_memory", "load_quantized", "memory_needed", "packed_model", "packed_places"]

LANGUAGE_MODEL = "model.language_model."
WORKING = 256
"""Bytes that a page takes for each patch and channel of the vocabulary network: 0.8 GB at Vary's size."""
SMALL = 64 << 20
"""A language model with fewer bytes of weights is packed by every process: it takes no time, and no file."""


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
    TextShape.of(source.config.text_config)
    packed = packed_model(source, kind)
    names = [name for name in source.places if not name.startswith(TEXT_PREFIXES)]
    shares_head = source.config.vision_vocabulary_config.ctc_frames > 0
    head = _weights(source)(HEAD) if shares_head else None
    model = vision_model(source.config, source.read(names), packed.embed, dtype, head)
    model.generation_config = generation_config_of(source)
    return model, processor, NativeDecoder(packed, threads=threads)


def check_memory(
    path: Path, name: str, device: torch.device, dtype: torch.dtype | None, quantize: str | None
) -> None:
    """Refuses a checkpoint that does not fit into a device's memory, before any of it is loaded.

    Args:
        path: the checkpoint's folder or file.
        name: for people.
        device, dtype, quantize: as in `Reader.load`.

    Raises:
        DeviceError: with what it needs, what is free, and what would need less; or for packed weights on
            another device than a CPU.
        CheckpointError, NativeError: if it is none, or cannot be packed.
    """
    if quantize is not None and device.type != "cpu":
        raise DeviceError(
            f"packed weights ({quantize}) are decoded on a CPU, not on {device}; leave --quantize out, or "
            "add --device cpu"
        )
    source = open_source(path)
    needed = memory_needed(source, dtype, quantize)
    choices: list[tuple[torch.dtype | None, str | None, str]] = []
    if device.type == "cpu":
        choices.append((dtype, "int4", "--quantize int4"))
    choices.append((torch.bfloat16, quantize, "--dtype bfloat16"))
    smaller = []
    for other, bits, option in choices:
        with suppress(NativeError):  # what cannot be packed is not recommended
            count = memory_needed(source, other, bits)
            if count < needed:
                smaller.append(f"{option} takes {gigabytes(count)}")
    check_fits(needed, device, name, "; ".join(smaller) or "free some, or take a larger machine")


def memory_needed(source: Source, dtype: torch.dtype | None, quantize: str | None) -> int:
    """Bytes of a checkpoint's weights as they are loaded, and of what reading a page takes besides."""
    sizes = {name: source.info(name) for name in source.places}
    text = {name for name in sizes if name.startswith(TEXT_PREFIXES)}
    needed = sum(
        info.nbytes if dtype is None else info.nbytes // info.dtype.itemsize * dtype.itemsize
        for name, info in sizes.items()
        if quantize is None or name not in text
    )
    if quantize is not None:
        matrices = TextShape.of(source.config.text_config).matrices(precision(quantize))
        needed += sum(plan.value_bytes + 2 * plan.scale_count for plan in matrices.values())
    vocabulary = source.config.vision_vocabulary_config
    patches = vocabulary.grid[0] * vocabulary.grid[1]
    return needed + WORKING * patches * vocabulary.hidden_size


def packed_places(source: Source, kind: Precision) -> Iterator[Path]:
    """Where packed weights may lie, in the order in which they are looked for."""
    name = f"language-model.{kind.name}.packed"
    yield source.folder / name
    place = hashlib.sha256(str(source.path.resolve()).encode()).hexdigest()[:16]
    yield home() / "packed" / place / name


def packed_model(source: Source, kind: Precision) -> PackedModel:
    """The packed weights of a checkpoint, packed now if they are not there or not of these weights."""
    identity = _identity(source)
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
            write_packed(file, source.config.text_config, _weights(source), kind, identity)
            return PackedModel.open(file, identity)
        except OSError as error:
            problems.append(f"{file}: {error}")
    return _packed_for_now(source, kind, identity, problems)


def _packed_for_now(source: Source, kind: Precision, identity: str, problems: list[str]) -> PackedModel:
    """Packed into a file that is gone with this process."""
    try:
        with tempfile.TemporaryDirectory(prefix="vary-") as folder:
            file = Path(folder) / "packed"
            write_packed(file, source.config.text_config, _weights(source), kind, identity)
            return PackedModel.open(file, identity)  # stays mapped
    except OSError as error:
        raise NativeError(
            f"the packed weights of {source.path} cannot be stored: {'; '.join([*problems, str(error)])}; "
            "make room there, or name a folder with room (VARY_HOME)"
        ) from error


def _weights(source: Source) -> Callable[[str], Tensor]:
    """The language model's tensors by their names in the library's model."""

    def weight(name: str) -> Tensor:
        whole = name if name == HEAD else f"{LANGUAGE_MODEL}{name}"
        if whole not in source.places:
            whole = f"{LANGUAGE_MODEL}{EMBEDDINGS}"  # a tied head
        return source.read([whole])[whole]

    return weight


def _identity(source: Source) -> str:
    """Which weights these are: names, sizes and times of their files."""
    facts = [
        f"{file.name} {status.st_size} {status.st_mtime_ns}"
        for file in sorted(source.tensors.files)
        for status in (file.stat(),)
    ]
    return hashlib.sha256("\n".join(facts).encode()).hexdigest()
