"""Sizes of networks, read off the shapes of a checkpoint's tensors where its configuration is silent.

The authors' code hard-wires the sizes of the vision networks, and a MindSpore file has no configuration at
all; but a tensor's shape tells them.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

from vary.errors import CheckpointError
from vary.weights.formats.names import NameMap

__all__ = ["Sizes", "clip_sizes", "vision_vocabulary_sizes"]

CLIP_HEAD_SIZE = 64  # of every published CLIP vision transformer; the shapes do not tell it


class Sizes:
    """The shapes of a checkpoint's tensors under our names, whatever theirs are."""

    def __init__(self, names: NameMap, shapes: Mapping[str, tuple[int, ...]]) -> None:
        self._names = names
        self._shapes: dict[str, tuple[int, ...]] = {}
        for theirs, shape in shapes.items():
            parts = names.ours(theirs) or ()
            for ours in parts:
                self._shapes[ours] = (shape[0] // len(parts), *shape[1:]) if shape else shape

    def __contains__(self, ours: str) -> bool:
        return ours in self._shapes

    def shape(self, ours: str, dimensions: int) -> tuple[int, ...]:
        """The shape of one of our parameters.

        Raises:
            CheckpointError: if it is missing or has another number of dimensions; their name is named.
        """
        place = self._names.theirs(ours)
        theirs = ours if place is None else place.name
        if (shape := self._shapes.get(ours)) is None:
            raise CheckpointError(
                f"{theirs} is missing, without which the size of the network cannot be told"
            )
        if len(shape) != dimensions:
            raise CheckpointError(f"{theirs} has shape {shape}, but {dimensions} dimensions are expected")
        return shape

    def layers(self, prefix: str) -> int:
        """How many layers there are under a prefix: one more than the highest number behind it.

        Raises:
            CheckpointError: if there cannot be as many, because there are fewer tensors.
        """
        pattern = re.compile(rf"{re.escape(prefix)}(\d+)\.")
        numbers = [int(match[1]) for name in self._shapes if (match := pattern.match(name))]
        count = max(numbers, default=-1) + 1
        if count > len(self._shapes):
            raise CheckpointError(
                f"a tensor is numbered {count - 1}, but there are {len(self._shapes)} in all"
            )
        return count


def clip_sizes(sizes: Sizes, given: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The CLIP branch's configuration from its shapes; what is `given` wins."""
    given = dict(given or {})
    hidden = sizes.shape("model.clip.embeddings.class_embedding", 1)[0]
    patch = sizes.shape("model.clip.embeddings.patch_embedding.weight", 4)[2]
    positions = sizes.shape("model.clip.embeddings.position_embedding.weight", 2)[0]
    if "num_attention_heads" not in given and hidden % CLIP_HEAD_SIZE:
        raise CheckpointError(
            f"a CLIP branch {hidden} wide has no whole number of heads of {CLIP_HEAD_SIZE}; "
            "write num_attention_heads into clip_config of config.json"
        )
    return {
        "hidden_size": hidden,
        "intermediate_size": sizes.shape("model.clip.encoder.layers.0.mlp.fc1.weight", 2)[0],
        "num_hidden_layers": sizes.layers("model.clip.encoder.layers."),
        "num_attention_heads": hidden // CLIP_HEAD_SIZE,
        "image_size": math.isqrt(positions - 1) * patch,
        "patch_size": patch,
        **given,
    }


def vision_vocabulary_sizes(sizes: Sizes, given: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The vision vocabulary network's configuration from its shapes; what is `given` wins.

    A relative position table has 2 s - 1 rows for attention over s patches and as many columns as a head is
    wide: a table for the whole grid belongs to a layer of global attention, any other to one with windows of
    s.
    """
    prefix = "model.vision_vocabulary."
    _, rows, columns, hidden = sizes.shape(f"{prefix}pos_embed", 4)
    _, channels, patch, _ = sizes.shape(f"{prefix}patch_embed.proj.weight", 4)
    layers = sizes.layers(f"{prefix}blocks.")
    tables = [
        tuple(sizes.shape(f"{prefix}blocks.{layer}.attn.rel_pos_{axis}", 2) for axis in "hw")
        for layer in range(layers)
    ]
    sides = [((height[0] + 1) // 2, (width[0] + 1) // 2) for height, width in tables]
    windows = {side for side in sides if side != (rows, columns)}
    if not tables or len(windows) > 1 or any(down != across for down, across in windows):
        raise CheckpointError(
            f"the vision vocabulary network has relative positions for {sorted(windows)} patches on a grid "
            f"of {rows} x {columns}; expected one size of square windows, and the grid in layers of global "
            "attention"
        )
    return {
        "image_size": rows * patch if rows == columns else (rows * patch, columns * patch),
        "num_channels": channels,
        "patch_size": patch,
        "hidden_size": hidden,
        "num_hidden_layers": layers,
        "num_attention_heads": hidden // tables[0][0][1],
        "mlp_ratio": sizes.shape(f"{prefix}blocks.0.mlp.lin1.weight", 2)[0] / hidden,
        "window_size": next(iter(windows))[0] if windows else 0,
        "global_attention_layers": [layer for layer, side in enumerate(sides) if side == (rows, columns)],
        "neck_channels": sizes.shape(f"{prefix}neck.0.weight", 4)[0],
        "merge_channels": [sizes.shape(f"{prefix}merge.{index}.weight", 4)[0] for index in (0, 1)],
        **(given or {}),
    }
