"""Sizes of a decoder and of its matrices, as the native kernels take them."""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from typing import Any

from vary.engine.native import Matrix
from vary.engine.precisions import Precision
from vary.errors import NativeError

__all__ = ["BLOCK_ROWS", "MatrixPlan", "TextShape", "matrix_of"]

BLOCK_ROWS = 16
KINDS = {"float32": 0, "bfloat16": 1, "int8": 2, "int4": 3}


@dataclass(frozen=True, slots=True)
class TextShape:
    """The sizes of a decoder of the Qwen2 kind."""

    hidden: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    inner: int
    vocabulary: int
    context: int
    epsilon: float
    theta: float

    @classmethod
    def of(cls, config: Any) -> TextShape:
        """The sizes of a language model's configuration, whose fields are attributes.

        Raises:
            NativeError: with what the kernels do not compute.
        """
        heads = int(getattr(config, "num_attention_heads", 0) or 0)
        refused = [
            what
            for what, bad in (
                (f"a model of type '{config.model_type}' (only qwen2)", config.model_type != "qwen2"),
                ("a sliding window", getattr(config, "use_sliding_window", False)),
                ("another activation than silu", getattr(config, "hidden_act", "silu") != "silu"),
            )
            if bad
        ]
        if refused:
            raise NativeError(f"the native kernels do not compute {', '.join(refused)}")
        rope = getattr(config, "rope_parameters", None) or {}
        if rope.get("rope_type", "default") != "default":
            raise NativeError(
                f"the native kernels do not compute rotary positions of type '{rope['rope_type']}'"
            )
        head_dim = int(getattr(config, "head_dim", None) or config.hidden_size // heads)
        if head_dim % 32:
            raise NativeError(
                f"the native kernels take heads whose width is a multiple of 32, not {head_dim}"
            )
        return cls(
            hidden=config.hidden_size,
            layers=config.num_hidden_layers,
            heads=heads,
            kv_heads=config.num_key_value_heads,
            head_dim=head_dim,
            inner=config.intermediate_size,
            vocabulary=config.vocab_size,
            context=config.max_position_embeddings,
            epsilon=config.rms_norm_eps,
            theta=float(rope.get("rope_theta", 10000.0)),
        )

    @classmethod
    def from_json(cls, text: str) -> TextShape:
        """What `json` was made of; ValueError or TypeError if it is no shape."""
        values = json.loads(text)
        whole = {field.name for field in fields(cls) if field.type == "int"}
        if any(
            type(values[name]) is not int or not 0 < values[name] < 2**31 for name in whole & values.keys()
        ):
            raise ValueError("a size that is no positive number")
        return cls(**values)

    def matrices(self, kind: Precision) -> dict[str, MatrixPlan]:
        """Every matrix, by the name of its tensors in the file."""
        query, key = self.heads * self.head_dim, self.kv_heads * self.head_dim
        sizes: dict[str, tuple[int, int]] = {}
        for layer in range(self.layers):
            sizes |= {
                f"layers.{layer}.qkv": (query + 2 * key, self.hidden),
                f"layers.{layer}.out": (self.hidden, query),
                f"layers.{layer}.gate_up": (2 * -(-self.inner // BLOCK_ROWS) * BLOCK_ROWS, self.hidden),
                f"layers.{layer}.down": (self.hidden, self.inner),
            }
        sizes["head"] = (self.vocabulary, self.hidden)
        return {name: MatrixPlan(rows, columns, kind) for name, (rows, columns) in sizes.items()}


@dataclass(frozen=True, slots=True)
class MatrixPlan:
    """A matrix (rows, columns) and how it is stored."""

    rows: int
    columns: int
    precision: Precision

    @property
    def blocks(self) -> int:
        return -(-self.rows // BLOCK_ROWS)

    @property
    def groups(self) -> int:
        group = self.precision.group
        return -(-self.columns // group) if group else 0

    @property
    def value_bytes(self) -> int:
        bits = {"float32": 32, "bfloat16": 16, "int8": 8, "int4": 4}[self.precision.kind]
        columns = self.groups * self.precision.group or self.columns
        return self.blocks * BLOCK_ROWS * columns * bits // 8

    @property
    def scale_count(self) -> int:
        return self.blocks * self.groups * BLOCK_ROWS


def matrix_of(plan: MatrixPlan, values: int, scales: int) -> Matrix:
    """The C structure of a matrix whose values and scales lie at these addresses."""
    kind = plan.precision
    return Matrix(KINDS[kind.kind], plan.rows, plan.columns, kind.group, values, scales or None)
