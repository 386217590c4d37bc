"""A model without its language model: the vision parts with their weights, the rest decoded elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from vary.errors import CheckpointError
from vary.model.configuration import VaryConfig
from vary.model.modeling import VaryForConditionalGeneration

__all__ = ["TEXT_PREFIXES", "vision_model"]

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
    try:
        model.load_state_dict(state, strict=True, assign=True)
    except RuntimeError as error:
        raise CheckpointError(f"the weights do not belong to the configuration ({error})") from error
    for module in model.modules():
        for name, buffer in module.named_buffers(recurse=False):
            if buffer.is_meta:  # a table that no checkpoint holds
                assert name == "position_ids", f"{name} is not known"
                setattr(module, name, torch.arange(buffer.shape[-1]).expand(1, -1))
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    return model.eval()
