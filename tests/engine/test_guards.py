"""The loop guard: loops are found within the stated bound (T9), and genuine repetition survives (T8)."""

from __future__ import annotations

import math
import random
import re
from collections.abc import Iterable, Iterator
from itertools import count, cycle

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vary.engine.guards import GuardSettings, LoopFinding, LoopGuard, find_loop
from vary.errors import VaryError

OPENING = "Report of the committee, 3 May 1921.\nThe following was read and approved by all members present: "
NAMES = ["Smith", "Jones", "Brown", "Miller"]
WEEKDAYS = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"]
WORDS = re.findall(
    r"\w+",
    """the of and to in a is that for it was on are as with his they at be this have from or one had by word
    but not what all were we when your can said there use an each which she do how their if will up other
    about out many then them these so some her would make like him into time has look two more write go""",
)


def pieces_of(text: str) -> list[str]:
    """Cut a text as a tokenizer would: at most four characters, blanks at the front."""
    return re.findall(r"\s?[^\W\d]{1,4}|\s?\d{1,3}|\s?[^\w\s]{1,4}|\s", text)


def decode(pieces: Iterable[str], guard: LoopGuard | None) -> tuple[str, int]:
    """Play a decoding loop that stops and cuts at a finding; return the kept text and the tokens decoded."""
    kept: list[str] = []
    for step, piece in enumerate(pieces):
        kept.append(piece)
        finding = guard.feed([step], piece) if guard else None
        if finding is not None:
            assert finding.keep_tokens is not None
            cut = "".join(kept[: finding.keep_tokens])
            assert len(cut) == finding.keep_chars
            return cut, len(kept)
    return "".join(kept), len(kept)


def lines(rows: Iterable[str]) -> str:
    return "".join(f"{row}\n" for row in rows)


def prose(seed: int, length: int) -> str:
    """Natural language of sorts: sentences of random words, numbers, lines and paragraphs."""
    draw = random.Random(seed)
    weights = [1 / place for place in range(1, len(WORDS) + 1)]
    parts: list[str] = []
    while len(parts) < length:
        sentence = draw.choices(WORDS, weights, k=draw.randint(3, 20))
        if draw.random() < 0.3:
            sentence.append(str(draw.randrange(3000)))
        parts += (
            sentence[0].capitalize(),
            *sentence[1:-1],
            sentence[-1] + draw.choice([".", ".", "?", ".\n", ".\n\n"]),
        )
    return " ".join(parts)


# ----------------------------------------------------------------------------------------- what must be found

