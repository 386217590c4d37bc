"""The decoding loop: drafts, neighbours and cuts change how many steps there are, and nothing else."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from factories import random_model, tiny_opt_config, tiny_toy_config
from scripted_decoder import VOCABULARY, ScriptedDecoder
from vary.engine import decoding
from vary.engine.decoders.library import LibraryDecoder
from vary.engine.decoding import Decoded, DecodingLoop, DraftUse, Prompt, decode
from vary.engine.drafts import IdDraft
from vary.engine.guards import LoopFinding
from vary.engine.sampling import Sampling

END = 7
WAYS = [
    Sampling(),
    Sampling(repetition_penalty=1.6),
    Sampling(no_repeat_ngram_size=3),
    Sampling(temperature=1.5, seed=4),
    Sampling(temperature=0.8, top_k=5, top_p=0.9, repetition_penalty=1.2, seed=9),
]
PROMPT = [3, 1, 4, 1, 5]


def prompt_of(decoder: Any, ids: Sequence[int], limit: int = 60, **options: Any) -> Prompt:
    return Prompt(decoder.embed(ids), limit, ids=list(ids), **options)


def answer(decoder: Any, ids: Sequence[int] = PROMPT, sampling: Any = None, **options: Any) -> Decoded:
    """One prompt by itself."""
    [(number, found)] = decode(decoder, [prompt_of(decoder, ids, **options)], [END], sampling)
    assert number == 0
    return found


def by_hand(decoder: ScriptedDecoder, ids: Sequence[int], limit: int) -> list[int]:
    """The likeliest ids, one after the other."""
    past, new = list(ids), list[int]()
    while len(new) < limit and END not in new:
        scores = decoder.scores(past)
        new.append(scores.index(max(scores)))
        past.append(new[-1])
    return new


def same(found: Decoded, expected: Decoded) -> None:
    assert found.ids == expected.ids
    assert found.logprobs == pytest.approx(expected.logprobs, abs=1e-4)
    assert (found.finding is None) == (expected.finding is None)


@given(st.integers(0, 50), st.lists(st.integers(0, VOCABULARY - 1), min_size=1, max_size=5))
def test_the_likeliest_ids_one_after_the_other(seed: int, ids: list[int]) -> None:
    decoder = ScriptedDecoder(seed=seed)
    found = answer(decoder, ids, limit=40)
    assert found.ids == by_hand(decoder, ids, 40)
    scores = torch.tensor([decoder.scores([*ids, *found.ids[:place]]) for place in range(len(found.ids))])
    expected = scores.log_softmax(-1)[range(len(found.ids)), found.ids]
    assert found.logprobs == pytest.approx(expected.tolist(), abs=1e-4)
    assert found.use == DraftUse(len(found.ids), len(found.ids), 0, 0)
    assert decoder.held == {}


@st.composite
def drafts(draw: Any) -> tuple[int, list[int]]:
    """A seed, and a draft made of its answer: anything from the answer itself to nothing of it."""
    seed = draw(st.integers(0, 20))
    truth = by_hand(ScriptedDecoder(seed=seed), PROMPT, 60)
    rng = random.Random(draw(st.integers(0, 1000)))
    kind = draw(
        st.sampled_from(
            ["same", "noise", "cut", "shuffled", "repeated", "inserted", "nothing", "other", "end"]
        )
    )
    ids = list(truth)
    if kind == "noise":
        ids = [rng.randrange(VOCABULARY) if rng.random() < 0.2 else token for token in ids]
    elif kind == "cut":
        ids = ids[rng.randrange(len(ids)) :][: rng.randrange(1, 20)]
    elif kind == "shuffled":
        rng.shuffle(ids)
    elif kind == "repeated":
        ids = ids[:5] * 12
    elif kind == "inserted":
        at = rng.randrange(len(ids))
        ids[at:at] = [rng.randrange(VOCABULARY) for _ in range(rng.randrange(30))]
    elif kind == "nothing":
        ids = []
    elif kind == "other":
        ids = [rng.randrange(VOCABULARY) for _ in range(70)]
    elif kind == "end":
        ids = [*ids, END, END, *ids]
    return seed, ids


@given(drafts(), st.sampled_from(WAYS), st.integers(1, 60))
def test_a_draft_changes_nothing_but_the_steps(
    case: tuple[int, list[int]], sampling: Sampling, limit: int
) -> None:
    seed, ids = case
    plain = answer(ScriptedDecoder(seed=seed), sampling=sampling, limit=limit)
    found = answer(ScriptedDecoder(seed=seed), sampling=sampling, limit=limit, draft=IdDraft(ids))
    same(found, plain)
    assert found.use.steps <= plain.use.steps
    assert found.use.tokens == len(plain.ids)
    assert found.use.accepted <= min(found.use.proposed, len(plain.ids))


def test_a_right_draft_takes_few_steps_and_a_wrong_one_few_tokens_more() -> None:
    decoder = next(
        decoder for seed in range(100) if len(answer(decoder := ScriptedDecoder(seed=seed)).ids) == 60
    )
    truth = by_hand(decoder, PROMPT, 60)
    right = answer(decoder, draft=IdDraft(truth)).use
    assert right.steps <= 5
    assert right.accepted == right.proposed
    assert right.per_step >= 12
    rng = random.Random(0)
    wrong = answer(decoder, draft=IdDraft([rng.randrange(VOCABULARY) for _ in range(60)])).use
    assert wrong.proposed <= 80, "what is hardly ever right is hardly ever read"


@given(
    st.lists(
        st.tuples(st.lists(st.integers(0, VOCABULARY - 1), min_size=1, max_size=9), st.integers(1, 30)),
        min_size=1,
        max_size=9,
    ),
    st.integers(1, 4),
    st.sampled_from(WAYS),
    st.randoms(use_true_random=False),
)
def test_neighbours_change_nothing(
    asked: list[tuple[list[int], int]], max_rows: int, sampling: Sampling, rng: random.Random
) -> None:
    """Rows come and go, some with drafts; each answer is what it is alone, in every order."""
    alone = [answer(ScriptedDecoder(), ids, sampling, limit=limit) for ids, limit in asked]
    for _ in range(2):
        order = rng.sample(range(len(asked)), len(asked))
        decoder = ScriptedDecoder()

        def prompts(order: list[int] = order, decoder: ScriptedDecoder = decoder) -> Iterator[Prompt]:
            for number in order:
                ids, limit = asked[number]
                draft = IdDraft(alone[number].ids) if rng.random() < 0.5 else None
                yield prompt_of(decoder, ids, limit, draft=draft)

        found = dict(decode(decoder, prompts(), [END], sampling, max_rows=max_rows))
        assert sorted(found) == list(range(len(asked)))
        for place, number in enumerate(order):
            same(found[place], alone[number])
        assert decoder.held == {}
        assert max(map(len, decoder.reads)) <= max_rows


def test_a_row_that_ends_makes_room_at_once_and_prompts_are_made_when_there_is_room() -> None:
    decoder, made = ScriptedDecoder(), list[int]()

    def prompts() -> Iterator[Prompt]:
        for limit in (2, 9, 3, 4):
            made.append(limit)
            yield prompt_of(decoder, [1, 2], limit)

    limits = []
    for number, found in decode(decoder, prompts(), [], max_rows=2):
        limits.append((number, len(found.ids), list(made)))
    assert limits[0] == (0, 2, [2, 9])
    assert [number for number, *_ in limits] == [0, 2, 1, 3]
    assert [rows[1:2] for rows in decoder.reads[:3]] == [[2], [1], [2]], "the third prompt beside the second"


def test_a_long_prompt_is_read_in_parts_beside_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoding, "PREFILL", 4)
    decoder = ScriptedDecoder()
    alone = answer(ScriptedDecoder(), list(range(11)), limit=5)
    prompts = [prompt_of(decoder, [1, 2], 6), prompt_of(decoder, list(range(11)), 5)]
    found = dict(decode(decoder, prompts, []))
    assert decoder.reads[:4] == [[2, 4], [1, 4], [1, 3], [1, 1]]
    assert found[1].ids[: len(alone.ids)] == alone.ids


@pytest.mark.parametrize("sampling", WAYS, ids=str)
def test_long_prompts_are_read_in_parts_whatever_chooses(
    sampling: Sampling, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where no prompt is read to its end in a step, so that nothing is chosen in it."""
    alone = [answer(ScriptedDecoder(), ids, sampling, limit=6) for ids in (list(range(11)), [4] * 9)]
    monkeypatch.setattr(decoding, "PREFILL", 4)
    decoder = ScriptedDecoder()
    prompts = [prompt_of(decoder, ids, 6) for ids in (list(range(11)), [4] * 9)]
    found = dict(decode(decoder, prompts, [END], sampling))
    assert decoder.reads[:3] == [[4, 4], [4, 4], [3, 1]]
    for number, expected in enumerate(alone):
        same(found[number], expected)


