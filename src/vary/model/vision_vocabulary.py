"""The vision vocabulary network: an image to a short sequence of dense tokens (arXiv 2312.06109, 3.2).

A ViTDet encoder with windowed and global attention and decomposed relative positions, a convolutional neck,
and convolutions that merge neighbouring patches.  Parameter names follow the authors' checkpoints.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from os import PathLike

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import AutoModel, PreTrainedModel
from transformers import initialization as init
from transformers.activations import ACT2FN
from transformers.modeling_layers import GradientCheckpointingLayer

from vary.model.configuration import VisionVocabularyConfig

__all__ = ["VisionVocabulary"]

# Added to the score of a padded column: exp(-1e4) is zero in every float type, and 1e4 fits into all of them.
MASKED_SCORE = -1.0e4
# Biases that are written out at once: 64 MiB in float32, one head of a page of 4,096 patches.
MOST_BIASES = 2**24


def table_for(table: Tensor, size: int, *, resize: bool) -> Tensor:
    """Embeddings of relative positions 1 - size to size - 1 along one axis: (2L - 1, d) to (2 size - 1, d).

    With `resize` the table is stretched linearly to the axis, as ViTDet does; else the middle of it is cut
    out, so that a distance keeps its embedding whatever the image's width.
    """
    if len(table) == 2 * size - 1:
        return table
    if resize:
        return F.interpolate(table.T[None], size=2 * size - 1, mode="linear")[0].T
    middle = len(table) // 2
    if size > middle + 1:
        raise ValueError(f"an image of {size} patches is too wide; the network was built for {middle + 1}")
    return table[middle - size + 1 : middle + size]


def relative_positions(table: Tensor, size: int, *, resize: bool) -> Tensor:
    """Embeddings of all pairs of positions along one axis: (2L - 1, d) to (size, size, d), [query, key]."""
    table = table_for(table, size, resize=resize)
    position = torch.arange(size, device=table.device)
    return table[position[:, None] - position[None, :] + size - 1]


def folded_attention(
    query: Tensor, key: Tensor, value: Tensor, by_row: Tensor, by_column: Tensor, *, fused: bool
) -> Tensor:
    """Attention with scores q.k + by_row[q, row(k)] + by_column[q, column(k)], by one product.

    The biases depend on the key only through its row and column, so they are folded into it, exactly:
    q' = [q, by_row, by_column], k' = [k, onehot(row), onehot(column)].  Then any fused attention kernel
    computes it and no (N, N) bias exists.  Not `fused` it is written out: on a CPU that trains several times
    faster on small grids.

    Args:
        query, key, value: (B, heads, N, d); the queries are scaled.
        by_row, by_column: (B, heads, N, h) and (B, heads, N, w), where N = h w.
        fused: whether by a fused kernel.
    """
    rows, columns, width = by_row.shape[-1], by_column.shape[-1], value.shape[-1]
    row_of = torch.eye(rows, dtype=key.dtype, device=key.device).repeat_interleave(columns, 0)
    column_of = torch.eye(columns, dtype=key.dtype, device=key.device).repeat(rows, 1)
    position = torch.cat([row_of, column_of], dim=-1).expand(*key.shape[:2], -1, -1)
    query, key = torch.cat([query, by_row, by_column], dim=-1), torch.cat([key, position], dim=-1)
    if not fused:
        return (query @ key.transpose(-2, -1)).softmax(-1, dtype=torch.float32).to(value.dtype) @ value
    # The CPU's flash kernel wants a value as wide as the query, else it silently takes the slow path.
    value = F.pad(value, (0, query.shape[-1] - width))
    return F.scaled_dot_product_attention(query, key, value, scale=1.0)[..., :width]


def biased_attention(query: Tensor, key: Tensor, value: Tensor, by_row: Tensor, by_column: Tensor) -> Tensor:
    """The same as `folded_attention`, the biases written out for a few heads at a time.

    For a CPU that only reads: the folded product has up to three times the arithmetic.
    """
    parts = [part.flatten(0, 1) for part in (query, key, value, by_row, by_column)]
    at_once = max(1, MOST_BIASES // query.shape[2] ** 2)
    mixed = []
    for q, k, v, rows, columns in zip(*(part.split(at_once) for part in parts), strict=True):
        bias = (rows[..., :, None] + columns[..., None, :]).flatten(2)  # (some heads, N, N)
        mixed.append(F.scaled_dot_product_attention(q[None], k[None], v[None], bias[None], scale=1.0)[0])
    return torch.cat(mixed).unflatten(0, query.shape[:2])


class RelativeAttention(nn.Module):
    """Self-attention over an (h, w) grid with decomposed relative position biases.

    score(q, k) = scale * q.k + q.R_h[row(q), row(k)] + q.R_w[column(q), column(k)].  With the attention
    implementation `eager` its training is written out.
    """

    def __init__(self, config: VisionVocabularyConfig, grid: tuple[int, int], *, resize: bool) -> None:
        super().__init__()
        self.config = config
        self.num_heads = config.num_attention_heads
        self.head_dim = config.hidden_size // self.num_heads
        self.resize = resize
        self.qkv = nn.Linear(config.hidden_size, 3 * config.hidden_size)
        self.proj = nn.Linear(config.hidden_size, config.hidden_size)
        self.rel_pos_h = nn.Parameter(torch.zeros(2 * grid[0] - 1, self.head_dim))
        self.rel_pos_w = nn.Parameter(torch.zeros(2 * grid[1] - 1, self.head_dim))

    def forward(self, x: Tensor, valid_columns: Tensor | None = None) -> Tensor:
        """x (B, h, w, C), valid_columns (B, w) or None, to (B, h, w, C)."""
        batch, rows, columns, channels = x.shape
        qkv = self.qkv(x).view(batch, rows * columns, 3, self.num_heads, self.head_dim)
        query, key, value = qkv.permute(2, 0, 3, 1, 4)  # each (B, heads, N, d)
        grid_query = query.unflatten(2, (rows, columns))
        row_table = relative_positions(self.rel_pos_h, rows, resize=self.resize).to(query.dtype)
        column_table = relative_positions(self.rel_pos_w, columns, resize=self.resize).to(query.dtype)
        by_row = torch.einsum("bnhwd,hkd->bnhwk", grid_query, row_table).flatten(2, 3)
        by_column = torch.einsum("bnhwd,wkd->bnhwk", grid_query, column_table).flatten(2, 3)
        if valid_columns is not None:
            by_column = by_column + torch.where(valid_columns, 0.0, MASKED_SCORE).to(key.dtype)[:, None, None]

        query = query * self.head_dim**-0.5
        if x.device.type == "cpu" and not torch.is_grad_enabled():
            mixed = biased_attention(query, key, value, by_row, by_column)
        else:
            fused = self.config._attn_implementation != "eager"
            mixed = folded_attention(query, key, value, by_row, by_column, fused=fused)
        return self.proj(mixed.transpose(1, 2).reshape(batch, rows, columns, channels))


class MLP(nn.Module):
    def __init__(self, config: VisionVocabularyConfig) -> None:
        super().__init__()
        inner = int(config.hidden_size * config.mlp_ratio)
        self.lin1 = nn.Linear(config.hidden_size, inner)
        self.act = ACT2FN[config.hidden_act]
        self.lin2 = nn.Linear(inner, config.hidden_size)

    def forward(self, x: Tensor) -> Tensor:
        return self.lin2(self.act(self.lin1(x)))


def to_windows(x: Tensor, size: int) -> Tensor:
    """(B, h, w, C) to (B * windows, size, size, C); the zeros that pad the grid take part as keys."""
    _, rows, columns, channels = x.shape
    x = F.pad(x, (0, 0, 0, -columns % size, 0, -rows % size))
    x = x.unflatten(2, (-1, size)).unflatten(1, (-1, size))  # (B, H/s, s, W/s, s, C)
    return x.transpose(2, 3).reshape(-1, size, size, channels)


def from_windows(windows: Tensor, rows: int, columns: int) -> Tensor:
    """The inverse of `to_windows`, padding cut off: (B * windows, size, size, C) to (B, rows, columns, C)."""
    size, channels = windows.shape[1], windows.shape[-1]
    down, across = -(-rows // size), -(-columns // size)
    x = windows.view(-1, down, across, size, size, channels).transpose(2, 3)
    return x.reshape(-1, down * size, across * size, channels)[:, :rows, :columns]


class Block(GradientCheckpointingLayer):
    """A pre-norm transformer layer over the grid; `window` 0 means global attention."""

    def __init__(self, config: VisionVocabularyConfig, window: int) -> None:
        super().__init__()
        self.window = window
        grid = (window, window) if window else config.grid
        self.norm1 = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.attn = RelativeAttention(config, grid, resize=not config.variable_width)
        self.norm2 = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.mlp = MLP(config)

    def forward(self, x: Tensor, valid_columns: Tensor | None = None) -> Tensor:
        """x (B, h, w, C), valid_columns (B, w) or None, to (B, h, w, C)."""
        rows, columns = x.shape[1:3]
        y = self.norm1(x)
        if self.window:
            y = from_windows(self.attn(to_windows(y, self.window)), rows, columns)
        else:
            y = self.attn(y, valid_columns)
        x = x + y
        return x + self.mlp(self.norm2(x))


class LayerNorm2d(nn.LayerNorm):
    """Layer normalisation over the channels of (B, C, H, W)."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