LOOPS = {
    # name: (copies that run on for ever, how many the guard takes to speak, kind, what is kept of them)
    "numbers in a line": ((f"{n}. " for n in count(1)), 151, "counter", "1."),
    "items in a line": ((f"Item {n}, " for n in count(17)), 151, "counter", "Item 17,"),
    "rows in a line": ((f"row {n} | " for n in count(101)), 151, "counter", "row 101 |"),
    "items downwards": ((f"No. {n}\n" for n in count(9000, -1)), 151, "counter", "No. 9000\n"),
    "Chinese articles": ((f"第{n}条 " for n in count(1)), 151, "counter", "第1条"),
    "list of numbers": ((f"{n}.\n" for n in count(1)), 151, "counter", "1.\n"),
    "numbered rows": ((f"| row {n} |\n" for n in count(101)), 151, "counter", "| row 101 |\n"),
    "numbered cells": ((f"| {n} | none |\n" for n in count(1)), 401, "counter", "| 1 | none |\n"),
    "numbered blocks": ((f"Page {n}\nof this book\nis empty\n" for n in count(1)), 51, "counter", None),
    "names in turn": ((f"Mr. {name} said, " for name in cycle(NAMES)), 130, "repeat", None),
    "names in any order": (
        (f"Mr. {random.Random(n).choice(NAMES)} said, " for n in count()), 129, "rotation", None
    ),
    "rows in any order": ((f"{random.Random(n).choice(NAMES)}\n" for n in count()), 151, "rotation", None),
    "numbered names": ((f"{n}. {random.Random(n).choice(NAMES)}\n" for n in count(1)), 151, "rotation", None),
    "alternating rows": (cycle(["| A | 1 |\n", "| B | 2 |\n"]), 101, "repeat", "| A | 1 |\n| B | 2 |\n"),
    "equal rows": (cycle(["| 0 | 0 | 0 |\n"]), 101, "repeat", "| 0 | 0 | 0 |\n"),
    "LaTeX rows": (cycle(["1 & 2 & 3 \\\\\n"]), 101, "repeat", "1 & 2 & 3 \\\\\n"),
    "ten rows of numbers": (
        cycle([f"| {n * 7919 % 9973} | {n * 104729 % 997} |\n" for n in range(10)]), 102, "repeat", None
    ),
    "blank cells": (cycle(["| "]), 257, "repeat", None),
    "ampersands": (cycle(["& "]), 257, "repeat", None),
    "glued ampersands": (cycle(["&"]), 257, "run", "&"),
    "HTML cells": (cycle(["<td></td>"]), 129, "repeat", "<td></td>"),
    "HTML rows": (cycle(["<tr><td>0</td><td>0</td></tr>"]), 101, "repeat", "<tr><td>0</td><td>0</td></tr>"),
    "form line": (cycle(["_____ de "]), 129, "repeat", "_____ de"),
    "ragged form line": ((f"{'_' * (3 + n * 7 % 5)} de " for n in count()), 129, "repeat", "___ de"),
    "dots": (cycle(["."]), 257, "run", "."),
    "dashes": (cycle(["-"]), 257, "run", "-"),
    "spaced dots": (cycle([". "]), 257, "repeat", None),
    "blanks": (cycle([" "]), 257, "run", None),
    "tabs and blanks": (cycle([" \t"]), 129, "run", None),
    "empty lines": (cycle(["\n"]), 257, "repeat", "\n"),
    "one Han character": (cycle(["哈"]), 257, "run", "哈"),
    "syllables": (cycle(["la"]), 1537, "repeat", "lalalalalala"),
    "sentence": (cycle(["All work and no play makes Jack a dull boy. "]), 60, "repeat", None),
    "long paragraph": (cycle([prose(1, 300).replace("\n", "")]), 5, "repeat", None),
}  # fmt: skip


@pytest.mark.parametrize("name", LOOPS)
def test_loops_are_found_within_their_bound(name: str) -> None:
    copies, bound, kind, kept = LOOPS[name]
    stream = [next(copies) for _ in range(bound + 1)]
    text = OPENING + "".join(stream)
    finding = find_loop(text=text)
    assert finding is not None
    assert finding.kind == kind
    assert finding.start_char is not None
    assert finding.keep_chars is not None
    assert abs(finding.start_char - len(OPENING)) <= max(map(len, stream))
    if kept is not None:
        assert text[len(OPENING) : finding.keep_chars].strip(" ") == kept
    # once more with tokens: found as soon, cut at the same place or at the last token before it
    guard = LoopGuard()
    cut, _ = decode(pieces_of(text), guard)
    assert guard.finding is not None
    assert text.startswith(cut)
    assert finding.keep_chars - 4 <= len(cut) <= finding.keep_chars


def test_nothing_is_found_much_before_the_bound() -> None:
    for name in (
        "numbers in a line",
        "numbered cells",
        "alternating rows",
        "equal rows",
        "HTML cells",
        "form line",
    ):
        fresh = {
            "numbers in a line": (f"{n}. " for n in range(1, 149)),
            "numbered cells": (f"| {n} | none |\n" for n in range(1, 399)),
            "alternating rows": ["| A | 1 |\n", "| B | 2 |\n"] * 49,
            "equal rows": ["| 0 | 0 | 0 |\n"] * 98,
            "HTML cells": ["<td></td>"] * 126,
            "form line": ["_____ de "] * 126,
        }[name]
        assert find_loop(text=OPENING + "".join(fresh)) is None, name


def test_a_loop_behind_a_genuine_table_is_found() -> None:
    draw = random.Random(5)
    table = lines(f"| {n} | {draw.randrange(999)} | {draw.randrange(99)} |" for n in range(300))
    finding = find_loop(text=table + lines(["| 301 | 0 | 0 |"] * 101))
    assert finding is not None
    assert finding.kind == "repeat"
    assert finding.keep_chars == len(table) + len("| 301 | 0 | 0 |\n")


