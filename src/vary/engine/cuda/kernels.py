"""Triton kernels of a decoder's layer: for few tokens all of it in five, for many what is between products.

Weights are read once from memory, which is what a token costs.  All sums are in float32, in an order that
depends on sizes alone; a token's results do not depend on the tokens beside it.
"""

from __future__ import annotations

import triton
import triton.language as tl

__all__ = ["attend", "gate", "normalise", "project", "project_rotated", "rotate"]


@triton.jit
def _tile(weight, row, rows, start, columns: tl.constexpr, COLUMNS: tl.constexpr, EVEN: tl.constexpr):
    """(ROWS, COLUMNS) of a weight (rows, columns), 0 outside."""
    at = start + tl.arange(0, COLUMNS)
    place = weight + row[:, None] * columns + at[None, :]
    if EVEN:
        return tl.load(place)
    else:
        return tl.load(place, mask=(row < rows)[:, None] & (at < columns)[None, :], other=0.0)


@triton.jit
def _one_token(
    x, weight, norm, first, second, token, rows, columns: tl.constexpr, TWO: tl.constexpr, NORM: tl.constexpr,
    ROWS: tl.constexpr, COLUMNS: tl.constexpr, EVEN: tl.constexpr, OVERLAP: tl.constexpr,
):  # fmt: skip
    """Products of one or two tiles of rows with a token, (ROWS, 1) each, and its sum of squares (1,).

    The weights do not depend on the kernel before: the first ones are fetched while it still runs.
    """
    sums = tl.zeros((ROWS, COLUMNS), tl.float32)
    more = tl.zeros((ROWS, COLUMNS), tl.float32)
    squares = tl.zeros((COLUMNS,), tl.float32)
    w = _tile(weight, first, rows, 0, columns, COLUMNS, EVEN)
    v = _tile(weight, second, rows, 0, columns, COLUMNS, EVEN) if TWO else w
    if OVERLAP:
        tl.extra.cuda.gdc_wait()
    for start in tl.static_range(0, columns, COLUMNS):
        at = start + tl.arange(0, COLUMNS)
        inside = at < columns
        values = tl.load(x + token * columns + at, mask=inside, other=0.0).to(tl.float32)
        if NORM:
            squares += values * values
            values *= tl.load(norm + at, mask=inside, other=0.0).to(tl.float32)
        sums += w.to(tl.float32) * values[None, :]
        if TWO:
            more += v.to(tl.float32) * values[None, :]
        if start + COLUMNS < columns:
            w = _tile(weight, first, rows, start + COLUMNS, columns, COLUMNS, EVEN)
            if TWO:
                v = _tile(weight, second, rows, start + COLUMNS, columns, COLUMNS, EVEN)
    return tl.sum(sums, 1)[:, None], tl.sum(more, 1)[:, None], tl.sum(squares, 0)[None]


@triton.jit
def _some_tokens(
    x, weight, norm, first, second, token, tokens, rows, columns: tl.constexpr,
    TWO: tl.constexpr, NORM: tl.constexpr, TOKENS: tl.constexpr,
    ROWS: tl.constexpr, COLUMNS: tl.constexpr, EVEN: tl.constexpr, OVERLAP: tl.constexpr,
):  # fmt: skip
    """Products of one or two tiles of rows with tokens, (ROWS, TOKENS) each; sums of squares (TOKENS,)."""
    sums = tl.zeros((ROWS, TOKENS), tl.float32)
    more = tl.zeros((ROWS, TOKENS), tl.float32)
    squares = tl.zeros((TOKENS,), tl.float32)
    which = token + tl.arange(0, TOKENS)
    if OVERLAP:
        tl.extra.cuda.gdc_wait()
    for start in range(0, columns, COLUMNS):
        at = start + tl.arange(0, COLUMNS)
        inside = at < columns
        w = _tile(weight, first, rows, start, columns, COLUMNS, EVEN)
        block = tl.load(
            x + which[None, :] * columns + at[:, None],
            mask=(which < tokens)[None, :] & inside[:, None], other=0.0,
        )  # fmt: skip
        if NORM:
            wide = block.to(tl.float32)
            squares += tl.sum(wide * wide, 0)
            scale = tl.load(norm + at, mask=inside, other=0.0).to(tl.float32)
            block = (wide * scale[:, None]).to(weight.dtype.element_ty)
        sums = tl.dot(w, block, sums)
        if TWO:
            more = tl.dot(_tile(weight, second, rows, start, columns, COLUMNS, EVEN), block, more)
    return sums, more, squares