@pytest.mark.parametrize("with_draft", [False, True])
def test_a_guard_ends_its_own_row(with_draft: bool) -> None:
    decoder = ScriptedDecoder(seed=3)
    free = by_hand(decoder, PROMPT, 20)
    assert END not in free[:10]
    seen: list[int] = []

    def guard(ids: Sequence[int]) -> LoopFinding | None:
        seen.extend(ids)
        return LoopFinding("repeat", 1, 3, 2, None, 2, None, "enough") if len(seen) == 6 else None

    heard: list[int] = []
    prompts = [
        prompt_of(
            decoder, PROMPT, 20, guard=guard, on_ids=heard.extend, draft=IdDraft(free) if with_draft else None
        ),
        prompt_of(decoder, PROMPT, 20),
    ]
    found = dict(decode(decoder, prompts, [END]))
    assert found[0].ids == seen == heard == free[:6]
    assert found[0].finding is not None
    assert len(found[0].logprobs) == 6
    assert found[1].ids == free
    assert found[1].finding is None


@given(drafts(), st.integers(1, 60))
def test_what_is_heard_together_is_the_answer(case: tuple[int, list[int]], limit: int) -> None:
    seed, ids = case
    heard: list[int] = []
    found = answer(ScriptedDecoder(seed=seed), limit=limit, draft=IdDraft(ids), on_ids=heard.extend)
    assert heard == found.ids


