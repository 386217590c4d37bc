"""The native decoder: packed weights of 4 to 32 bits, decoded by the C++ of `vary.engine.native` on a CPU."""

from __future__ import annotations

import ctypes
import weakref
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from vary.engine.decoders.interface import Entry
from vary.engine.native import Layer, Matrix, Part, Shape, check, kernels_name, load_library
from vary.engine.packing import PackedModel, matrix_of
from vary.errors import ContextError, NativeError

__all__ = ["NativeDecoder"]

TOKEN_COSTS = {"AVX-512": 0.1}
"""Of one more token in a step, by kernels: measured with AVX2, for which one token waits for memory and more
than two for arithmetic; for AVX-512 as a prototype had it.
"""


class NativeDecoder:
    """A `Decoder` of the Qwen2 kind with packed weights; see `vary.engine.decoders.interface`.

    Its arithmetic: integer weights times activations that are rounded to 8 bits for each token and group,
    summed exactly; everything else in float32; keys and values in float16.
    """

    exact = True
    alone = True

    def __init__(self, model: PackedModel, *, threads: int | None = None, kernels: str = "") -> None:
        """A decoder over packed weights.

        Args:
            model: keeps its file mapped as long as the decoder lives.
            threads: PyTorch's number by default.
            kernels: by name, such as "AVX2"; "" for the best that this processor runs.

        Raises:
            NativeError: if the kernels are not there or do not run here.
        """
        self._library = load_library()
        self._model = model
        chosen = kernels_name(kernels)
        shape = model.shape
        self.name: str = f"native {model.precision.name} ({chosen})"
        self.token_cost = TOKEN_COSTS.get(chosen, 0.3)
        self.vocabulary_size, self.hidden_size = shape.vocabulary, shape.hidden
        self.context: int | None = shape.context
        plans = shape.matrices(model.precision)

        def matrix(name: str) -> Matrix:
            scales = model.tensors.get(f"{name}.scales")
            values = model.tensors[f"{name}.values"].data_ptr()
            return matrix_of(plans[name], values, 0 if scales is None else scales.data_ptr())

        def address(name: str) -> int:
            return model.tensors[name].data_ptr()

        layers = (Layer * shape.layers)(
            *(
                Layer(
                    *(matrix(f"layers.{number}.{part}") for part in ("qkv", "out", "gate_up", "down")),
                    *(address(f"layers.{number}.{part}") for part in ("qkv_bias", "input_norm", "post_norm")),
                )
                for number in range(shape.layers)
            )
        )
        sizes = Shape(
            *(shape.hidden, shape.layers, shape.heads, shape.kv_heads, shape.head_dim, shape.inner),
            *(shape.vocabulary, shape.context, shape.epsilon, shape.theta),
        )
        self._handle: Any = self._library.vary_decoder_new(
            ctypes.byref(sizes),
            layers,
            address("norm"),
            ctypes.byref(matrix("head")),
            chosen.encode(),
            threads or torch.get_num_threads(),
        )
        if not self._handle:
            raise NativeError("not enough memory for a decoder")
        weakref.finalize(self, self._library.vary_decoder_delete, self._handle)

    @property
    def cache_bytes(self) -> int:
        """Of the keys and values of all sequences."""
        return int(self._library.vary_decoder_cache_bytes(self._handle))

    @property
    def weight_bytes(self) -> int:
        """That decoding one token reads."""
        return self._model.weight_bytes

    def open(self) -> int:
        return int(self._library.vary_decoder_open(self._handle))

    def close(self, sequence: int) -> None:
        self._library.vary_decoder_close(self._handle, sequence)

    def length(self, sequence: int) -> int:
        length = int(self._library.vary_decoder_length(self._handle, sequence))
        if length < 0:
            raise KeyError(f"sequence {sequence} is not open")
        return length

    def cut(self, sequence: int, length: int) -> None:
        if not 0 <= length <= self.length(sequence):
            raise ValueError(f"sequence {sequence} has {self.length(sequence)} tokens, not {length}")
        check(self._library.vary_decoder_cut(self._handle, sequence, length), "cut a sequence")

    def embed(self, ids: Sequence[int]) -> Tensor:
        return self._model.embed(torch.tensor(list(ids), dtype=torch.long))

    def read(self, entries: Sequence[Entry]) -> Tensor:
        if len({entry.sequence for entry in entries}) < len(entries):
            raise ValueError("a sequence is named twice")
        for entry in entries:
            tokens = self.length(entry.sequence) + len(entry.embeddings)
            if self.context and tokens > self.context:
                raise ContextError(f"a sequence of {tokens} tokens is longer than the model's {self.context}")
            if not 0 <= entry.scored <= len(entry.embeddings) or not len(entry.embeddings):
                raise ValueError(f"{len(entry.embeddings)} new tokens, {entry.scored} of them scored")
        parts = (Part * len(entries))(
            *(Part(entry.sequence, len(entry.embeddings), entry.scored) for entry in entries)
        )
        states = torch.cat([entry.embeddings for entry in entries]).to("cpu", torch.float32).contiguous()
        if states.shape[1] != self.hidden_size:
            raise ValueError(f"embeddings of width {states.shape[1]}, expected {self.hidden_size}")
        scores = torch.empty(sum(entry.scored for entry in entries), self.vocabulary_size)
        status = self._library.vary_decoder_read(
            self._handle, parts, len(entries), states.data_ptr(), scores.data_ptr()
        )
        check(status, "read tokens")
        return scores
