"""Axes of charts: round steps, all values within, readings that fall between ticks evenly."""

from __future__ import annotations

from decimal import Decimal

from hypothesis import assume, given
from hypothesis import strategies as st

from vary.datagen.chart.numbers import plain_number, reading_step, rounded, value_axis, written

NUMBER = st.floats(-1e6, 1e6, allow_nan=False)


@given(NUMBER, NUMBER, st.booleans(), st.integers(3, 12))
def test_an_axis_holds_its_values_with_few_round_ticks(
    first: float, second: float, from_zero: bool, most: int
) -> None:
    low, high = sorted((first, second))
    assume(high - low > 1e-3)
    axis = value_axis(low, high, from_zero=from_zero, most_ticks=most)
    slack = 1e-6 * axis.step
    assert axis.low <= low + slack
    assert axis.high >= high - slack
    assert 2 <= len(axis.ticks) <= most
    if from_zero:
        assert axis.low <= 0 <= axis.high
    digits = Decimal(f"{axis.step:.6g}").normalize().as_tuple().digits
    assert digits in {(1,), (2,), (2, 5), (5,)}
    # What is written at a tick is the tick.
    for tick in axis.ticks:
        assert abs(float(written(tick, axis.decimals)) - tick) <= 1e-9 * max(1.0, abs(tick))


@given(NUMBER, NUMBER)
def test_readings_part_a_step_evenly(first: float, second: float) -> None:
    low, high = sorted((first, second))
    assume(high - low > 1e-3)
    axis = value_axis(low, high, from_zero=False)
    parts = axis.step / reading_step(axis)
    assert abs(parts - round(parts)) < 1e-6
    assert 4 <= round(parts) <= 5


def test_known_axes() -> None:
    assert value_axis(3, 97, from_zero=True).ticks == (0, 20, 40, 60, 80, 100)
    assert value_axis(-4, 31, from_zero=True).ticks == (-10, 0, 10, 20, 30, 40)
    assert value_axis(0.21, 0.39, from_zero=False, most_ticks=5).ticks == (0.2, 0.25, 0.3, 0.35, 0.4)
    assert value_axis(0, 100, from_zero=True, headroom=0.08).high > 100
    assert value_axis(5, 5, from_zero=False).high >= 5


def test_numbers_as_they_are_written() -> None:
    assert written(12345.678, 1, grouped=True) == "12,345.7"
    assert written(-0.04, 1) == "0.0"
    assert written(-3, 0) == "-3"
    assert str(rounded(-0.0001, 2)) == "0.0"
    assert repr(plain_number(4.0)) == "4"
    assert plain_number(4.5) == 4.5
