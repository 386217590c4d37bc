"""The vision vocabulary network on a CPU: its transformer blocks by native kernels, in several precisions."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from typing import Literal, cast, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vary.engine.native import check
from vary.engine.native.vision import PANEL, Block, Grid, Norm, VisionMatrix, VisionShape, vision_library
from vary.errors import NativeError
from vary.model import vision_vocabulary as networks
from vary.model.configuration import VisionVocabularyConfig
from vary.model.modeling import VaryModel
from vary.model.vision_vocabulary import VisionVocabulary, table_for

__all__ = [
    "PANEL",
    "NativeBlocks",
    "PackedLinear",
    "VisionPrecision",
    "fastest_precision",
    "use_native_blocks",
    "use_native_vision",
    "vision_library",
]

VisionPrecision = Literal["float32", "int16", "int8", "bfloat16"]
"""How products are computed: as PyTorch does, up to the order of additions; with about 12 bits; with 7 and 8;
with the 8 of bfloat16.

A matrix of integers has a scale for each output, and its input one for each token, found as the token is
there.  Attention is in float32 for the first, in int16 for integers, in bfloat16 for the last, which
processors with AMX have; norms, GELU and softmax are in float32 always.
"""
PRECISIONS: tuple[VisionPrecision, ...] = get_args(VisionPrecision)
TILE = 32
"""Channels that the kernels of bfloat16 take at a time; `vision_tiles.inl` has it as kDepth."""


@dataclass(frozen=True, slots=True)
class PackedLinear:
    """A linear layer as the kernels take it."""

    outputs: int
    inputs: int
    packed: Tensor
    bias: Tensor

    @classmethod
    def of(cls, layer: nn.Linear, precision: int) -> PackedLinear:
        outputs, inputs = layer.weight.shape
        weight = _plain(layer.weight)
        packed = torch.empty(
            vision_library().vary_vision_packed_bytes(precision, outputs, inputs), dtype=torch.uint8
        )
        vision_library().vary_vision_pack(precision, outputs, inputs, weight.data_ptr(), packed.data_ptr())
        bias = torch.zeros(outputs) if layer.bias is None else _plain(layer.bias)
        return cls(outputs, inputs, packed, bias)

    def matrix(self, bias: Tensor | None = None) -> VisionMatrix:
        """The layer, or with another bias and as many outputs; both have to outlive it."""
        bias = self.bias if bias is None else bias
        return VisionMatrix(len(bias), self.inputs, self.packed.data_ptr(), bias.data_ptr())


class NativeBlocks:
    """Computes the blocks of a network in place of its modules, with the weights of the time of building.

    Attributes:
        name: which kernels and which precision, for people: "native int16 (AVX2)".
        precision: how products are computed.
        nbytes: of the packed weights.
    """

    def __init__(self, network: VisionVocabulary, precision: VisionPrecision = "float32") -> None:
        """Packs the weights.

        Raises:
            NativeError: if the kernels are not there, or do not take this shape.
        """
        config = network.config
        if precision not in PRECISIONS:
            raise NativeError(f"the precision '{precision}' is not known; choose of {', '.join(PRECISIONS)}")
        number = PRECISIONS.index(precision)
        self._sizes = _sizes(config, precision)
        kernels = _kernels(config, precision)
        if not kernels:
            raise NativeError(_refusal(config, precision))
        self.name = f"native {precision} ({kernels})"
        self.precision = precision
        self._blocks = [_PackedBlock(cast(networks.Block, block), number) for block in network.blocks]
        self.nbytes = sum(linear.packed.nbytes for block in self._blocks for linear in block.linears)

    def __call__(self, x: Tensor, valid_columns: Tensor | None = None) -> Tensor:
        """x (B, h, w, C) on a CPU, valid_columns (B, w) or None, to (B, h, w, C).

        In columns that are not valid anything may stand.

        Raises:
            NativeError: if memory does not suffice.
        """
        images, rows, columns, _ = x.shape
        # A copy: the kernels write over it.
        tokens = torch.empty(x.shape, dtype=torch.float32).copy_(x)
        own = None if valid_columns is None else valid_columns.sum(1, dtype=torch.int32)
        tables = [block.tables(rows, columns) for block in self._blocks]
        blocks = (Block * len(tables))(
            *(block.structure(*pair, rows, columns) for block, pair in zip(self._blocks, tables, strict=True))
        )
        grid = Grid(images, rows, columns, None if own is None else own.data_ptr())
        status = vision_library().vary_vision_run(
            *(ctypes.byref(VisionShape(*self._sizes)), blocks, len(tables), ctypes.byref(grid)),
            *(tokens.data_ptr(), torch.get_num_threads()),
        )
        check(status, "compute the vision vocabulary network")
        return tokens.to(x.dtype)


class _PackedBlock:
    """One block's weights as the kernels take them."""

    def __init__(self, block: networks.Block, precision: int) -> None:
        attention, mlp = block.attn, block.mlp
        self.window, self._resize = block.window, attention.resize
        self.linears = [
            PackedLinear.of(layer, precision) for layer in (attention.qkv, attention.proj, mlp.lin1, mlp.lin2)
        ]
        self._norms = [[_plain(norm.weight), _plain(norm.bias)] for norm in (block.norm1, block.norm2)]
        self._row_table, self._column_table = _plain(attention.rel_pos_h), _plain(attention.rel_pos_w)

    def tables(self, rows: int, columns: int) -> tuple[Tensor, Tensor]:
        """Embeddings of relative positions for a grid, the largest distance first, in panels (n, d, 16)."""
        return (
            self._panels(self._row_table, self.window or rows),
            self._panels(self._column_table, self.window or columns),
        )

    def _panels(self, table: Tensor, size: int) -> Tensor:
        table = table_for(table, size, resize=self._resize).flip(0)
        table = F.pad(table, (0, 0, 0, -len(table) % PANEL))
        return table.unflatten(0, (-1, PANEL)).transpose(1, 2).contiguous()

    def structure(self, row_table: Tensor, column_table: Tensor, rows: int, columns: int) -> Block:
        """What the kernels are given; everything in it has to outlive their run."""
        qkv, out, expand, contract = (linear.matrix() for linear in self.linears)
        norm1, norm2 = (Norm(*(part.data_ptr() for part in norm)) for norm in self._norms)
        return Block(
            *(self.window, 2 * (self.window or rows) - 1, 2 * (self.window or columns) - 1),
            *(norm1, qkv, out),
            *(row_table.data_ptr(), column_table.data_ptr()),
            *(norm2, expand, contract),
        )


