"""Weights in groups of 4 or 8 bits, rounded plainly: what the peers' graphs get, packed as each wants it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vary.errors import VaryError

__all__ = ["Grouped", "group_rows", "grouping", "is_grouped", "pack_nibbles"]

DEFAULT_GROUP = 128
"""Of peers where a precision names none: their fastest."""
PRECISION = re.compile(r"int([48])(?:-g(32|64|128))?")


def is_grouped(precision: str) -> bool:
    """Whether a precision is one of integers in groups, `int4` or `int8-g64`."""
    return PRECISION.fullmatch(precision) is not None


def grouping(precision: str) -> tuple[int, int]:
    """Bits and weights per scale of a precision, as peers take it."""
    found = PRECISION.fullmatch(precision)
    assert found is not None, precision
    return int(found[1]), int(found[2] or DEFAULT_GROUP)


@dataclass(frozen=True, slots=True)
class Grouped:
    """Rows of a matrix (N, K) in groups of `group` along K, symmetric around 0.

    Attributes:
        codes: (N, K / group, group), whole numbers from -2^(bits-1) + 1 to 2^(bits-1) - 1.
        scales: (N, K / group) in float32; a weight is its code times its group's scale.
        bits: 4 or 8.
    """

    codes: Tensor
    scales: Tensor
    bits: int

    @property
    def restored(self) -> Tensor:
        """The matrix (N, K) that these stand for, in float32."""
        return (self.codes.float() * self.scales[..., None]).flatten(1)


def group_rows(rows: Tensor, bits: int, group: int) -> Grouped:
    """Rounds rows (N, K): each group's largest weight becomes the largest code.

    Scales are rounded to float16, which is how peers keep them.

    Raises:
        VaryError: if groups do not divide the rows.
    """
    if rows.shape[1] % group:
        raise VaryError(
            f"groups of {group} do not divide rows of {rows.shape[1]} weights; take another, such as int4-g64"
        )
    largest = 2 ** (bits - 1) - 1
    grouped = rows.float().unflatten(1, (-1, group))
    scales = (grouped.abs().amax(-1) / largest).half().float().clamp(min=2.0**-24)
    codes = (grouped * scales.reciprocal()[..., None]).round_().clamp_(-largest, largest).to(torch.int8)
    return Grouped(codes, scales, bits)


def pack_nibbles(codes: Tensor, offset: int) -> NDArray[np.uint8]:
    """Codes (..., 2n) of 4 bits, `offset` added, two in a byte, the first one in its low half: (..., n)."""
    shifted: NDArray[Any] = ((codes + offset) & 0xF).to(torch.uint8).numpy()
    packed: NDArray[np.uint8] = shifted[..., 0::2] | (shifted[..., 1::2] << 4)
    return packed
