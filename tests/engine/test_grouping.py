"""Rounding to whole numbers in groups by PyTorch: the native packer's codes, or as good ones."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from vary.engine import grouping
from vary.engine.grouping import TRIES, limits, pack_nibbles, round_grouped, unpack_nibbles
from vary.engine.packing import MatrixPlan, pack_matrix, unpack_matrix
from vary.engine.precisions import PRECISIONS, Precision, precision

GROUPED = sorted(name for name, kind in PRECISIONS.items() if kind.group)


def lost(found: Tensor, table: Tensor, kind: Precision) -> Tensor:
    """The squared error of every group, (rows, groups)."""
    squares = (found - table).square()
    return torch.stack([part.sum(1) for part in squares.split(kind.group, 1)], 1)


@given(
    rows=st.integers(1, 40),
    columns=st.integers(1, 300),
    name=st.sampled_from(GROUPED),
    size=st.floats(1e-4, 1e3),
    seed=st.integers(0, 1000),
)
@settings(max_examples=60, deadline=None)
def test_the_native_packer_rounds_alike(rows: int, columns: int, name: str, size: float, seed: int) -> None:
    torch.manual_seed(seed)
    table, kind = torch.randn(rows, columns) * size, precision(name)
    table[0, : kind.group] = 0
    theirs = unpack_matrix(MatrixPlan(rows, columns, kind), *pack_matrix(table, kind, threads=1))
    ours = round_grouped(table, kind).restored[:, :columns]
    apart = lost(ours, table, kind) - lost(theirs, table, kind)
    # Another scale than the packer's only where it loses as much, up to the rounding of float32 sums.
    scale = table.square().sum(1, keepdim=True)
    assert (apart.abs() <= 2e-6 * scale).all()
    if rows * columns > 4000:
        assert (ours != theirs).float().mean() <= 0.05


@pytest.mark.parametrize("name", GROUPED)
def test_a_weight_is_off_by_at_most_a_step_and_the_search_loses_less(name: str) -> None:
    torch.manual_seed(0)
    table, kind = torch.randn(37, 200), precision(name)
    found = round_grouped(table, kind)
    least, most = limits(kind)
    assert found.codes.min() >= least
    assert found.codes.max() <= most
    assert found.codes.shape == (37, -(-200 // kind.group), kind.group)
    # As in test_packing: a step is at most 30 % wider than the plain one, and the largest may be cut.
    for part, restored in zip(table.split(kind.group, 1), found.restored.split(kind.group, 1), strict=True):
        most = part.abs().amax(1, keepdim=True)
        assert (
            (restored[:, : part.shape[1]] - part).abs() <= 1.3 * most / most.new_tensor(limits(kind)[1])
        ).all()
    plain = round_grouped(table, kind, tries=0)
    assert (
        lost(found.restored[:, :200], table, kind).sum() <= lost(plain.restored[:, :200], table, kind).sum()
    )
    assert TRIES[kind.kind] > 0


def test_parts_give_what_the_whole_gives(monkeypatch: pytest.MonkeyPatch) -> None:
    table, kind = torch.randn(50, 96), precision("int4")
    whole = round_grouped(table, kind)
    monkeypatch.setattr(grouping, "ON_CPU", 7 * 96)
    parts = round_grouped(table, kind)
    assert torch.equal(parts.codes, whole.codes)
    assert torch.equal(parts.scales, whole.scales)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_weights_of_16_bits_are_rounded_as_their_values(dtype: torch.dtype) -> None:
    table, kind = torch.randn(5, 64).to(dtype), precision("int8")
    assert torch.equal(round_grouped(table, kind).codes, round_grouped(table.float(), kind).codes)


@pytest.mark.parametrize("offset", [0, 8])
def test_nibbles_come_back(offset: int) -> None:
    codes = torch.arange(-8 + 8 - offset, 8 + 8 - offset).repeat(2).view(2, 2, 8).to(torch.int8)
    packed = pack_nibbles(codes, offset)
    assert packed.shape == (2, 2, 4)
    assert torch.equal(packed & 15, (codes[..., 0::2] + offset).to(torch.uint8))  # the first in the low half
    assert torch.equal(unpack_nibbles(packed, offset), codes)