# ------------------------------------------------------------------------------------------ what must survive


def genuine() -> Iterator[tuple[str, str]]:
    """Texts that repeat themselves and are right."""
    draw = random.Random(11)
    yield "60 equal rows", lines(["| 12 | none | 0.00 | closed | – | yes |"] * 60)
    yield "60 equal wide rows", lines(["| " + "0 | " * 30] * 60)
    yield (
        "60 equal HTML rows",
        "<table>"
        + "<tr>"
        + "<td>0</td>" * 8
        + "</tr>" * 1
        + ("<tr>" + "<td>0</td>" * 8 + "</tr>") * 59
        + "</table>",
    )
    yield "60 equal LaTeX rows", "0 & 0 & 0 \\\\\n" * 60
    yield "30 pairs of rows", "| Debit | 0 |\n| Credit | 0 |\n" * 30
    yield (
        "365 days with values",
        lines(
            f"| {n // 31 + 1:02}-{n % 31 + 1:02} | {draw.gauss(12, 5):.1f} | {draw.choice(['sun', 'rain'])} |"
            for n in range(365)
        ),
    )
    yield (
        "365 numbered days",
        lines(f"| {n + 1} | {WEEKDAYS[n % 7]} | 9:00 | 17:00 | open |" for n in range(365)),
    )
    yield "365 equal days", lines(f"| {n + 1} | nothing to report |" for n in range(365))
    yield "200 different items", lines(f"{n}. {' '.join(draw.sample(WORDS, 3))}" for n in range(1, 201))
    yield (
        "200 different names",
        lines(f"{n}. {draw.choice(WORDS)} {draw.choice(WORDS)}" for n in range(1, 201)),
    )
    verse = lines(["I came to town on market day", "and saw the river run;"])
    refrain = lines(["Oh row, row, row the boat, my dear,", "oh row, row, row the boat;"] * 2)
    yield "refrain", "\n".join(verse + refrain for _ in range(8)) + refrain * 4
    yield (
        "table of contents",
        lines(f"Chapter {n} {'.' * 70} {n * 9 + draw.randrange(9)}" for n in range(1, 90)),
    )
    yield "spaced table of contents", lines(f"{draw.choice(WORDS)} {'. ' * 40} {n * 9}" for n in range(1, 40))
    yield "form of underscores", lines(["_" * 90] * 20)
    yield "form of labels", lines(f"{word}: {'_' * 60} Date: {'_' * 12}" for word in draw.sample(WORDS, 20))
    yield "form of dates", lines(["_____ de __________ de 20__"] * 20)
    yield (
        "code",
        lines(
            f"    if (x == {draw.randrange(90)}) {{\n    return {draw.randrange(9)};\n    }}\n\n    i++;"
            for _ in range(60)
        ),
    )
    yield "column of 100 numbers", lines(str(n) for n in range(1, 101))
    yield "line of 100 numbers", " ".join(str(n) for n in range(1, 101))
    yield "answer sheet", lines(f"{n}. ______________" for n in range(1, 101))
    yield "column of amounts", lines(f"{draw.randrange(10**6)}" for _ in range(500))
    yield "column of yes and no", lines(draw.choice(["yes", "no"]) for _ in range(120))
    yield "matrix", lines(" ".join(str(draw.randrange(2)) for _ in range(20)) for _ in range(200))
    yield "blank table", lines(["| " * 12] * 60)
    yield "blank HTML table", ("<tr>" + "<td></td>" * 10 + "</tr>\n") * 40
    yield "rules and boxes", lines(["┌" + "─" * 150 + "┐", "│" + " " * 150 + "│", "└" + "─" * 150 + "┘"] * 10)
    yield "digits of a number", "".join(str(draw.randrange(10)) for _ in range(2000))
    yield "Chinese prose", "".join(draw.choices("天地玄黄宇宙洪荒日月盈昃辰宿列张寒来暑往秋收冬藏", k=2000))
    yield "word list", ", ".join(draw.choices(WORDS, k=800))
    yield "DNA", lines("".join(draw.choices("acgt", k=60)) for _ in range(100))


