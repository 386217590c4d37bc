"""The loop guard: says while a text is being decoded that it has run into an autoregressive loop.

A loop brings nothing new, and so does a genuine table of equal rows; what tells them apart is how much of it
can stand on a page.  So every rule is a bound on text that brings nothing new, and what brings something new
(an item's own words, a number that does not count on from the ones before it) is never judged.

Text is cut into *units*: a word (12 letters at most), a number, an HTML tag, a run of one symbol (``____``),
a Han, Kana or Hangul character, a line break.  A row ends at a line break, ``</tr>`` or ``\\\\``.  With the
default settings the guard has spoken after

- 256 times one character (``.....``, blanks);
- a phrase of p units over and over in a line: 640 units, less for short ones (64 copies, but 256 units), more
  for long ones (4 copies): 128 copies of ``_____ de`` or ``<td></td>``, 256 blank cells of ``| | |``;
- equal, alternating or otherwise ordered rows of up to 64 units each: 100 rows, 4 copies and 256 units;
- numbers or rows that only count on: 150, in rows of two or more cells 400 (a year has 365 days);
- a few words or rows in any order: 640 units in a line, 150 rows, with two or more cells 400;
- ids without text: 100 copies (256 ids) of up to 64 ids, which may be a row; longer ones like phrases.

Text beyond the ``expected_length`` that the caller states is judged by a quarter of these bounds.  Not seen
are counters in letters or Roman numerals, and dates that run on from month to month.

Cost: for each unit, one step for each period that is still possible and for each of the last places, at most
32, of the same eight units in a row; nothing is scanned again.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass, fields
from itertools import pairwise
from typing import Literal

from vary.engine.repetition import FewForms, Repeats
from vary.errors import VaryError

__all__ = ["GuardSettings", "LoopFinding", "LoopGuard", "find_loop"]

LoopKind = Literal["run", "repeat", "counter", "rotation"]

# Kana, Han, Hangul: scripts without blanks, in which every character is a unit.
_ALONE = "\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\uac00-\ud7af"
_UNIT = re.compile(
    rf"</?[A-Za-z]\w{{0,7}}>|\n|(?P<number>\d{{1,12}})|[{_ALONE}]|[^\W\d_{_ALONE}]{{1,12}}"
    r"|(?P<symbol>[^\w\s]|_)(?P=symbol){0,15}"
)
_OPEN_TAG = re.compile(r"</?\w{0,8}\Z")
_NUMBER = "0"
_ROW_ENDS = frozenset(["\n", "</tr>", "\\\\"])
_SEPARATORS = _ROW_ENDS | {"|", "||", "&", "&&", ",", ";", "<td>", "</td>", "<th>", "</th>", "<tr>"}


@dataclass(frozen=True, slots=True)
class GuardSettings:
    """How much text that brings nothing new may stand; every field is at least 1."""

    max_period: int = 512
    """Longest copy that is recognised, in units of text or ids."""
    max_run: int = 256
    """One character repeated without a break, in characters; a line of dots or underscores is shorter."""
    min_units: int = 256
    """Exact repetition is no loop before it is as long as this, in units or ids."""
    min_copies: int = 4
    """No exact repetition with fewer copies is a loop, however long one copy is."""
    phrase_copies: int = 64
    """Copies of a short phrase within a line, fewer where together they have ``phrase_units``."""
    phrase_units: int = 640
    """Length of a phrase's copies together, in units."""
    equal_rows: int = 100
    """Rows that repeat exactly, alone or in turn; a page in 7-point type has about 100 lines."""
    row_units: int = 64
    """A row longer than this is judged as a phrase."""
    plain_rows: int = 150
    """Rows or phrases that only count on, and rows of a few kinds in any order."""
    table_rows: int = 400
    """The same for table rows with two or more cells."""
    few_rows: int = 8
    """Different rows that still count as a few."""
    few_units: int = 12
    """Different units within a line that still count as a few."""
    overrun_divisor: int = 4
    """Divides the bounds where the text is longer than the caller expects."""
    keep_copies: int = 1
    """Copies at the beginning of a loop that are kept as genuine."""

    def __post_init__(self) -> None:
        for field in fields(self):
            if (value := getattr(self, field.name)) < 1:
                raise VaryError(f"guard setting {field.name} is {value}, expected at least 1")


@dataclass(frozen=True, slots=True)
class LoopFinding:
    """Where a loop begins and how much to keep: in tokens if ids were fed, in characters if text was."""

    kind: LoopKind
    """``run``: a character; ``repeat``: equal copies; ``counter``: they count; ``rotation``: a few forms."""
    period: int
    """Length of the first copy in characters, or in tokens where the loop was found in ids alone."""
    copies: int
    start_token: int | None
    start_char: int | None
    keep_tokens: int | None
    """Cut the ids to this many: what stands before the loop and its first ``keep_copies`` copies."""
    keep_chars: int | None
    """Cut the text to this many characters: the same place, where ids and text were fed together."""
    message: str