def mask_columns(x: Tensor, valid: Tensor | None) -> Tensor:
    """Sets the columns of (B, C, h, w) outside `valid` (B, w) to zero, as a convolution's own padding is."""
    return x if valid is None else x * valid[:, None, None, :].to(x.dtype)


class PatchEmbed(nn.Module):
    """One convolution as large as a patch: (B, channels, H, W) to (B, C, h, w)."""

    def __init__(self, config: VisionVocabularyConfig) -> None:
        super().__init__()
        size = config.patch_size
        self.proj = nn.Conv2d(config.num_channels, config.hidden_size, size, stride=size)

    def forward(self, pixel_values: Tensor, valid_pixels: Tensor | None = None) -> Tensor:
        x = mask_columns(pixel_values, valid_pixels)
        # An accelerator multiplies matrices faster than it finds patches, and leaves the channels innermost.
        return self.proj(x) if x.device.type == "cpu" else self.by_product(x)

    def by_product(self, x: Tensor) -> Tensor:
        """The same by one product of matrices; it leaves out what the convolution leaves out at the edges."""
        size = self.proj.kernel_size[0]
        rows, columns = x.shape[2] // size, x.shape[3] // size
        x = x[:, :, : rows * size, : columns * size].unflatten(3, (columns, size)).unflatten(2, (rows, size))
        patches = x.permute(0, 2, 4, 1, 3, 5).flatten(3)  # (B, h, w, channels * size * size)
        return F.linear(patches, self.proj.weight.flatten(1), self.proj.bias).permute(0, 3, 1, 2)


