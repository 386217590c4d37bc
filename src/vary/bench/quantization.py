"""Weights in groups of 4 or 8 bits, rounded plainly: what the peers' graphs get, packed as each wants it."""

from __future__ import annotations

import re

import torch
from torch import Tensor

from vary.engine.grouping import Grouped
from vary.errors import VaryError

__all__ = ["group_rows", "grouping", "is_grouped"]

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


def group_rows(rows: Tensor, bits: int, group: int) -> Grouped:
    """Rounds rows (N, K) symmetrically around 0: each group's largest weight becomes the largest code.

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
