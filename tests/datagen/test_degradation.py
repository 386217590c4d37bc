"""Degradations: what moves moves the points along, and nothing but the clean page stays as it was."""

from __future__ import annotations

import numpy as np
import pytest

from vary.datagen.degradation import _MOVING, _ORDER, _STEPS, Degradation, draw_degradation

SPOTS = np.array([(60, 50), (340, 60), (200, 150), (70, 240), (330, 250)], dtype=float)


def page() -> np.ndarray:
    gray = np.full((300, 400), 255, np.uint8)
    for x, y in SPOTS.astype(int):
        gray[y - 3 : y + 4, x - 3 : x + 4] = 0
    return gray


def centre(gray: np.ndarray, place: np.ndarray) -> np.ndarray:
    """The centre of the ink within 12 px of a place."""
    x, y = np.round(place).astype(int)
    part = 255.0 - gray[y - 12 : y + 13, x - 12 : x + 13]
    part[part < 60] = 0
    ys, xs = np.mgrid[y - 12 : y + 13, x - 12 : x + 13]
    return np.array([(part * xs).sum(), (part * ys).sum()]) / part.sum()


@pytest.mark.parametrize(
    "names", [("rotate",), ("perspective",), ("wave",), ("rotate", "perspective", "wave")]
)
@pytest.mark.parametrize("seed", range(4))
def test_points_move_with_the_page(names: tuple[str, ...], seed: int) -> None:
    degradation = Degradation("test", tuple((name, 0.9) for name in names))
    gray, geometry = degradation.apply(page(), 20, np.random.default_rng(seed))
    moved = geometry.apply(SPOTS)
    assert np.abs(moved - SPOTS).max() > 0.5, "nothing moved: the test shows nothing"
    for place in moved:
        assert np.abs(centre(gray, place) - place).max() < 1.0


@pytest.mark.parametrize("name", sorted(_STEPS))
@pytest.mark.parametrize("strength", [0.05, 0.95])
def test_every_step_changes_pixels_and_keeps_the_page_readable(name: str, strength: float) -> None:
    gray, geometry = Degradation("test", ((name, strength),)).apply(page(), 20, np.random.default_rng(1))
    assert gray.dtype == np.uint8
    assert gray.shape == (300, 400)
    assert np.array_equal(geometry.apply(SPOTS), SPOTS)
    if name != "fax":
        assert not np.array_equal(gray, page())
    for x, y in SPOTS.astype(int):
        assert gray[y - 2 : y + 3, x - 2 : x + 3].mean() < gray[y - 20 : y - 10, x - 5 : x + 6].mean() - 60


def test_steps_are_known_and_ordered() -> None:
    assert set(_ORDER) == set(_STEPS) | set(_MOVING)


def test_the_clean_share_holds() -> None:
    rng = np.random.default_rng(5)
    drawn = [draw_degradation(rng, 0.45) for _ in range(2000)]
    clean = [d for d in drawn if not d.steps and d.profile == "clean"]
    assert 0.40 < len(clean) / len(drawn) < 0.50
    assert {step for d in drawn for step, _ in d.steps} == set(_ORDER)
    assert all(d.profile == "clean" for d in (draw_degradation(rng, 1.0) for _ in range(20)))


def test_a_page_is_degraded_alike_for_the_same_seed() -> None:
    steps = tuple((name, 0.5) for name in _ORDER)
    first, second = (
        Degradation("test", steps).apply(page(), 20, np.random.default_rng(7))[0] for _ in range(2)
    )
    assert np.array_equal(first, second)