def normalized(x: Tensor, conv: nn.Module, norm: nn.Module) -> Tensor:
    """norm(conv(x)); where nothing is learned, by one convolution with scaled weights."""
    if norm.training or torch.is_grad_enabled():
        normal: Tensor = norm(conv(x))
        return normal
    assert isinstance(conv, nn.Conv2d)
    assert isinstance(norm, nn.BatchNorm2d)
    assert norm.running_mean is not None
    assert norm.running_var is not None
    scale = norm.weight * torch.rsqrt(norm.running_var + norm.eps)
    bias = norm.bias - norm.running_mean * scale
    return F.conv2d(x, conv.weight * scale[:, None, None, None], bias, conv.stride, conv.padding)


class ConvStem(nn.Module):
    """A stack of 3x3 convolutions of stride 2: characters reach the transformer as shapes, not as raw pixels.

    Padded columns are zeroed before every convolution: an image gives the same features in a batch as alone.
    """

    def __init__(self, config: VisionVocabularyConfig) -> None:
        super().__init__()
        widths = [config.num_channels, *config.stem_channels]
        self.convs = nn.ModuleList(
            nn.Conv2d(a, b, 3, stride=2, padding=1, bias=False) for a, b in pairwise(widths)
        )
        self.norms = nn.ModuleList(nn.BatchNorm2d(width) for width in widths[1:])
        self.proj = nn.Conv2d(widths[-1], config.hidden_size, 3, stride=2, padding=1)

    def forward(self, pixel_values: Tensor, valid_pixels: Tensor | None = None) -> Tensor:
        """pixel_values (B, channels, H, W), valid_pixels (B, W) or None, to (B, C, H / patch, W / patch)."""
        x, valid = mask_columns(pixel_values, valid_pixels), valid_pixels
        for conv, norm in zip(self.convs, self.norms, strict=True):
            valid = None if valid is None else valid[:, ::2]
            x = mask_columns(F.relu(normalized(x, conv, norm)), valid)
        return self.proj(x)


