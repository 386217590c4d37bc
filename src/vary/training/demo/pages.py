"""The demonstration's data: pages of digits that only a sharp eye reads, and pictures of coloured shapes."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from vary.datagen.box_answers import box_answer
from vary.datagen.fonts import FontFace, find_fonts, load_font
from vary.datagen.prompts import draw_prompt, published_prompt
from vary.datagen.provenance import package_versions
from vary.datagen.sample import Box, Draw, Record, Sample
from vary.datagen.scene.config import NEGATIVE_ANSWERS
from vary.training.demo.sizes import SIDE

__all__ = [
    "COLOURS",
    "SHAPES",
    "DigitPages",
    "PagesConfig",
    "SceneTask",
    "Scenes",
    "ScenesConfig",
    "find_faces",
]

DIGITS = "0123456789"
COLOURS = {"red": (205, 40, 40), "green": (30, 140, 60), "blue": (40, 70, 200), "yellow": (225, 180, 20)}
SHAPES = ("circle", "square", "triangle")
SceneTask = Literal["caption", "detect", "negative", "chat"]
_LICENCE = "CC0-1.0"
_PITCH = 15
"""Pixels from one digit to the next."""
_FONT_SIZES = (14, 18)
_SHAPE_SIZES = (24, 32)
_GRID = 8
"""Pixels that all edges of shapes are multiples of, so that a box can be told after some hundred steps."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PagesConfig:
    """What pages of digits are drawn from.

    Attributes:
        seed, split: what is drawn, besides a page's number; splits differ at the same seed.
        lines, digits: the most lines, and the most digits of a line.
        faces: fonts, besides Pillow's own.
    """

    seed: int = 0
    split: str = "train"
    lines: int = 2
    digits: int = 4
    faces: tuple[FontFace, ...] = ()


class DigitPages:
    """Gray pages of a few lines of digits in one font; every page is asked for its text."""

    name = "demo-pages"
    length = None

    def __init__(self, config: PagesConfig) -> None:
        self.config = config

    def draw(self, index: int) -> Draw:
        """The page of an index; digits follow each other at the same distance, the whole a little shifted."""
        config, rng = self.config, _rng(self.config.seed, self.config.split, index)
        count = int(rng.integers(1, config.lines + 1))
        lines = [
            "".join(DIGITS[digit] for digit in rng.integers(10, size=int(rng.integers(1, config.digits + 1))))
            for _ in range(count)
        ]
        which = int(rng.integers(len(config.faces) + 1))
        font = _font(config.faces[which - 1] if which else None, int(rng.integers(*_FONT_SIZES)))
        paper, ink = int(rng.integers(225, 256)), int(rng.integers(0, 90))
        shift_x, shift_y = rng.integers(-2, 3, size=2).tolist()
        image = Image.new("L", (SIDE, SIDE), paper)
        pen = ImageDraw.Draw(image)
        height = SIDE / config.lines
        for row, line in enumerate(lines):
            for column, digit in enumerate(line):
                place = (_PITCH / 2 + 1 + _PITCH * column + shift_x, height * (row + 0.5) + shift_y)
                pen.text(place, digit, font=font, fill=ink, anchor="mm")
        sample = Sample(
            image=np.asarray(image),
            task="ocr",
            prompt=_published("ocr"),
            answer="\n".join(lines),
            source="digits",
            licence=_LICENCE,
        )
        return Draw((sample,))

    def describe(self) -> Record:
        """Settings and versions."""
        config = self.config
        fonts = ["Pillow's own", *(face.name for face in config.faces)]
        return {
            "seed": config.seed,
            "split": config.split,
            "config": {"lines": config.lines, "digits": config.digits, "fonts": fonts},
            "versions": package_versions(),
        }


@dataclass(frozen=True, kw_only=True, slots=True)
class ScenesConfig:
    """What pictures of shapes are drawn from.

    Attributes:
        seed, split: what is drawn, besides a picture's number; splits differ at the same seed.
        task: `caption`, `detect`, `negative` (asked for text, has none), or `chat`: a conversation in which
            caption and boxes are asked for, half of the time in other words than the published ones.
        most: shapes of a picture.
    """

    seed: int = 0
    split: str = "train"
    task: SceneTask = "caption"
    most: int = 2


