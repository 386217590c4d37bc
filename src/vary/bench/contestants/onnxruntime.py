"""ONNX Runtime: a hand-built graph of MatMulNBits and GroupQueryAttention over one shared cache."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vary.bench.contestants.graph import graph_refusal
from vary.bench.contestants.onnx_graph import write_graph
from vary.bench.contestants.protocol import Decoding, Encoding, Order, peer_module
from vary.bench.machine import package_versions
from vary.bench.quantization import grouping, is_grouped
from vary.model.configuration import VaryConfig

__all__ = ["INSTALL", "OnnxRuntime"]

INSTALL = "pip install 'onnxruntime>=1.24' 'onnx>=1.19'"


class OnnxRuntime:
    """Integer weights in blocks, activations quantised a block at a time (accuracy level 4), its fastest."""

    name = "onnxruntime"

    def missing(self) -> str:
        return "" if {"onnxruntime", "onnx"} <= set(self.versions()) else INSTALL

    def measures(self, precision: str) -> bool:
        return is_grouped(precision)

    def refusal(self, config: VaryConfig, precision: str, device: str) -> str:
        return graph_refusal(config, device, grouping(precision)[1])

    def label(self, precision: str) -> str:
        return f"onnxruntime {precision}"

    def encoding(self, order: Order) -> Encoding | None:
        return None

    def decoding(self, order: Order) -> Decoding | None:
        return _Decoder(order)

    def versions(self) -> dict[str, str]:
        return package_versions("onnxruntime", "onnx")


class _Decoder:
    """A session whose cache, (sequences, heads, room, width) a layer, is written in place."""

    def __init__(self, order: Order) -> None:
        runtime = peer_module("onnxruntime", INSTALL)
        path = order.folder / f"onnx-{order.precision}.onnx"
        self.weight_bytes = write_graph(order, path)
        options = runtime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = order.threads, 1
        options.graph_optimization_level = runtime.GraphOptimizationLevel.ORT_ENABLE_ALL
        options.log_severity_level = 3
        self._size = order.size
        self._session = runtime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        self.start(1, 1)

    def start(self, sequences: int, room: int) -> None:
        size = self._size
        shape = (sequences, size.key_value_heads, room, size.head_width)
        self._length = 0
        self._cache: dict[str, NDArray[np.float32]] = {
            f"{part}.{layer}": np.zeros(shape, np.float32)
            for layer in range(size.layers)
            for part in ("key", "value")
        }

    def read(self, rows: Tensor, scored: int) -> Tensor:
        sequences, new, _ = rows.shape
        if sequences == 1 or new == 1 or self._length == 0:
            scores = self._run(slice(0, sequences), rows, scored)
        else:  # several new tokens behind others: its attention takes one sequence at a time
            parts = [self._run(slice(at, at + 1), rows[at : at + 1], scored) for at in range(sequences)]
            scores = torch.cat(parts)
        self._length += new
        return scores

    def _run(self, which: slice, rows: Tensor, scored: int) -> Tensor:
        """Some sequences; their keys and values are written where they lie."""
        sequences, new, _ = rows.shape
        total = self._length + new
        given: dict[str, NDArray[Any]] = {
            "x": rows.float().contiguous().numpy(),
            "kept": np.arange(new - scored, new, dtype=np.int64),
            "last": np.full(sequences, total - 1, np.int32),
            "total": np.array(total, np.int32),
        }
        binding = self._session.io_binding()
        for name, array in given.items():
            binding.bind_cpu_input(name, array)
        for name, whole in self._cache.items():
            part = whole[which]
            place = ("cpu", 0, np.float32, part.shape, part.ctypes.data)
            binding.bind_input(f"past.{name}", *place)
            binding.bind_output(f"present.{name}", *place)
        binding.bind_output("scores")
        self._session.run_with_iobinding(binding)
        return torch.from_numpy(binding.get_outputs()[-1].numpy())  # in the order in which they were bound

    def run(self, steps: int) -> bool:
        return False

    def cut(self, length: int) -> None:
        self._length = length