class CTCFrames(nn.Module):
    """Several frames per patch column, left to right, for connectionist temporal classification."""

    def __init__(self, config: VisionVocabularyConfig) -> None:
        super().__init__()
        self.frames = config.ctc_frames
        width = config.ctc_hidden_size
        assert width is not None, "the configuration checks this"
        self.proj = nn.Linear(config.neck_channels * config.grid[0], self.frames * width)
        self.norm = nn.LayerNorm(width, eps=config.layer_norm_eps)

    def forward(self, features: Tensor) -> Tensor:
        """features (B, C, h, w) to (B, w * frames, ctc_hidden_size)."""
        columns = features.permute(0, 3, 1, 2).flatten(2)  # (B, w, C * h)
        return self.norm(self.proj(columns).unflatten(2, (self.frames, -1)).flatten(1, 2))


def resize_positions(table: Tensor, rows: int, columns: int) -> Tensor:
    """A position embedding (1, h, w, C) for another grid, (1, rows, columns, C); bicubic."""
    if table.shape[1:3] == (rows, columns):
        return table
    channels_first = table.permute(0, 3, 1, 2).float()
    resized = F.interpolate(
        channels_first, (rows, columns), mode="bicubic", align_corners=False, antialias=True
    )
    return resized.permute(0, 2, 3, 1)


