"""llama.cpp by way of llama-cpp-python, on a GGUF file that is written in place."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from vary.bench.contestants.gguf_file import TYPES, write_gguf
from vary.bench.contestants.graph import graph_refusal
from vary.bench.contestants.protocol import Decoding, Encoding, Order, peer_module
from vary.bench.machine import package_versions
from vary.errors import VaryError
from vary.model.configuration import VaryConfig

__all__ = ["INSTALL", "LlamaCpp"]

INSTALL = "pip install 'llama-cpp-python>=0.3.30' 'gguf>=0.17'"
BATCH = 512
"""Tokens that are computed at once."""


class LlamaCpp:
    """Q4_0 and Q8_0 with its own kernels for this processor."""

    name = "llamacpp"

    def missing(self) -> str:
        return "" if {"llama-cpp-python", "gguf"} <= set(self.versions()) else INSTALL

    def measures(self, precision: str) -> bool:
        return precision in TYPES

    def refusal(self, config: VaryConfig, precision: str, device: str) -> str:
        return graph_refusal(config, device, 32)

    def label(self, precision: str) -> str:
        return f"llama.cpp {TYPES[precision]}"

    def encoding(self, order: Order) -> Encoding | None:
        return None

    def decoding(self, order: Order) -> Decoding | None:
        return _Decoder(order)

    def versions(self) -> dict[str, str]:
        return package_versions("llama-cpp-python", "gguf")


class _Decoder:
    """A context with several sequences; their tokens are computed in one batch."""

    def __init__(self, order: Order) -> None:
        self._api = peer_module("llama_cpp", INSTALL)
        path = order.folder / f"llama-{order.precision}.gguf"
        self.weight_bytes = write_gguf(order, path)
        self._width, self._vocabulary, self._threads = order.size.width, order.size.vocabulary, order.threads
        self._api.llama_backend_init()
        self._quiet = self._api.llama_log_callback(lambda *_: None)
        self._api.llama_log_set(self._quiet, None)
        settings = self._api.llama_model_default_params()
        settings.n_gpu_layers = 0
        self._model = self._api.llama_model_load_from_file(str(path).encode(), settings)
        if not self._model:
            raise VaryError(f"llama.cpp does not load {path.name}")
        self._context: Any = None
        self.start(1, BATCH)

    def start(self, sequences: int, room: int) -> None:
        if self._context is not None:
            self._api.llama_free(self._context)
        settings = self._api.llama_context_default_params()
        settings.n_ctx, settings.n_seq_max = sequences * (-(-room // 256) * 256), sequences
        settings.n_batch = settings.n_ubatch = BATCH
        settings.n_threads = settings.n_threads_batch = self._threads
        self._context = self._api.llama_init_from_model(self._model, settings)
        if not self._context:
            raise VaryError(f"llama.cpp makes no context of {settings.n_ctx} tokens")
        self._sequences, self._length = sequences, 0

    def read(self, rows: Tensor, scored: int) -> Tensor:
        sequences, new, _ = rows.shape
        if sequences * new <= BATCH:
            scores = self._batch(range(sequences), rows, scored)
        else:
            scores = torch.cat([self._one(number, rows[number], scored) for number in range(sequences)])
        self._length += new
        return scores

    def _one(self, number: int, rows: Tensor, scored: int) -> Tensor:
        """A sequence by itself, in pieces that fit into a batch, of which only the last is scored."""
        pieces = list(rows.split(BATCH))
        held = self._length
        for place, piece in enumerate(pieces):
            wanted = scored if place == len(pieces) - 1 else 1
            scores = self._batch([number], piece[None], wanted)
            self._length += len(piece)
        self._length = held
        return scores

    def _batch(self, numbers: Any, rows: Tensor, scored: int) -> Tensor:
        """Some sequences in one call; scores (sequences, scored, vocabulary)."""
        sequences, new, width = rows.shape
        count = sequences * new
        batch = self._api.llama_batch_init(count, width, 1)
        try:
            batch.n_tokens = count
            table = np.ctypeslib.as_array(batch.embd, (count, width))
            table[:] = rows.float().reshape(count, width).numpy()
            places = []
            for at in range(count):
                sequence, token = divmod(at, new)
                batch.pos[at] = self._length + token
                batch.n_seq_id[at], batch.seq_id[at][0] = 1, numbers[sequence]
                batch.logits[at] = int(token >= new - scored)
                if batch.logits[at]:
                    places.append(at)
            if status := self._api.llama_decode(self._context, batch):
                raise VaryError(f"llama.cpp does not decode {count} tokens (status {status})")
            found = [
                np.ctypeslib.as_array(self._api.llama_get_logits_ith(self._context, at), (self._vocabulary,))
                for at in places
            ]
            return torch.from_numpy(np.stack(found)).view(sequences, scored, -1)
        finally:
            self._api.llama_batch_free(batch)

    def run(self, steps: int) -> bool:
        return False

    def cut(self, length: int) -> None:
        memory = self._api.llama_get_memory(self._context)
        for number in range(self._sequences):
            self._api.llama_memory_seq_rm(memory, number, length, -1)
        self._length = min(self._length, length)
