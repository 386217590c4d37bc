"""A decoder of the native kernels over weights that lie anywhere: its sequences, by addresses and sizes."""

from __future__ import annotations

import ctypes
import weakref
from collections.abc import Sequence
from typing import Any

from vary.engine.decoders.interface import Entry
from vary.engine.native import Matrix, Part, Shape, check, kernels_name, load_library
from vary.engine.native.shapes import TextShape
from vary.errors import ContextError, NativeError

__all__ = ["NativeSequences"]

TOKEN_COSTS = {"AMX": 0.05, "AVX-512": 0.1}
"""Of one more token in a step, by kernels, as measured; with others, such as AVX2's, one token waits for
memory and more than two for arithmetic.
"""


class NativeSequences:
    """What every native decoder has in common; `read` and `embed` of `Decoder` are their own.

    Threads may share it, each with sequences of its own: the kernels take one call after the other.

    Args:
        shape: of the model.
        layers, norm, head: the weights, which have to outlive this; a head without rows gives the states that
            it would score.
        precision: of the weights, for people.
        threads: that share the work.
        kernels: by name, such as "AVX2"; "" for the best that this processor runs.
        wide: whether keys and values are kept in float32; else in float16.

    Attributes:
        precision, token_bytes: of the weights; and what the keys and values of a token take.

    Raises:
        NativeError: if the kernels are not there or do not run here.
    """

    exact = True
    alone = True

    def __init__(
        self,
        shape: TextShape,
        layers: ctypes.Array[Any],
        norm: int,
        head: Matrix,
        *,
        precision: str,
        threads: int,
        kernels: str = "",
        wide: bool = False,
    ) -> None:
        self._library = load_library()
        chosen = kernels_name(kernels)
        self.name: str = f"native {precision} ({chosen})"
        self.precision = precision
        self.token_cost = TOKEN_COSTS.get(chosen, 0.3)
        self.vocabulary_size, self.hidden_size = shape.vocabulary, shape.hidden
        self.token_bytes = 2 * shape.layers * shape.kv_heads * shape.head_dim * (4 if wide else 2)
        self.context: int | None = shape.context
        sizes = Shape(
            *(shape.hidden, shape.layers, shape.heads, shape.kv_heads, shape.head_dim, shape.inner),
            *(shape.vocabulary, shape.context, shape.epsilon, shape.theta, wide),
        )
        self._handle: Any = self._library.vary_decoder_new(
            ctypes.byref(sizes), layers, norm, ctypes.byref(head), chosen.encode(), threads
        )
        if not self._handle:
            raise NativeError("not enough memory for a decoder")
        # At the end of the process its memory goes anyhow, and another thread may still read with it.
        weakref.finalize(self, self._library.vary_decoder_delete, self._handle).atexit = False

    @property
    def cache_bytes(self) -> int:
        """Of the keys and values of all sequences."""
        return int(self._library.vary_decoder_cache_bytes(self._handle))

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

    def check(self, entries: Sequence[Entry]) -> None:
        """Raises ValueError or ContextError for what cannot be read; nothing else may reach the kernels."""
        if len({entry.sequence for entry in entries}) < len(entries):
            raise ValueError("a sequence is named twice")
        for entry in entries:
            tokens = self.length(entry.sequence) + len(entry.embeddings)
            if self.context and tokens > self.context:
                raise ContextError(f"a sequence of {tokens} tokens is longer than the model's {self.context}")
            if not 0 <= entry.scored <= len(entry.embeddings) or not len(entry.embeddings):
                raise ValueError(f"{len(entry.embeddings)} new tokens, {entry.scored} of them scored")
            if entry.embeddings.shape[1] != self.hidden_size:
                raise ValueError(
                    f"embeddings of width {entry.embeddings.shape[1]}, expected {self.hidden_size}"
                )

    def read_into(self, entries: Sequence[Entry], states: int, scores: int) -> None:
        """Reads entries that were checked.

        Args:
            entries: the embeddings lie at `states`.
            states: the address of all entries' embeddings (tokens, hidden), float32.
            scores: where what is wanted goes, (sum of `scored`, vocabulary or hidden), float32.

        Raises:
            NativeError: if memory does not suffice.
        """
        parts = (Part * len(entries))(
            *(Part(entry.sequence, len(entry.embeddings), entry.scored) for entry in entries)
        )
        status = self._library.vary_decoder_read(self._handle, parts, len(entries), states, scores)
        check(status, "read tokens")
