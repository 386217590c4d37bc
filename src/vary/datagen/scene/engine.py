"""The scene engine: pictures of drawn objects with exact boxes, to detect or to find by a description."""

from __future__ import annotations

import zlib
from collections import Counter
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from vary.datagen.box_answers import box_answer, detection_prompt
from vary.datagen.degradation import draw_degradation
from vary.datagen.prompts import draw_prompt
from vary.datagen.provenance import package_versions, settings_record
from vary.datagen.sample import Box, Draw, Record, Sample
from vary.datagen.scene.backgrounds import background
from vary.datagen.scene.classes import COLOURS
from vary.datagen.scene.composing import Composer, Scene, drawn_objects
from vary.datagen.scene.config import SceneConfig
from vary.datagen.scene.referring import expressions

__all__ = ["SceneEngine"]

_LICENCE = "CC0-1.0"
_PROFILES = {"light": 0.4, "low resolution": 0.25, "photo": 0.35}
"""How pictures are degraded: nothing that takes the colours away."""
_REFERRING_OBJECTS = (3, 12)


class SceneEngine:
    """Composes scenes by number."""

    name = "scene"
    length = None

    def __init__(self, config: SceneConfig) -> None:
        self.config = config

    def draw(self, index: int) -> Draw:
        """The picture of index `index`; none if nothing on it can be asked for, which is counted."""
        rng = self._rng(index)
        language, task = self._choice(rng)
        scene, kind = self._composed(rng, task)
        if task == "ocr":
            sample = self._negative(scene, kind, language, rng)
        else:
            found = self._asked(scene, kind, task, language, rng)
            if found is None:
                return Draw((), dropped=Counter({"no clear description": 1}) + scene.dropped)
            sample = found
        counts = Counter({sample.task: 1, "objects": len(scene.objects)})
        return Draw((sample,), counts=counts, dropped=scene.dropped)

    def scene(self, index: int) -> Scene:
        """The scene of an index before it is degraded, with the owner of every pixel."""
        rng = self._rng(index)
        return self._composed(rng, self._choice(rng)[1])[0]

    def describe(self) -> Record:
        """Settings and versions."""
        config = self.config
        return {
            "split": config.split,
            "seed": config.seed,
            "config": settings_record(config, leave_out=("seed", "split")),
            "files": [],
            "versions": package_versions(),
        }

    def _rng(self, index: int) -> np.random.Generator:
        return np.random.default_rng([self.config.seed, zlib.crc32(self.config.split.encode()), index])

    def _choice(self, rng: np.random.Generator) -> tuple[str, str]:
        """The language and the task of a picture."""
        config = self.config
        language = config.languages[int(rng.integers(len(config.languages)))]
        chance = rng.random()
        if chance < config.negative_share:
            return language, "ocr"
        return language, "locate" if chance < config.negative_share + config.referring_share else "detect"

    def _composed(self, rng: np.random.Generator, task: str) -> tuple[Scene, str]:
        """A scene fit for a task, and the kind of its background."""
        config = self.config
        width = int(rng.integers(config.width[0], config.width[1] + 1))
        height = int(rng.integers(config.height[0], config.height[1] + 1))
        kind, image = background(height, width, rng)
        composer = Composer(image, config.least_visible, rng)
        side = min(width, height)
        if task == "detect" and rng.random() < config.crowded_share:
            count, classes = int(rng.integers(config.crowd[0], config.crowd[1] + 1)), int(rng.integers(3, 9))
            sizes = (0.05 * side, 0.12 * side)
        elif task == "locate":
            count = int(rng.integers(_REFERRING_OBJECTS[0], _REFERRING_OBJECTS[1] + 1))
            classes = int(rng.integers(2, 6))
            sizes = (0.09 * side, 0.28 * side)
        else:
            low = 0 if task == "ocr" else config.objects[0]
            count = int(rng.integers(low, config.objects[1] + 1))
            classes = int(rng.integers(1, 7))
            sizes = (0.07 * side, (0.45 if count < 6 else 0.28) * side)
        places = rng.permutation(len(config.classes))[: max(1, classes)]
        names = [config.classes[place] for place in places]
        # Few colours, so that a class alone or a colour alone often does not tell which one is meant.
        colours = (
            [str(name) for name in rng.choice(list(COLOURS), 3, replace=False)] if task == "locate" else []
        )
        for wanted in drawn_objects(count, names, sizes, rng, colours):
            composer.place(wanted)
        return composer.scene(), kind

    def _asked(
        self, scene: Scene, kind: str, task: str, language: str, rng: np.random.Generator
    ) -> Sample | None:
        """The sample of a scene that is asked for boxes, degraded; None if there is nothing to ask for."""
        details: Record = {}
        if not scene.objects:
            return None
        image, moved, degradation = self._degraded(scene, language, rng)
        height, width = image.shape[:2]
        if task == "locate":
            known = expressions(scene.objects, scene.image.shape[1], scene.image.shape[0], language)
            if not known:
                return None
            forms = sorted({expression.form for expression in known})
            form = forms[int(rng.integers(len(forms)))]
            fit = [expression for expression in known if expression.form == form]
            chosen = fit[int(rng.integers(len(fit)))]
            prompt = draw_prompt("locate", language, rng, chosen.text)
            answer = box_answer([replace(moved[chosen.number], label=chosen.text)], width, height)
            details = {"expression": chosen.text, "form": form, "target": chosen.number}
        else:
            prompt, asked = detection_prompt(moved, language, rng)
            answer = box_answer(asked, width, height)
        return Sample(
            image=image,
            task=task,
            prompt=prompt,
            answer=answer,
            source="drawn scene",
            licence=_LICENCE,
            language=language,
            boxes=moved,
            details={**details, **self._details(scene, kind), "degradation": degradation},
        )

    def _negative(self, scene: Scene, kind: str, language: str, rng: np.random.Generator) -> Sample:
        """A picture without text that is asked for its text."""
        image, moved, degradation = self._degraded(scene, language, rng)
        return Sample(
            image=image,
            task="ocr",
            prompt=draw_prompt("ocr", language, rng),
            answer=dict(self.config.negative_answers)[language],
            source="drawn scene",
            licence=_LICENCE,
            language=language,
            boxes=moved,
            details={"negative": True, **self._details(scene, kind), "degradation": degradation},
        )

    @staticmethod
    def _details(scene: Scene, kind: str) -> Record:
        objects = [
            {"class": item.kind.name, "colour": item.colour, "visible": round(item.visible, 3)}
            for item in scene.objects
        ]
        return {"background": kind, "objects": objects}

    def _degraded(
        self, scene: Scene, language: str, rng: np.random.Generator
    ) -> tuple[NDArray[np.uint8], tuple[Box, ...], str]:
        """The picture as a camera shows it, its objects' boxes, and what was done.

        Boxes are those of the visible ink, moved point by point: moving the corners of a box, as for words,
        would leave a turned box wider than its ink.
        """
        boxes = tuple(
            Box(item.kind.in_language(language), item.left, item.top, item.right, item.bottom)
            for item in scene.objects
        )
        drawn = draw_degradation(rng, self.config.clean_share, _PROFILES)
        smallest = min((box.bottom - box.top for box in boxes), default=60.0)
        image, geometry = drawn.apply(scene.image, max(12.0, smallest / 3), rng)
        if not drawn.steps:
            return image, boxes, str(drawn)
        height, width = image.shape[:2]
        moved = []
        for number, (box, item) in enumerate(zip(boxes, scene.objects, strict=True)):
            mask = scene.owner[item.top : item.bottom, item.left : item.right] == number
            points = geometry.apply(_rim(mask) + np.array([item.left, item.top]) - 0.5) + 0.5
            left, top = np.clip(points.min(axis=0), 0, (width, height)).round(2).tolist()
            right, bottom = np.clip(points.max(axis=0), 0, (width, height)).round(2).tolist()
            moved.append(replace(box, left=left, top=top, right=right, bottom=bottom))
        return image, tuple(moved), str(drawn)


def _rim(mask: NDArray[np.bool_]) -> NDArray[np.float64]:
    """The outer corners of a mask's first and last pixels of every row, (N, 2)."""
    rows = np.flatnonzero(mask.any(axis=1))
    first = mask[rows].argmax(axis=1)
    last = mask.shape[1] - mask[rows, ::-1].argmax(axis=1)
    corners = [np.stack([x, y], axis=1) for x in (first, last) for y in (rows, rows + 1)]
    return np.concatenate(corners).astype(np.float64)