GENUINE = dict(genuine())


@pytest.mark.parametrize("name", GENUINE)
def test_genuine_repetition_reads_the_same_with_and_without_guard(name: str) -> None:
    text = OPENING + GENUINE[name] + "The end of it all."
    guard = LoopGuard()
    assert decode(pieces_of(text), guard) == decode(pieces_of(text), None)
    assert guard.finding is None
    assert find_loop(text=text) is None


@pytest.mark.parametrize(
    "name", ["60 equal rows", "60 equal LaTeX rows", "30 pairs of rows", "refrain", "code"]
)
def test_genuine_repetition_survives_as_ids_alone(name: str) -> None:
    pieces = pieces_of(GENUINE[name])
    known = {piece: number for number, piece in enumerate(dict.fromkeys(pieces))}
    assert find_loop([known[piece] for piece in pieces]) is None


# -------------------------------------------------------------------------------------------------- ids alone


@given(
    seed=st.integers(0, 2**32),
    before=st.integers(0, 600),
    period=st.one_of(st.integers(1, 8), st.integers(1, 512)),
    vocabulary=st.sampled_from([2, 5, 50, 30000]),
)
@settings(deadline=None, max_examples=30)
def test_periods_of_ids_are_found_within_the_bound(
    seed: int, before: int, period: int, vocabulary: int
) -> None:
    draw = random.Random(seed)
    opening = [-1 - draw.randrange(30000) for _ in range(before)]
    copy = [draw.randrange(vocabulary) for _ in range(period)]
    limit = 100 * period if period <= 64 else max(640, 4 * period)
    stream = opening + copy * (1 + math.ceil(max(256, limit) / period))
    guard = LoopGuard()
    fed = next((at + 1 for at, token in enumerate(stream) if guard.feed([token])), None)
    assert fed is not None
    assert fed <= before + max(256, limit)
    finding = guard.finding
    assert finding is not None
    assert finding.start_token == before
    assert (finding.keep_chars, finding.start_char) == (None, None)
    assert period % finding.period == 0
    assert finding.keep_tokens == before + finding.period


@given(st.integers(0, 2**32))
@settings(deadline=None, max_examples=20)
def test_random_ids_never_loop(seed: int) -> None:
    draw = random.Random(seed)
    assert find_loop(draw.choices(range(draw.randint(3, 3000)), k=2000)) is None


def test_ids_that_print_nothing_are_judged_behind_text() -> None:
    guard = LoopGuard()
    for token, piece in enumerate(pieces_of(OPENING)):
        assert guard.feed([token], piece) is None
    spoken = len(pieces_of(OPENING))
    findings = [guard.feed([7]) for _ in range(256)]
    assert findings[:-1] == [None] * 255
    assert findings[-1] is not None
    assert (findings[-1].keep_tokens, findings[-1].keep_chars) == (spoken + 1, len(OPENING))


def test_lead_bytes_of_rare_characters_are_no_loop() -> None:
    draw = random.Random(3)
    guard = LoopGuard()
    for _ in range(1500):  # every character: one id without text, then one with the character
        assert guard.feed([240]) is None
        assert guard.feed([draw.randrange(999)], chr(0x4E00 + draw.randrange(5000))) is None


# ----------------------------------------------------------------------------------------- properties of text


@given(seed=st.integers(0, 2**32))
@settings(deadline=None, max_examples=30)
def test_natural_text_never_loops(seed: int) -> None:
    assert find_loop(text=prose(seed, 1500)) is None


@given(
    seed=st.integers(0, 2**32),
    before=st.integers(0, 300),
    copy=st.lists(st.text("αβγδäß", min_size=1, max_size=8), min_size=1, max_size=80),
    row=st.booleans(),
)
@settings(deadline=None, max_examples=30)
def test_random_loops_behind_random_text_are_found(
    seed: int, before: int, copy: list[str], row: bool
) -> None:
    opening = (
        prose(seed, before) + " Nothing that stands here before was ever part of those many equal copies: "
    )
    one = " ".join(copy) + ("\n" if row else " ")
    period = len(copy) + row
    bound = max(100 * period if row and period <= 64 else min(64 * period, 640), 4 * period, 256)
    text = opening + one * (math.ceil(bound / period) + 1)
    finding = find_loop(text=text)
    assert finding is not None
    assert finding.kind == "repeat"
    assert finding.start_char is not None
    assert finding.keep_chars is not None
    assert len(opening) <= finding.start_char + 2
    assert finding.start_char < finding.keep_chars <= len(opening) + 2 * len(one)
    assert finding.period <= len(one)


