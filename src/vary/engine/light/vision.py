"""The vision branch of a line model: gray lines to image tokens and CTC frames, like `VisionVocabulary`."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vary.engine.light.products import Convolve, Floats, PackedMatrix, Widths
from vary.engine.light.settings import LightSettings, PixelSettings, VisionSettings
from vary.engine.light.weights import VISION, Weight
from vary.engine.native import check
from vary.engine.native.vision import PANEL, Block, Grid, Norm, VisionShape, vision_library
from vary.errors import InputError, NativeError

__all__ = ["Encoded", "LightVision"]

PATCHES_AT_ONCE = 2048
"""Patches of the lines, padding included, that are encoded together: it bounds the memory of a batch."""
WHITE = 255
BATCH_NORM_EPSILON, NECK_EPSILON = 1e-5, 1e-6


@dataclass(frozen=True, slots=True)
class Encoded:
    """What the branch makes of a line.

    Attributes:
        tokens: image tokens in the language model's width, (columns, hidden).
        frames: for the CTC head, (columns * frames, hidden); None without a CTC branch.
    """

    tokens: Floats
    frames: Floats | None


class LightVision:
    """The network with its weights packed.

    Args:
        settings: of the checkpoint.
        weight: its tensors.
        threads: that share the work.

    Raises:
        NativeError: if the kernels are not there or do not compute this shape.
    """

    def __init__(self, settings: LightSettings, weight: Weight, threads: int) -> None:
        vision = settings.vision
        self._vision, self._threads = vision, threads
        self._sizes = (0, vision.hidden_size, vision.inner, vision.num_attention_heads, vision.layer_norm_eps)
        self.kernels = _kernels_for(settings, self._sizes)
        self._pixels = _gray_values(settings.pixels)
        self._stem = list(_stem(vision, weight))
        self._blocks = [_Block(f"{VISION}.blocks.{n}", weight) for n in range(vision.num_hidden_layers)]
        norms = [(*_pair(weight, f"{VISION}.neck.{number}"), NECK_EPSILON) for number in (1, 3)]
        self._neck = [
            Convolve(weight(f"{VISION}.neck.{number}.weight"), norm=norm)
            for number, norm in zip((0, 2), norms, strict=True)
        ]
        self._merge = [
            Convolve(weight(f"{VISION}.merge.{number}.weight"), stride=stride)
            for number, stride in enumerate(vision.merge_strides)
        ]
        self._project = Convolve(*_pair(weight, "model.projector.vision_vocabulary"))
        self._ctc = _ctc(vision, weight) if vision.ctc_frames else None

    def columns(self, width: int) -> int:
        """Patch columns, and so image tokens, of a line of so many pixels.

        Raises:
            InputError: for a line that is wider than those the network was built for.
        """
        columns = -(-width // self._vision.patch_size)
        if not 0 < columns <= self._vision.columns:
            raise InputError(
                f"a line is {width} px wide, and the model reads lines of 1 to {self._vision.width}; cut it"
            )
        return columns

    def encode(self, images: Sequence[NDArray[np.uint8]]) -> list[Encoded]:
        """Gray lines (height, width), each of its own width, encoded.

        Raises:
            InputError: for a line of another height, or too wide.
            NativeError: if memory does not suffice.
        """
        for image in images:
            if image.ndim != 2 or image.shape[0] != self._vision.height or image.dtype != np.uint8:
                raise InputError(
                    f"a line is an array {image.shape} of {image.dtype}, expected "
                    f"({self._vision.height}, width) of uint8"
                )
        columns = [self.columns(image.shape[1]) for image in images]
        found: dict[int, Encoded] = {}
        for group in _groups(columns, max(1, PATCHES_AT_ONCE // self._vision.rows)):
            parts = self._encode_group([images[number] for number in group], [columns[n] for n in group])
            found |= dict(zip(group, parts, strict=True))
        return [found[number] for number in range(len(images))]

    def _encode_group(self, images: Sequence[NDArray[np.uint8]], columns: Sequence[int]) -> list[Encoded]:
        threads = self._threads
        own = np.array(columns, np.int32)
        x: Floats = self._paint(images, int(own.max()))
        widths: Widths | None = own * self._vision.patch_size
        for convolve in self._stem:
            x, widths = convolve(x, widths, threads)
        self._run_blocks(x, own)
        for convolve in self._neck:
            x, _ = convolve(x, own, threads)
        tokens = x
        for convolve in self._merge:
            tokens, _ = convolve(tokens, own, threads)
        tokens, _ = self._project(tokens, own, threads)
        frames = self._frames(x, own)
        return [
            Encoded(
                tokens[number, 0, :count].copy(),
                None if frames is None else frames[number, : count * self._vision.ctc_frames].copy(),
            )
            for number, count in enumerate(columns)
        ]

    def _paint(self, images: Sequence[NDArray[np.uint8]], columns: int) -> Floats:
        """The normalised pixels (B, height, width, 1), each line at the left on white."""
        width = columns * self._vision.patch_size
        painted = np.full((len(images), self._vision.height, width), WHITE, np.uint8)
        for row, image in zip(painted, images, strict=True):
            row[:, : image.shape[1]] = image
        return self._pixels[painted][..., None]

    def _run_blocks(self, x: Floats, own: Widths) -> None:
        """x (B, h, w, C) through all blocks, in place."""
        images, rows, columns, _ = x.shape
        tables = [block.tables(rows, columns) for block in self._blocks]
        blocks = (Block * len(tables))(
            *(
                block.structure(row_table, column_table, rows, columns)
                for block, (row_table, column_table) in zip(self._blocks, tables, strict=True)
            )
        )
        grid = Grid(images, rows, columns, own.ctypes.data)
        status = vision_library().vary_vision_run(
            *(ctypes.byref(VisionShape(*self._sizes)), blocks, len(tables), ctypes.byref(grid)),
            *(x.ctypes.data, self._threads),
        )
        check(status, "compute the vision vocabulary network")

    def _frames(self, features: Floats, own: Widths) -> Floats | None:
        """Features (B, h, w, C) to CTC frames (B, w * frames, hidden)."""
        if self._ctc is None:
            return None
        images, _, columns, _ = features.shape
        by_column = np.ascontiguousarray(features.transpose(0, 2, 1, 3)).reshape(images, 1, columns, -1)
        frames, _ = self._ctc(by_column, own, self._threads)
        return frames.reshape(images, columns * self._vision.ctc_frames, -1)


class _Block:
    """One transformer block's weights as the kernels take them."""

    def __init__(self, name: str, weight: Weight) -> None:
        parts = ("attn.qkv", "attn.proj", "mlp.lin1", "mlp.lin2")
        self._linears = [PackedMatrix.of(*_pair(weight, f"{name}.{part}")) for part in parts]
        self._norms = [_pair(weight, f"{name}.{norm}") for norm in ("norm1", "norm2")]
        self._tables = [weight(f"{name}.attn.rel_pos_{axis}") for axis in "hw"]

    def tables(self, rows: int, columns: int) -> tuple[Floats, Floats]:
        """Embeddings of relative positions for a grid, the largest distance first, in panels (n, d, 16)."""
        by_row, by_column = self._tables
        return _panels(by_row, rows), _panels(by_column, columns)

    def structure(self, row_table: Floats, column_table: Floats, rows: int, columns: int) -> Block:
        """What the kernels are given; everything in it has to outlive their run."""
        qkv, out, expand, contract = (linear.structure() for linear in self._linears)
        norm1, norm2 = (Norm(*(part.ctypes.data for part in norm)) for norm in self._norms)
        return Block(
            *(0, 2 * rows - 1, 2 * columns - 1),
            *(norm1, qkv, out),
            *(row_table.ctypes.data, column_table.ctypes.data),
            *(norm2, expand, contract),
        )


