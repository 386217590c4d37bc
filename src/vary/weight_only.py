"""Checkpoints whose language model has a precision of its own, on any device: what `--quantize` loads."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from vary.engine.decoders.interface import Decoder
from vary.engine.grouped_linear import CastLinear, GroupedLinear, grouped_tensors, use_narrow_linears
from vary.engine.precisions import Precision, precision
from vary.engine.stored_tensors import check_sum, map_tensors, write_tensors
from vary.errors import NativeError
from vary.model.configuration import VaryConfig
from vary.model.modeling import VaryForConditionalGeneration
from vary.model.partial import TEXT_PREFIXES, fill
from vary.model.processing import VaryProcessor
from vary.quantized import (
    LANGUAGE_MODEL,
    SMALL,
    Refusal,
    identity_of,
    kernels_refuse,
    load_packed,
    made_once,
    mode_of,
    packed_places,
    text_weights,
)
from vary.weights.loading import generation_config_of, open_checkpoint
from vary.weights.sources import EMBEDDINGS, HEAD, Source

__all__ = ["AtPrecision", "load_at_precision", "load_weight_only", "planned_model", "planned_types"]

FORMAT = {"format": "vary grouped linear layers", "version": "1"}


@dataclass(frozen=True, slots=True)
class AtPrecision:
    """A checkpoint whose language model has a precision of its own.

    Attributes:
        model, processor: on a CPU.
        decoder: of the native kernels; None where PyTorch computes.
        name: what PyTorch computes, for people: "PyTorch int4-g32 (no native kernels)".
        notes: what a user should know about it.
        rounded: whether the language model's weights are not those of the checkpoint any more.
        restore: makes a whole model, with the modules that this one does without because of its decoder; None
            where it has them, or cannot have them.
    """

    model: VaryForConditionalGeneration
    processor: VaryProcessor
    decoder: Decoder | None = None
    name: str = "PyTorch"
    notes: tuple[str, ...] = ()
    rounded: bool = False
    restore: Callable[[], VaryForConditionalGeneration] | None = None


def load_at_precision(
    path: str | PathLike[str],
    device: torch.device,
    *,
    quantize: str,
    dtype: torch.dtype | None = None,
    tokenizer: str | PathLike[str] | None = None,
    settings: Mapping[str, Any] | None = None,
) -> AtPrecision:
    """A checkpoint for reading, by the native kernels where they decode it, else by PyTorch.

    Args:
        path, tokenizer, settings: as in `vary.weights.loading.load_checkpoint`.
        device: where it will compute.
        quantize: the precision, see `vary.engine.precisions.PRECISIONS`.
        dtype: of the vision parts; None takes the checkpoint's.

    Raises:
        CheckpointError: if anything is missing, broken or does not fit.
        NativeError: for an unknown precision, or one that this model cannot have.
    """
    kind = precision(quantize)
    source, processor = open_checkpoint(path, tokenizer=tokenizer, settings=settings)
    rounded = kind.kind != "float32"
    refusal = kernels_refuse(source.config, device)
    if refusal is None:
        model, decoder = load_packed(source, kind, dtype or source.dtype)
        return AtPrecision(model, processor, decoder, rounded=rounded)
    model = load_weight_only(source, kind, dtype, device)
    name, notes = f"PyTorch {kind.name} ({refusal.short})", tuple(_notes(kind, refusal, device))
    return AtPrecision(model, processor, None, name, notes, rounded=rounded)


def _notes(kind: Precision, refusal: Refusal, device: torch.device) -> list[str]:
    if device.type == "cpu":
        return [
            f"PyTorch decodes the {kind.name} weights, slower than native kernels would: {refusal.reason}"
        ]
    if kind.group:
        return [
            f"{kind.name} weights save memory on {device} and take time: PyTorch restores them for every "
            "step, and no recorded graphs decode them; without --quantize it is faster, where memory suffices"
        ]
    return []


def load_weight_only(
    source: Source, kind: Precision, dtype: torch.dtype | None, device: torch.device
) -> VaryForConditionalGeneration:
    """The whole model, whose language model PyTorch computes from weights of a precision.

    Whole numbers take the place of the matrices, one matrix after the other; embeddings keep their own type
    where it is narrower.  On a CPU `bfloat16` is likewise that of the matrices, and products are in the type
    of the rest; otherwise a float type is that of the whole language model.  Of all but small models the
    whole numbers are stored where packed weights are, if there is room, and mapped from then on.

    Args:
        source: the opened checkpoint.
        kind: of the language model.
        dtype: of the rest; None takes the checkpoint's.
        device: where it will compute, and rounds the weights if it is a GPU; the model comes on a CPU.
    """
    model = planned_model(source.config, kind, device)
    types = planned_types(source, model, dtype, kind)
    state = _grouped_state(source, model, kind, device)
    plain = source.read(types.keys() - state.keys())
    state |= {name: tensor.to(types[name]) for name, tensor in plain.items()}
    rest = types["model.projector.vision_vocabulary.weight"]
    if HEAD in model.state_dict() and HEAD not in state:  # a tied one
        state[HEAD] = text_weights(source)(HEAD).to(rest if _shares_head(model) else types[_table(model)])
    fill(model, state)
    wanted = rest if _is_narrow(model) else types[_table(model)]
    if types[_table(model)] != wanted:
        model.get_input_embeddings().register_forward_hook(lambda _, args, found: found.to(wanted))
    if isinstance(model.lm_head, nn.Linear) and model.lm_head.weight.dtype != wanted:
        model.lm_head.register_forward_pre_hook(lambda head, args: (args[0].to(head.weight.dtype),))
    model.generation_config = generation_config_of(source)
    return model


def planned_model(
    config: VaryConfig, kind: Precision | None, device: torch.device
) -> VaryForConditionalGeneration:
    """A model on the meta device, with narrow layers where they belong; None leaves it as it is.

    Raises:
        NativeError: if there is nothing in it that could be rounded.
    """
    with torch.device("meta"):
        model = VaryForConditionalGeneration(config)
    if kind is not None and (kind.group or (kind.kind == "bfloat16" and device.type == "cpu")):
        use_narrow_linears(model, kind)
    return model


def planned_types(
    source: Source, model: VaryForConditionalGeneration, dtype: torch.dtype | None, kind: Precision | None
) -> dict[str, torch.dtype]:
    """The type of every tensor of a planned model's state, as it is to be loaded; a tied head has none.

    Args:
        dtype: of the vision parts; None takes each tensor's own, or with a `kind` the checkpoint's.
        kind: of the language model; None for one like the rest.
    """
    types: dict[str, torch.dtype] = {}
    shares_head, narrow = _shares_head(model), _is_narrow(model)
    cast = {f"{name}.weight" for name, module in model.named_modules() if isinstance(module, CastLinear)}
    rest = dtype or (None if kind is None else source.dtype)
    for name, tensor in model.state_dict().items():
        if name not in source.places:
            if name.endswith((".codes", ".scales")):
                types[name] = tensor.dtype
            continue
        own = source.info(name).dtype
        wanted = rest or own
        if kind is not None and name.startswith(TEXT_PREFIXES) and not (name == HEAD and shares_head):
            if not narrow:
                wanted = getattr(torch, kind.kind)
            elif name in cast:
                wanted = tensor.dtype
            elif name == _table(model) and own.itemsize < wanted.itemsize:
                wanted = own
        types[name] = wanted if own.is_floating_point else own
    return types


def _is_narrow(model: VaryForConditionalGeneration) -> bool:
    """Whether only the matrices of a language model are narrow, and it computes in the type of the rest."""
    return any(isinstance(module, GroupedLinear | CastLinear) for module in model.modules())


def _table(model: VaryForConditionalGeneration) -> str:
    """The name of the embeddings."""
    return next(name for name in model.state_dict() if name.endswith(EMBEDDINGS))


def _shares_head(model: VaryForConditionalGeneration) -> bool:
    """Whether a CTC branch uses the head, which is then one of the vision parts."""
    return bool(model.config.vision_vocabulary_config.ctc_frames)


def _grouped_state(
    source: Source, model: VaryForConditionalGeneration, kind: Precision, device: torch.device
) -> dict[str, Tensor]:
    """The codes and scales of a planned model: from their file, or rounded now, and then stored."""
    layers = {name: module for name, module in model.named_modules() if isinstance(module, GroupedLinear)}
    # Of the configuration only these shapes matter to the file.
    planned = {
        f"{name}.{part}": getattr(layer, part)
        for name, layer in layers.items()
        for part in ("codes", "scales")
    }
    metadata = {**FORMAT, "precision": kind.name, "source": identity_of(source)}
    weight = text_weights(source)
    place = device if device.type == "cuda" else torch.device("cpu")

    def rounded() -> Iterator[tuple[str, Tensor]]:
        for name in layers:
            whole = f"{name.removeprefix(LANGUAGE_MODEL)}.weight"
            for part, tensor in grouped_tensors(weight(whole).to(place), kind).items():
                yield f"{name}.{part}", tensor.cpu()

    small = sum(tensor.nbytes for tensor in planned.values()) < SMALL
    return made_once(
        () if small else packed_places(source, kind, "grouped"),
        f"the weights of {source.path.name} are rounded to {kind.name}",
        load=lambda file: _stored(file, metadata, planned),
        store=lambda file, begun: write_tensors(
            file, planned, rounded(), metadata, mode=mode_of(source), begun=begun
        ),
        make=lambda: dict(rounded()),
    )


def _stored(file: Path, metadata: Mapping[str, str], planned: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """What a file holds, mapped; NativeError if it is broken or damaged, or was made of other weights."""
    try:
        said, found = map_tensors(file)
        shapes = [
            {name: (one.shape, one.dtype) for name, one in tensors.items()} for tensors in (found, planned)
        ]
        if shapes[0] != shapes[1] or not metadata.items() <= said.items():
            raise ValueError("it was made of other weights")
        check_sum(said, found)
    except (OSError, SafetensorError, ValueError) as error:
        raise NativeError(f"{file}: {error}; delete it to have it made again") from error
    return found
