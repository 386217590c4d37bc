"""Degradations: boxes and points move with the image, text stays readable, gray and RGB alike."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from vary.datagen.degradation import (
    LINES,
    MOVING,
    PAGES,
    STEPS,
    Degradation,
    degrade,
    draw_degradation,
)
from vary.datagen.degradation.profiles import ORDER
from vary.datagen.sample import Box, Sample

EM = 20.0
SPOTS = np.array([(60, 50), (340, 60), (200, 150), (70, 240), (330, 250)], dtype=float)
# Places of rectangles (left, top, right, bottom), some at the rim of a page of 500 x 700.
PLACES = [
    (30, 40, 150, 90),
    (300, 25, 470, 60),
    (200, 300, 260, 420),
    (20, 600, 90, 680),
    (380, 560, 480, 670),
]
# Dark, so that each is told from paper whatever a step does to colours.
COLOURS = [(20, 20, 20), (140, 10, 10), (10, 90, 10), (10, 20, 130), (90, 20, 90)]


def spotted(colour: bool = False) -> np.ndarray:
    gray = np.full((300, 400), 255, np.uint8)
    for x, y in SPOTS.astype(int):
        gray[y - 3 : y + 4, x - 3 : x + 4] = 0
    return np.repeat(gray[:, :, None], 3, axis=2) if colour else gray


def sample(colour: bool) -> Sample:
    image = np.full((700, 500, 3), 250, np.uint8)
    for (left, top, right, bottom), value in zip(PLACES, COLOURS, strict=True):
        image[top:bottom, left:right] = value
    boxes = tuple(Box(str(n), *map(float, place)) for n, place in enumerate(PLACES))
    return Sample(
        image=image if colour else cv2.cvtColor(image, cv2.COLOR_RGB2GRAY),
        task="ocr",
        prompt="",
        answer="text",
        source="test",
        licence="CC0-1.0",
        boxes=boxes,
        details={"layout": "plain"},
    )


def found(image: np.ndarray, near: Box, empty: np.ndarray) -> tuple[float, ...]:
    """Where the rectangle in a box's middle lies, found by its colour within 25 px of the box.

    `empty` is the same page without rectangles, under the same light: what paper looks like in each place.
    """
    left, top = max(0, int(near.left) - 25), max(0, int(near.top) - 25)
    window = np.s_[top : int(near.bottom) + 25, left : int(near.right) + 25]
    part, paper = (np.atleast_3d(picture[window]).astype(np.float32) for picture in (image, empty))
    y, x = part.shape[0] // 2, part.shape[1] // 2
    ink = np.median(part[y - 5 : y + 5, x - 5 : x + 5].reshape(-1, part.shape[2]), axis=0)
    inked = ((paper - part) * (paper - ink)).sum(2) / np.maximum(((paper - ink) ** 2).sum(2), 1)
    mask = cv2.medianBlur((inked > 0.5).astype(np.uint8), 3)
    _, labels, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=4)
    assert labels[y, x], "nothing of the rectangle's colour in its middle"
    x, y, width, height, _ = stats[labels[y, x]]
    return left + x, top + y, left + x + width, top + y + height


def check_boxes(original: Sample, degradation: Degradation, seed: int) -> float:
    """How far the moved boxes are from the rectangles at most, px."""
    degraded = degrade(original, np.random.default_rng(seed), clean_share=0, em=EM, degradation=degradation)
    assert degraded.image.ndim == original.image.ndim
    blank = np.full_like(original.image, 250)
    empty, _ = degradation.apply(blank, EM, np.random.default_rng(seed))
    if "fax" in dict(degradation.steps):
        empty[:] = 255  # a fax of nothing is not what a fax of something has between its ink
    worst = 0.0
    for box in degraded.boxes:
        seen = found(degraded.image, box, empty)
        told = (box.left, box.top, box.right, box.bottom)
        worst = max(worst, *(abs(a - b) for a, b in zip(seen, told, strict=True)))
    return worst


def limit(degradation: Degradation) -> float:
    """1 px; where the picture was made coarser between, 1 px of the coarse one."""
    strength = dict(degradation.steps).get("downscale")
    return 1.0 if strength is None else max(1.0, EM / max(9.0, EM * (0.75 - 0.35 * strength)))


@pytest.mark.parametrize("colour", [False, True])
@pytest.mark.parametrize("name", ORDER)
def test_boxes_hold_after_every_step(name: str, colour: bool) -> None:
    for seed, strength in ((0, 0.1), (1, 0.9), (2, 0.5), (3, 0.99)):
        degradation = Degradation("test", ((name, strength),))
        if name in MOVING:
            _, geometry = degradation.apply(sample(colour).image, EM, np.random.default_rng(seed))
            assert not np.allclose(geometry.apply(SPOTS), SPOTS), "nothing moved: the test shows nothing"
        assert check_boxes(sample(colour), degradation, seed) <= limit(degradation), (strength, seed)


@pytest.mark.parametrize("colour", [False, True])
@pytest.mark.parametrize("profile", PAGES)
def test_boxes_hold_in_every_profile(profile: str, colour: bool) -> None:
    for seed in range(6):
        degradation = draw_degradation(np.random.default_rng(seed), 0, {profile: 1.0})
        assert degradation.profile == profile
        assert check_boxes(sample(colour), degradation, seed) <= limit(degradation), (seed, degradation)


def test_the_finder_sees_a_wrong_box() -> None:
    """What the tests above rest on: boxes that did not move with a bent page are found out."""
    original, bend = sample(True), Degradation("t", (("bend", 0.6),))
    image, _ = bend.apply(original.image, EM, np.random.default_rng(1))
    empty, _ = bend.apply(np.full_like(original.image, 250), EM, np.random.default_rng(1))
    off = [abs(found(image, box, empty)[1] - box.top) for box in original.boxes]
    assert max(off) > 3


def test_the_rest_of_a_sample_stays() -> None:
    original = sample(True)
    rng = np.random.default_rng(2)
    degraded = degrade(original, rng, clean_share=0, em=EM)
    assert [box.label for box in degraded.boxes] == [box.label for box in original.boxes]
    assert (degraded.answer, degraded.details["layout"]) == ("text", "plain")
    clean = degrade(original, rng, clean_share=1, em=EM)
    assert clean.image is original.image
    assert clean.boxes == original.boxes
    assert clean.details == {"layout": "plain", "degradation": "clean"}
    text = Sample(None, "chat", "q", "a", "s", "l")
    assert degrade(text, rng, clean_share=0, em=EM) is text


def test_another_page_bleeds_through_mirrored() -> None:
    """The mark on the left of the page behind shows faintly on the right of the page in front."""
    behind = np.full((300, 400), 255, np.uint8)
    behind[100:140, 40:80] = 0
    for front in (np.full((300, 400), 250, np.uint8), np.full((300, 400, 3), 250, np.uint8)):
        sheet = Sample(front, "ocr", "", "", "s", "l")
        bled = degrade(
            sheet,
            np.random.default_rng(0),
            clean_share=0,
            em=EM,
            behind=behind,
            degradation=Degradation("copy", (("bleed", 0.5),)),
        ).image
        dark = bled.reshape(300, 400, -1)[:, :, 0] < 245
        assert dark[120, 340]
        assert not dark[:, :300].any()
        assert bled.min() > 150


@pytest.mark.parametrize(
    "names", [("rotate",), ("perspective",), ("wave",), ("bend",), ("rotate", "perspective", "wave", "bend")]
)
@pytest.mark.parametrize("seed", range(4))
def test_points_move_with_the_page(names: tuple[str, ...], seed: int) -> None:
    degradation = Degradation("test", tuple((name, 0.9) for name in names))
    gray, geometry = degradation.apply(spotted(), 20, np.random.default_rng(seed))
    moved = geometry.apply(SPOTS)
    assert np.abs(moved - SPOTS).max() > 0.5, "nothing moved: the test shows nothing"
    for place in moved:
        assert np.abs(centre(gray, place) - place).max() < 1.0


def centre(gray: np.ndarray, place: np.ndarray) -> np.ndarray:
    """The centre of the ink within 12 px of a place."""
    x, y = np.round(place).astype(int)
    part = np.float32(gray[y - 12 : y + 13, x - 12 : x + 13])
    part = np.percentile(part, 90) - part
    part[part < 60] = 0
    ys, xs = np.mgrid[y - 12 : y + 13, x - 12 : x + 13]
    return np.array([(part * xs).sum(), (part * ys).sum()]) / part.sum()


@pytest.mark.parametrize("colour", [False, True])
@pytest.mark.parametrize("name", sorted(STEPS))
@pytest.mark.parametrize("strength", [0.05, 0.95])
def test_every_step_changes_pixels_and_keeps_the_page_readable(
    name: str, strength: float, colour: bool
) -> None:
    page = spotted(colour)
    image, geometry = Degradation("test", ((name, strength),)).apply(page, 20, np.random.default_rng(1))
    assert image.dtype == np.uint8
    assert image.shape == page.shape
    assert np.array_equal(geometry.apply(SPOTS), SPOTS)
    if name != "fax":
        assert not np.array_equal(image, page)
    for x, y in SPOTS.astype(int):
        spot, paper = image[y - 2 : y + 3, x - 2 : x + 3], image[y - 20 : y - 10, x - 5 : x + 6]
        assert spot.mean() < paper.mean() - 60


@pytest.mark.parametrize(
    "name", ["light", "gradient", "gutter", "fingers", "texture", "noise", "jpeg", "fax"]
)
def test_gray_in_three_channels_stays_gray(name: str) -> None:
    """What falls on a page falls on all its channels alike, and as on a gray page."""
    steps = ((name, 0.7),)
    gray, _ = Degradation("test", steps).apply(spotted(), 20, np.random.default_rng(3))
    colour, _ = Degradation("test", steps).apply(spotted(True), 20, np.random.default_rng(3))
    assert int(np.ptp(colour, axis=2).max()) <= 2
    assert np.abs(colour[:, :, 0].astype(int) - gray).mean() < 1.5


def test_steps_are_known_and_ordered() -> None:
    assert set(ORDER) == set(STEPS) | set(MOVING)
    assert len(ORDER) == len(set(ORDER))


@pytest.mark.parametrize("profiles", [LINES, PAGES])
def test_the_clean_share_holds(profiles: dict[str, float]) -> None:
    rng = np.random.default_rng(5)
    drawn = [draw_degradation(rng, 0.45, profiles) for _ in range(3000)]
    clean = [d for d in drawn if not d.steps and d.profile == "clean"]
    assert 0.41 < len(clean) / len(drawn) < 0.49
    never = {"bend", "cast"} if profiles is LINES else set()
    assert {step for d in drawn for step, _ in d.steps} == set(ORDER) - never
    assert all(d.profile == "clean" for d in (draw_degradation(rng, 1.0, profiles) for _ in range(20)))
    assert sum(profiles.values()) == pytest.approx(1)


def test_what_joined_the_lines_later_changes_nothing_else() -> None:
    """Pages of a seed stay as they were, but for those that got one of the added steps, and there too the
    other steps are the same."""
    added, plain = 0, 0
    for seed in range(300):
        with_extra = draw_degradation(np.random.default_rng(seed), 0.3)
        without = draw_degradation(np.random.default_rng(seed), 0.3, dict(LINES))  # not the lines' own mix
        assert without.extra == frozenset()
        assert with_extra.profile == without.profile
        assert [s for s in with_extra.steps if s[0] not in with_extra.extra] == list(without.steps)
        added += bool(with_extra.extra)
        plain += not with_extra.extra
    assert added > 10
    assert plain > 200


def test_a_page_is_degraded_alike_for_the_same_seed() -> None:
    steps = tuple((name, 0.5) for name in ORDER)
    first, second = (
        Degradation("test", steps).apply(spotted(), 20, np.random.default_rng(7))[0] for _ in range(2)
    )
    assert np.array_equal(first, second)
