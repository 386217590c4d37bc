"""Triton kernels of the vision vocabulary network: attention with relative positions, and sums with a norm.

Attention reads queries, keys and values where one product has put them, (B, h, w, 3, heads, d), whatever the
windows: nothing is cut into windows or padded in memory.  Scores are powers of 2; all sums are in float32.
"""

from __future__ import annotations

import triton
import triton.language as tl

__all__ = ["add_and_normalise", "attend", "relate"]


@triton.jit
def relate(
    qkv, row_table, column_table, by_row, by_column, rows, columns, scale,
    HEADS: tl.constexpr, D: tl.constexpr, DOWN: tl.constexpr, ACROSS: tl.constexpr,
    BLOCK: tl.constexpr, KEYS: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """What each query adds to the scores of the keys of each row and column of its window, times `scale`.

    Tables are (2 DOWN - 1, d) and (2 ACROSS - 1, d), results (B, heads, DOWN, h, w) and
    (B, heads, h, w, ACROSS).  A program takes one row of queries, or one column, of one head.
    """
    line = tl.program_id(0)
    along = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    image = (tl.program_id(2) // HEADS).to(tl.int64)
    head = tl.program_id(2) % HEADS
    channel = tl.arange(0, D)
    patches = rows * columns
    qkv += image * patches * (3 * HEADS * D) + head * D
    key = tl.arange(0, KEYS)
    if line < rows:
        real = along < columns
        position = line * columns + along
        query = tl.load(
            qkv + position[:, None] * (3 * HEADS * D) + channel[None, :], mask=real[:, None], other=0.0
        )
        by_row += tl.program_id(2).to(tl.int64) * DOWN * patches
        for first in range(0, DOWN, KEYS):
            distance = line % DOWN - (first + key) + DOWN - 1
            inside = first + key < DOWN
            table = tl.load(
                row_table + distance[:, None] * D + channel[None, :], mask=inside[:, None], other=0.0
            )
            found = tl.dot(table, tl.trans(query), input_precision=PRECISION) * scale
            tl.store(
                by_row + (first + key)[:, None] * patches + position[None, :],
                found.to(by_row.dtype.element_ty),
                mask=inside[:, None] & real[None, :],
            )
    else:
        place = line - rows
        real = along < rows
        position = along * columns + place
        query = tl.load(
            qkv + position[:, None] * (3 * HEADS * D) + channel[None, :], mask=real[:, None], other=0.0
        )
        by_column += tl.program_id(2).to(tl.int64) * patches * ACROSS
        for first in range(0, ACROSS, KEYS):
            distance = place % ACROSS - (first + key) + ACROSS - 1
            inside = first + key < ACROSS
            table = tl.load(
                column_table + distance[:, None] * D + channel[None, :], mask=inside[:, None], other=0.0
            )
            found = tl.dot(query, tl.trans(table), input_precision=PRECISION) * scale
            tl.store(
                by_column + position[:, None] * ACROSS + (first + key)[None, :],
                found.to(by_column.dtype.element_ty),
                mask=real[:, None] & inside[None, :],
            )


@triton.jit
def attend(  # noqa: C901 - its branches are of constants
    qkv, bias, by_row, by_column, mixed, rows, columns, across, scale,
    HEADS: tl.constexpr, D: tl.constexpr, DOWN: tl.constexpr, ACROSS: tl.constexpr,
    PITCH: tl.constexpr, QUERIES: tl.constexpr, KEYS: tl.constexpr, PADDED: tl.constexpr,
    PRECISION: tl.constexpr,
):  # fmt: skip
    """Values mixed by the scores within windows of (DOWN, ACROSS), to (B, h, w, heads, d).

    A program takes some queries of a window and a head, and KEYS keys in a step, counted as if each row had
    PITCH of them, at least ACROSS.  Where KEYS is a multiple of PITCH, a step takes whole rows, and what
    columns add stays in registers.  Where the grid ends within a window (`PADDED`), keys and values of what
    is missing are `bias` (3, heads, d), as the product makes them of zeros.
    """
    image = (tl.program_id(1) // HEADS).to(tl.int64)
    head = tl.program_id(1) % HEADS
    top = tl.program_id(2) // across * DOWN
    left = tl.program_id(2) % across * ACROSS
    patches = rows * columns
    qkv += image * patches * (3 * HEADS * D) + head * D
    bias += head * D
    by_row += tl.program_id(1).to(tl.int64) * DOWN * patches
    by_column += tl.program_id(1).to(tl.int64) * patches * ACROSS

    number = tl.program_id(0) * QUERIES + tl.arange(0, QUERIES)
    y, x = top + number // ACROSS, left + number % ACROSS
    real = (number < DOWN * ACROSS) & (y < rows) & (x < columns)
    position = tl.where(real, y * columns + x, 0)
    channel = tl.arange(0, D)
    query = tl.load(
        qkv + position[:, None] * (3 * HEADS * D) + channel[None, :], mask=real[:, None], other=0.0
    )
    by_column += position * ACROSS
    key = tl.arange(0, KEYS)
    ALIGNED: tl.constexpr = KEYS % PITCH == 0
    if ALIGNED:
        column_scores = tl.load(
            by_column[:, None] + (key % PITCH)[None, :],
            mask=real[:, None] & (key % PITCH < ACROSS)[None, :],
            other=0.0,
        ).to(tl.float32)
        if PITCH != ACROSS:
            column_scores = tl.where((key % PITCH < ACROSS)[None, :], column_scores, float("-inf"))
    if PADDED:
        bias_key = tl.load(bias + HEADS * D + channel)
        bias_value = tl.load(bias + 2 * HEADS * D + channel)

    largest = tl.full((QUERIES,), float("-inf"), tl.float32)
    total = tl.zeros((QUERIES,), tl.float32)
    sums = tl.zeros((QUERIES, D), tl.float32)
    WHOLE: tl.constexpr = not PADDED and PITCH == ACROSS and (DOWN * PITCH) % KEYS == 0
    for first in range(0, DOWN * PITCH, KEYS):
        other = first + key
        key_row, key_column = other // PITCH, other % PITCH
        inside = (key_row < DOWN) & (key_column < ACROSS)
        there = inside & (top + key_row < rows) & (left + key_column < columns)
        place = (top + key_row) * columns + left + key_column
        keys = qkv + HEADS * D + place[None, :] * (3 * HEADS * D) + channel[:, None]
        if WHOLE:
            k = tl.load(keys)
        else:
            k = tl.load(keys, mask=there[None, :], other=0.0)
            if PADDED:
                k = tl.where(there[None, :], k, bias_key[:, None])
        scores = tl.dot(query, k, input_precision=PRECISION) * scale
        if KEYS == PITCH:
            row_scores = tl.load(by_row + first // PITCH * patches + position).to(tl.float32)
            scores += row_scores[:, None] + column_scores
        else:
            row_scores = tl.load(
                by_row + key_row[None, :] * patches + position[:, None],
                mask=real[:, None] & inside[None, :],
                other=0.0,
            )
            scores += row_scores.to(tl.float32)
            if ALIGNED:
                scores += column_scores
            else:
                more = tl.load(
                    by_column[:, None] + key_column[None, :],
                    mask=real[:, None] & inside[None, :],
                    other=0.0,
                )
                scores += more.to(tl.float32)
            if not WHOLE:
                scores = tl.where(inside[None, :], scores, float("-inf"))
        above = tl.maximum(largest, tl.max(scores, 1))
        shares = tl.exp2(scores - above[:, None])
        fading = tl.exp2(largest - above)
        total = total * fading + tl.sum(shares, 1)
        sums = sums * fading[:, None]
        values = qkv + 2 * HEADS * D + place[:, None] * (3 * HEADS * D) + channel[None, :]
        if WHOLE:
            v = tl.load(values)
        else:
            v = tl.load(values, mask=there[:, None], other=0.0)
            if PADDED:
                v = tl.where(there[:, None], v, bias_value[None, :])
        sums = tl.dot(shares.to(v.dtype), v, acc=sums, input_precision=PRECISION)
        largest = above
    mixed += image * patches * (HEADS * D) + head * D
    tl.store(
        mixed + position[:, None] * (HEADS * D) + channel[None, :],
        (sums / total[:, None]).to(mixed.dtype.element_ty),
        mask=real[:, None],
    )


@triton.jit
def add_and_normalise(x, y, weight, bias, added, normal, width, epsilon, BLOCK: tl.constexpr):
    """x + y (T, C), and its layer normalisation; a program takes a token."""
    token = tl.program_id(0).to(tl.int64)
    channel = tl.arange(0, BLOCK)
    inside = channel < width
    at = token * width + channel
    first = tl.load(x + at, mask=inside, other=0.0).to(tl.float32)
    second = tl.load(y + at, mask=inside, other=0.0).to(tl.float32)
    sums = (first + second).to(added.dtype.element_ty)
    tl.store(added + at, sums, mask=inside)
    wide = sums.to(tl.float32)
    centred = tl.where(inside, wide - tl.sum(wide, 0) / width, 0.0)
    scale = tl.rsqrt(tl.sum(centred * centred, 0) / width + epsilon)
    factor = tl.load(weight + channel, mask=inside, other=0.0).to(tl.float32)
    offset = tl.load(bias + channel, mask=inside, other=0.0).to(tl.float32)
    tl.store(normal + at, (centred * scale * factor + offset).to(normal.dtype.element_ty), mask=inside)
