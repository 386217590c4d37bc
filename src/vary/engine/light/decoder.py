"""The language model of a line model: a `Decoder` of the native kernels over weights in float32."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from vary.engine.decoders.interface import Entry
from vary.engine.decoders.sequences import NativeSequences
from vary.engine.light.products import Floats, Head, panels
from vary.engine.light.weights import TEXT, Weight
from vary.engine.native import Layer, Matrix
from vary.engine.native.shapes import MatrixPlan, TextShape, matrix_of
from vary.engine.precisions import precision

__all__ = ["HeadScores", "LightDecoder"]

FLOAT32 = precision("float32")


class LightDecoder(NativeSequences):
    """See `vary.engine.decoders.interface.Decoder`; what it reads are not scores but `HeadScores`.

    Args:
        shape: of the model.
        weight: its tensors.
        head: scores its states.
        embeddings: the table of embeddings (vocabulary, hidden) where that is not the head.
        threads: that share the work.

    Raises:
        NativeError: if the kernels are not there or do not run here.
    """

    def __init__(
        self, shape: TextShape, weight: Weight, head: Head, embeddings: Floats | None, *, threads: int
    ) -> None:
        self._head, self._embeddings = head, embeddings
        self._kept: list[Floats] = []

        def address(table: Floats) -> int:
            self._kept.append(table)
            return int(table.ctypes.data)

        def matrix(table: Floats) -> Matrix:
            plan = MatrixPlan(len(table), table.shape[1], FLOAT32)
            return matrix_of(plan, address(panels(table)), 0)

        def layer(number: int) -> Layer:
            name = f"{TEXT}.layers.{number}"
            qkv = [weight(f"{name}.self_attn.{part}_proj.weight") for part in "qkv"]
            bias = [weight(f"{name}.self_attn.{part}_proj.bias") for part in "qkv"]
            return Layer(
                *(matrix(np.concatenate(qkv)), matrix(weight(f"{name}.self_attn.o_proj.weight"))),
                matrix(
                    _by_turns(weight(f"{name}.mlp.gate_proj.weight"), weight(f"{name}.mlp.up_proj.weight"))
                ),
                matrix(weight(f"{name}.mlp.down_proj.weight")),
                address(np.concatenate(bias)),
                *(address(weight(f"{name}.{norm}_layernorm.weight")) for norm in ("input", "post_attention")),
            )

        layers = (Layer * shape.layers)(*(layer(number) for number in range(shape.layers)))
        norm = address(weight(f"{TEXT}.norm.weight"))
        nothing = Matrix(0, 0, shape.hidden, 0, None, None)
        super().__init__(shape, layers, norm, nothing, precision=FLOAT32.name, threads=threads, wide=True)

    def embed(self, ids: Sequence[int]) -> Floats:
        """The embeddings (T, hidden) of token ids."""
        return self._head.rows(ids) if self._embeddings is None else self._embeddings[list(ids)]

    def read(self, entries: Sequence[Entry]) -> HeadScores:
        """Reads new tokens of some sequences; see `Decoder.read`."""
        self.check(entries)
        states = np.concatenate([entry.embeddings for entry in entries], dtype=np.float32)
        found = np.empty((sum(entry.scored for entry in entries), self.hidden_size), np.float32)
        self.read_into(entries, states.ctypes.data, found.ctypes.data)
        return HeadScores(self._head, found)


class HeadScores:
    """`vary.engine.arrays.Scores` of some states (P, hidden): looked through, and not written out."""

    def __init__(self, head: Head, states: Floats) -> None:
        self._head, self._states = head, states
        self._never: Sequence[int] = ()
        self._looked: tuple[NDArray[np.int32], Floats] | None = None

    def suppress(self, ids: Sequence[int]) -> None:
        """Takes ids out of the choice; before anything else is asked."""
        assert self._looked is None
        self._never = ids

    def likeliest(self) -> NDArray[np.int32]:
        """The id (P,) with the highest score of each state."""
        return self._survey()[0]

    def logprobs(self, places: Sequence[int], tokens: Sequence[int]) -> Floats:
        """The log-probability (N,) of a token at each of some states."""
        rows = np.asarray(places, np.int64)
        _, totals = self._survey()
        scores: Floats = np.einsum("nc,nc->n", self._states[rows], self._head.rows(tokens))
        values = np.minimum(scores - totals[rows], np.float32(0))
        if self._never:
            values[np.isin(tokens, self._never)] = -np.inf
        return values

    def _survey(self) -> tuple[NDArray[np.int32], Floats]:
        if self._looked is None:
            self._looked = self._head.survey(self._states, self._never)
        return self._looked


def _by_turns(gate: Floats, up: Floats) -> Floats:
    """Blocks of 16 rows of both, one after the other; the last ones filled up with zeros."""
    blocks = -(-len(gate) // 16)
    both = np.zeros((blocks, 2, 16, gate.shape[1]), np.float32)
    for side, table in enumerate((gate, up)):
        filled = np.zeros((blocks * 16, gate.shape[1]), np.float32)
        filled[: len(table)] = table
        both[:, side] = filled.reshape(blocks, 16, -1)
    return both.reshape(blocks * 32, -1)
