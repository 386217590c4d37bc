"""Drawn objects: every class leaves ink, keeps its colour, and its mask is what changes on the picture."""

from __future__ import annotations

import numpy as np
import pytest

from vary.datagen.scene.backgrounds import BACKGROUNDS
from vary.datagen.scene.classes import CLASSES, COLOUR_NAMES, COLOURS, tones_of
from vary.datagen.scene.composing import Composer, Scene, Wanted, drawn_objects
from vary.datagen.scene.sketch import Sketch, rendered


def test_there_are_many_classes_with_names_in_both_languages() -> None:
    assert len(CLASSES) >= 40
    assert len({kind.chinese for kind in CLASSES.values()}) == len(CLASSES)
    assert set(COLOURS) == set(COLOUR_NAMES)
    for kind in CLASSES.values():
        assert set(kind.colours) <= set(COLOURS)
        assert kind.in_language("zh") == kind.chinese
        assert kind.in_language("en") == kind.name


@pytest.mark.parametrize("name", CLASSES)
def test_every_class_can_be_drawn(name: str) -> None:
    kind = CLASSES[name]
    for seed in range(6):
        rng = np.random.default_rng(seed)
        sketch = Sketch()
        kind.drawing(sketch, rng)
        points = np.concatenate([shape for shape, tone in sketch.shapes if tone != "hole"])
        assert points.min() > -0.12, "outside of its square"
        assert points.max() < 1.12, "outside of its square"
        ink = rendered(sketch, tones_of("blue", rng), 90, turn=30.0 * seed)
        assert ink.cover.min() >= 0
        assert ink.cover.max() <= 1
        rows, columns = np.nonzero(ink.solid)
        assert len(rows) > 200
        # The longer side of the ink is what was asked for, before it is turned.
        if seed == 0:
            extent = max(np.ptp(rows), np.ptp(columns)) + 1
            assert abs(extent - 90) <= 4


@pytest.mark.parametrize("name", CLASSES)
def test_an_object_shows_its_colour(name: str) -> None:
    """Of the two colours red and blue, an object is nearer to its own."""
    kind = CLASSES[name]
    means = {}
    for colour in ("red", "blue"):
        rng = np.random.default_rng(1)
        sketch = Sketch()
        kind.drawing(sketch, rng)
        ink = rendered(sketch, tones_of(colour, np.random.default_rng(2)), 80)
        means[colour] = ink.colour[ink.cover > 0.99].mean(axis=0)
    assert means["red"][0] - means["red"][2] > means["blue"][0] - means["blue"][2] + 30


def test_holes_let_the_background_through() -> None:
    sketch = Sketch()
    sketch.ellipse(0.5, 0.5, 0.5)
    sketch.ellipse(0.5, 0.5, 0.25, tone="hole")
    ink = rendered(sketch, tones_of("red", np.random.default_rng(0)), 100)
    middle = ink.cover.shape[0] // 2
    assert ink.cover[middle, middle] == 0
    expected = np.pi * (50**2 - 25**2)
    assert abs(float(ink.cover.sum()) - expected) < 0.02 * expected


@pytest.mark.parametrize("place", range(len(BACKGROUNDS)))
def test_backgrounds_are_pictures(place: int) -> None:
    _, _, paint = BACKGROUNDS[place]
    for seed in range(3):
        image = paint(120, 170, np.random.default_rng(seed))
        assert image.dtype == np.uint8
        assert image.shape == (120, 170, 3)


def _composed(objects: list[Wanted], seed: int = 0) -> Scene:
    composer = Composer(np.full((300, 400, 3), 230, np.uint8), 0.6, np.random.default_rng(seed))
    for wanted in objects:
        composer.place(wanted)
    return composer.scene()


def _objects(count: int, seed: int) -> list[Wanted]:
    rng = np.random.default_rng(seed)
    return drawn_objects(
        count, ["cup", "star", "fish", "key"], (40, 90), rng, ["red", "blue", "green", "black"]
    )


@pytest.mark.parametrize("seed", range(8))
def test_boxes_are_the_bounds_of_what_an_object_changes(seed: int) -> None:
    """The scene with its last object and without it differ by that object's ink alone."""
    objects = _objects(7, seed)
    whole, without = _composed(objects, seed), _composed(objects[:-1], seed)
    assert len(whole.objects) == len(without.objects) + 1, "no place for the last object: take other seeds"
    changed = np.abs(whole.image.astype(int) - without.image.astype(int)).max(axis=2)
    box = whole.objects[-1]
    # Pixels that are covered by half at least change clearly; any change at all is within a pixel of the box.
    rows, columns = np.nonzero(changed > 0)
    assert abs(int(columns.min()) - box.left) <= 1
    assert abs(int(columns.max()) + 1 - box.right) <= 1
    assert abs(int(rows.min()) - box.top) <= 1
    assert abs(int(rows.max()) + 1 - box.bottom) <= 1


@pytest.mark.parametrize("seed", range(8))
def test_boxes_are_tight_around_the_visible_ink(seed: int) -> None:
    scene = _composed(_objects(14, seed), seed)
    assert len(scene.objects) > 5
    for number, item in enumerate(scene.objects):
        inside = scene.owner[item.top : item.bottom, item.left : item.right] == number
        assert inside.sum() == (scene.owner == number).sum(), "ink outside of the box"
        assert inside[0].any()
        assert inside[-1].any()
        assert inside[:, 0].any()
        assert inside[:, -1].any()
        assert 0.6 <= item.visible <= 1


def test_objects_without_a_place_are_counted() -> None:
    scene = _composed(_objects(90, 0))
    assert scene.dropped["no place for an object"] > 0
    assert len(scene.objects) + sum(scene.dropped.values()) == 90


def test_an_object_of_the_background_s_colour_is_left_out() -> None:
    composer = Composer(np.full((300, 300, 3), 250, np.uint8), 0.6, np.random.default_rng(0))
    assert not composer.place(Wanted(CLASSES["cloud"], "white", 60))
    assert composer.place(Wanted(CLASSES["cloud"], "gray", 60))
