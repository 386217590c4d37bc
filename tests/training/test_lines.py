"""Batches of lines: what is learned, what is left out, and that pools depend on their number alone."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from vary.assets import nano_vocabulary
from vary.model.modeling import VaryForConditionalGeneration
from vary.model.presets import nano_processor
from vary.training.data.examples import IGNORED
from vary.training.data.line_sources import Line
from vary.training.data.lines import (
    LineFormat,
    PoolLoader,
    collate,
    line_format,
    make_batches,
    required_frames,
)


@pytest.fixture(scope="module")
def form(tiny_nano: VaryForConditionalGeneration) -> LineFormat:
    return line_format(tiny_nano, nano_vocabulary())


def blank_line(width: int) -> NDArray[np.uint8]:
    return np.full((32, width), 255, np.uint8)


@given(texts=st.lists(st.text("abc dé漢\n", min_size=1, max_size=9), min_size=1, max_size=5))
def test_labels_are_the_answer_and_its_end_and_nothing_else(form: LineFormat, texts: list[str]) -> None:
    lines = [(blank_line(40 + 30 * index), form.encode(text)) for index, text in enumerate(texts)]
    batch = collate(lines, form, "test")
    for row, (image, ids) in enumerate(lines):
        learned = batch.labels[row] != IGNORED
        assert batch.labels[row][learned].tolist() == [*ids, form.eos_id]
        assert torch.equal(batch.labels[row][learned], batch.input_ids[row][learned])
        columns = -(-image.shape[1] // 16)
        length = columns + 2 + len(ids) + 1
        assert batch.attention_mask[row].tolist() == [1] * length + [0] * (len(batch.labels[row]) - length)
        assert batch.input_ids[row, : columns + 2].tolist() == form.prompt(columns)
        assert int(batch.pixel_widths[row]) == 16 * columns
    assert batch.targets.tolist() == [token for _, ids in lines for token in ids]


@pytest.mark.parametrize("width", [1, 16, 17, 333])
def test_training_and_reading_build_the_same_prompt_and_pixels(form: LineFormat, width: int) -> None:
    image = np.random.default_rng(width).integers(0, 255, (32, width), dtype=np.uint8)
    ours = collate([(image, form.encode("a"))], form, "test")
    theirs = nano_processor(nano_vocabulary()).build_inputs([image])
    prompt = theirs["input_ids"][0]
    assert torch.equal(ours.input_ids[0, : len(prompt)], prompt)
    assert len(ours.input_ids[0]) == len(prompt) + 2
    assert torch.equal(ours.pixel_widths, theirs["pixel_widths"])
    torch.testing.assert_close(ours.pixel_values, theirs["pixel_values"], atol=1e-5, rtol=0)


def test_what_cannot_be_learned_is_left_out_and_counted(form: LineFormat) -> None:
    samples = [
        Line(blank_line(100), "fits"),
        Line(blank_line(500), "too wide"),
        Line(blank_line(100), ""),
        Line(blank_line(100), "漢字"),  # beyond a table of 512 rows
        Line(blank_line(16), "five!"),  # four frames
    ]
    pool = make_batches(
        samples, form, batch_pixels=1000, max_width=400, rng=np.random.default_rng(0), name="pool 7"
    )
    assert pool.left_out == 4
    assert pool.bad == ()
    [batch] = pool.batches
    assert batch.targets.tolist() == form.encode("fits")
    assert batch.name == "pool 7, batch 0"


def test_batches_keep_to_their_pixels_and_lose_nothing(form: LineFormat) -> None:
    rng = np.random.default_rng(1)
    samples = [
        Line(blank_line(int(width)), f"{number:02d}")
        for number, width in enumerate(rng.integers(20, 300, 60))
    ]
    batches, left_out, bad = make_batches(
        samples, form, batch_pixels=700, max_width=300, rng=rng, name="pool"
    )
    assert (left_out, bad) == (0, ())
    for batch in batches:
        rows = len(batch.pixel_widths)
        assert rows * int(max(batch.pixel_widths)) <= 700 + 15 * rows
    read = sorted(tuple(row.tolist()) for batch in batches for row in batch.targets.view(-1, 2))
    assert read == sorted(tuple(form.encode(text)) for _, text, _ in samples)


def test_required_frames_counts_a_blank_between_equal_tokens() -> None:
    assert required_frames([]) == 0
    assert required_frames([5, 5, 6, 6, 6]) == 8


@dataclass(frozen=True)
class Numbered:
    """A source whose texts name their pool."""

    def describe(self) -> None: ...

    def prepare(self) -> None: ...

    def pool(self, index: int, max_chars: int) -> list[Line]:
        return [Line(blank_line(60 + 10 * n), f"{index}.{n}"[:max_chars]) for n in range(5)]


@pytest.mark.parametrize("workers", [0, 1, 2])
def test_pools_come_in_order_whatever_the_number_of_workers(form: LineFormat, workers: int) -> None:
    loader = PoolLoader(Numbered(), form, batch_pixels=150, max_width=400, seed=3, max_chars=9)
    pools = list(islice(loader.iterate(2, 3, workers), 4))
    assert [number for number, _ in pools] == [2, 5, 8, 11]
    for number, (batches, _, _) in pools:
        alone = loader[number].batches
        assert [batch.name for batch in batches] == [batch.name for batch in alone]
        for batch, again in zip(batches, alone, strict=True):
            assert torch.equal(batch.input_ids, again.input_ids)