@triton.jit
def _products(
    x, weight, norm, first, second, token, tokens, rows, columns: tl.constexpr,
    TWO: tl.constexpr, NORM: tl.constexpr, ONE: tl.constexpr, TOKENS: tl.constexpr,
    ROWS: tl.constexpr, COLUMNS: tl.constexpr, EVEN: tl.constexpr, OVERLAP: tl.constexpr,
):  # fmt: skip
    """See `_one_token` and `_some_tokens`; the next kernel may begin, up to where it needs what they make."""
    if OVERLAP:
        tl.extra.cuda.gdc_launch_dependents()
    if ONE:
        sums, more, squares = _one_token(
            x, weight, norm, first, second, token, rows, columns, TWO, NORM, ROWS, COLUMNS, EVEN, OVERLAP
        )
    else:
        sums, more, squares = _some_tokens(
            x, weight, norm, first, second, token, tokens, rows, columns,
            TWO, NORM, TOKENS, ROWS, COLUMNS, EVEN, OVERLAP,
        )  # fmt: skip
    return sums, more, squares


@triton.jit
def project(
    x, weight, norm, residual, out, tokens, rows, epsilon, columns: tl.constexpr,
    GATED: tl.constexpr, NORM: tl.constexpr, RESIDUAL: tl.constexpr, ONE: tl.constexpr,
    TOKENS: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr,
    EVEN: tl.constexpr, OVERLAP: tl.constexpr,
):  # fmt: skip
    """out (tokens, rows) = normalised x (tokens, columns) times weight (rows, columns), and a residual.

    With GATED the weight has twice the rows: silu of the product with the first half, times the other half's.
    """
    token = tl.program_id(1) * TOKENS
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    total = rows * 2 if GATED else rows
    sums, more, squares = _products(
        x, weight, norm, row, rows + row, token, tokens, total, columns,
        GATED, NORM, ONE, TOKENS, ROWS, COLUMNS, EVEN, OVERLAP,
    )  # fmt: skip
    if NORM:
        scale = tl.rsqrt(squares / columns + epsilon)
        sums *= scale[None, :]
        more *= scale[None, :]
    if GATED:
        # Rounded where the library rounds.
        sums = sums.to(out.dtype.element_ty).to(tl.float32)
        sums = (sums / (1.0 + tl.exp(-sums))).to(out.dtype.element_ty).to(tl.float32)
        sums *= more.to(out.dtype.element_ty).to(tl.float32)
    which = token + tl.arange(0, TOKENS)
    place = which[None, :] * rows + row[:, None]
    inside = (which < tokens)[None, :] & (row < rows)[:, None]
    if RESIDUAL:
        sums += tl.load(residual + place, mask=inside, other=0.0).to(tl.float32)
    tl.store(out + place, sums.to(out.dtype.element_ty), mask=inside)


