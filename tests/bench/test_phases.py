"""What a contestant does while it is timed: which images, how many steps, and who chooses the tokens."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
import torch
from torch import Tensor

from vary.bench.contestants.protocol import Order
from vary.bench.contestants.vary import DecoderOfOurs
from vary.bench.phases import Phases
from vary.bench.shapes import shape_config
from vary.bench.weights import RandomWeights
from vary.engine.decoders.interface import Entry

CONFIG = shape_config("tiny")
WIDTH, SCORES = CONFIG.text_config.hidden_size, 7


class Eyes:
    """Counts the images that it is shown."""

    def __init__(self) -> None:
        self.shown: list[int] = []

    def encode(self, pixels: Mapping[str, Tensor]) -> Tensor:
        images = len(pixels["pixel_values"])
        self.shown.append(images)
        return torch.ones(images, CONFIG.image_seq_length, WIDTH)


class Steps:
    """A decoder that writes down what it is asked, and goes on by itself if it is `able`."""

    exact = alone = True
    name, vocabulary_size, hidden_size, context, token_cost, ahead = "steps", SCORES, WIDTH, None, 0.1, 4

    def __init__(self) -> None:
        self.opened = 0
        self.read_tokens: list[tuple[int, int]] = []

    def open(self) -> int:
        self.opened += 1
        return self.opened

    def close(self, sequence: int) -> None:
        pass

    def length(self, sequence: int) -> int:
        return 0

    def cut(self, sequence: int, length: int) -> None:
        pass

    def embed(self, ids: Sequence[int]) -> Tensor:
        return torch.zeros(len(ids), WIDTH)

    def read(self, entries: Sequence[Entry]) -> Tensor:
        self.read_tokens.append((len(entries), len(entries[0].embeddings)))
        return torch.zeros(sum(entry.scored for entry in entries), SCORES)


class AheadOf(Steps):
    """One that chooses too."""

    def __init__(self) -> None:
        super().__init__()
        self.runs: list[tuple[int, list[int], int]] = []

    def run(
        self, sequences: Sequence[int], ids: Sequence[int], steps: int, suppressed: Sequence[int] = ()
    ) -> tuple[list[list[int]], Tensor]:
        self.runs.append((len(sequences), list(ids), steps))
        return [[5] * steps for _ in sequences], torch.zeros(len(sequences), steps)


def phases(decoder: Steps) -> tuple[Phases, Eyes]:
    order = Order(
        config=CONFIG,
        weights=RandomWeights(CONFIG, 0),
        precision="float32",
        threads=1,
        device=torch.device("cpu"),
        folder=Path(),
    )
    eyes = Eyes()
    return Phases(CONFIG, torch.device("cpu"), eyes, DecoderOfOurs(decoder, order)), eyes


@pytest.mark.parametrize(("pages", "shown"), [(1, [1]), (8, [8]), (11, [8, 8])])
def test_pages_are_encoded_a_few_at_a_time_and_read_together(pages: int, shown: list[int]) -> None:
    decoder = Steps()
    timed, eyes = phases(decoder)
    assert timed.pages(pages, 20, 4) > 0
    assert eyes.shown == shown
    assert decoder.read_tokens == [(pages, 20), *[(pages, 1)] * 3]


def test_a_decoder_that_chooses_is_let_run() -> None:
    decoder = AheadOf()
    timed, _ = phases(decoder)
    timed.page(20, 10)
    assert decoder.read_tokens == [(1, 20)]
    assert decoder.runs == [(1, [0], 4), (1, [5], 4), (1, [5], 1)]
    timed.decode(context=6, sequences=2, tokens=1, steps=6)
    assert decoder.runs[3:] == [(2, [0, 0], 4), (2, [5, 5], 2)]
    timed.decode(context=6, sequences=2, tokens=3, steps=2)
    assert decoder.read_tokens[-2:] == [(2, 3), (2, 3)]
