"""Linear layers whose weights take few bits in memory, 4 or more: PyTorch multiplies them, on any device."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vary.engine.grouping import pack_nibbles, round_grouped, unpack_nibbles
from vary.engine.precisions import Precision
from vary.errors import NativeError
from vary.model.modeling import VaryForConditionalGeneration

__all__ = [
    "CastLinear",
    "GroupedLinear",
    "grouped_linears",
    "grouped_tensors",
    "linear_names",
    "use_narrow_linears",
]

OFFSET = 8
"""What is added to a code of 4 bits before it is stored."""
ON_CPU, ON_GPU = 1 << 20, 1 << 24
"""Weights that are restored at once: what a cache holds, and what keeps a GPU busy.  A head of 150,000 tokens
would else lie in memory as floats, for a moment."""


class _NarrowLinear(nn.Module):
    """y = x W^T + b, where a few rows of W at a time are restored to the type of x, in which products are.

    Built like a layer of the library, it may lie on the meta device.

    Args:
        in_features, out_features: K and N.
        bias: whether there is one.
    """

    def __init__(self, in_features: int, out_features: int, *, bias: bool) -> None:
        super().__init__()
        self.in_features, self.out_features = in_features, out_features
        self.bias = nn.Parameter(torch.zeros(out_features)) if bias else None

    def restored(self, rows: slice = slice(None), dtype: torch.dtype = torch.float32) -> Tensor:
        """The weights (n, K) of some rows."""
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        """x (..., K) to (..., N)."""
        step = max(1, (ON_CPU if x.device.type == "cpu" else ON_GPU) // self.in_features)
        parts = []
        for first in range(0, self.out_features, step):
            rows = slice(first, first + step)
            bias = None if self.bias is None else self.bias[rows]
            parts.append(F.linear(x, self.restored(rows, x.dtype), bias))
        return parts[0] if len(parts) == 1 else torch.cat(parts, -1)


class CastLinear(_NarrowLinear):
    """Weights (N, K) in bfloat16: on processors without instructions for it products in it are emulated."""

    def __init__(self, in_features: int, out_features: int, *, bias: bool) -> None:
        super().__init__(in_features, out_features, bias=bias)
        self.weight = nn.Parameter(torch.zeros((out_features, in_features), dtype=torch.bfloat16))

    def restored(self, rows: slice = slice(None), dtype: torch.dtype = torch.float32) -> Tensor:
        return self.weight[rows].to(dtype)


class GroupedLinear(_NarrowLinear):
    """Weights that are whole numbers with a scale for each group of them; see `vary.engine.grouping`.

    `grouped_tensors` makes what it holds.

    Args:
        in_features, out_features: K and N.
        kind: `int4` or `int8`, with its group g.
        bias: whether there is one.

    Attributes:
        codes: (N, K / g, g) in int8, or (N, K / g, g / 2) in uint8, two of 4 bits in a byte.
        scales: (N, K / g) in float16.
        bias: (N,), or None.
    """

    codes: Tensor
    scales: Tensor

    def __init__(self, in_features: int, out_features: int, kind: Precision, *, bias: bool) -> None:
        super().__init__(in_features, out_features, bias=bias)
        self.kind = kind
        groups, nibbles = -(-in_features // kind.group), kind.kind == "int4"
        size = (out_features, groups, kind.group // 2 if nibbles else kind.group)
        self.register_buffer("codes", torch.zeros(size, dtype=torch.uint8 if nibbles else torch.int8))
        self.register_buffer("scales", torch.zeros((out_features, groups), dtype=torch.float16))

    def extra_repr(self) -> str:
        return f"{self.in_features}, {self.out_features}, {self.kind.name}, bias={self.bias is not None}"

    def restored(self, rows: slice = slice(None), dtype: torch.dtype = torch.float32) -> Tensor:
        """The weights (n, K) of some rows; products with scales are in float32, whatever the type."""
        codes = self.codes[rows]
        if self.kind.kind == "int4":
            codes = unpack_nibbles(codes, OFFSET)
        table = (codes * self.scales[rows].float()[..., None]).flatten(1)
        return table[:, : self.in_features].to(dtype)


def grouped_tensors(weights: Tensor, kind: Precision) -> dict[str, Tensor]:
    """What a `GroupedLinear` holds of weights (N, K): its `codes` and `scales`, on their device."""
    grouped = round_grouped(weights, kind)
    codes = pack_nibbles(grouped.codes, OFFSET) if kind.kind == "int4" else grouped.codes
    return {"codes": codes, "scales": grouped.scales.half()}


def linear_names(model: VaryForConditionalGeneration) -> list[str]:
    """The linear layers of a language model, and its head, by their names in the whole model.

    A head that a CTC branch shares is none of them: the branch reads its rows one by one.

    Raises:
        NativeError: if the language model has no linear layers.
    """
    prefix = "model.language_model."
    names = [
        f"{prefix}{name}"
        for name, module in model.model.language_model.named_modules()
        if isinstance(module, nn.Linear)
    ]
    if not names:
        raise NativeError(
            f"a language model of type '{model.config.text_config.model_type}' has no linear layers that"
            " could be rounded; leave --quantize out, and take --dtype bfloat16 where memory is short"
        )
    return names if model.config.vision_vocabulary_config.ctc_frames else [*names, "lm_head"]


def use_narrow_linears(
    model: VaryForConditionalGeneration, kind: Precision
) -> dict[str, GroupedLinear | CastLinear]:
    """Puts empty layers of a precision in the place of a model's linear ones, on their device.

    Args:
        kind: `int4` or `int8`, or `bfloat16`.

    Returns:
        The new layers by their names; NativeError as `linear_names`.
    """
    found: dict[str, GroupedLinear | CastLinear] = {}
    for name in linear_names(model):
        old = model.get_submodule(name)
        assert isinstance(old, nn.Linear)
        sizes, bias = (old.in_features, old.out_features), old.bias is not None
        with old.weight.device:
            found[name] = (
                GroupedLinear(*sizes, kind, bias=bias) if kind.group else CastLinear(*sizes, bias=bias)
            )
        model.set_submodule(name, found[name])
    return found


def grouped_linears(model: nn.Module) -> list[GroupedLinear]:
    """Those of whole numbers that a model has."""
    return [module for module in model.modules() if isinstance(module, GroupedLinear)]
