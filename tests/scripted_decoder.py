"""A decoder without a network: what comes next is a fixed function of the last few ids, and nothing else."""

from __future__ import annotations

import zlib
from collections.abc import Sequence

import torch
from torch import Tensor

from vary.engine.decoders.interface import Entry

VOCABULARY = 24


class ScriptedDecoder:
    """Holds ids instead of keys and values; scores come of a hash of the last `memory` of them.

    Attributes:
        held: the ids of each open sequence.
        reads: of every call the numbers of new tokens.
    """

    name, vocabulary_size, hidden_size, exact = "scripted", VOCABULARY, 1, True
    alone, token_cost = True, 0.07

    def __init__(self, memory: int = 3, context: int | None = None, seed: int = 0) -> None:
        self.memory, self.context, self.seed = memory, context, seed
        self.held: dict[int, list[int]] = {}
        self.reads: list[list[int]] = []
        self._opened = 0

    def open(self) -> int:
        self._opened += 1
        self.held[self._opened] = []
        return self._opened

    def close(self, sequence: int) -> None:
        del self.held[sequence]

    def length(self, sequence: int) -> int:
        return len(self.held[sequence])

    def cut(self, sequence: int, length: int) -> None:
        assert 0 <= length <= len(self.held[sequence])
        del self.held[sequence][length:]

    def embed(self, ids: Sequence[int]) -> Tensor:
        return torch.tensor(list(ids), dtype=torch.float64)[:, None]

    def scores(self, ids: Sequence[int]) -> list[float]:
        """What follows these ids."""
        past = bytes([self.seed, *ids[-self.memory :]])
        return [zlib.crc32(past + bytes([token])) % 997 / 100 for token in range(VOCABULARY)]

    def read(self, entries: Sequence[Entry]) -> Tensor:
        assert len({entry.sequence for entry in entries}) == len(entries)
        self.reads.append([len(entry.embeddings) for entry in entries])
        rows = []
        for entry in entries:
            new = entry.embeddings[:, 0].long().tolist()
            assert 0 <= entry.scored <= len(new)
            assert new
            ids = self.held[entry.sequence]
            ids += new
            assert self.context is None or len(ids) <= self.context
            rows += [self.scores(ids[: len(ids) - back]) for back in range(entry.scored - 1, -1, -1)]
        return torch.tensor(rows, dtype=torch.float32).reshape(-1, VOCABULARY)