def _sizes(config: VisionVocabularyConfig, precision: VisionPrecision) -> tuple[float, ...]:
    """The fields of `VisionShape`."""
    width, inner = config.hidden_size, int(config.hidden_size * config.mlp_ratio)
    return (PRECISIONS.index(precision), width, inner, config.num_attention_heads, config.layer_norm_eps)


def _kernels(config: VisionVocabularyConfig, precision: VisionPrecision) -> str:
    """The name of the kernels that take a network in a precision; empty where there are none."""
    shape = VisionShape(*_sizes(config, precision))
    kernels: bytes | None = vision_library().vary_vision_kernels(ctypes.byref(shape))
    return "" if kernels is None or config.hidden_act != "gelu" else kernels.decode()


def _refusal(config: VisionVocabularyConfig, precision: VisionPrecision) -> str:
    """Why no kernels take a network in a precision."""
    others = [other for other in PRECISIONS if _kernels(config, other)]
    if precision == "bfloat16" and others:
        return (
            "the native kernels of the vision vocabulary network need a processor with AMX, Linux 5.16 or "
            "newer, a build by GCC 11, Clang 12 or newer, and widths and heads in multiples of "
            f"{TILE} channels for bfloat16; this network has "
            f"{config.hidden_size} channels and {config.num_attention_heads} heads, and can have "
            f"{', '.join(others)} here"
        )
    return (
        "the native kernels of the vision vocabulary network need GELU, and widths and heads in "
        f"multiples of {PANEL} channels; this network has {config.hidden_act}, {config.hidden_size} "
        f"channels and {config.num_attention_heads} heads"
    )


def fastest_precision(network: VisionVocabulary) -> VisionPrecision:
    """What is fastest on this processor at the precision of bfloat16 or above.

    Raises:
        NativeError: if the kernels are not there.
    """
    return "bfloat16" if _kernels(network.config, "bfloat16") else "int16"


def _plain(parameter: Tensor) -> Tensor:
    """A parameter as the kernels read it: float32, contiguous."""
    return parameter.detach().to(torch.float32).contiguous()


def use_native_blocks(network: VisionVocabulary, precision: VisionPrecision = "float32") -> str:
    """Lets native kernels compute a network's blocks wherever no gradients are wanted.

    Weights that change later do not reach them: this is for networks that only read.

    Returns:
        What computes now, for people: "native float32 (AVX2)".

    Raises:
        NativeError: if the network is not on a CPU, or as `NativeBlocks`.
    """
    if network.device.type != "cpu":
        raise NativeError(f"the native kernels run on a CPU, and this network is on {network.device}")
    blocks = NativeBlocks(network, precision)
    network.block_runner = blocks
    return blocks.name


def use_native_vision(model: VaryModel, precision: VisionPrecision) -> str:
    """Lets native kernels compute the vocabulary network of a model that only reads; CLIP stays with PyTorch.

    Where the kernels compute in bfloat16, CLIP does too: PyTorch multiplies it with the same instructions.

    Returns, and raises, what `use_native_blocks` does.
    """
    name = use_native_blocks(model.vision_vocabulary, precision)
    if precision == "bfloat16" and model.clip is not None:
        model.clip.to(torch.bfloat16)
    return name
