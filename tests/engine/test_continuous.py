"""Continuous batching: a free row is filled at once, and memory that runs out costs time and nothing else."""

from __future__ import annotations

import heapq
import random
from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from factories import random_model, tiny_toy_config
from scripted_decoder import VOCABULARY, ScriptedDecoder
from vary.engine.continuous import ENCODED, ContinuousBatch
from vary.engine.decoders.interface import Entry
from vary.engine.decoders.library import LibraryDecoder
from vary.engine.decoding import Decoded, DecodingLoop, Prompt, decode
from vary.engine.drafts import IdDraft
from vary.engine.sampling import Sampling
from vary.engine.torch_arrays import TorchArrays

END = 7
Question = tuple[list[int], int]
"""A prompt's ids and the limit of its answer."""
QUESTIONS = st.lists(
    st.tuples(st.lists(st.integers(0, VOCABULARY - 1), min_size=1, max_size=9), st.integers(1, 30)),
    min_size=1,
    max_size=14,
)
WAYS = [Sampling(), Sampling(temperature=1.2, seed=3), Sampling(repetition_penalty=1.4)]


class Small(ScriptedDecoder):
    """Has memory for so many tokens; a step that fails has read some of its entries."""

    def __init__(self, memory: int, seed: int = 0) -> None:
        super().__init__(seed=seed)
        self.room = memory

    def read(self, entries: Sequence[Entry]) -> torch.Tensor:
        new = sum(len(entry.embeddings) for entry in entries)
        if new + sum(map(len, self.held.values())) > self.room:
            super().read(entries[: len(entries) // 2])
            self.reads.pop()
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        return super().read(entries)


class Answering:
    """A batch on a decoder, and how many questions were encoded at once each time."""

    def __init__(
        self, decoder: Any, rows: int, sampling: Sampling | None = None, *, ends: Sequence[int] = (END,)
    ) -> None:
        self.decoder, self.encoded, self.most_encoded = decoder, list[int](), 1000
        self.drafts: dict[int, IdDraft] = {}
        self.made = 0
        self.batch = ContinuousBatch(DecodingLoop(decoder, ends, sampling), self.encode, rows)

    def encode(self, questions: Sequence[Question]) -> list[Prompt]:
        if len(questions) > self.most_encoded:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 1.00 GiB.")
        self.encoded.append(len(questions))
        prompts = []
        for ids, limit in questions:
            draft = self.drafts.get(self.made)
            prompts.append(Prompt(self.decoder.embed(ids), limit, ids, draft=draft))
            self.made += 1
        return prompts

    def answers(self, questions: Sequence[Question]) -> list[Decoded]:
        """All answers, asked as they are wanted."""
        waiting, found = list(questions), dict[int, Decoded]()
        while waiting or len(found) < len(questions):
            for _ in range(min(self.batch.wanted, len(waiting))):
                self.batch.add(waiting.pop(0))
            found |= dict(self.batch.step())
        assert self.batch.step() == []
        return [found[number] for number in range(len(questions))]


def alone(decoder: Any, question: Question, sampling: Sampling | None = None) -> Decoded:
    ids, limit = question
    [(_, found)] = decode(decoder, [Prompt(decoder.embed(ids), limit, ids)], [END], sampling)
    return found


def step_on(asked: Answering, found: list[tuple[int, Decoded]]) -> None:
    for _ in range(1000):
        found += asked.batch.step()


def same(found: Decoded, expected: Decoded) -> None:
    assert found.ids == expected.ids
    assert found.logprobs == pytest.approx(expected.logprobs, abs=1e-4)


@given(st.lists(st.integers(1, 25), min_size=1, max_size=30), st.integers(1, 9))
def test_a_free_row_is_filled_at_once(lengths: list[int], rows: int) -> None:
    """As many steps as the best schedule in this order takes: every row is busy as long as anyone waits."""
    decoder = ScriptedDecoder()
    Answering(decoder, rows, ends=()).answers([([1, 2], length) for length in lengths])
    ends = [0] * rows
    for length in lengths:
        heapq.heappush(ends, heapq.heappop(ends) + length)
    assert len(decoder.reads) == max(ends)
    assert max(map(len, decoder.reads)) == min(rows, len(lengths))


def test_groups_would_take_longer() -> None:
    decoder, lengths = ScriptedDecoder(), [2, 30, 4, 3, 5, 28, 6, 2]
    Answering(decoder, 2, ends=()).answers([([1], length) for length in lengths])
    in_groups = sum(max(lengths[first : first + 2]) for first in range(0, len(lengths), 2))
    assert len(decoder.reads) == 42
    assert in_groups == 68


@given(QUESTIONS, st.integers(1, 5), st.sampled_from(WAYS))
def test_each_answer_is_what_it_is_alone(questions: list[Question], rows: int, sampling: Sampling) -> None:
    decoder = ScriptedDecoder()
    found = Answering(decoder, rows, sampling).answers(questions)
    for answer, question in zip(found, questions, strict=True):
        same(answer, alone(ScriptedDecoder(), question, sampling))
    assert decoder.held == {}


def test_images_are_encoded_together_when_their_turn_comes() -> None:
    asked = Answering(ScriptedDecoder(), 20, ends=())
    assert asked.batch.wanted == 20
    asked.answers([([1], 5 + number) for number in range(50)])
    assert asked.encoded == [ENCODED, ENCODED, 4, *[ENCODED] * 3, 6], "20 to begin with, then 8 at a time"
    one = Answering(ScriptedDecoder(), 1, ends=())
    assert one.batch.wanted == 1
    one.batch.add(([1], 2))
    one.batch.step()
    assert one.batch.wanted == 0
    one.batch.step()
    assert one.batch.wanted == 1


@given(
    QUESTIONS,
    st.integers(1, 8),
    st.integers(40, 120),
    st.integers(1, 8),
    st.sampled_from(WAYS),
    st.booleans(),
)
def test_where_memory_runs_out_nothing_is_lost(
    questions: list[Question], rows: int, memory: int, images: int, sampling: Sampling, drafted: bool
) -> None:
    """Of prompts of at most 9 and answers of at most 30 tokens one always fits."""
    expected = [alone(ScriptedDecoder(), question, sampling) for question in questions]
    decoder = Small(memory)
    asked = Answering(decoder, rows, sampling)
    asked.most_encoded = images
    if drafted:
        asked.drafts = {number: IdDraft(answer.ids) for number, answer in enumerate(expected) if number % 2}
    for answer, wanted in zip(asked.answers(questions), expected, strict=True):
        same(answer, wanted)
    assert decoder.held == {}
    assert max(asked.encoded) <= images


def test_one_that_does_not_fit_is_an_error_and_what_ended_before_was_given() -> None:
    decoder = Small(20)
    asked = Answering(decoder, 2, ends=())
    for question in (([1], 3), ([2], 30)):
        asked.batch.add(question)
    found: list[tuple[int, Decoded]] = []
    with pytest.raises(torch.OutOfMemoryError, match=r"2\.00 GiB"):
        step_on(asked, found)
    assert [number for number, _ in found] == [0]
    asked.batch.close()
    assert decoder.held == {}
    image = Answering(ScriptedDecoder(), 4)
    image.most_encoded = 0
    image.batch.add(([1], 3))
    with pytest.raises(torch.OutOfMemoryError, match=r"1\.00 GiB"):
        step_on(image, [])


@pytest.mark.parametrize("sampling", WAYS, ids=str)
def test_memory_may_run_out_at_any_place(sampling: Sampling, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where log-probabilities are computed, before a token is taken, or when an answer is put together."""
    questions = [([number, 1], 3 + 2 * number) for number in range(6)]
    expected = [alone(ScriptedDecoder(), question, sampling) for question in questions]
    for name in ("logprobs", "numbers"):
        plain, calls = getattr(TorchArrays, name), Counter[str]()

        def fails(self: Any, *rest: Any, plain: Any = plain, calls: Counter[str] = calls) -> Any:
            calls["all"] += 1
            if calls["all"] in (2, 5):
                raise torch.OutOfMemoryError("CUDA out of memory.")
            return plain(self, *rest)

        monkeypatch.setattr(TorchArrays, name, fails)
        for answer, wanted in zip(
            Answering(ScriptedDecoder(), 4, sampling).answers(questions), expected, strict=True
        ):
            same(answer, wanted)
        monkeypatch.undo()


def test_what_is_on_its_way_is_given_up() -> None:
    decoder = ScriptedDecoder()
    asked = Answering(decoder, 3, ends=())
    for length in (2, 9, 9, 9, 9):
        asked.batch.add(([1], length))
    asked.batch.step()
    assert len(decoder.held) == 3
    asked.batch.close()
    assert decoder.held == {}
    assert asked.batch.step() == []


@pytest.mark.parametrize("sampling", WAYS, ids=str)
def test_a_network_goes_on_where_it_was_when_its_memory_comes_back(sampling: Sampling) -> None:
    """Every few steps one fails between two layers; keys and values are let go and read again."""
    model = random_model(tiny_toy_config())
    rng = random.Random(0)
    questions = [
        ([rng.randint(1, 40) for _ in range(rng.randint(1, 25))], rng.randint(1, 12)) for _ in range(9)
    ]
    expected = [alone(LibraryDecoder(model), question, sampling) for question in questions]
    last = model.model.language_model.layers[-1]
    calls = Counter[str]()

    def fails(*_: Any) -> None:
        calls["all"] += 1
        if calls["all"] in (3, 9, 14):
            raise torch.OutOfMemoryError("CUDA out of memory.")

    handle = last.register_forward_pre_hook(fails)
    decoder = LibraryDecoder(model)
    try:
        found = Answering(decoder, 8, sampling).answers(questions)
    finally:
        handle.remove()
    assert calls["all"] > 14
    for answer, wanted in zip(found, expected, strict=True):
        same(answer, wanted)
    assert decoder._slots == []
    assert not any(layer.is_initialized for layer in decoder._cache.layers), "memory is given back"