@given(drafts(), st.integers(1, 60))
def test_a_guess_is_judged_whole_whatever_is_taken(case: tuple[int, list[int]], limit: int) -> None:
    seed, ids = case
    decoder = ScriptedDecoder(seed=seed)
    check = [*ids, END]
    found = answer(decoder, limit=limit, draft=IdDraft(ids), check=check)
    same(found, answer(ScriptedDecoder(seed=seed), limit=limit))
    scores = torch.tensor([decoder.scores([*PROMPT, *ids[:place]]) for place in range(len(check))])
    expected = scores.log_softmax(-1)[range(len(check)), check]
    assert found.checked == pytest.approx(expected.tolist(), abs=1e-4)
    assert decoder.reads[0] == [len(PROMPT) + len(ids)]


def test_a_sequence_of_the_callers_stays_open_and_holds_what_was_read() -> None:
    decoder = ScriptedDecoder(seed=1)
    sequence = decoder.open()
    decoder.read([decoding.Entry(sequence, decoder.embed(PROMPT[:-1]), 0)])
    whole = answer(ScriptedDecoder(seed=1), limit=9)
    prompt = Prompt(decoder.embed(PROMPT[-1:]), 9, PROMPT, sequence=sequence, draft=IdDraft(whole.ids))
    [(_, found)] = decode(decoder, [prompt], [END])
    same(found, whole)
    assert decoder.held[sequence] == [*PROMPT, *found.ids[:-1]]


def test_a_draft_reads_nothing_beyond_the_models_positions() -> None:
    free = by_hand(ScriptedDecoder(seed=3), PROMPT, 10)
    assert END not in free
    decoder = ScriptedDecoder(seed=3, context=len(PROMPT) + 9)
    assert answer(decoder, limit=10, draft=IdDraft([*free, 1, 2, 3])).ids == free


def test_what_is_given_up_leaves_no_sequence_behind() -> None:
    decoder = ScriptedDecoder()
    answers = decode(decoder, (prompt_of(decoder, [1, 2], limit) for limit in (1, 9, 9)), [])
    next(answers)
    assert decoder.held
    answers.close()
    assert decoder.held == {}

    def fails(ids: Sequence[int]) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        answer(decoder, on_ids=fails)
    assert decoder.held == {}


def test_a_loop_by_hand() -> None:
    decoder = ScriptedDecoder()
    loop = DecodingLoop(decoder, [])
    assert (loop.add(prompt_of(decoder, [1], 1)), loop.add(prompt_of(decoder, [2], 2))) == (0, 1)
    assert [number for number, _ in loop.step()] == [0]
    assert len(loop) == 1
    assert loop.add(prompt_of(decoder, [3], 1)) == 2
    assert [number for number, _ in loop.step()] == [1, 2]
    assert len(loop) == 0


def test_suppressed_ids_are_never_chosen() -> None:
    decoder = ScriptedDecoder()
    free = by_hand(decoder, PROMPT, 20)
    [(_, found)] = decode(decoder, [prompt_of(decoder, PROMPT, 20)], [], suppressed=[free[0], free[1]])
    assert not {free[0], free[1]} & set(found.ids)


@pytest.mark.parametrize("sampling", WAYS, ids=str)
@pytest.mark.parametrize("make", [tiny_toy_config, tiny_opt_config])
def test_a_network_too_whatever_the_batch(make: Any, sampling: Sampling) -> None:
    """Ragged prompts with and without drafts, in three orders and sizes, against one by one."""
    model = random_model(make())
    decoder, rng = LibraryDecoder(model), random.Random(0)
    asked = [[rng.randint(1, 40) for _ in range(rng.randint(1, 25))] for _ in range(7)]
    alone = [answer(LibraryDecoder(model), ids, sampling, limit=9) for ids in asked]
    for max_rows in (2, 3, 7):
        order = rng.sample(range(7), 7)
        prompts = [
            prompt_of(decoder, asked[row], 9, draft=IdDraft([*alone[row].ids[:4], 3, 3]) if row % 2 else None)
            for row in order
        ]
        found = dict(decode(decoder, prompts, [END], sampling, max_rows=max_rows))
        for place, row in enumerate(order):
            same(found[place], alone[row])
