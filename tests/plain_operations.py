"""The steps of a layer in plain PyTorch: what the kernels compute, on any device."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from vary.engine.cuda.batch import Batch
from vary.engine.cuda.cache import PAGE
from vary.engine.cuda.weights import DecoderWeights, LayerWeights

__all__ = ["PlainOperations"]


class PlainOperations:
    """See `vary.engine.cuda.batch.Operations`; slow, and there to be compared with."""

    def __init__(self, weights: DecoderWeights) -> None:
        self._weights, self._shape = weights, weights.shape

    def layer(self, weights: LayerWeights, x: Tensor, keys: Tensor, values: Tensor, batch: Batch) -> Tensor:
        qkv = F.linear(self._normalised(x, weights.input_norm), weights.qkv, weights.qkv_bias)
        found = self._attended(qkv, keys, values, batch)
        x = x + F.linear(found, weights.out)
        gate, up = F.linear(self._normalised(x, weights.post_norm), weights.gate_up).chunk(2, -1)
        return x + F.linear(F.silu(gate) * up, weights.down)

    def scores(self, x: Tensor) -> Tensor:
        return F.linear(self._normalised(x, self._weights.norm), self._weights.head).float()

    def _normalised(self, x: Tensor, weight: Tensor) -> Tensor:
        wide = x.float()
        wide = wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + self._shape.epsilon)
        return weight * wide.to(x.dtype)

    def _attended(self, qkv: Tensor, keys: Tensor, values: Tensor, batch: Batch) -> Tensor:
        shape = self._shape
        heads = qkv.view(len(qkv), -1, shape.head_dim)
        q, k, v = heads.split([shape.heads, shape.kv_heads, shape.kv_heads], 1)
        q, k = self._turned(q, batch.positions), self._turned(k, batch.positions)
        for number in range(len(q)):
            row, position = int(batch.rows[number]), int(batch.positions[number])
            page, place = int(batch.table[row, position // PAGE]), position % PAGE
            keys[page, :, place], values[page, :, place] = k[number], v[number]
        found = torch.empty_like(q)
        repeats = shape.heads // shape.kv_heads
        for number in range(len(q)):
            length = int(batch.positions[number]) + 1
            pages = batch.table[int(batch.rows[number]), : -(-length // PAGE)].long()
            seen = [one[pages].transpose(0, 1).flatten(1, 2)[:, :length] for one in (keys, values)]
            held, said = (one.repeat_interleave(repeats, 0) for one in seen)
            found[number] = F.scaled_dot_product_attention(q[number][:, None], held, said)[:, 0]
        return found.flatten(1)

    def _turned(self, heads: Tensor, positions: Tensor) -> Tensor:
        """Heads (N, heads, head_dim) turned by their positions."""
        cosines = self._weights.cosines[positions.long()][:, None]
        sines = self._weights.sines[positions.long()][:, None]
        first, second = heads.float().chunk(2, -1)
        turned = torch.cat([first * cosines - second * sines, second * cosines + first * sines], -1)
        return turned.to(heads.dtype)
