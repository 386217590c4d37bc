"""Weights in groups of 4 or 8 bits: whole numbers and a scale for each group, rounded by PyTorch."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from vary.engine.precisions import Precision

__all__ = ["TRIES", "Grouped", "limits", "pack_nibbles", "round_grouped", "unpack_nibbles"]

TRIES = {"int4": 5, "int8": 1}
"""Scales that are tried on either side of the plain one, four hundredths apart."""
STEP = 0.04
ON_CPU, ON_GPU = 1 << 18, 1 << 24
"""Weights that are rounded at once: what a cache holds, and what keeps a GPU busy."""


@dataclass(frozen=True, slots=True)
class Grouped:
    """Rows of a matrix (N, K) in groups along K.

    Attributes:
        codes: (N, K / group, group), whole numbers in int8; K is rounded up to whole groups.
        scales: (N, K / group) in float32; a weight is its code times its group's scale.
        bits: 4 or 8.
    """

    codes: Tensor
    scales: Tensor
    bits: int

    @property
    def restored(self) -> Tensor:
        """The matrix (N, K) that these stand for, in float32."""
        return (self.codes * self.scales[..., None]).flatten(1)


def limits(kind: Precision) -> tuple[int, int]:
    """The least and the largest whole number of a precision."""
    return (-8, 7) if kind.kind == "int4" else (-127, 127)


def round_grouped(weights: Tensor, kind: Precision, tries: int | None = None) -> Grouped:
    """Rounds a matrix (N, K) as `vary.engine.packing.pack_matrix` does, up to scales that are as good.

    Of each group the weight that is largest in size becomes the whole number that is largest in size, so a
    scale may be negative.  Scales are rounded to float16.

    Args:
        weights: of any float type, on a device that has float64.
        kind: `int4` or `int8`, with its group.
        tries: how many scales are tried on either side of the plain one; `TRIES` by default.
    """
    rows, columns = weights.shape
    groups = -(-columns // kind.group)
    codes = torch.empty((rows, groups, kind.group), dtype=torch.int8, device=weights.device)
    scales = torch.empty((rows, groups), device=weights.device)
    least, most = limits(kind)
    step = max(1, (ON_CPU if weights.device.type == "cpu" else ON_GPU) // columns)
    for first in range(0, rows, step):
        part = F.pad(weights[first : first + step].detach().float(), (0, groups * kind.group - columns))
        part = (
            part.view(-1, kind.group).t().contiguous()
        )  # a group's weights in a column: (group, N * groups)
        scale = _best_scales(part, least, most, TRIES[kind.kind] if tries is None else tries)
        inverse = torch.where(scale == 0, 0.0, 1.0 / scale)
        codes[first : first + step] = (
            (part * inverse).round_().clamp_(least, most).t().unflatten(0, (-1, groups))
        )
        scales[first : first + step] = scale.view(-1, groups)
    return Grouped(codes, scales, 4 if kind.kind == "int4" else 8)


def _best_scales(part: Tensor, least: int, most: int, tries: int) -> Tensor:
    """Of groups (g, M) the scales (M,) of those that were tried with which least is lost."""
    peak = part.gather(0, part.abs().argmax(0, keepdim=True))[0]
    room = torch.empty_like(part)
    best, least_loss = _fit(part, least / peak, least, most, room)
    for step in range(1, tries + 1):
        for sign in (-1, 1):
            scale, loss = _fit(part, least * (1 + sign * STEP * step) / peak, least, most, room)
            better = loss < least_loss
            best, least_loss = torch.where(better, scale, best), torch.where(better, loss, least_loss)
    return torch.where(peak == 0, 0.0, best).float()


def _fit(part: Tensor, inverse: Tensor, least: int, most: int, room: Tensor) -> tuple[Tensor, Tensor]:
    """The scales that fit the whole numbers which `inverse` gives best, and what is lost with them.

    What is lost are the squared errors less the squares of the weights, which are the same for every scale.
    """
    rounded = torch.mul(part, inverse, out=room).clamp_(least, most).round_()
    product, square = (part * rounded).sum(0).double(), rounded.square_().sum(0).double()
    scale = torch.where(square == 0, 0.0, (product / square).half().double())
    return scale, (scale * square - 2 * product) * scale


def pack_nibbles(codes: Tensor, offset: int) -> Tensor:
    """Codes (..., 2n) of 4 bits, `offset` added, two in a byte, the first one in its low half: (..., n)."""
    shifted = ((codes + offset) & 0xF).to(torch.uint8)
    return shifted[..., 0::2] | (shifted[..., 1::2] << 4)


def unpack_nibbles(packed: Tensor, offset: int) -> Tensor:
    """Bytes (..., n) of `pack_nibbles` to codes (..., 2n) in int8."""
    return torch.stack([packed & 0xF, packed >> 4], -1).flatten(-2).to(torch.int8) - offset