class VisionVocabulary(PreTrainedModel):
    """Maps images (B, channels, H, W) to image tokens (B, N, C); Vary's own size gives (B, 256, 1024).

    Images of other sizes than `config.image_size` are taken as they come: the position embeddings are resized
    (bicubic), the relative positions too (linear), unless the width is variable by design.
    """

    config_class = VisionVocabularyConfig
    base_model_prefix = "vision_vocabulary"
    main_input_name = "pixel_values"
    input_modalities = ("image",)
    supports_gradient_checkpointing = True
    _no_split_modules = ("Block",)
    # Whatever is chosen for the other parts, its own attention is PyTorch's fused one, unless it is "eager".
    _supports_sdpa = True
    _supports_flash_attn = True
    _supports_flex_attn = True
    _supports_attention_backend = True

    def __init__(self, config: VisionVocabularyConfig) -> None:
        super().__init__(config)
        self.patch_embed = ConvStem(config) if config.stem == "conv" else PatchEmbed(config)
        rows, columns = config.grid
        self.pos_embed = (
            nn.Parameter(torch.zeros(1, rows, columns, config.hidden_size))
            if config.use_absolute_position
            else None
        )
        self.blocks = nn.ModuleList(
            Block(config, 0 if layer in config.global_attention_layers else config.window_size)
            for layer in range(config.num_hidden_layers)
        )
        neck = config.neck_channels
        self.neck = nn.Sequential(
            nn.Conv2d(config.hidden_size, neck, 1, bias=False),
            LayerNorm2d(neck, eps=1e-6),
            nn.Conv2d(neck, neck, 3, padding=1, bias=False),
            LayerNorm2d(neck, eps=1e-6),
        )
        widths: Sequence[int] = [neck, *config.merge_channels]
        self.merge = nn.ModuleList(
            nn.Conv2d(a, b, 3, stride=tuple(stride), padding=1, bias=False)
            for (a, b), stride in zip(pairwise(widths), config.merge_strides, strict=True)
        )
        self.ctc = CTCFrames(config) if config.ctc_frames else None
        self.gradient_checkpointing = False
        # What computes the blocks in their place where no gradients are wanted; see vary.engine.vision.
        self.block_runner: Callable[[Tensor, Tensor | None], Tensor] | None = None
        self.post_init()

    @classmethod
    def from_folder(
        cls, folder: str | PathLike[str], *, dtype: torch.dtype | None = None
    ) -> VisionVocabulary:
        """The network of a folder, strictly; see `vary.model.vocabulary_folder.load_vision_vocabulary`."""
        from vary.model.vocabulary_folder import load_vision_vocabulary

        return load_vision_vocabulary(folder, dtype=dtype)

    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        if isinstance(module, RelativeAttention):
            init.zeros_(module.rel_pos_h)
            init.zeros_(module.rel_pos_w)
        elif isinstance(module, VisionVocabulary) and module.pos_embed is not None:
            init.zeros_(module.pos_embed)

    def encode(self, pixel_values: Tensor, widths: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        """The neck's features (B, neck_channels, h, w), and the mask (B, w) of each image's own columns.

        `widths` (B,) are the images' widths in pixels where a batch is padded on the right; each is a
        multiple of the patch size.
        """
        patch = self.config.patch_size
        valid_pixels = valid_columns = None
        if widths is not None:
            valid_pixels = torch.arange(pixel_values.shape[-1], device=widths.device) < widths[:, None]
            valid_columns = valid_pixels[:, ::patch]
        x = self.patch_embed(pixel_values, valid_pixels).permute(0, 2, 3, 1)
        if self.pos_embed is not None:
            x = x + resize_positions(self.pos_embed, x.shape[1], x.shape[2]).to(x.dtype)
        x = self.run_blocks(x, valid_columns)
        x = self.neck[1](self.neck[0](x.permute(0, 3, 1, 2)))
        return self.neck[3](self.neck[2](mask_columns(x, valid_columns))), valid_columns

    def run_blocks(self, x: Tensor, valid_columns: Tensor | None = None) -> Tensor:
        """x (B, h, w, C), valid_columns (B, w) or None, through all blocks."""
        if self.block_runner is not None and not torch.is_grad_enabled():
            return self.block_runner(x, valid_columns)
        for block in self.blocks:
            x = block(x, valid_columns)
        return x

    def merge_patches(self, features: Tensor, valid_columns: Tensor | None = None) -> Tensor:
        """The neck's features (B, C, h, w) to image tokens (B, N, output_channels), row by row."""
        for conv in self.merge:
            features = conv(mask_columns(features, valid_columns))
        return features.flatten(2).transpose(1, 2)

    def forward(self, pixel_values: Tensor, widths: Tensor | None = None) -> Tensor:
        """pixel_values (B, channels, H, W), widths (B,) or None, to image tokens (B, N, output_channels)."""
        return self.merge_patches(*self.encode(pixel_values, widths))


AutoModel.register(VisionVocabularyConfig, VisionVocabulary, exist_ok=True)