class Scenes:
    """Pictures of a few coloured shapes, named from left to right."""

    name = "demo-scenes"
    length = None

    def __init__(self, config: ScenesConfig) -> None:
        self.config = config

    def draw(self, index: int) -> Draw:
        """The picture of an index."""
        config, rng = self.config, _rng(self.config.seed, self.config.split, index)
        image, boxes = _scene(rng, config.most)
        caption = " and ".join(f"a {box.label}" for box in boxes)
        answers = {
            "caption": caption,
            "detect": box_answer(boxes, SIDE, SIDE),
            "negative": NEGATIVE_ANSWERS["en"],
        }
        if config.task == "chat":
            order = [("caption", "detect"), ("detect", "caption")][int(rng.integers(2))]
            rounds = [(draw_prompt(task, "en", rng), answers[task]) for task in order]
        else:
            task = "ocr" if config.task == "negative" else config.task
            rounds = [(_published(task), answers[config.task])]
        sample = Sample(
            image=image,
            task="ocr" if config.task == "negative" else config.task,
            prompt=rounds[0][0],
            answer=rounds[0][1],
            later=tuple(rounds[1:]),
            source="drawn shapes",
            licence=_LICENCE,
            boxes=tuple(boxes),
        )
        return Draw((sample,))

    def describe(self) -> Record:
        """Settings and versions."""
        config = self.config
        return {
            "seed": config.seed,
            "split": config.split,
            "config": {"task": config.task, "most": config.most},
            "versions": package_versions(),
        }


def find_faces(count: int) -> tuple[FontFace, ...]:
    """Up to `count` installed upright faces whose digits are all of one height, spread over the alphabet.

    None are looked for where `count` is 0: looking through a system's fonts takes seconds.
    """
    if not count:
        return ()
    upright = [
        next((face for face in faces if _is_plain(face)), None)
        for faces in find_fonts(required=DIGITS).by_family().values()
    ]
    found = [face for face in upright if face is not None]
    chosen: list[FontFace] = []
    for start in np.linspace(0, max(0, len(found) - 1), count).round().astype(int):
        fit = next((face for face in found[start:] if face not in chosen and _has_lining_digits(face)), None)
        if fit is not None:
            chosen.append(fit)
    return tuple(chosen)


def _is_plain(face: FontFace) -> bool:
    return face.kind in {"text", "mono"} and not face.italic and face.weight == 400


def _has_lining_digits(face: FontFace) -> bool:
    """Whether no digit is lower than the others, or hangs below them, as in many fonts for books."""
    edges = [_font(face, 32).getbbox(digit, anchor="ls")[1::2] for digit in DIGITS]
    return all(np.ptp([edge[side] for edge in edges]) <= 3 for side in (0, 1))


def _font(face: FontFace | None, size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    if face is None:
        return ImageFont.load_default(size)
    return load_font(face.path, face.index, float(size), 0)


def _scene(rng: np.random.Generator, most: int) -> tuple[NDArray[np.uint8], list[Box]]:
    """A picture (SIDE, SIDE, 3) and the boxes of its shapes from left to right."""
    paper = rng.integers(215, 256, size=3).tolist()
    image = Image.new("RGB", (SIDE, SIDE), tuple(paper))
    pen = ImageDraw.Draw(image)
    boxes: list[Box] = []
    wanted = int(rng.integers(1, most + 1))
    for _ in range(20):
        if len(boxes) == wanted:
            break
        name = f"{list(COLOURS)[int(rng.integers(len(COLOURS)))]} {SHAPES[int(rng.integers(len(SHAPES)))]}"
        size = int(rng.choice(_SHAPE_SIZES))
        left, top = (_GRID * rng.integers(0, (SIDE - size) // _GRID + 1, size=2)).tolist()
        box = Box(name, left, top, left + size, top + size)
        if all(_apart(box, other) and box.label != other.label for other in boxes):
            boxes.append(box)
            _paint(pen, box)
    return np.asarray(image), sorted(boxes, key=lambda box: box.left)


def _apart(one: Box, other: Box) -> bool:
    """Whether two boxes have nothing in common and one is further left."""
    beside = one.right <= other.left or other.right <= one.left
    above = one.bottom <= other.top or other.bottom <= one.top
    return (beside or above) and one.left != other.left


def _paint(pen: ImageDraw.ImageDraw, box: Box) -> None:
    colour, shape = box.label.split()
    # Pillow's right and bottom edges are the last pixels, a box's the edges behind them.
    edges = (box.left, box.top, box.right - 1, box.bottom - 1)
    if shape == "circle":
        pen.ellipse(edges, fill=COLOURS[colour])
    elif shape == "square":
        pen.rectangle(edges, fill=COLOURS[colour])
    else:
        tip = ((edges[0] + edges[2]) / 2, edges[1])
        pen.polygon([tip, (edges[2], edges[3]), (edges[0], edges[3])], fill=COLOURS[colour])


def _published(task: str) -> str:
    prompt = published_prompt(task, "en")
    assert prompt is not None
    return prompt


def _rng(seed: int, split: str, index: int) -> np.random.Generator:
    return np.random.default_rng([seed, zlib.crc32(split.encode()), index])
