"""Drafts: where the answer stands in them, after errors of every kind, and what they save."""

from __future__ import annotations

import random
import string
from collections.abc import Callable, Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from checkpoints import byte_tokenizer
from vary.engine.choosing import agreeing
from vary.engine.drafts import ChunkLength, Draft, Follower, IdDraft, TextDraft

LETTERS = string.ascii_lowercase + "      "


def page(length: int = 3000, seed: int = 0) -> str:
    """Words that repeat as words do."""
    rng = random.Random(seed)
    words = ["".join(rng.choices(string.ascii_lowercase, k=rng.randint(1, 9))) for _ in range(150)]
    text = ""
    while len(text) < length:
        text += words[min(int(rng.paretovariate(0.8)), 150) - 1] + " "
    return text[:length]


def pieces(text: str) -> list[int]:
    """Tokens of one to four letters that never reach over a blank, as a tokenizer of words and parts."""
    ids = []
    for number, word in enumerate(text.split(" ")):
        word = f" {word}" if number else word
        ids += [int.from_bytes(word[start : start + 4].encode(), "big") for start in range(0, len(word), 4)]
    return ids


def joined(ids: Sequence[int]) -> str:
    return b"".join(token.to_bytes((token.bit_length() + 7) // 8, "big") for token in ids).decode()


def spoilt(text: str, share: float, burst: int, seed: int = 0) -> str:
    """The text with so many wrong characters, `burst` of them in a row: others, too many and too few."""
    rng = random.Random(seed)
    starts = rng.sample(range(len(text) // burst), int(len(text) * share / burst))
    wrong = {start * burst + step for start in starts for step in range(burst)}

    def put(place: int) -> str:
        if place not in wrong:
            return text[place]
        kind = rng.random()
        other = rng.choice(LETTERS)
        return other if kind < 0.6 else "" if kind < 0.8 else text[place] + other

    return "".join(put(place) for place in range(len(text)))


def steps(truth: Sequence[int], draft: Draft, cost: float = 0.07) -> tuple[int, float]:
    """How many steps an answer takes with a draft, and what they cost in steps of one token."""
    chunk, done, count, price = ChunkLength(cost), 0, 0, 0.0
    while done < len(truth):
        proposed = draft.propose(chunk.best())
        new = list(truth[done : done + agreeing(truth[done:], proposed) + 1])
        seen = proposed or draft.propose(1)
        right = agreeing(new, seen)
        chunk.learn(right, int(right < min(len(new), len(seen))))
        draft.follow(new)
        done, count, price = done + len(new), count + 1, price + 1 + cost * len(proposed)
    return count, price


@pytest.mark.parametrize("burst", [1, 10, 30])
def test_three_percent_of_wrong_characters_leave_a_third_of_the_cost(burst: int) -> None:
    truth, draft = pieces(page()), spoilt(page(), 0.03, burst)
    assert draft != page()
    count, price = steps(truth, TextDraft(draft, pieces, joined))
    assert len(truth) / price >= 3.0
    assert len(truth) / count >= 5.0


def test_the_draft_itself_leaves_a_tenth() -> None:
    truth = pieces(page())
    for draft in (TextDraft(page(), pieces, joined), IdDraft(truth)):
        assert steps(truth, draft)[0] <= len(truth) / 30 + 6


EDITS: dict[str, Callable[[list[int]], list[int]]] = {
    "substituted": lambda ids: [*ids[:50], 7001, *ids[51:]],
    "two substituted": lambda ids: [*ids[:50], 7001, 7002, *ids[52:]],
    "inserted": lambda ids: [*ids[:50], 7001, *ids[50:]],
    "burst inserted": lambda ids: [*ids[:50], *range(7000, 7040), *ids[50:]],
    "lost": lambda ids: [*ids[:50], *ids[51:]],
    "burst lost": lambda ids: [*ids[:50], *ids[90:]],
    "burst of others": lambda ids: [*ids[:50], *range(7000, 7030), *ids[80:]],
    "other length": lambda ids: [*ids[:50], *range(7000, 7012), *ids[80:]],
    "begins late": lambda ids: ids[40:],
    "far away": lambda ids: [*ids[:50], *range(9000, 11_000), *ids[50:]],
}


@pytest.mark.parametrize("kind", EDITS)
def test_the_place_is_found_again(kind: str) -> None:
    """Ids that are all different: after an error of any kind the draft is right again soon."""
    truth = list(range(1000, 1200))
    draft = IdDraft(EDITS[kind](truth))
    wrong = []
    for place, token in enumerate(truth):
        if draft.propose(1) != [token]:
            wrong.append(place)
        draft.follow([token])
    lost = {"burst lost": 42, "burst of others": 36, "other length": 36, "begins late": 42, "far away": 30}
    assert len(wrong) <= lost.get(kind, 4), wrong
    assert max(wrong) < 100, "at last it is followed to its end"


def test_a_phrase_that_comes_again_and_again_is_followed_where_the_answer_is() -> None:
    rows = [f"row {number} of the table has nothing new | " for number in range(60)]
    text = "".join(rows)
    draft = "".join(row for number, row in enumerate(rows) if number not in (20, 21))
    truth = pieces(text)
    count, _ = steps(truth, TextDraft(draft, pieces, joined))
    assert count <= len(truth) / 5


def test_text_is_cut_into_tokens_anew_behind_a_difference() -> None:
    """The first word is spelled otherwise: the tokens of the draft's rest are others than of the whole."""
    draft = TextDraft("abcdefgh tail", pieces, joined)
    assert [joined([token]) for token in draft.propose(9)] == ["abcd", "efgh", " tai", "l"]
    draft.follow([int.from_bytes(b"ab", "big")])
    assert [joined([token]) for token in draft.propose(9)] == ["cdef", "gh", " tai", "l"]


def test_characters_of_several_tokens() -> None:
    tokenizer = byte_tokenizer()

    def decode(ids: Sequence[int]) -> str:
        return str(tokenizer.decode(list(ids), skip_special_tokens=True))

    text = "漢字とかな、それだけ。" * 20
    draft = TextDraft(text, lambda piece: list(piece.encode()), decode)
    count, _ = steps(list(text.encode()), draft)
    assert count <= len(text.encode()) / 20


@given(st.text(st.sampled_from("ab \n漢"), max_size=80), st.text(st.sampled_from("ab \n漢"), max_size=80))
def test_anything_can_be_followed(text: str, answer: str) -> None:
    draft = TextDraft(
        text, lambda piece: [ord(letter) for letter in piece], lambda ids: "".join(map(chr, ids))
    )
    for letter in answer:
        assert len(draft.propose(4)) <= 4
        draft.follow([ord(letter)])


@given(
    st.lists(st.integers(0, 3), max_size=60),
    st.lists(st.lists(st.integers(0, 3), min_size=1, max_size=30), max_size=30),
)
def test_the_place_stays_within_the_draft(reference: list[int], answer: list[list[int]]) -> None:
    follower = Follower(np.array(reference, np.int64))
    for symbols in answer:
        follower.follow(symbols)
        assert 0 <= follower.place <= len(reference)


def test_a_step_costs_the_same_however_long_the_draft_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rated are the places of a window, and none while the answer is the draft."""
    sizes: list[int] = []
    rate = Follower._rate

    def counted(self: Follower, symbol: int) -> None:
        rate(self, symbol)
        assert self._ratings is not None
        sizes.append(len(self._ratings))

    monkeypatch.setattr(Follower, "_rate", counted)
    reference = np.arange(100_000, dtype=np.int64)
    follower = Follower(reference)
    follower.follow(range(50_000))
    assert sizes == []
    follower.follow([-1, *range(50_000, 50_100)])
    follower.follow(range(50_100, 60_000))
    assert len(sizes) == 101
    assert max(sizes) < 1000
    assert follower.place == 60_000


def test_the_length_of_a_chunk_follows_the_draft() -> None:
    good, bad = ChunkLength(), ChunkLength()
    for _ in range(60):
        good.learn(good.best(), 0)
        bad.learn(0, 1)
    assert good.best() == good.most
    assert bad.best() == 0
    for _ in range(200):
        bad.learn(1, 0)
    assert bad.best() > 10, "a draft that got better is used again"
    assert ChunkLength(cost=0.5).best() < ChunkLength(cost=0.07).best()


@pytest.mark.parametrize("share", [0.3, 0.7, 0.9, 0.97])
@pytest.mark.parametrize("cost", [0.02, 0.07, 0.3])
def test_the_length_is_the_best_of_all(share: float, cost: float) -> None:
    """Against the expected tokens of a step, added up one by one."""
    chunk = ChunkLength(cost, right=1000 * share, wrong=1000 * (1 - share))

    def gain(length: int) -> float:
        return sum(share**place for place in range(length + 1)) / (1 + cost * length)

    assert gain(chunk.best()) == pytest.approx(max(map(gain, range(chunk.most + 1))))