def _cells(forms: Sequence[Hashable]) -> int:
    """Count the cells that hold something in whole rows, from whichever unit on."""
    return sum(new not in _SEPARATORS and old in _SEPARATORS for old, new in pairwise([forms[-1], *forms]))


class LoopGuard:
    """Watches one sequence while it is decoded.

    ``expected_length`` is how many characters can stand in the window that is being read (tokens, where only
    ids are fed): it hastens the verdict on what is longer, and is no verdict by itself.
    """

    def __init__(self, settings: GuardSettings | None = None, expected_length: int | None = None) -> None:
        self.settings = settings or GuardSettings()
        self.expected_length = expected_length
        self.finding: LoopFinding | None = None
        self._tokens = self._chars = 0
        self._mark_tokens, self._mark_chars = [0], [0]
        self._silent, self._silent_from = Repeats(self.settings.max_period), 0
        self._run_char, self._run_start = "", 0
        self._pending, self._pending_from = "", 0
        self._units = Repeats(self.settings.max_period)
        self._starts: list[int] = []
        self._ends: list[int] = []
        self._rows = [0]
        self._few_units = FewForms(self.settings.few_units)
        self._few_rows = FewForms(self.settings.few_rows)
        self._row_from = 0

    def feed(self, ids: Sequence[int] = (), text: str = "") -> LoopFinding | None:
        """Take what one step has decoded; return the loop that it completes, and from then on the same one.

        Where text is fed the text decides, and ids only while they give no text.  A cut falls between two
        calls, so feed few ids at a time.
        """
        if self.finding is not None:
            return self.finding
        self._tokens += len(ids)
        if text:
            if self._silent.forms:
                self._silent = Repeats(self.settings.max_period)
            self._silent_from = self._tokens
        self._mark_tokens.append(self._tokens)
        self._mark_chars.append(self._chars + len(text))
        self.finding = self._feed_text(text) if text else self._feed_silent(ids)
        self._chars += len(text)
        return self.finding

    def _feed_silent(self, ids: Sequence[int]) -> LoopFinding | None:
        settings = self.settings
        for token in ids:
            self._silent.push(token)
            length = self._chars or self._silent_from + len(self._silent.forms)
            for period, exact, _ in self._silent.lengths(self._bound(settings.min_units, length)):
                if exact >= self._exact_bound(period, 1, length):
                    start = self._silent_from + len(self._silent.forms) - exact
                    return LoopFinding(
                        "repeat", period, exact // period, start, self._chars or None,
                        start + settings.keep_copies * period, self._chars or None,
                        f"{exact // period} copies of the same {period} token(s) from token {start} on",
                    )  # fmt: skip
        return None

    def _feed_text(self, text: str) -> LoopFinding | None:
        run_found = None
        for place, char in enumerate(text, self._chars):
            kind = " " if char.isspace() and char != "\n" else char
            if kind != self._run_char:
                self._run_char, self._run_start = kind, place
            elif (run := place + 1 - self._run_start) >= self._bound(self.settings.max_run, place):
                keep = self._run_start + self.settings.keep_copies
                run_found = self._found("run", 1, run, self._run_start, keep, f"{run} times {char!r}")
                text = text[: place + 1 - self._chars]
                break
        self._pending += text
        for unit in self._take_units():
            finding = self._feed_unit(unit, self._pending_from + unit.start())
            if finding is not None:
                return finding
        return run_found

    def _take_units(self) -> Iterator[re.Match[str]]:
        """Yield the units that are complete, and put back what the next piece may still lengthen."""
        pending, base = self._pending, self._pending_from
        tag = _OPEN_TAG.search(pending)
        held = tag.start() if tag else len(pending)
        for unit in _UNIT.finditer(pending):
            if unit.end() > held or (unit.end() == len(pending) and unit[0] != "\n"):
                held = min(held, unit.start())
                break
            yield unit
        self._pending, self._pending_from = pending[held:], base + held

    def _feed_unit(self, unit: re.Match[str], start: int) -> LoopFinding | None:
        text, symbol, number = unit[0], unit["symbol"], unit["number"]
        forms = self._units.forms
        if symbol and forms and self._ends[-1] == start and forms[-1] in (symbol, symbol * 2):
            self._ends[-1] += len(text)  # the same run of symbols goes on
            return None
        form = _NUMBER if number else text[:2] if symbol else text
        ends_row = form in _ROW_ENDS
        self._rows.append(self._rows[-1] + (ends_row and bool(forms) and forms[-1] not in _ROW_ENDS))
        self._starts.append(start)
        self._ends.append(start + len(text))
        self._units.push(form, int(number) if number else 0)
        finding = self._judge_repeats(start)
        if ends_row:
            finding = finding or self._judge_row(start)
            self._few_units.clear()
            self._row_from = len(forms)
            return finding
        self._few_units.push(form, (int(number),) if number else (), len(forms) - 1)
        if finding is None and self._few_units.reaches(self._bound(self.settings.phrase_units, start)):
            return self._few(self._few_units, "units")
        return finding

    def _judge_repeats(self, length: int) -> LoopFinding | None:
        settings, units = self.settings, self._units
        floor = self._bound(min(settings.min_units, settings.plain_rows), length)
        for period, exact, steady in units.lengths(floor):
            end = len(units.forms)
            rows = self._rows[-1] - self._rows[-1 - period]
            if exact >= self._exact_bound(period, rows, length):
                return self._repeated("repeat", period, exact, rows)
            counted = steady // period * max(1, rows)
            if exact > 2 * period or counted < self._bound(settings.plain_rows, length):
                continue
            table = rows and _cells(units.forms[end - period :]) >= 2 * rows
            bound = settings.table_rows if table else settings.plain_rows
            if counted >= self._bound(bound, length) and steady >= settings.min_copies * period:
                return self._repeated("counter", period, steady, rows)
        return None

    def _judge_row(self, length: int) -> LoopFinding | None:
        settings, few = self.settings, self._few_rows
        forms, numbers = self._units.forms[self._row_from :], self._units.numbers[self._row_from :]
        if len(forms) == 1:
            return None
        counted = tuple(number for form, number in zip(forms, numbers, strict=True) if form == _NUMBER)
        few.push(tuple(forms), counted, self._row_from)
        bound = settings.table_rows if _cells(forms) >= 2 else settings.plain_rows
        return self._few(few, "rows") if few.reaches(self._bound(bound, length)) else None

    def _bound(self, bound: int, length: int) -> int:
        """Return the bound that holds for a text of this length."""
        over = self.expected_length is not None and length >= self.expected_length
        return -(-bound // self.settings.overrun_divisor) if over else bound

    def _exact_bound(self, period: int, rows: int, length: int) -> float:
        """Return how many units of exact copies, with ``rows`` rows each, make a loop."""
        settings = self.settings
        if rows and period <= settings.row_units * rows:
            units = self._bound(settings.equal_rows, length) * period / rows
        else:
            units = min(
                self._bound(settings.phrase_copies, length) * period,
                self._bound(settings.phrase_units, length),
            )
        return max(units, settings.min_copies * period, self._bound(settings.min_units, length))

    def _repeated(self, kind: LoopKind, period: int, length: int, rows: int) -> LoopFinding:
        forms = self._units.forms
        start = len(forms) - length
        second = start + period
        keep = start + self.settings.keep_copies * period
        if rows:  # cut behind a whole row
            keep = next((at + 1 for at in range(keep - 1, len(forms)) if forms[at] in _ROW_ENDS), keep)
        sample = " ".join(str(form) for form in forms[start:second]).replace("\n", "\\n")[:60]
        return self._found(
            kind, self._starts[second] - self._starts[start], length // period, self._starts[start],
            self._ends[min(keep, len(forms)) - 1], f"{length // period} copies of '{sample}'",
        )  # fmt: skip

    def _few(self, few: FewForms, what: str) -> LoopFinding:
        window, turn = few.window, few.first_turn()
        start, keep = window[0][1], window[min(turn * self.settings.keep_copies, len(window) - 1)][1]
        period = self._starts[window[turn][1]] - self._starts[start]
        message = f"{len(window)} {what} with only {len({form for form, _ in window})} different ones"
        copies = len(window) // turn
        return self._found("rotation", period, copies, self._starts[start], self._ends[keep - 1], message)

    def _found(
        self, kind: LoopKind, period: int, copies: int, start: int, keep: int, what: str
    ) -> LoopFinding:
        """Build a finding from places in the text, moving the cut back to a place between two calls."""
        message = f"{what} from character {start} on"
        if not self._tokens:
            return LoopFinding(kind, period, copies, None, start, None, keep, message)
        token, _ = self._mark(start)
        keep_tokens, keep_chars = self._mark(keep)
        return LoopFinding(kind, period, copies, token, start, keep_tokens, keep_chars, message)

    def _mark(self, char: int) -> tuple[int, int]:
        """Return tokens and characters at the last end of a call at or before this character."""
        chars = self._mark_chars[bisect_right(self._mark_chars, char) - 1]
        return self._mark_tokens[bisect_left(self._mark_chars, chars)], chars


def find_loop(
    ids: Sequence[int] | None = None,
    text: str | None = None,
    settings: GuardSettings | None = None,
    expected_length: int | None = None,
) -> LoopFinding | None:
    """Judge a finished sequence of ids or a finished text; with both, the text first.  Nothing is cut."""
    if text and (finding := LoopGuard(settings, expected_length).feed((), text)):
        return finding
    return LoopGuard(settings, expected_length).feed(ids) if ids else None