@triton.jit
def project_rotated(
    x, weight, bias, norm, queries, keys, values, table, rows, positions, cosines, sines,
    tokens, stride, epsilon, heads, kv_heads, columns: tl.constexpr,
    ONE: tl.constexpr, TOKENS: tl.constexpr, HALF: tl.constexpr, PAGE: tl.constexpr,
    ROWS: tl.constexpr, COLUMNS: tl.constexpr, EVEN: tl.constexpr, OVERLAP: tl.constexpr,
):  # fmt: skip
    """Queries, keys and values of normalised x: rotated, queries (tokens, heads, 2 HALF), the rest cached.

    A program computes ROWS rows of a head's first half, and those of the second that turn with them.
    """
    token = tl.program_id(1) * TOKENS
    head = tl.program_id(0) // (HALF // ROWS)
    low = tl.program_id(0) % (HALF // ROWS) * ROWS + tl.arange(0, ROWS)
    row = head * 2 * HALF + low
    total = (heads + 2 * kv_heads) * 2 * HALF
    first, second, squares = _products(
        x, weight, norm, row, row + HALF, token, tokens, total, columns,
        True, True, ONE, TOKENS, ROWS, COLUMNS, EVEN, OVERLAP,
    )  # fmt: skip
    scale = tl.rsqrt(squares / columns + epsilon)[None, :]
    first = first * scale + tl.load(bias + row).to(tl.float32)[:, None]
    second = second * scale + tl.load(bias + row + HALF).to(tl.float32)[:, None]
    which = token + tl.arange(0, TOKENS)
    real = which < tokens
    position = tl.load(positions + which, mask=real, other=0)
    if head < heads + kv_heads:
        turn = position[None, :] * HALF + low[:, None]
        cosine, sine = tl.load(cosines + turn), tl.load(sines + turn)
        turned = first * cosine - second * sine
        second = second * cosine + first * sine
        first = turned
    kind: tl.constexpr = queries.dtype.element_ty
    first, second = first.to(kind), second.to(kind)
    inside = real[None, :] & (low >= 0)[:, None]
    if head < heads:
        asked = (which[None, :] * heads + head) * 2 * HALF + low[:, None]
        tl.store(queries + asked, first, mask=inside)
        tl.store(queries + asked + HALF, second, mask=inside)
    else:
        page = tl.load(table + tl.load(rows + which, mask=real, other=0) * stride + position // PAGE)
        if head < heads + kv_heads:
            place = (page * kv_heads + head - heads) * PAGE + position % PAGE
            place = place[None, :].to(tl.int64) * 2 * HALF + low[:, None]
            tl.store(keys + place, first, mask=inside)
            tl.store(keys + place + HALF, second, mask=inside)
        else:
            place = (page * kv_heads + head - heads - kv_heads) * PAGE + position % PAGE
            place = place[None, :].to(tl.int64) * 2 * HALF + low[:, None]
            tl.store(values + place, first, mask=inside)
            tl.store(values + place + HALF, second, mask=inside)


@triton.jit
def attend(
    queries, keys, values, table, rows, positions, out, parts, weights, counters,
    stride, query_stride, heads, kv_heads, scale,
    PAGE: tl.constexpr, WIDTH: tl.constexpr, BLOCK: tl.constexpr, SPLITS: tl.constexpr, OVERLAP: tl.constexpr,
):  # fmt: skip
    """Attention of one token and head to its sequence, in SPLITS programs; the last to end adds them up.

    Args:
        queries: (N, heads, WIDTH), query_stride from token to token.
        keys, values: (pages, kv_heads, PAGE, WIDTH).
        table: pages of each row, (.., stride); rows, positions: of each token, which sees itself too.
        out: (N, heads, WIDTH).
        parts, weights: sums (N, heads, SPLITS, WIDTH) and (greatest, weight) of each, float32.
        counters: (N, heads), 0 before and after.
    """
    token, head, split = tl.program_id(0), tl.program_id(1), tl.program_id(2)
    inner = tl.arange(0, WIDTH)
    row = tl.load(rows + token)
    length = tl.load(positions + token) + 1
    chunk = tl.cdiv(tl.cdiv(length, SPLITS), BLOCK) * BLOCK
    begin = split * chunk
    end = tl.minimum(begin + chunk, length)
    if OVERLAP:  # where a token belongs was known before the step began
        tl.extra.cuda.gdc_launch_dependents()
        tl.extra.cuda.gdc_wait()
    query = tl.load(queries + token * query_stride + head * WIDTH + inner).to(tl.float32) * scale
    greatest = tl.full((), -float("inf"), tl.float32)
    weight = tl.zeros((), tl.float32)
    found = tl.zeros((WIDTH,), tl.float32)
    kv_head = head // (heads // kv_heads)
    start = begin
    while start < end:
        page = tl.load(table + row * stride + start // PAGE)
        at = start % PAGE + tl.arange(0, BLOCK)
        seen = start + tl.arange(0, BLOCK) < end
        base = (page * kv_heads + kv_head).to(tl.int64) * PAGE * WIDTH
        place = base + at[:, None] * WIDTH + inner[None, :]
        k = tl.load(keys + place, mask=seen[:, None], other=0.0).to(tl.float32)
        v = tl.load(values + place, mask=seen[:, None], other=0.0).to(tl.float32)
        scores = tl.where(seen, tl.sum(k * query[None, :], 1), -float("inf"))
        new = tl.maximum(greatest, tl.max(scores, 0))
        shrink = tl.exp(greatest - new)
        shares = tl.exp(scores - new)
        found = found * shrink + tl.sum(shares[:, None] * v, 0)
        weight = weight * shrink + tl.sum(shares, 0)
        greatest = new
        start += BLOCK
    result = out + (token * heads + head) * WIDTH + inner
    if SPLITS == 1:
        tl.store(result, (found / weight).to(out.dtype.element_ty))
    else:
        part = (token * heads + head) * SPLITS
        tl.store(parts + (part + split) * WIDTH + inner, found)
        tl.store(weights + (part + split) * 2, greatest)
        tl.store(weights + (part + split) * 2 + 1, weight)
        tl.debug_barrier()  # all of this program's stores come before its count
        done = tl.atomic_add(counters + token * heads + head, 1, sem="acq_rel")
        if done == SPLITS - 1:
            tl.store(counters + token * heads + head, 0)
            every = tl.arange(0, SPLITS)
            tops = tl.load(weights + (part + every) * 2, cache_modifier=".cg")
            shares = tl.exp(tops - tl.max(tops, 0))
            total = tl.sum(shares * tl.load(weights + (part + every) * 2 + 1, cache_modifier=".cg"), 0)
            sums = tl.load(
                parts + (part + every)[:, None] * WIDTH + inner[None, :], cache_modifier=".cg"
            )  # fmt: skip
            tl.store(result, (tl.sum(sums * shares[:, None], 0) / total).to(out.dtype.element_ty))


@triton.jit
def normalise(x, weight, out, columns, epsilon, COLUMNS: tl.constexpr):
    """Each row of x (N, columns) over its root mean square, times weight (columns,)."""
    at = tl.arange(0, COLUMNS)
    inside = at < columns
    place = tl.program_id(0) * columns + at
    values = tl.load(x + place, mask=inside, other=0.0).to(tl.float32)
    values *= tl.rsqrt(tl.sum(values * values, 0) / columns + epsilon)
    values = values.to(out.dtype.element_ty) * tl.load(weight + at, mask=inside, other=0.0)
    tl.store(out + place, values, mask=inside)


@triton.jit
def gate(both, out, columns, COLUMNS: tl.constexpr):
    """silu of the first half of each row of both (N, 2 columns), times the second."""
    token = tl.program_id(0)
    at = tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS)
    inside = at < columns
    kind: tl.constexpr = out.dtype.element_ty
    first = tl.load(both + token * 2 * columns + at, mask=inside, other=0.0).to(tl.float32)
    second = tl.load(both + (token * 2 + 1) * columns + at, mask=inside, other=0.0)
    tl.store(out + token * columns + at, (first / (1.0 + tl.exp(-first))).to(kind) * second, mask=inside)


@triton.jit
def rotate(
    qkv, keys, values, table, rows, positions, cosines, sines, stride, heads, kv_heads,
    HALF: tl.constexpr, PAGE: tl.constexpr,
):  # fmt: skip
    """Turns queries and keys of qkv (N, heads + 2 kv_heads, 2 HALF) in place, and caches keys and values."""
    token, head = tl.program_id(0), tl.program_id(1)
    at = tl.arange(0, HALF)
    place = (token * (heads + 2 * kv_heads) + head) * 2 * HALF + at
    first, second = tl.load(qkv + place), tl.load(qkv + place + HALF)
    position = tl.load(positions + token)
    page = tl.load(table + tl.load(rows + token) * stride + position // PAGE)
    if head < heads + kv_heads:
        cosine, sine = tl.load(cosines + position * HALF + at), tl.load(sines + position * HALF + at)
        low, high = first.to(tl.float32), second.to(tl.float32)
        first = (low * cosine - high * sine).to(qkv.dtype.element_ty)
        second = (high * cosine + low * sine).to(qkv.dtype.element_ty)
        tl.store(qkv + place, first)
        tl.store(qkv + place + HALF, second)
    if head >= heads:
        if head < heads + kv_heads:
            cached = ((page * kv_heads + head - heads) * PAGE + position % PAGE).to(tl.int64) * 2 * HALF + at
            tl.store(keys + cached, first)
            tl.store(keys + cached + HALF, second)
        else:
            cached = (page * kv_heads + head - heads - kv_heads) * PAGE + position % PAGE
            cached = cached.to(tl.int64) * 2 * HALF + at
            tl.store(values + cached, first)
            tl.store(values + cached + HALF, second)
