"""What repeats itself at the end of a growing sequence: exact periods, and a few forms in any order.

Sequences of anything hashable, one member at a time; nothing is scanned again.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Hashable

__all__ = ["FewForms", "Repeats"]


class Repeats:
    """Every period with which the end of a growing sequence repeats itself, kept up to date unit by unit."""

    _GRAM = 8
    """Units that must agree before a period is followed."""
    _PLACES = 16
    """Last places of a gram that are remembered; a period needs one gram that it contains no more often."""

    def __init__(self, max_period: int) -> None:
        self.forms: list[Hashable] = []
        self.numbers: list[int] = []
        self._max_period = max_period
        self._since: dict[int, tuple[int, int]] = {}
        """For each period: since which unit it holds exactly, and since which with numbers that count."""
        self._places: dict[tuple[Hashable, ...], list[int]] = {}

    def push(self, form: Hashable, number: int = 0) -> None:
        """Add one unit; ``number`` is its value where ``form`` only says that it is a number."""
        at = len(self.forms)
        self.forms.append(form)
        self.numbers.append(number)
        held = [(period, since) for period, since in self._since.items() if self.forms[at - period] == form]
        self._since = {period: self._go_on(at, period, since) for period, since in held}
        first = at + 1 - self._GRAM
        if first < 0:
            return
        gram, values = tuple(self.forms[first:]), tuple(self.numbers[first:])
        for key in (gram, gram + values) if any(values) else (gram,):
            places = self._places.setdefault(key, [])
            for period in [at - place for place in places]:
                if period <= self._max_period and period not in self._since:
                    since = first, first
                    for unit in range(first, at + 1):
                        since = self._go_on(unit, period, since)
                    self._since[period] = since
            places.append(at)
            del places[: -self._PLACES]

    def _go_on(self, at: int, period: int, since: tuple[int, int]) -> tuple[int, int]:
        exact, steady = since
        place, numbers = at - period, self.numbers
        step = numbers[at] - numbers[place]
        if step:
            exact = at + 1
        if place >= steady and step != numbers[place] - numbers[place - period]:
            steady = at + 1 if step else exact
        return exact, steady

    def lengths(self, at_least: int) -> list[tuple[int, int, int]]:
        """Return (period, units that repeat exactly, units that repeat or count), the shortest period first.

        Both lengths include the first copy.  Left out are periods whose second length is below ``at_least``
        and periods whose copies are made of whole copies of a shorter one.
        """
        end = len(self.forms)
        found: list[tuple[int, int, int]] = []
        for period in sorted(p for p, (_, steady) in self._since.items() if end - steady + p >= at_least):
            if all(period % shorter or steady < period for shorter, _, steady in found):
                exact_since, steady_since = self._since[period]
                found.append((period, end - exact_since + period, end - steady_since + period))
        return found


class FewForms:
    """The longest end of a growing sequence with at most ``limit`` forms and no unforeseen number."""

    def __init__(self, limit: int) -> None:
        self.window: deque[tuple[Hashable, int]] = deque()
        """Form and place of each member."""
        self._limit = limit
        self._counts: Counter[Hashable] = Counter()
        self._last: dict[int, tuple[tuple[int, ...], tuple[int, ...] | None]] = {}

    def clear(self) -> None:
        self.window.clear()
        self._counts.clear()
        self._last.clear()

    def push(self, form: Hashable, numbers: tuple[int, ...], place: int) -> None:
        """Add one member; numbers that do not go on in equal steps make everything before them news."""
        before, expected = self._last.get(len(numbers), (None, None))
        steps = None if before is None else tuple(new - old for new, old in zip(numbers, before, strict=True))
        if expected is not None and steps != expected:
            self.clear()
        self._last[len(numbers)] = numbers, steps
        self.window.append((form, place))
        self._counts[form] += 1
        while len(self._counts) > self._limit:
            self._drop()

    def _drop(self) -> None:
        form, _ = self.window.popleft()
        self._counts[form] -= 1
        if not self._counts[form]:
            del self._counts[form]

    def reaches(self, bound: int) -> bool:
        """Say whether so many members came back, whatever stands alone before them left out."""
        while len(self.window) >= bound and self._counts[self.window[0][0]] == 1:
            self._drop()
        return len(self.window) >= bound

    def first_turn(self) -> int:
        """Members before the first form that comes back."""
        seen: set[Hashable] = set()
        for count, (form, _) in enumerate(self.window):
            if form in seen:
                return count
            seen.add(form)
        return len(self.window)
