"""Checkpoints whose weights stay as they are: on a CPU the native kernels decode their language model too."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from os import PathLike
from typing import Any

import torch

from vary.engine.memory import check_fits
from vary.engine.precisions import Precision, precision
from vary.model.modeling import VaryForConditionalGeneration
from vary.model.partial import TEXT_PREFIXES, complete
from vary.quantized import kernels_refuse, load_packed
from vary.weight_only import AtPrecision
from vary.weights.loading import load_checkpoint, open_checkpoint, resolve_checkpoint
from vary.weights.sources import Source, open_source

__all__ = ["kept_precision", "load_unrounded"]


def load_unrounded(
    path: str | PathLike[str],
    device: torch.device,
    *,
    dtype: torch.dtype | None = None,
    tokenizer: str | PathLike[str] | None = None,
    settings: Mapping[str, Any] | None = None,
) -> AtPrecision:
    """A checkpoint for reading, by the native kernels where they decode it on a CPU, else by PyTorch.

    The kernels' layout is made in memory by every process; that takes no longer than reading the weights.

    Args:
        path, tokenizer, settings: as in `vary.weights.loading.load_checkpoint`.
        device: where it will compute.
        dtype: of the weights; None takes the checkpoint's.

    Raises:
        CheckpointError: if anything is missing, broken or does not fit.
    """
    source = open_source(resolve_checkpoint(path), settings=settings)
    kind = kept_precision(source, device, dtype)
    if kind is not None:
        source, processor = open_checkpoint(path, tokenizer=tokenizer, settings=settings)
        model, decoder = load_packed(source, kind, dtype or source.dtype, stored=False)
        return AtPrecision(model, processor, decoder, restore=partial(_restore, source, model))
    refusal = kernels_refuse(source.config, device)
    notes: tuple[str, ...] = ()
    if refusal is not None and refusal.missing:
        notes = (f"PyTorch decodes, slower than native kernels would: {refusal.reason}",)
    model, processor = load_checkpoint(path, dtype=dtype, tokenizer=tokenizer, settings=settings)
    return AtPrecision(model, processor, notes=notes)


def kept_precision(source: Source, device: torch.device, dtype: torch.dtype | None) -> Precision | None:
    """The precision in which the native kernels hold a page model's weights as they are; None for PyTorch's.

    Weights that are stored in bfloat16 stay in it where float32 is asked for: what is computed with them is
    in float32, so that this saves memory and changes nothing.

    Args:
        source: the opened checkpoint.
        device: where it will compute.
        dtype: of the weights; None takes the checkpoint's.
    """
    if kernels_refuse(source.config, device) is not None or source.config.line_size is not None:
        return None
    wanted = dtype or source.dtype
    stored = {source.info(name).dtype for name in source.places if name.startswith(TEXT_PREFIXES)}
    if wanted == torch.bfloat16 or (wanted == torch.float32 and stored == {torch.bfloat16}):
        return precision("bfloat16")
    return precision("float32") if wanted == torch.float32 else None


def _restore(source: Source, model: VaryForConditionalGeneration) -> VaryForConditionalGeneration:
    """The whole model, for what the decoder does not follow; DeviceError where there is no memory for it."""
    names = [name for name in source.places if name.startswith(TEXT_PREFIXES)]
    needed = sum(source.info(name).nbytes // source.info(name).dtype.itemsize for name in names)
    check_fits(
        needed * model.dtype.itemsize,
        model.device,
        f"the language model of {source.path.name} in PyTorch, which beams and the like need besides,",
        "read without them, or take a larger machine",
    )
    return complete(model, {name: tensor.to(model.dtype) for name, tensor in source.read(names).items()})
