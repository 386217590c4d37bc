"""The OpenVINO graph of a Qwen2 decoder with embeddings as its input and the cache as its state."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from vary.bench.contestants.graph import Matrix, Qwen2Tensors
from vary.bench.contestants.protocol import Order
from vary.bench.quantization import group_rows, grouping
from vary.bench.weights import row_slices
from vary.engine.grouping import pack_nibbles

__all__ = ["build_graph"]


def build_graph(openvino: Any, order: Order) -> tuple[Any, int]:
    """The model, and how many bytes of weights a token reads.

    Inputs: `x` (B, T, hidden), `kept` positions of x that are scored, `positions` (1, T), `mask`
    (1, 1, T, held + T) to be added to scores, `beams` (B,), which rows of the state to go on from.
    Output: `scores` (B, kept, vocabulary).
    """
    graph = _Graph(openvino, Qwen2Tensors(order), *grouping(order.precision))
    return graph.model(), graph.weight_bytes


class _Graph:
    """Builds the nodes in the shapes that the compiler recognises: see its transformations' patterns."""

    def __init__(self, openvino: Any, tensors: Qwen2Tensors, bits: int, group: int) -> None:
        self.ov, self.ops = openvino, importlib.import_module("openvino.opset13")
        self.tensors, self.size, self.bits, self.group = tensors, tensors.size, bits, group
        self.weight_bytes = 0
        self._sinks: list[Any] = []
        dims = openvino.PartialShape
        ops, kinds = self.ops, openvino.Type
        self.x = ops.parameter(dims([-1, -1, self.size.width]), kinds.f32, name="x")
        self.kept = ops.parameter(dims([-1]), kinds.i64, name="kept")
        self.positions = ops.parameter(dims([1, -1]), kinds.i64, name="positions")
        self.mask = ops.parameter(dims([1, 1, -1, -1]), kinds.f32, name="mask")
        self.beams = ops.parameter(dims([-1]), kinds.i32, name="beams")

    def model(self) -> Any:
        """The whole model."""
        ops, size = self.ops, self.size
        parameters = [self.x, self.kept, self.positions, self.mask, self.beams]
        for parameter in parameters:
            parameter.output(0).set_names({parameter.get_friendly_name()})
        rotation = self._rotation()
        stream = self.x
        for layer in range(size.layers):
            stream = self._layer(layer, stream, rotation)
        last = ops.gather(self._norm(stream, self.tensors.norm.numpy()), self.kept, self._number(1, np.int64))
        scores = ops.result(self._linear(last, self.tensors.head))
        scores.output(0).set_names({"scores"})
        return self.ov.Model([scores], self._sinks, parameters, "decoder")

    def _number(self, value: float, kind: Any = np.float32) -> Any:
        return self.ops.constant(np.array(value, kind))

    def _shape(self, *sizes: int) -> Any:
        return self.ops.constant(np.array(sizes, np.int64))

    def _rotation(self) -> tuple[Any, Any]:
        """Cosines and sines (1, 1, T, head_width) of the positions."""
        ops, width = self.ops, self.size.head_width
        steps = (self.size.rope_theta ** -(np.arange(0, width, 2) / width)).astype(np.float32)
        places = ops.unsqueeze(ops.convert(self.positions, "f32"), self._shape(1))  # (1, 1, T)
        angles = ops.matmul(ops.constant(steps[None, :, None]), places, False, False)
        half = ops.transpose(angles, self._shape(0, 2, 1))
        both = ops.concat([half, half], -1)
        first = self._shape(1)
        return ops.unsqueeze(ops.cos(both), first), ops.unsqueeze(ops.sin(both), first)

    def _layer(self, layer: int, x: Any, rotation: tuple[Any, Any]) -> Any:
        ops, size, tensors = self.ops, self.size, self.tensors
        normed = self._norm(x, tensors.vector(layer, "input_layernorm.weight").numpy())
        query, key, value = (
            self._heads(self._linear(normed, tensors.matrix(layer, f"self_attn.{part}_proj")), heads)
            for part, heads in (("q", size.heads), ("k", size.key_value_heads), ("v", size.key_value_heads))
        )
        key = self._cached(f"key.{layer}", self._rotated(key, rotation))
        value = self._cached(f"value.{layer}", value)
        if size.key_value_heads != size.heads:
            key, value = self._repeated(key), self._repeated(value)
        scale = self._number(size.head_width**-0.5)
        mixed = ops.scaled_dot_product_attention(
            self._rotated(query, rotation), key, value, self.mask, scale, causal=False
        )
        joined = ops.reshape(
            ops.transpose(mixed, self._shape(0, 2, 1, 3)),
            self._shape(0, 0, size.heads * size.head_width),
            True,
        )
        x = ops.add(x, self._linear(joined, tensors.matrix(layer, "self_attn.o_proj")))
        normed = self._norm(x, tensors.vector(layer, "post_attention_layernorm.weight").numpy())
        gate = ops.swish(self._linear(normed, tensors.matrix(layer, "mlp.gate_proj")))
        inner = ops.multiply(gate, self._linear(normed, tensors.matrix(layer, "mlp.up_proj")))
        return ops.add(x, self._linear(inner, tensors.matrix(layer, "mlp.down_proj")))

    def _norm(self, x: Any, scale: NDArray[np.float32]) -> Any:
        """Root mean square normalisation over the last axis."""
        ops = self.ops
        square = ops.power(x, self._number(2.0))
        mean = ops.reduce_mean(square, self._shape(-1), True)
        root = ops.sqrt(ops.add(mean, self._number(self.size.epsilon)))
        return ops.multiply(ops.constant(scale), ops.multiply(x, ops.divide(self._number(1.0), root)))

    def _heads(self, x: Any, heads: int) -> Any:
        """(B, T, heads * width) to (B, heads, T, width)."""
        split = self.ops.reshape(x, self._shape(0, 0, heads, self.size.head_width), True)
        return self.ops.transpose(split, self._shape(0, 2, 1, 3))

    def _rotated(self, x: Any, rotation: tuple[Any, Any]) -> Any:
        """Rotary positions on (B, heads, T, width): halves of a head belong together."""
        ops, half, width = self.ops, self.size.head_width // 2, self.size.head_width
        cosine, sine = rotation

        def part(first: int, last: int) -> Any:
            return ops.slice(x, self._shape(first), self._shape(last), self._shape(1), self._shape(3))

        turned = ops.concat([ops.multiply(part(half, width), self._number(-1.0)), part(0, half)], -1)
        return ops.add(ops.multiply(x, cosine), ops.multiply(turned, sine))

    def _cached(self, name: str, new: Any) -> Any:
        """The state with the new keys or values behind it, (B, heads, held + T, width)."""
        ops, heads, width = self.ops, self.size.key_value_heads, self.size.head_width
        batch = ops.gather(ops.shape_of(self.x, "i64"), self._shape(0), self._number(0, np.int64))
        empty = ops.broadcast(self._number(0.0), ops.concat([batch, self._shape(heads, 0, width)], 0))
        shape = self.ov.PartialShape([-1, heads, -1, width])
        past = ops.read_value(empty, name, self.ov.Type.f32, shape)
        chosen = ops.gather(past, self.beams, self._number(0, np.int64))
        whole = ops.concat([chosen, new], -2)
        self._sinks.append(ops.assign(whole, name))
        return whole

    def _repeated(self, x: Any) -> Any:
        """Keys or values (B, shared, L, width) for every head that shares them."""
        ops, size = self.ops, self.size
        times = size.heads // size.key_value_heads
        wide = ops.unsqueeze(x, self._shape(2))
        many = ops.concat([wide] * times, 2)
        return ops.reshape(many, self._shape(0, size.heads, -1, size.head_width), True)

    def _linear(self, x: Any, matrix: Matrix) -> Any:
        """x times a matrix in groups, with its bias."""
        ops, kinds = self.ops, self.ov.Type
        groups = matrix.inputs // self.group
        rows, scales = [], []
        for _, part in row_slices(self.tensors.weights, matrix.weight):
            grouped = group_rows(part, self.bits, self.group)
            rows.append((pack_nibbles(grouped.codes, 0) if self.bits == 4 else grouped.codes).numpy())
            scales.append(grouped.scales.to(torch.float16).numpy())
        codes = np.concatenate(rows)
        scale = np.concatenate(scales)[..., None]
        self.weight_bytes += codes.nbytes + scale.nbytes
        shape = [matrix.outputs, groups, self.group]
        kind = kinds.i4 if self.bits == 4 else kinds.i8
        tensor = self.ov.Tensor(codes.reshape(-1), self.ov.Shape(shape), kind)
        stored = ops.constant(tensor, shared_memory=False)  # its default is True, and the array is gone soon
        weight = ops.multiply(ops.convert(stored, "f16"), ops.constant(scale))
        flat = ops.convert(ops.reshape(weight, self._shape(matrix.outputs, matrix.inputs), False), "f32")
        product = ops.matmul(x, flat, False, True)
        if not matrix.bias:
            return product
        return ops.add(product, ops.constant(self.tensors.weights.tensor(matrix.bias).numpy()))
