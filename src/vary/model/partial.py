"""Models put together from tensors: whole, or without a language model, which is decoded elsewhere."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from vary.errors import CheckpointError
from vary.model.configuration import VaryConfig
from vary.model.modeling import VaryForConditionalGeneration

__all__ = ["TEXT_PREFIXES", "complete", "fill", "vision_model"]

TEXT_PREFIXES = ("model.language_model.", "lm_head.")
"""Of the parameters that a model without its language model does not have."""

Embed = Callable[[Tensor], Tensor]


class _Embedding(nn.Module):
    """Looks ids (...,) up in a table that lies elsewhere: (..., hidden)."""

    def __init__(self, embed: Embed) -> None:
        super().__init__()
        self._embed = embed

    def forward(self, ids: Tensor) -> Tensor:
        return self._embed(ids)


class _Elsewhere(nn.Module):
    """Stands where the language model would be: it has the embeddings and computes nothing."""

    def __init__(self, embed: Embed | None = None) -> None:
        super().__init__()
        self.embed_tokens = None if embed is None else _Embedding(embed)

    def get_input_embeddings(self) -> nn.Module:
        assert self.embed_tokens is not None
        return self.embed_tokens

    def forward(self, *args: Any, **kwargs: Any) -> None:
        raise RuntimeError(
            "this model's language model is decoded by the native kernels, not by its own modules"
        )


def vision_model(
    config: VaryConfig,
    weights: Mapping[str, Tensor],
    embed: Embed,
    dtype: torch.dtype,
    head: Tensor | None = None,
) -> VaryForConditionalGeneration:
    """The whole class with its vision parts and projector alone.

    Args:
        config: of the whole model.
        weights: every parameter but those of `TEXT_PREFIXES`, by its name in the whole model.
        embed: ids (...,) to embeddings (..., hidden).
        dtype: of the parts.
        head: (vocabulary, hidden), of a model whose CTC branch shares it.

    Raises:
        CheckpointError: if weights are missing, unknown or of another shape.
    """
    with torch.device("meta"):
        model = VaryForConditionalGeneration(config)
    model.model.language_model = _Elsewhere(embed)
    if head is None:
        model.set_submodule("lm_head", _Elsewhere())
    else:
        weights = {**weights, "lm_head.weight": head}
    state = {
        name: tensor.to(dtype) if tensor.dtype.is_floating_point else tensor
        for name, tensor in weights.items()
    }
    fill(model, state)
    return model


def complete(
    model: VaryForConditionalGeneration, weights: Mapping[str, Tensor]
) -> VaryForConditionalGeneration:
    """A whole model around the vision parts of one of `vision_model`, which stays as it is.

    Args:
        model: whose vision parts, settings and implementations are shared.
        weights: the parameters of `TEXT_PREFIXES`, in the type that they are to have; a tied head has none.

    Raises:
        CheckpointError: if weights are missing, unknown or of another shape.
    """
    prefix, _ = TEXT_PREFIXES
    with torch.device("meta"):
        fresh = VaryForConditionalGeneration(model.config)
    text, head = fresh.model.language_model, fresh.lm_head
    state = {name.removeprefix(prefix): weights[name] for name in weights if name.startswith(prefix)}
    try:
        text.load_state_dict(state, strict=True, assign=True)
        table = text.get_input_embeddings().weight
        head.load_state_dict({"weight": weights.get("lm_head.weight", table)}, strict=True, assign=True)
    except RuntimeError as error:
        raise CheckpointError(f"the weights do not belong to the configuration ({error})") from error
    _fill_tables(text, text)
    text.requires_grad_(False).eval()
    head.requires_grad_(False).eval()
    whole, inner = copy.copy(model), copy.copy(model.model)
    inner._modules = {**model.model._modules, "language_model": text}
    whole._modules = {**model._modules, "model": inner, "lm_head": head}
    return whole


def fill(model: VaryForConditionalGeneration, state: Mapping[str, Tensor]) -> None:
    """Gives a model on the meta device its tensors, and the tables that no checkpoint holds.

    Args:
        state: every tensor of its state dict; they are taken as they are.

    Raises:
        CheckpointError: if tensors are missing, unknown or of another shape.
    """
    try:
        model.load_state_dict(state, strict=True, assign=True)
    except RuntimeError as error:
        raise CheckpointError(f"the weights do not belong to the configuration ({error})") from error
    _fill_tables(model, model.model.language_model)
    model.requires_grad_(False)
    model.eval()


def _fill_tables(model: nn.Module, text: Any) -> None:
    """Computes the tables of a model that no checkpoint holds; `text` is its language model."""
    for module in model.modules():
        computed = [name for name, buffer in module.named_buffers(recurse=False) if buffer.is_meta]
        if computed == ["position_ids"]:
            size = module.get_buffer("position_ids").shape[-1]
            module.register_buffer("position_ids", torch.arange(size).expand(1, -1), persistent=False)
        elif computed:  # of rotary positions, or of a mask
            assert not list(module.parameters(recurse=False)), f"{type(module).__name__}: {computed}"
            module.to_empty(device="cpu", recurse=False)
            text._init_weights(module)
