"""The vision vocabulary network's blocks on a GPU: its own products, and Triton kernels between them."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor

from vary.engine.cuda.current import current
from vary.errors import NativeError
from vary.model.vision_vocabulary import MASKED_SCORE, Block, RelativeAttention, VisionVocabulary, table_for

__all__ = ["Tiles", "TritonBlocks", "use_triton_blocks"]

HALVES = (torch.float16, torch.bfloat16)
LOG2 = math.log2(math.e)
LINE = 64
"""Queries of a row or a column that a program compares with the positions at a time."""


@dataclass(frozen=True, slots=True)
class Tiles:
    """Queries and keys that a program of attention takes at a time, its warps and the stages of its loads."""

    queries: int
    keys: int
    warps: int
    stages: int


GLOBAL, WINDOW = Tiles(64, 64, 4, 3), Tiles(64, 16, 4, 3)
"""Of attention over the whole grid, and within windows."""
ALIGNED = (16, 32, 64, 128)
"""Columns of a grid whose rows are tiles of keys."""


class TritonBlocks:
    """Computes the blocks of a network in place of its modules, with their parameters where they are.

    Attributes:
        name: what computes, for people: "Triton (bfloat16)".
        global_tiles, window_tiles: of attention.
    """

    def __init__(self, network: VisionVocabulary, *, half: bool = True) -> None:
        """Takes the network's blocks.

        Args:
            network: on a GPU.
            half: whether parameters in other types than float16 and bfloat16 are refused: the kernels
                compute them too, but no faster than PyTorch.

        Raises:
            NativeError: if Triton is not installed, or does not compute this network.
        """
        try:
            from vary.engine.cuda import vision_kernels
        except ImportError as error:
            raise NativeError(f"Triton is not installed here ({error}); PyTorch computes instead") from error
        config, dtype = network.config, network.dtype
        width = config.hidden_size // config.num_attention_heads
        if config.hidden_act != "gelu" or width & (width - 1) or not 16 <= width <= 256:
            raise NativeError(
                "the Triton kernels of the vision vocabulary network need GELU and heads of 16, 32, 64, 128 "
                f"or 256 channels; this network has {config.hidden_act} and heads of {width} channels"
            )
        if half and dtype not in HALVES:
            kind = str(dtype).removeprefix("torch.")
            raise NativeError(f"the Triton kernels need float16 or bfloat16; this network is in {kind}")
        self._kernels = vision_kernels
        self._blocks = [cast(Block, block) for block in network.blocks]
        self._tables: dict[tuple[int, int, int, torch.device], tuple[Tensor, Tensor]] = {}
        self.name = f"Triton ({str(dtype).removeprefix('torch.')})"
        self.global_tiles, self.window_tiles = GLOBAL, WINDOW

    def __call__(self, x: Tensor, valid_columns: Tensor | None = None) -> Tensor:
        """x (B, h, w, C) on a GPU, valid_columns (B, w) or None, to (B, h, w, C)."""
        with current(x.device):
            return self._through_blocks(x, valid_columns)

    def _through_blocks(self, x: Tensor, valid_columns: Tensor | None) -> Tensor:
        shape = x.shape
        tokens = x.reshape(-1, shape[-1])
        first = self._blocks[0].norm1
        normal = F.layer_norm(tokens, first.normalized_shape, first.weight, first.bias, first.eps)
        for number, block in enumerate(self._blocks):
            attention, mlp = block.attn, block.mlp
            mixed = self.attention(number, normal.view(shape), valid_columns).view(tokens.shape)
            y = F.linear(mixed, attention.proj.weight, attention.proj.bias)
            tokens, normal = self.add_and_normalise(tokens, y, block.norm2)
            y = F.gelu(F.linear(normal, mlp.lin1.weight, mlp.lin1.bias))
            y = F.linear(y, mlp.lin2.weight, mlp.lin2.bias)
            if number + 1 < len(self._blocks):
                tokens, normal = self.add_and_normalise(tokens, y, self._blocks[number + 1].norm1)
            else:
                tokens = tokens + y
        return tokens.view(shape)

    def attention(self, number: int, x: Tensor, valid_columns: Tensor | None = None) -> Tensor:
        """What a block's attention mixes for its normalised input (B, h, w, C), before its last product."""
        block = self._blocks[number]
        layer: RelativeAttention = block.attn
        images, rows, columns, channels = x.shape
        heads, width = layer.num_heads, layer.head_dim
        qkv = F.linear(x.view(-1, channels), layer.qkv.weight, layer.qkv.bias)
        window = block.window
        down, across = window or rows, window or columns
        row_table, column_table = self._tables_of(number, down, across)
        by_row = x.new_empty((images, heads, down, rows, columns))
        by_column = x.new_empty((images, heads, rows, columns, across))
        sizes = {"HEADS": heads, "D": width, "DOWN": down, "ACROSS": across}
        sizes_of_type = {"PRECISION": "ieee" if x.dtype == torch.float32 else "tf32"}
        lines = (rows + columns, parts(max(rows, columns), LINE), images * heads)
        self._kernels.relate[lines](
            *(qkv, row_table, column_table, by_row, by_column, rows, columns, LOG2),
            **sizes,
            BLOCK=LINE,
            KEYS=16 if max(down, across) <= 16 else 64,
            **sizes_of_type,
            num_warps=4,
        )
        if valid_columns is not None and not window:
            by_column += torch.where(valid_columns, 0.0, MASKED_SCORE).to(x.dtype)[:, None, None, None]
        tiles = self.window_tiles if window else self.global_tiles
        pitch = max(16, 1 << (across - 1).bit_length())
        if window and pitch > tiles.keys:
            pitch = across
        elif not window and across in ALIGNED:
            tiles = replace(tiles, keys=across)
        elif not window:
            pitch = across
        mixed = torch.empty_like(x)
        windows = parts(rows, down) * parts(columns, across)
        self._kernels.attend[(parts(down * across, tiles.queries), images * heads, windows)](
            *(qkv, layer.qkv.bias, by_row, by_column, mixed, rows, columns, parts(columns, across)),
            width**-0.5 * LOG2,
            **sizes,
            PITCH=pitch,
            QUERIES=tiles.queries,
            KEYS=tiles.keys,
            PADDED=bool(rows % down or columns % across),
            **sizes_of_type,
            num_warps=tiles.warps,
            num_stages=tiles.stages,
        )
        return mixed

    def add_and_normalise(self, x: Tensor, y: Tensor, norm: torch.nn.LayerNorm) -> tuple[Tensor, Tensor]:
        """x + y (T, C), and its layer normalisation."""
        added, normal = torch.empty_like(x), torch.empty_like(x)
        tokens, width = x.shape
        block = 1 << (width - 1).bit_length()
        self._kernels.add_and_normalise[(tokens,)](
            *(x, y, norm.weight, norm.bias, added, normal, width, norm.eps),
            BLOCK=block,
            num_warps=min(8, max(1, block // 256)),
        )
        return added, normal

    def _tables_of(self, number: int, down: int, across: int) -> tuple[Tensor, Tensor]:
        """Embeddings of relative positions (2 down - 1, d) and (2 across - 1, d) of a block."""
        layer: RelativeAttention = self._blocks[number].attn
        place = (number, down, across, layer.rel_pos_h.device)
        if place not in self._tables:
            row_table = table_for(layer.rel_pos_h.detach(), down, resize=layer.resize)
            column_table = table_for(layer.rel_pos_w.detach(), across, resize=layer.resize)
            self._tables[place] = row_table.contiguous(), column_table.contiguous()
        return self._tables[place]


def parts(whole: int, part: int) -> int:
    """How many parts cover the whole."""
    return -(-whole // part)


def use_triton_blocks(network: VisionVocabulary) -> str:
    """Lets Triton kernels compute a network's blocks wherever no gradients are wanted.

    Returns:
        What computes now, for people: "Triton (bfloat16)".

    Raises:
        NativeError: if the network is not on a GPU that Triton knows, or as `TritonBlocks`.
    """
    if network.device.type != "cuda":
        raise NativeError(f"the Triton kernels run on GPUs, and this network is on {network.device}")
    blocks = TritonBlocks(network)
    network.block_runner = blocks
    return blocks.name
