"""Models put together from tensors: whole, or without a language model, which is decoded elsewhere."""

from __future__ import annotations

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


def complete(model: VaryForConditionalGeneration, weights: Mapping[str, Tensor]) -> None:
    """Gives a model of `vision_model` the language model and the head that it does without.

    Args:
        model: changed in place.
        weights: the parameters of `TEXT_PREFIXES`, in the type that they are to have; a tied head has none.

    Raises:
        CheckpointError: if weights are missing, unknown or of another shape.
    """
    with torch.device("meta"):
        whole = VaryForConditionalGeneration(model.config)
    # Of the vision parts this takes what is there.
    model.model.language_model = whole.model.language_model
    model.set_submodule("lm_head", whole.lm_head)
    state = {**{name: tensor for name, tensor in model.state_dict().items() if not tensor.is_meta}, **weights}
    table = next(name for name in state if name.endswith("embed_tokens.weight"))
    fill(model, {**state, "lm_head.weight": weights.get("lm_head.weight", state[table])})


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
    for module in model.modules():
        computed = [name for name, buffer in module.named_buffers(recurse=False) if buffer.is_meta]
        if computed == ["position_ids"]:
            size = module.get_buffer("position_ids").shape[-1]
            module.register_buffer("position_ids", torch.arange(size).expand(1, -1), persistent=False)
        elif computed:  # of rotary positions, or of a mask
            assert not list(module.parameters(recurse=False)), f"{type(module).__name__}: {computed}"
            module.to_empty(device="cpu", recurse=False)
            model.model.language_model._init_weights(module)
    model.requires_grad_(False)
    model.eval()
