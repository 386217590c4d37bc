"""Numbers on charts: axes with round steps, how exactly they can be read, and how numbers are written."""

from __future__ import annotations

import math
from dataclasses import dataclass

__all__ = ["Axis", "plain_number", "reading_step", "rounded", "value_axis", "written"]

_STEPS = (1.0, 2.0, 2.5, 5.0)
_READINGS = {1.0: 0.2, 2.0: 0.5, 2.5: 0.5, 5.0: 1.0}
"""By the mantissa of an axis' step the distance to which a mark between two ticks is read off: a fifth of the
step, a quarter where it is 2, so that every reading is a round number."""


@dataclass(frozen=True, slots=True)
class Axis:
    """An axis of numbers: its ends, which are ticks, and the distance of its ticks."""

    low: float
    high: float
    step: float

    @property
    def ticks(self) -> tuple[float, ...]:
        """The ticks from `low` to `high`, both of them included."""
        count = round((self.high - self.low) / self.step)
        return tuple(rounded(self.low + number * self.step, self.decimals) for number in range(count + 1))

    @property
    def decimals(self) -> int:
        """Digits that the ticks need behind the point."""
        mantissa, exponent = _mantissa(self.step)
        return max(0, -exponent + (1 if mantissa == 2.5 else 0))


def value_axis(
    low: float, high: float, *, from_zero: bool, most_ticks: int = 7, headroom: float = 0.0
) -> Axis:
    """The axis of values from `low` to `high` with at most `most_ticks` ticks, as few as its step allows.

    `headroom` is the part of the span that is kept free above the highest value (and below a negative one),
    for what is written there.
    """
    if from_zero:
        low, high = min(low, 0.0), max(high, 0.0)
    span = (high - low) or abs(high) or 1.0
    if low < 0:
        low -= headroom * span
    elif not from_zero:
        low = max(0.0, low - headroom * span)
    high += headroom * span if high > 0 else 0.0
    exponent = math.floor(math.log10(span / most_ticks)) - 1
    while True:
        for mantissa in _STEPS:
            step = mantissa * 10.0**exponent
            first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
            if last - first < most_ticks:
                digits = max(0, 1 - exponent)
                return Axis(rounded(first * step, digits), rounded(last * step, digits), step)
        exponent += 1


def reading_step(axis: Axis) -> float:
    """How exactly a mark on `axis` is read off: a fifth of the ticks' distance (a quarter where it is 2)."""
    mantissa, exponent = _mantissa(axis.step)
    return _READINGS[mantissa] * 10.0**exponent


def _mantissa(step: float) -> tuple[float, int]:
    exponent = math.floor(math.log10(step) + 1e-9)
    return min(_STEPS, key=lambda known: abs(known - step / 10.0**exponent)), exponent


def rounded(value: float, decimals: int) -> float:
    """`value` with `decimals` digits behind the point, never a negative zero."""
    return round(value, decimals) + 0.0


def plain_number(value: float) -> int | float:
    """A whole number as int, as a Python dict shows it."""
    return int(value) if value == int(value) else value


def written(value: float, decimals: int, *, grouped: bool = False) -> str:
    """`value` with `decimals` digits behind the point, and commas between thousands if `grouped`."""
    text = f"{abs(value):,.{decimals}f}" if grouped else f"{abs(value):.{decimals}f}"
    return f"-{text}" if value < 0 and text.strip("0.,") else text
