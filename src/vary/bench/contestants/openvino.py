"""OpenVINO: a hand-built stateful graph whose attention, rotations and norms its compiler fuses."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from vary.bench.contestants.graph import graph_refusal
from vary.bench.contestants.openvino_graph import build_graph
from vary.bench.contestants.protocol import Decoding, Encoding, Order, peer_module
from vary.bench.machine import package_versions
from vary.bench.quantization import grouping, is_grouped
from vary.model.configuration import VaryConfig

__all__ = ["INSTALL", "OpenVino"]

INSTALL = "pip install 'openvino>=2025.2'"


class OpenVino:
    """Integer weights in groups, float32 between them, keys and values in 8 bits: its fastest settings."""

    name = "openvino"

    def missing(self) -> str:
        return "" if self.versions() else INSTALL

    def measures(self, precision: str) -> bool:
        return is_grouped(precision)

    def refusal(self, config: VaryConfig, precision: str, device: str) -> str:
        return graph_refusal(config, device, grouping(precision)[1])

    def label(self, precision: str) -> str:
        return f"openvino {precision}"

    def encoding(self, order: Order) -> Encoding | None:
        return None

    def decoding(self, order: Order) -> Decoding | None:
        return _Decoder(order)

    def versions(self) -> dict[str, str]:
        return package_versions("openvino")


class _Decoder:
    """A request whose state is the cache.  It cannot forget a part of that: then all is read once more."""

    def __init__(self, order: Order) -> None:
        openvino = peer_module("openvino", INSTALL)
        model, self.weight_bytes = build_graph(openvino, order)
        settings = {
            "INFERENCE_PRECISION_HINT": "f32",
            "DYNAMIC_QUANTIZATION_GROUP_SIZE": str(grouping(order.precision)[1]),
            "KV_CACHE_PRECISION": "u8",
            "INFERENCE_NUM_THREADS": order.threads,
            "NUM_STREAMS": "1",
            "PERFORMANCE_HINT": "LATENCY",
        }
        self.compiled = openvino.Core().compile_model(model, "CPU", settings)
        del model
        self._request = self.compiled.create_infer_request()
        self.start(1, 0)

    def start(self, sequences: int, room: int) -> None:
        self._request.reset_state()
        self._sequences, self._length = sequences, 0
        self._read: list[Tensor] = []

    def read(self, rows: Tensor, scored: int) -> Tensor:
        new, held = rows.shape[1], self._length
        mask = np.zeros((1, 1, new, held + new), np.float32)
        if new > 1:
            mask[0, 0] = np.triu(np.full((new, held + new), -np.inf, np.float32), held + 1)
        results = self._request.infer(
            {
                "x": rows.float().contiguous().numpy(),
                "kept": np.arange(new - scored, new, dtype=np.int64),
                "positions": np.arange(held, held + new, dtype=np.int64)[None],
                "mask": mask,
                "beams": np.arange(self._sequences, dtype=np.int32),
            },
            share_inputs=True,
        )
        self._read.append(rows)
        self._length += new
        return torch.from_numpy(np.array(results["scores"]))

    def run(self, steps: int) -> bool:
        return False

    def cut(self, length: int) -> None:
        if length >= self._length:
            return
        rows = torch.cat(self._read, 1)[:, :length]
        sequences = self._sequences
        self._request.reset_state()
        self._sequences, self._length, self._read = sequences, 0, []
        if length:
            self.read(rows, 1)
