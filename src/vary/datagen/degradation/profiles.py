"""Profiles: which steps come together in a scan, a photo, a fax, a copy or a book, and how often."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from vary.datagen.degradation.geometry import MOVING, Geometry, Image
from vary.datagen.degradation.light import LIGHT_STEPS, bleed_through
from vary.datagen.degradation.pixels import PIXEL_STEPS, Step

__all__ = ["LINES", "ORDER", "PAGES", "STEPS", "Degradation", "draw_degradation"]

STEPS: dict[str, Step] = {**PIXEL_STEPS, **LIGHT_STEPS}
"""By name, the steps that leave points where they are."""
ORDER = (
    *("ink", "bleed", "rotate", "perspective", "wave", "bend", "texture", "light", "gradient", "gutter"),
    *("fingers", "cast", "defocus", "motion", "blur", "downscale", "noise", "speckle", "salt", "fax", "jpeg"),
)
"""In which order steps are run: paper first, then its place, light, lens, sensor, transmission."""

LINES = {"light": 0.34, "scan": 0.38, "low resolution": 0.12, "photo": 0.10, "fax": 0.06}
"""Profiles of pages that are cut into lines, with how often each comes among those that are not clean."""
PAGES = {
    "light": 0.22,
    "scan": 0.28,
    "low resolution": 0.09,
    "photo": 0.10,
    "fax": 0.05,
    "copy": 0.10,
    "snapshot": 0.08,
    "book": 0.08,
}
"""The same for whole pages; what bends lines is among them."""

Maybe = Callable[..., None]
"""With a probability, one of the steps that are named."""


@dataclass(frozen=True)
class Degradation:
    """The steps of one page, in order: names with a strength between 0 and 1.

    `extra` are steps that come from chance of their own, so that the others stay as they were without them.
    """

    profile: str
    steps: tuple[tuple[str, float], ...] = ()
    extra: frozenset[str] = frozenset()

    def apply(
        self, image: Image, em: float, rng: np.random.Generator, behind: Image | None = None
    ) -> tuple[Image, Geometry]:
        """Run the steps over a page, uint8 (H, W) or (H, W, 3).

        `em` is the size of the smallest text in px, which bounds what stays readable; `behind` is the page
        whose ink bleeds through (None: one that is made from this one).
        """
        geometry = Geometry()
        own = rng.spawn(1)[0] if self.extra else rng
        for name, strength in self.steps:
            chance = own if name in self.extra else rng
            if name in MOVING:
                image, move = MOVING[name](image, strength, chance)
                geometry = geometry.then(move)
            elif name == "bleed" and behind is not None:
                image = bleed_through(image, behind, strength, em)
            else:
                image = STEPS[name](image, strength, em, chance)
        return image, geometry

    def __str__(self) -> str:
        """`scan: rotate=0.31 blur=0.77`."""
        steps = " ".join(f"{name}={strength:.2f}" for name, strength in self.steps)
        return f"{self.profile}: {steps}" if steps else self.profile


def draw_degradation(
    rng: np.random.Generator, clean_share: float, profiles: dict[str, float] | None = None
) -> Degradation:
    """Choose a page's fate: `clean` with probability `clean_share`, else one of `profiles`, by default
    `LINES`."""
    if rng.random() < clean_share:
        return Degradation("clean")
    profiles = LINES if profiles is None else profiles
    profile = str(rng.choice(list(profiles), p=list(profiles.values())))
    names: list[str] = []

    def maybe(probability: float, *options: str) -> None:
        if rng.random() < probability:
            names.append(str(rng.choice(options)))

    _CHOICES[profile](names, maybe, rng)
    drawn = _drawn(names, rng)
    extra = _extra_of_lines(rng.spawn(1)[0], profile) if profiles is LINES else []
    steps = sorted([*drawn, *extra], key=lambda step: ORDER.index(step[0]))
    return Degradation(profile, tuple(steps), frozenset(name for name, _ in extra))


def _drawn(names: Sequence[str], rng: np.random.Generator) -> list[tuple[str, float]]:
    return [(name, float(rng.random())) for name in sorted(names, key=ORDER.index)]


def _extra_of_lines(rng: np.random.Generator, profile: str) -> list[tuple[str, float]]:
    """What joined the profiles of lines later, from chance of its own."""
    shares = {"scan": ("bleed", "gutter"), "photo": ("fingers", "gradient")}.get(profile, ())
    return _drawn([name for name in shares if rng.random() < 0.15], rng)


def _light(names: list[str], maybe: Maybe, rng: np.random.Generator) -> None:
    some = ["blur", "noise", "jpeg", "rotate", "texture", "ink"]
    names += [str(name) for name in rng.choice(some, 2, replace=False)]


def _scan(names: list[str], maybe: Maybe, rng: np.random.Generator) -> None:
    maybe(0.35, "ink")
    maybe(0.75, "rotate")
    maybe(0.15, "wave")
    maybe(0.45, "texture", "light")
    maybe(0.7, "blur", "blur", "defocus")
    maybe(0.65, "noise", "noise", "speckle", "salt")
    maybe(0.6, "jpeg")


def _low_resolution(names: list[str], maybe: Maybe, rng: np.random.Generator) -> None:
    maybe(0.3, "rotate")
    names.append("downscale")
    maybe(0.3, "noise")
    maybe(0.5, "jpeg")


def _photo(names: list[str], maybe: Maybe, rng: np.random.Generator) -> None:
    names += ["perspective", "light"]
    maybe(0.5, "wave")
    maybe(0.7, "blur", "defocus", "motion")
    maybe(0.6, "noise")
    maybe(0.7, "jpeg")


def _fax(names: list[str], maybe: Maybe, rng: np.random.Generator) -> None:
    maybe(0.5, "rotate")
    maybe(0.5, "blur")
    maybe(0.5, "noise", "salt")
    names.append("fax")
    maybe(0.3, "jpeg")


def _copy(names: list[str], maybe: Maybe, rng: np.random.Generator) -> None:
    """A thin page on a copier."""
    maybe(0.75, "bleed")
    maybe(0.5, "gutter")
    maybe(0.4, "ink")
    maybe(0.6, "rotate")
    maybe(0.5, "blur")
    maybe(0.5, "noise", "salt", "speckle")
    maybe(0.5, "jpeg")


def _snapshot(names: list[str], maybe: Maybe, rng: np.random.Generator) -> None:
    """A telephone held over a page, by hand and by lamplight."""
    names.append("perspective")
    maybe(0.8, "fingers")
    maybe(0.8, "gradient")
    maybe(0.6, "cast")
    maybe(0.3, "wave")
    maybe(0.6, "blur", "defocus", "motion")
    maybe(0.6, "noise")
    maybe(0.7, "jpeg")


def _book(names: list[str], maybe: Maybe, rng: np.random.Generator) -> None:
    """A page of an open book under a camera."""
    names.append("bend")
    maybe(0.4, "perspective", "rotate")
    maybe(0.5, "bleed")
    maybe(0.5, "gradient", "light", "fingers")
    maybe(0.5, "cast")
    maybe(0.5, "blur", "defocus")
    maybe(0.5, "noise")
    maybe(0.6, "jpeg")


_CHOICES: dict[str, Callable[[list[str], Maybe, np.random.Generator], None]] = {
    "light": _light,
    "scan": _scan,
    "low resolution": _low_resolution,
    "photo": _photo,
    "fax": _fax,
    "copy": _copy,
    "snapshot": _snapshot,
    "book": _book,
}
