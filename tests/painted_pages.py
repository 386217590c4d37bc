"""Pages painted with known boxes, for the tests of line finding."""

from __future__ import annotations

import io
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont

__all__ = ["KINDS", "WORDS", "Box", "Painted", "blank", "font", "paint", "scan", "squares", "turn"]

FONTS = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
FACES = ("DejaVuSans.ttf", "DejaVuSerif.ttf", "DejaVuSansMono.ttf", "DejaVuSerif-Bold.ttf", "STIXGeneral.ttf")
TEXT = """the of and a to in is you that it he was for on are as with his they I at be this have from or one
had by word but not what all were we when your can said there use an each which she do how their if will up
other about out many then them these so some her would make like him into time has look two more write go see
number no way could people my than first water been call who oil its now find long down day did get come made
may part Greece, Quarterly judgement (typography) 1984 3.14 e-mail jumping; Kyoto: XML, "quoted" f'(x)
rhythm's A. B.C."""
WORDS = TEXT.split()
LEADING = 1.35

Box = tuple[float, float, float, float]
Face = ImageFont.FreeTypeFont


def font(name: str, size: int) -> Face:
    return ImageFont.truetype(FONTS / name, size)


@dataclass
class Painted:
    """A page and the ink boxes of its lines in reading order."""

    image: Image.Image
    boxes: list[Box] = field(default_factory=list)

    def text(self, x: float, y: float, text: str, face: Face, fill: int = 0) -> None:
        self.boxes.append(self.draw(x, y, text, face, fill))

    def draw(self, x: float, y: float, text: str, face: Face, fill: int = 0) -> Box:
        """Draws without making a line of it."""
        ImageDraw.Draw(self.image).text((x, y), text, font=face, fill=fill)
        mask, (left, top) = face.getmask2(text, "L")
        ink = mask.getbbox()
        return (x + left + ink[0], y + top + ink[1], x + left + ink[2], y + top + ink[3])

    def join(self, parts: list[Box]) -> None:
        low, high = np.min(parts, axis=0), np.max(parts, axis=0)
        self.boxes.append((float(low[0]), float(low[1]), float(high[2]), float(high[3])))

    def justified(self, x: float, y: float, words: list[str], width: float, face: Face) -> None:
        gap = (width - sum(face.getlength(word) for word in words)) / max(1, len(words) - 1)
        parts = []
        for word in words:
            parts.append(self.draw(round(x), y, word, face))
            x += face.getlength(word) + gap
        self.join(parts)

    def paragraph(self, rng: np.random.Generator, box: Box, face: Face, justify: bool = False) -> float:
        """Fills the box with random words, the last line by half; returns the y below."""
        left, y, right, bottom = box
        pitch = round(face.size * LEADING)
        while y + pitch <= bottom:
            words: list[str] = []
            while face.getlength(" ".join([*words, word := WORDS[rng.integers(len(WORDS))]])) <= right - left:
                words.append(word)
            last = y + 2 * pitch > bottom
            if justify and not last and len(words) > 2:
                self.justified(left, y, words, right - left, face)
            else:
                self.text(left, y, " ".join(words[: max(1, len(words) // 2)] if last else words), face)
            y += pitch
        return y

    def column(self, rng: np.random.Generator, box: Box, face: Face, justify: bool = False) -> None:
        """Fills the box with paragraphs of one to seven lines."""
        left, y, right, bottom = box
        pitch = round(face.size * LEADING)
        while y + 2 * pitch < bottom:
            end = min(bottom, y + (int(rng.integers(1, 8)) + 0.1) * pitch)
            y = self.paragraph(rng, (left, y, right, end), face, justify)
            y += round(face.size * rng.uniform(0.3, 1.0))


def blank(width: int = 1240, height: int = 1754, paper: int = 255) -> Painted:
    return Painted(Image.new("L", (width, height), paper))


def _single(rng: np.random.Generator, name: str, seed: int) -> Painted:
    page, size = blank(), int(rng.integers(15, 30))
    page.text(100, 90, "The rhythm of a page", font(name, size * 2))
    page.column(rng, (100, 110 + 2.6 * size, 1140, 1600), font(name, size), justify=seed % 2 == 0)
    return page


def _two(rng: np.random.Generator, name: str, seed: int) -> Painted:
    page, size, top = blank(), int(rng.integers(15, 25)), 90.0
    if seed % 2:
        page.text(100, 90, "A heading that goes over both of the columns", font(name, 40))
        top = 170.0
    gutter, body, justify = max(36, 1.6 * size), font(name, size), seed % 3 == 0
    end = top + rng.uniform(0.15, 1.0) * (1600 - top)
    page.column(rng, (100, top, 620 - gutter / 2, 1600), body, justify)
    page.column(rng, (620 + gutter / 2, top, 1140, end), body, justify)
    return page


def _three(rng: np.random.Generator, name: str, seed: int) -> Painted:
    page = blank()
    body = font(name, int(rng.integers(14, 19)))
    for number, end in enumerate((1600, 1600, 1600 - 900 * rng.random())):
        page.column(rng, (80 + 370 * number, 90, 410 + 370 * number, end), body)
    return page


def _large(rng: np.random.Generator, name: str, seed: int) -> Painted:
    page = blank()
    page.column(rng, (90, 90, 1150, 1600), font(name, int(rng.integers(60, 110))))
    return page


def _small(rng: np.random.Generator, name: str, seed: int) -> Painted:
    page = blank(827, 1169)
    page.column(rng, (60, 60, 770, 1100), font(name, int(rng.integers(8, 11))))
    return page


def _short(rng: np.random.Generator, name: str, seed: int) -> Painted:
    page, size = blank(), int(rng.integers(15, 30))
    for number in range(int(rng.integers(1, 4))):
        words = [WORDS[index] for index in rng.integers(0, len(WORDS), int(rng.integers(2, 6)))]
        page.text(120, 200 + 3 * size * number, " ".join(words), font(name, size))
    return page


def _list(rng: np.random.Generator, name: str, seed: int) -> Painted:
    """Items of one to three lines, their numbers or bullets at a distance."""
    page, size, y = blank(), int(rng.integers(15, 30)), 100.0
    body, indent = font(name, size), round(size * float(rng.uniform(1.4, 2.6)))
    for number in range(1, 12):
        first = len(page.boxes)
        height = int(rng.integers(1, 4)) * round(LEADING * size) + 1
        end = page.paragraph(rng, (100 + indent, y, 1100, y + height), body)
        label = page.draw(100, y, f"{number}." if seed % 2 else "•", body)
        box = page.boxes[first]
        page.boxes[first] = (label[0], min(label[1], box[1]), box[2], max(label[3], box[3]))
        y = end + 0.4 * size
    return page


def _furniture(rng: np.random.Generator, name: str, seed: int) -> Painted:
    """Two columns below a running header of two parts and above a page number."""
    page, body = blank(), font(name, int(rng.integers(15, 20)))
    page.text(100, 40, "Chapter 3", font(name, 18))
    page.text(900, 40, "Of pages", font(name, 18))
    page.column(rng, (100, 130, 590, 1600), body)
    page.column(rng, (650, 130, 1140, 1600), body)
    page.text(610, 1680, str(int(rng.integers(1, 400))), font(name, 20))
    return page


KINDS: dict[str, Callable[[np.random.Generator, str, int], Painted]] = {
    "single": _single,
    "two": _two,
    "three": _three,
    "large": _large,
    "small": _small,
    "short": _short,
    "list": _list,
    "furniture": _furniture,
}


def paint(kind: str, seed: int) -> Painted:
    return KINDS[kind](np.random.default_rng(seed), FACES[seed % len(FACES)], seed)


def squares(seed: int, size: int = 24, lines: int = 12, columns: int = 36) -> Painted:
    """Lines on a grid like Chinese: square glyphs of loose strokes, full stops in cells of their own."""
    rng = np.random.default_rng(seed)
    page = blank()
    draw = ImageDraw.Draw(page.image)
    stroke = max(2, size // 10)
    for row in range(lines):
        y, parts = 120 + row * round(1.6 * size), []
        for cell in range(columns if row % 4 != 3 else columns // 3):
            x = 120 + cell * size
            if cell % 9 == 8:
                parts.append((x, y + 0.7 * size, x + 0.2 * size, y + 0.9 * size))
                draw.ellipse(parts[-1], outline=0, width=2)
                continue
            low, high = round(0.06 * size), round(0.94 * size)
            levels = (low, *rng.choice(np.arange(0.25, 0.8, 0.18) * size, 2, replace=False), high - stroke)
            for level in levels:
                left, right = x + low + rng.integers(0, 0.25 * size), x + high - rng.integers(0, 0.25 * size)
                draw.rectangle((left, y + level, right, y + level + stroke - 1), fill=0)
            if rng.random() < 0.9:
                middle = round(rng.uniform(0.3, 0.7) * size)
                draw.rectangle((x + middle, y + low, x + middle + stroke - 1, y + high - 1), fill=0)
            parts.append((x + 2 * low, y + low, x + high - low, y + high))
        page.join(parts)
    return page


def scan(page: Painted, seed: int) -> tuple[Image.Image, float]:
    """Turns, lights unevenly, blurs, adds noise, compresses; returns the degrees it was turned clockwise."""
    rng = np.random.default_rng(1000 + seed)
    angle = float(rng.uniform(-2, 2))
    turned = page.image.rotate(-angle, Image.Resampling.BICUBIC, fillcolor=255)
    pixels = np.asarray(turned, dtype=np.float32)
    height, width = pixels.shape
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    light = 0.72 + 0.26 * (x / width * rng.random() + y / height * rng.random()) / 1.2
    noise = rng.normal(0, rng.uniform(2, 9), pixels.shape)
    lit = Image.fromarray(np.clip((30 + pixels * 0.86) * light, 0, 255).astype(np.uint8))
    blurred = lit.filter(ImageFilter.GaussianBlur(float(rng.uniform(0.2, 0.9))))
    noisy = np.clip(np.asarray(blurred, dtype=np.float32) + noise, 0, 255).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(noisy).save(buffer, "JPEG", quality=int(rng.integers(45, 90)))
    return Image.open(buffer).convert("L"), angle


def turn(box: Box, angle: float, size: tuple[int, int]) -> np.ndarray:
    """Corners (4, 2) of a box after turning the page clockwise about its centre."""
    centre = np.array(size) / 2
    left, top, right, bottom = box
    corners = np.array([(left, top), (right, top), (right, bottom), (left, bottom)]) - centre
    cosine, sine = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    return corners @ np.array([[cosine, sine], [-sine, cosine]]) + centre
