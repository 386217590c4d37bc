"""The settings of the scene engine."""

from __future__ import annotations

from dataclasses import dataclass

from vary.datagen.corpus import LANGUAGES
from vary.datagen.scene.classes import CLASSES
from vary.errors import DataError, did_you_mean

__all__ = ["NEGATIVE_ANSWERS", "SceneConfig"]

NEGATIVE_ANSWERS = {"en": "This is a picture without text.", "zh": "这是一幅没有文字的图画。"}
"""The fixed sentences of stage 1: the answer where the text of a picture is asked for that has none."""
_SMALLEST, _LARGEST = 160, 4000
_MOST_OBJECTS = 200


@dataclass(frozen=True, kw_only=True)
class SceneConfig:
    """What the scene engine draws.

    Attributes:
        seed, split: what the scenes are drawn from, besides their number; splits differ at the same seed.
        languages: some of `en`, `zh`, equally often.
        referring_share: share of scenes that ask for one described object (task `locate`), 0 to 1.
        negative_share: share of pictures that are asked for text and have none (task `ocr`), 0 to 1.
        crowded_share: share of the other scenes (task `detect`) with more objects than one answer tells.
        objects: the least and the most objects of a scene that is not crowded.
        crowd: the least and the most objects of a crowded one.
        classes: some of `classes.CLASSES`.
        least_visible: share of its ink that an object shows at least, 0 to 1.
        width, height: the least and the most px of a picture's sides.
        clean_share: share of pictures without degradation, 0 to 1.
        negative_answers: the sentence about pictures without text, by language.
    """

    seed: int = 0
    split: str = "train"
    languages: tuple[str, ...] = LANGUAGES
    referring_share: float = 0.45
    negative_share: float = 0.05
    crowded_share: float = 0.12
    objects: tuple[int, int] = (1, 14)
    crowd: tuple[int, int] = (31, 60)
    classes: tuple[str, ...] = tuple(CLASSES)
    least_visible: float = 0.65
    width: tuple[int, int] = (448, 1024)
    height: tuple[int, int] = (448, 1024)
    clean_share: float = 0.5
    negative_answers: tuple[tuple[str, str], ...] = tuple(NEGATIVE_ANSWERS.items())

    def __post_init__(self) -> None:
        for field, found, known in (
            ("languages", self.languages, LANGUAGES),
            ("classes", self.classes, tuple(CLASSES)),
        ):
            unknown = [name for name in found if name not in known]
            if unknown or not found:
                what = f"{field} {unknown[0]!r} is not known" if unknown else f"no {field}"
                hint = did_you_mean(unknown[0], known) if unknown else ""
                raise DataError(f"{what}: expected some of {', '.join(known)}{hint}")
        for field in ("referring_share", "negative_share", "crowded_share", "least_visible", "clean_share"):
            value = getattr(self, field)
            if not 0 <= value <= 1:
                raise DataError(f"{field}={value}: expected a number from 0 to 1")
        if self.referring_share + self.negative_share > 1:
            raise DataError(
                f"referring_share={self.referring_share} and negative_share={self.negative_share}: "
                "expected no more than 1 together"
            )
        for field, low, high in (
            ("objects", 1, _MOST_OBJECTS),
            ("crowd", 1, _MOST_OBJECTS),
            ("width", _SMALLEST, _LARGEST),
            ("height", _SMALLEST, _LARGEST),
        ):
            least, most = getattr(self, field)
            if not low <= least <= most <= high:
                raise DataError(f"{field}={least, most}: expected the least and the most, {low} to {high}")
        missing = [language for language in self.languages if not dict(self.negative_answers).get(language)]
        if missing and self.negative_share:
            raise DataError(f"no sentence for pictures without text in language {missing[0]!r}: give one")
