"""The ONNX graph of a Qwen2 decoder with embeddings as its input; weights lie in a file beside it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from vary.bench.contestants.graph import Matrix, Qwen2Tensors, rotary_tables
from vary.bench.contestants.protocol import Order, peer_module
from vary.bench.quantization import group_rows, grouping
from vary.bench.weights import row_slices
from vary.engine.grouping import pack_nibbles

__all__ = ["write_graph"]

INSTALL = "pip install 'onnx>=1.19'"
OPSETS = {"": 21, "com.microsoft": 1}
ALIGNMENT = 4096
"""External tensors begin at whole pages, so that they can be mapped."""


def write_graph(order: Order, path: Path) -> int:
    """Writes the graph and its weights; returns how many bytes of weights a token reads.

    Inputs: `x` (B, T, hidden), `kept` positions of x that are scored, `last` (B,) index of the newest token,
    `total` tokens with the new ones, and `past.key.i`, `past.value.i` (B, heads, room, width).
    Outputs: `scores` (B, kept, vocabulary), `present.*`, which may be the same memory as `past.*`.
    """
    onnx = peer_module("onnx", INSTALL)
    with _Builder.writing(onnx, path) as builder:
        return _decoder(builder, Qwen2Tensors(order), order, path)


def _decoder(graph: _Builder, tensors: Qwen2Tensors, order: Order, path: Path) -> int:
    size, (bits, group) = tensors.size, grouping(order.precision)
    cosines, sines = rotary_tables(size, order.config.text_config.max_position_embeddings)
    graph.store("cosines", cosines.numpy())
    graph.store("sines", sines.numpy())
    stream = "x"
    for layer in range(size.layers):
        stream = _layer(graph, tensors, layer, stream, bits, group)
    graph.store("norm", tensors.norm.numpy())
    normed = graph.add("SimplifiedLayerNormalization", [stream, "norm"], epsilon=size.epsilon, axis=-1)
    kept = graph.add("Gather", [normed, "kept"], axis=1)
    graph.linear(kept, tensors, tensors.head, bits, group, output="scores")
    graph.finish(path, order)
    return graph.weight_bytes


def _layer(graph: _Builder, tensors: Qwen2Tensors, layer: int, x: str, bits: int, group: int) -> str:
    """One layer behind the stream `x`; the name of what comes out."""
    size = tensors.size

    def linear(source: str, name: str) -> str:
        return graph.linear(source, tensors, tensors.matrix(layer, name), bits, group)

    def norm(source: str, name: str) -> str:
        scale = f"{name}.{layer}"
        graph.store(scale, tensors.vector(layer, f"{name}.weight").numpy())
        return graph.add("SimplifiedLayerNormalization", [source, scale], epsilon=size.epsilon, axis=-1)

    normed = norm(x, "input_layernorm")
    query, key, value = (linear(normed, f"self_attn.{part}_proj") for part in "qkv")
    mixed = graph.add(
        "GroupQueryAttention",
        [query, key, value, f"past.key.{layer}", f"past.value.{layer}", "last", "total", "cosines", "sines"],
        outputs=[f"mixed.{layer}", f"present.key.{layer}", f"present.value.{layer}"],
        domain="com.microsoft",
        num_heads=size.heads,
        kv_num_heads=size.key_value_heads,
        do_rotary=1,
        rotary_interleaved=0,
    )
    x = graph.add("Add", [x, linear(mixed, "self_attn.o_proj")])
    normed = norm(x, "post_attention_layernorm")
    gate = graph.add("QuickGelu", [linear(normed, "mlp.gate_proj")], domain="com.microsoft", alpha=1.0)
    inner = graph.add("Mul", [gate, linear(normed, "mlp.up_proj")])
    return graph.add("Add", [x, linear(inner, "mlp.down_proj")])


class _Builder:
    """Collects nodes, and writes tensors as they come into the file of weights."""

    def __init__(self, onnx: Any, name: str, weights: IO[bytes]) -> None:
        self._onnx, self._name, self._weights = onnx, name, weights
        self._nodes: list[Any] = []
        self._initializers: list[Any] = []
        self.weight_bytes = 0

    @classmethod
    @contextmanager
    def writing(cls, onnx: Any, path: Path) -> Iterator[_Builder]:
        """With the file of weights open beside the graph's."""
        name = f"{path.name}.weights"
        with (path.parent / name).open("wb") as weights:
            yield cls(onnx, name, weights)

    def add(
        self,
        kind: str,
        inputs: list[str],
        *,
        outputs: list[str] | None = None,
        domain: str = "",
        **values: Any,
    ) -> str:
        """Adds a node; the name of its first output."""
        made = outputs or [f"{kind}.{len(self._nodes)}"]
        node = self._onnx.helper.make_node(kind, inputs, made, domain=domain, **values)
        self._nodes.append(node)
        return made[0]

    def store(self, name: str, array: NDArray[Any]) -> None:
        """A tensor by name."""
        self._declare(name, array.dtype, array.shape, [array])

    def linear(
        self, x: str, tensors: Qwen2Tensors, matrix: Matrix, bits: int, group: int, output: str = ""
    ) -> str:
        """x times a matrix in blocks, with its bias; the head's product is the graph's `output`."""
        blocks = matrix.inputs // group
        scales: list[NDArray[Any]] = []

        def packed() -> Iterator[NDArray[Any]]:
            for _, rows in row_slices(tensors.weights, matrix.weight):
                grouped = group_rows(rows, bits, group)
                scales.append(grouped.scales.flatten().numpy())
                if bits == 4:
                    yield pack_nibbles(grouped.codes, 8).numpy()
                else:
                    yield grouped.codes.numpy().view(np.uint8) ^ 0x80  # 128 more, as its zero point is

        shape = (matrix.outputs, blocks, group * bits // 8)
        self._declare(matrix.weight, np.dtype(np.uint8), shape, packed())
        self.store(f"{matrix.weight}.scales", np.concatenate(scales))
        self.weight_bytes += int(np.prod(shape)) + 4 * matrix.outputs * blocks
        inputs = [x, matrix.weight, f"{matrix.weight}.scales"]
        if matrix.bias:
            self.store(matrix.bias, tensors.weights.tensor(matrix.bias).numpy())
            inputs += ["", "", matrix.bias]
        return self.add(
            "MatMulNBits",
            inputs,
            outputs=[output] if output else None,
            domain="com.microsoft",
            K=matrix.inputs,
            N=matrix.outputs,
            bits=bits,
            block_size=group,
            accuracy_level=4,
        )

    def _declare(self, name: str, kind: Any, shape: tuple[int, ...], parts: Any) -> None:
        """Writes the parts of a tensor one behind the other and notes where it lies."""
        self._weights.write(bytes(-self._weights.tell() % ALIGNMENT))
        start = self._weights.tell()
        for part in parts:
            self._weights.write(np.ascontiguousarray(part).data)
        proto = self._onnx.TensorProto()
        proto.name, proto.data_location = name, proto.EXTERNAL
        proto.data_type = self._onnx.helper.np_dtype_to_tensor_dtype(np.dtype(kind))
        proto.dims.extend(shape)
        places = {"location": self._name, "offset": start, "length": self._weights.tell() - start}
        for key, value in places.items():
            entry = proto.external_data.add()
            entry.key, entry.value = key, str(value)
        self._initializers.append(proto)

    def finish(self, path: Path, order: Order) -> None:
        """Writes the graph itself."""
        helper, kinds, size = self._onnx.helper, self._onnx.TensorProto, order.size
        cache = ["batch", size.key_value_heads, "room", size.head_width]
        info = helper.make_tensor_value_info
        inputs = [
            info("x", kinds.FLOAT, ["batch", "new", size.width]),
            info("kept", kinds.INT64, ["kept"]),
            info("last", kinds.INT32, ["batch"]),
            info("total", kinds.INT32, []),
        ]
        outputs = [info("scores", kinds.FLOAT, ["batch", "kept", size.vocabulary])]
        for layer in range(size.layers):
            for part in ("key", "value"):
                inputs.append(info(f"past.{part}.{layer}", kinds.FLOAT, cache))
                outputs.append(info(f"present.{part}.{layer}", kinds.FLOAT, cache))
        graph = helper.make_graph(self._nodes, "decoder", inputs, outputs, self._initializers)
        opsets = [helper.make_opsetid(domain, version) for domain, version in OPSETS.items()]
        self._weights.flush()
        model = helper.make_model(graph, opset_imports=opsets, ir_version=10)
        self._onnx.save(model, str(path))