@given(
    text=st.lists(
        st.sampled_from(
            ["<td>", "</td>", "</tr>", "<", "<<", "</", "_", "....", "ab", " ", "\n", "12", "字", "\\", "|"]
        )
    ).map("".join),
    copies=st.integers(100, 300),
    tail=st.sampled_from(["", "." * 300, "1. " * 200]),
    cuts=st.randoms(use_true_random=False),
)
@settings(deadline=None, max_examples=30)
def test_the_verdict_does_not_depend_on_how_the_text_is_cut(
    text: str, copies: int, tail: str, cuts: random.Random
) -> None:
    text = OPENING + text * copies + tail
    whole, pieced = find_loop(text=text), LoopGuard()
    at = 0
    while at < len(text):
        step = cuts.randint(1, 9)
        pieced.feed((), text[at : at + step])
        at += step
    assert pieced.finding == whole


# ---------------------------------------------------------------------------------------------- the interface


def test_the_cut_is_a_prefix_at_the_same_place_in_ids_and_text() -> None:
    pieces = pieces_of(OPENING + "_____ de " * 200)
    guard = LoopGuard()
    cut, decoded = decode(pieces, guard)
    assert cut == OPENING + "_____ de"
    assert decoded <= len(pieces_of(OPENING)) + 128 * len(pieces_of("_____ de ")) + 1
    finding = guard.finding
    assert finding is not None
    assert "".join(pieces[: finding.start_token]) == OPENING.rstrip(" ")
    assert guard.feed([1], "something else") is finding


def test_more_copies_can_be_kept() -> None:
    finding = find_loop(text="| 0 | 0 |\n" * 120, settings=GuardSettings(keep_copies=60))
    assert finding is not None
    assert finding.keep_chars == 60 * len("| 0 | 0 |\n")


@pytest.mark.parametrize(
    "copies",
    [
        cycle(["the "]),
        cycle(["."]),
        (f"{n}. " for n in count(1)),
        cycle(["_____ de "]),
        cycle(["foo bar baz qux "]),
    ],
)
def test_what_cannot_stand_in_the_window_is_found_sooner(copies: Iterator[str]) -> None:
    text = "".join(next(copies) for _ in range(100))[:350]
    assert find_loop(text=text, expected_length=len(text)) is None
    sooner = find_loop(text=text, expected_length=100)
    assert (sooner is not None) == (len(text) > 100)


def test_the_expected_length_alone_condemns_nothing() -> None:
    assert find_loop(text=prose(2, 500), expected_length=10) is None
    assert find_loop(range(500), expected_length=10) is None
    assert find_loop([4, 5] * 60, expected_length=110) is not None
    assert find_loop([4, 5] * 60) is None


def test_work_and_memory_per_unit_are_bounded() -> None:
    draw = random.Random(8)
    guard = LoopGuard()
    for n in range(1500):
        guard.feed((), f"| {n} | {draw.randrange(99)} | {draw.randrange(9)} |\n")
        assert len(guard._units._since) <= guard.settings.max_period / 4
        assert len(guard._pending) <= 16
    assert guard.finding is None
    assert max(map(len, guard._units._places.values())) <= 16


def test_nothing_is_found_in_nothing() -> None:
    assert find_loop() is None
    assert find_loop([], "") is None
    assert LoopGuard().feed() is None


def test_the_text_is_judged_before_the_ids() -> None:
    finding = find_loop([1] * 300, "." * 300)
    assert finding == LoopFinding("run", 1, 256, None, 0, None, 1, "256 times '.' from character 0 on")


def test_settings_are_checked() -> None:
    with pytest.raises(VaryError, match="equal_rows is 0, expected at least 1"):
        GuardSettings(equal_rows=0)
