"""A decoder's layers on a GPU: Triton kernels, and PyTorch's products where there are many tokens."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from vary.engine.cuda import kernels
from vary.engine.cuda.batch import Batch
from vary.engine.cuda.cache import PAGE
from vary.engine.cuda.weights import DecoderWeights, LayerWeights

__all__ = ["FEW", "LayerTiles", "Tiles", "TritonOperations"]

FEW = 16
"""Tokens up to which products are bound by reading the weights: then our own kernels do them."""
BLOCK, SPLITS = 32, 16
"""Positions that attention takes at a time, and programs that share a long sequence at most."""


@dataclass(frozen=True, slots=True)
class Tiles:
    """Rows and columns that a program takes at a time, warps, and stages of a pipeline."""

    rows: int
    columns: int
    warps: int
    stages: int


@dataclass(frozen=True, slots=True)
class LayerTiles:
    """The tiles of a layer's products, named as `LayerWeights` has them, and of the head's."""

    qkv: Tiles
    out: Tiles
    gate_up: Tiles
    down: Tiles
    head: Tiles


ONE_TOKEN = LayerTiles(
    qkv=Tiles(4, 2048, 4, 2),
    out=Tiles(2, 2048, 4, 2),
    gate_up=Tiles(2, 2048, 8, 2),
    down=Tiles(4, 2048, 4, 2),
    head=Tiles(2, 2048, 4, 2),
)
SOME_TOKENS = LayerTiles(
    qkv=Tiles(32, 256, 2, 5),
    out=Tiles(64, 128, 4, 5),
    gate_up=Tiles(64, 64, 4, 5),
    down=Tiles(64, 128, 4, 5),
    head=Tiles(64, 128, 4, 3),
)
"""Measured on an H100 with the sizes of Qwen-1.8B."""
HOPPER = 9
"""Major number of the processors from which on a kernel may begin while the one before it ends."""


class TritonOperations:
    """See `vary.engine.cuda.batch.Operations`.

    Args:
        weights: of the model.
        one, some: the tiles of products with one token, and with up to FEW.
        overlap: whether kernels fetch weights while the one before them ends; by default where the GPU can.
    """

    def __init__(
        self,
        weights: DecoderWeights,
        *,
        one: LayerTiles = ONE_TOKEN,
        some: LayerTiles = SOME_TOKENS,
        overlap: bool | None = None,
    ) -> None:
        self._weights, self._shape = weights, weights.shape
        self._one, self._some = one, some
        shape, device = weights.shape, weights.head.device
        if overlap is None:
            overlap = device.type == "cuda" and torch.cuda.get_device_capability(device)[0] >= HOPPER
        self._overlap: dict[str, Any] = {"OVERLAP": overlap} | ({"launch_pdl": True} if overlap else {})
        # Products in float32 have no use for the matrix units, and without them our kernels are no faster.
        self._few = 1 if weights.head.dtype == torch.float32 else FEW
        self._scale = shape.head_dim**-0.5
        self._processors = (
            torch.cuda.get_device_properties(device).multi_processor_count if device.type == "cuda" else 8
        )
        heads = FEW * shape.heads
        self._parts = torch.empty(heads * SPLITS * shape.head_dim, device=device)
        self._tops = torch.empty(heads * SPLITS * 2, device=device)
        self._counters = torch.zeros(heads, dtype=torch.int32, device=device)

    def layer(self, weights: LayerWeights, x: Tensor, keys: Tensor, values: Tensor, batch: Batch) -> Tensor:
        if len(x) <= self._few and not batch.fresh:
            queries = self._rotated(weights, x, keys, values, batch)
            found = self._attend(queries, keys, values, batch, len(x))
            tiles = self._tiles(len(x))
            x = self._project(found, weights.out, tiles.out, residual=x)
            inner = self._project(x, weights.gate_up, tiles.gate_up, norm=weights.post_norm, gated=True)
            return self._project(inner, weights.down, tiles.down, residual=x)
        qkv = F.linear(self._normalised(x, weights.input_norm), weights.qkv, weights.qkv_bias)
        self._rotate(qkv, keys, values, batch)
        x = x + F.linear(self._attended(qkv, keys, values, batch), weights.out)
        both = F.linear(self._normalised(x, weights.post_norm), weights.gate_up)
        return x + F.linear(self._gated(both), weights.down)

    def scores(self, x: Tensor) -> Tensor:
        weights = self._weights
        if len(x) <= self._few:
            tiles = self._tiles(len(x)).head
            return self._project(x, weights.head, tiles, norm=weights.norm, dtype=torch.float32)
        return F.linear(self._normalised(x, weights.norm), weights.head).float()

    def _rotated(
        self, weights: LayerWeights, x: Tensor, keys: Tensor, values: Tensor, batch: Batch
    ) -> Tensor:
        """Queries (N, heads, head_dim) of a few tokens; their keys and values are cached."""
        shape, half = self._shape, self._shape.head_dim // 2
        tiles = self._tiles(len(x)).qkv
        rows = min(tiles.rows, half)
        queries = x.new_empty((len(x), shape.heads, shape.head_dim))
        heads = shape.heads + 2 * shape.kv_heads
        kernels.project_rotated[(heads * (half // rows), 1)](
            *(x, weights.qkv, weights.qkv_bias, weights.input_norm, queries, keys, values),
            *(batch.table, batch.rows, batch.positions, self._weights.cosines, self._weights.sines),
            *(len(x), batch.table.shape[1], shape.epsilon, shape.heads, shape.kv_heads, shape.hidden),
            HALF=half,
            PAGE=PAGE,
            **self._options(len(x), tiles, rows, shape.hidden, even=True),
        )
        return queries

    def _project(
        self,
        x: Tensor,
        weight: Tensor,
        tiles: Tiles,
        *,
        norm: Tensor | None = None,
        residual: Tensor | None = None,
        gated: bool = False,
        dtype: torch.dtype | None = None,
    ) -> Tensor:
        """A few tokens (N, columns) times a weight, see `kernels.project`."""
        rows, columns = len(weight) // (2 if gated else 1), weight.shape[1]
        out = x.new_empty((len(x), rows), dtype=dtype or x.dtype)
        kernels.project[(-(-rows // tiles.rows), 1)](
            *(x, weight, x if norm is None else norm, x if residual is None else residual, out),
            *(len(x), rows, self._shape.epsilon, columns),
            GATED=gated,
            NORM=norm is not None,
            RESIDUAL=residual is not None,
            **self._options(len(x), tiles, tiles.rows, columns, even=rows % tiles.rows == 0),
        )
        return out

    def _tiles(self, tokens: int) -> LayerTiles:
        return self._one if tokens == 1 else self._some

    def _options(self, tokens: int, tiles: Tiles, rows: int, columns: int, *, even: bool) -> dict[str, Any]:
        width = min(tiles.columns, _power(columns))
        return {
            "ONE": tokens == 1,
            "TOKENS": 1 if tokens == 1 else FEW,
            "ROWS": rows,
            "COLUMNS": width,
            "EVEN": even and columns % width == 0,
            "num_warps": tiles.warps,
            "num_stages": tiles.stages,
            **self._overlap,
        }

    def _attend(self, queries: Tensor, keys: Tensor, values: Tensor, batch: Batch, tokens: int) -> Tensor:
        """Attention of the first tokens to their sequences, (tokens, heads * head_dim)."""
        shape, splits = self._shape, 1
        while splits < SPLITS and 2 * splits * tokens * shape.heads <= 2 * self._processors:
            splits *= 2
        if tokens > FEW:
            splits = 1
        out = queries.new_empty((tokens, shape.heads * shape.head_dim))
        kernels.attend[(tokens, shape.heads, splits)](
            *(queries, keys, values, batch.table, batch.rows, batch.positions, out),
            *(self._parts, self._tops, self._counters, batch.table.shape[1], queries.stride(0)),
            *(shape.heads, shape.kv_heads, self._scale),
            PAGE=PAGE,
            WIDTH=shape.head_dim,
            BLOCK=BLOCK,
            SPLITS=splits,
            num_warps=4,
            **self._overlap,
        )
        return out

    def _attended(self, qkv: Tensor, keys: Tensor, values: Tensor, batch: Batch) -> Tensor:
        """Attention of many tokens: of beginning sequences among themselves, of the others to the cache."""
        shape = self._shape
        held = batch.fresh[0][0] if batch.fresh else len(qkv)
        parts = [self._attend(qkv, keys, values, batch, held)] if held else []
        heads = qkv.view(len(qkv), -1, shape.head_dim)
        for first, last in batch.fresh:
            q, k, v = heads[first:last].split([shape.heads, shape.kv_heads, shape.kv_heads], 1)
            q, k, v = (part.transpose(0, 1)[None] for part in (q, k, v))
            grouped = shape.heads != shape.kv_heads
            found = F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=grouped)
            parts.append(found[0].transpose(0, 1).flatten(1))
        return parts[0] if len(parts) == 1 else torch.cat(parts)

    def _rotate(self, qkv: Tensor, keys: Tensor, values: Tensor, batch: Batch) -> None:
        shape = self._shape
        kernels.rotate[(len(qkv), shape.heads + 2 * shape.kv_heads)](
            *(qkv, keys, values, batch.table, batch.rows, batch.positions),
            *(self._weights.cosines, self._weights.sines, batch.table.shape[1], shape.heads, shape.kv_heads),
            HALF=shape.head_dim // 2,
            PAGE=PAGE,
            num_warps=1,
        )

    def _normalised(self, x: Tensor, weight: Tensor) -> Tensor:
        out, columns = torch.empty_like(x), x.shape[1]
        kernels.normalise[(len(x),)](x, weight, out, columns, self._shape.epsilon, COLUMNS=_power(columns))
        return out

    def _gated(self, both: Tensor) -> Tensor:
        columns = both.shape[1] // 2
        out = both.new_empty((len(both), columns))
        kernels.gate[(len(both), -(-columns // 1024))](both, out, columns, COLUMNS=1024)
        return out


def _power(number: int) -> int:
    """The power of two that is at least `number`."""
    return 1 << (number - 1).bit_length()
