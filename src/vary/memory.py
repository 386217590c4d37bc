"""How much memory a checkpoint needs as it is to be loaded, and its refusal where that is not there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from vary.engine.memory import available_memory, check_fits, gigabytes
from vary.engine.native.shapes import TextShape
from vary.engine.offload import check_offload, table_stays, visiting_parts
from vary.engine.precisions import Precision, precision
from vary.errors import NativeError
from vary.model.partial import TEXT_PREFIXES
from vary.quantized import kernels_refuse
from vary.unrounded import kept_precision
from vary.weight_only import planned_model, planned_types
from vary.weights.sources import EMBEDDINGS, Source, open_source

__all__ = ["Demand", "check_memory", "memory_needed"]

WORKING = 256
"""Bytes that a page takes for each patch and channel of the vocabulary network: 0.8 GB at Vary's size."""
CPU = torch.device("cpu")


@dataclass(frozen=True, slots=True)
class Demand:
    """Bytes that a checkpoint needs.

    Attributes:
        device: on the device: weights, and what reading a page takes besides.
        main: in main memory, of weights that stay there; 0 where none do.
    """

    device: int
    main: int = 0


@dataclass(frozen=True, slots=True)
class _Choice:
    """Another way to load a checkpoint, and how a user asks for it."""

    option: str
    dtype: torch.dtype | None
    quantize: str | None
    offload: bool


def check_memory(
    path: Path,
    name: str,
    device: torch.device,
    dtype: torch.dtype | None,
    quantize: str | None,
    *,
    offload: bool = False,
    settings: Mapping[str, Any] | None = None,
) -> None:
    """Refuses a checkpoint that does not fit into memory, before any of it is loaded.

    Args:
        path: the checkpoint's folder or file.
        name: for people.
        device, dtype, quantize, offload: as in `Reader.load`.
        settings: as in `vary.weights.loading.load_checkpoint`.

    Raises:
        DeviceError: with what it needs, what is free, and what would need less; or where nothing can be
            offloaded, because everything computes in main memory.
        CheckpointError, NativeError: if it is none, or cannot have this precision.
    """
    if offload:
        check_offload(device)
    source = open_source(path, settings=settings)
    needed = memory_needed(source, dtype, quantize, device, offload=offload)
    remedy = "; ".join(_smaller(source, needed, device, dtype, quantize, offload=offload))
    remedy = remedy or "free some, or take a larger machine"
    what = name
    if offload:
        what = f"{name} with --offload ({gigabytes(needed.main)} of weights in main memory)"
        check_fits(needed.main, CPU, f"{name} with --offload", remedy)
    check_fits(needed.device, device, what, remedy)


def _smaller(
    source: Source,
    needed: Demand,
    device: torch.device,
    dtype: torch.dtype | None,
    quantize: str | None,
    *,
    offload: bool,
) -> Iterator[str]:
    """What would take less, each with how much."""
    choices = [
        _Choice("--quantize int4", dtype, "int4", offload),
        _Choice("--dtype bfloat16", torch.bfloat16, quantize, offload),
    ]
    if device.type != "cpu" and not offload:
        choices.append(_Choice("--offload", dtype, quantize, True))
    for choice in choices:
        with suppress(NativeError):  # what cannot be rounded is not recommended
            other = memory_needed(source, choice.dtype, choice.quantize, device, offload=choice.offload)
            if choice.offload and not offload:
                if _fits(other.main, CPU) and _fits(other.device, device):
                    taken = f"{gigabytes(other.device)} there, and {gigabytes(other.main)} of main memory"
                    yield f"{choice.option} takes {taken}"
            elif (other.device, other.main) < (needed.device, needed.main):
                yield f"{choice.option} takes {gigabytes(other.device)}" + (
                    f" there, and {gigabytes(other.main)} of main memory" if offload else ""
                )


def _fits(needed: int, device: torch.device) -> bool:
    there = available_memory(device)
    return there is None or needed <= there


def memory_needed(
    source: Source,
    dtype: torch.dtype | None,
    quantize: str | None,
    device: torch.device = CPU,
    *,
    offload: bool = False,
) -> Demand:
    """What a checkpoint takes as it is loaded, and reading a page besides; arguments as in `Reader.load`.

    Raises:
        NativeError: for a precision that this checkpoint cannot have.
    """
    vocabulary = source.config.vision_vocabulary_config
    working = WORKING * vocabulary.grid[0] * vocabulary.grid[1] * vocabulary.hidden_size
    if quantize is not None and kernels_refuse(source.config, device) is None:
        return Demand(working + _packed_bytes(source, dtype, precision(quantize)))
    if quantize is None and not offload and (kept := kept_precision(source, device, dtype)) is not None:
        return Demand(working + _packed_bytes(source, dtype, kept) + _table_bytes(source))
    kind = None if quantize is None else precision(quantize)
    model = planned_model(source.config, kind, device)
    types = planned_types(source, model, dtype, kind)
    sizes = {
        name: tensor.numel() * types[name].itemsize
        for name, tensor in model.state_dict().items()
        if name in types  # a tied head is none
    }
    if not offload:
        return Demand(working + sum(sizes.values()))
    parts = dict.fromkeys(visiting_parts(model), 0)
    away = 0
    for name, size in sizes.items():
        part = next((part for part in parts if name.startswith(f"{part}.")), None)
        if part is not None:
            parts[part] += size
        elif (
            table_stays(model)
            and model.get_submodule(name.rpartition(".")[0]) is model.get_input_embeddings()
        ):
            away += size
    away += sum(parts.values())
    return Demand(working + sum(sizes.values()) - away + max(parts.values()), away)


def _table_bytes(source: Source) -> int:
    """Of the embeddings, which are copied where packed weights are not stored."""
    return next(source.info(name).nbytes for name in source.places if name.endswith(EMBEDDINGS))


def _packed_bytes(source: Source, dtype: torch.dtype | None, kind: Precision) -> int:
    """Of the vision parts, and of a language model's matrices as the native kernels read them."""
    sizes = {name: source.info(name) for name in source.places if not name.startswith(TEXT_PREFIXES)}
    needed = sum(
        info.nbytes if dtype is None else info.nbytes // info.dtype.itemsize * dtype.itemsize
        for info in sizes.values()
    )
    matrices = TextShape.of(source.config.text_config).matrices(kind)
    return needed + sum(plan.value_bytes + 2 * plan.scale_count for plan in matrices.values())