def _kernels_for(settings: LightSettings, sizes: tuple[float, ...]) -> str:
    vision = settings.vision
    kernels: bytes | None = vision_library().vary_vision_kernels(ctypes.byref(VisionShape(*sizes)))
    if kernels is None or vision.neck_channels % PANEL or settings.text.hidden % PANEL:
        raise NativeError(
            "the native kernels of the vision vocabulary network need widths and heads in multiples of "
            f"{PANEL} channels; this network has {vision.hidden_size} channels, {vision.num_attention_heads} "
            f"heads, a neck of {vision.neck_channels} and frames of {settings.text.hidden}"
        )
    return kernels.decode()


def _stem(vision: VisionSettings, weight: Weight) -> Iterator[Convolve]:
    """Convolutions with their batch norms folded into them, and the last one."""
    stem = f"{VISION}.patch_embed"
    for number in range(len(vision.stem_channels)):
        norm = f"{stem}.norms.{number}"
        scale = weight(f"{norm}.weight") / np.sqrt(weight(f"{norm}.running_var") + BATCH_NORM_EPSILON)
        bias = weight(f"{norm}.bias") - weight(f"{norm}.running_mean") * scale
        scaled = weight(f"{stem}.convs.{number}.weight") * scale[:, None, None, None]
        yield Convolve(scaled, bias, stride=(2, 2), relu=True)
    yield Convolve(*_pair(weight, f"{stem}.proj"), stride=(2, 2))


def _ctc(vision: VisionSettings, weight: Weight) -> Convolve:
    """Several frames of each column; the columns' values come as (h, C), the matrix has them as (C, h)."""
    matrix, bias = _pair(weight, f"{VISION}.ctc.proj")
    by_row = matrix.reshape(len(matrix), vision.neck_channels, vision.rows).transpose(0, 2, 1)
    norm = (*_pair(weight, f"{VISION}.ctc.norm"), vision.layer_norm_eps)
    return Convolve(by_row.reshape(len(matrix), -1), bias, norm=norm)


def _pair(weight: Weight, name: str) -> tuple[Floats, Floats]:
    return weight(f"{name}.weight"), weight(f"{name}.bias")


def _gray_values(pixels: PixelSettings) -> Floats:
    """The network's input for each of the 256 grays, rounded as the image processor rounds."""
    values = np.arange(256, dtype=np.float32) * np.float32(pixels.rescale_factor)
    return (values - np.float32(pixels.mean)) / np.float32(pixels.std)


def _panels(table: Floats, size: int) -> Floats:
    """Of a table (2 L - 1, d) the middle (2 size - 1, d), turned round, in panels."""
    middle = len(table) // 2
    cut = table[middle - size + 1 : middle + size][::-1]
    filled = np.zeros((-(-len(cut) // PANEL) * PANEL, table.shape[1]), np.float32)
    filled[: len(cut)] = cut
    return np.ascontiguousarray(filled.reshape(-1, PANEL, table.shape[1]).transpose(0, 2, 1))


def _groups(columns: Sequence[int], most: int) -> Iterator[list[int]]:
    """Numbers of lines of similar width; together, with their padding, they have at most so many columns."""
    group: list[int] = []
    for number in sorted(range(len(columns)), key=lambda number: columns[number]):
        if group and columns[number] * (len(group) + 1) > most:
            yield group
            group = []
        group.append(number)
    if group:
        yield group
