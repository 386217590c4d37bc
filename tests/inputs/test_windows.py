"""Line windows on pages painted here, with known boxes."""

from __future__ import annotations

import io
import math
from dataclasses import dataclass, field
from pathlib import Path

import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from vary.inputs.windows import (
    PageLines,
    find_lines,
)

FONTS = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
FACES = ("DejaVuSans.ttf", "DejaVuSerif.ttf", "DejaVuSansMono.ttf", "DejaVuSerif-Bold.ttf", "STIXGeneral.ttf")
WORDS = ["the", "of", "and", "a", "to", "in", "is", "you", "that", "it", "he", "was", "for", "on", "are", "as", "with", "his", "they", "I", "at", "be", "this", "have", "from", "or", "one", "had", "by", "word", "but", "not", "what", "all", "were", "we", "when", "your", "can", "said", "there", "use", "an", "each", "which", "she", "do", "how", "their", "if", "will", "up", "other", "about", "out", "many", "then", "them", "these", "so", "some", "her", "would", "make", "like", "him", "into", "time", "has", "look", "two", "more", "write", "go", "see", "number", "no", "way", "could", "people", "my", "than", "first", "water", "been", "call", "who", "oil", "its", "now", "find", "long", "down", "day", "did", "get", "come", "made", "may", "part", "Greece,", "Quarterly", "judgement", "(typography)", "1984", "3.14", "e-mail", "jumping;", "Kyoto:", "XML,", '"quoted"', "f'(x)", "rhythm's", "A.", "B.C."]

Box = tuple[float, float, float, float]


@dataclass
class Painted:
    """A page and the ink boxes of its lines in reading order."""

    image: Image.Image
    boxes: list[Box] = field(default_factory=list)

    def text(self, x: float, y: float, text: str, font: ImageFont.FreeTypeFont, fill: int = 0) -> None:
        ImageDraw.Draw(self.image).text((x, y), text, font=font, fill=fill)
        self.boxes.append(
            tuple(float(edge) for edge in font.getbbox(text))
            if not x and not y
            else self._box(x, y, text, font)
        )

    @staticmethod
    def _box(x: float, y: float, text: str, font: ImageFont.FreeTypeFont) -> Box:
        left, top, right, bottom = font.getbbox(text)
        return (x + left, y + top, x + right, y + bottom)

    def justified(
        self, x: float, y: float, words: list[str], width: float, font: ImageFont.FreeTypeFont
    ) -> None:
        draw = ImageDraw.Draw(self.image)
        gap = (width - sum(font.getlength(word) for word in words)) / max(1, len(words) - 1)
        boxes = []
        for word in words:
            draw.text((round(x), y), word, font=font, fill=0)
            boxes.append(self._box(round(x), y, word, font))
            x += font.getlength(word) + gap
        low, high = np.min(boxes, axis=0), np.max(boxes, axis=0)
        self.boxes.append((float(low[0]), float(low[1]), float(high[2]), float(high[3])))


def blank(width: int = 1240, height: int = 1754, paper: int = 255) -> Painted:
    return Painted(Image.new("L", (width, height), paper))


def font(name: str, size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(FONTS / name, size)


def paragraph(
    page: Painted,
    rng: np.random.Generator,
    box: Box,
    face: ImageFont.FreeTypeFont,
    justify: bool = False,
    leading: float = 1.35,
) -> float:
    """Fills the box with random words, returns the y below."""
    left, y, right, bottom = box
    pitch = round(face.size * leading)
    while y + pitch <= bottom:
        words: list[str] = []
        limit = right - left
        while True:
            word = WORDS[rng.integers(len(WORDS))]
            if face.getlength(" ".join([*words, word])) > limit:
                break
            words.append(word)
        last = y + 2 * pitch > bottom
        if last:
            words = words[: max(1, len(words) // 2)]
        if justify and not last and len(words) > 2:
            page.justified(left, y, words, limit, face)
        else:
            page.text(left, y, " ".join(words), face)
        y += pitch
    return y


def column(
    page: Painted, rng: np.random.Generator, box: Box, face: ImageFont.FreeTypeFont, justify: bool = False
) -> None:
    left, y, right, bottom = box
    pitch = face.size * 1.35
    while y + 2 * pitch < bottom:
        lines = int(rng.integers(1, 8))
        end = min(bottom, y + (lines + 0.1) * round(pitch))
        y = paragraph(page, rng, (left, y, right, end), face, justify) + round(
            face.size * rng.uniform(0.3, 1.0)
        )


def paint(kind: str, seed: int) -> Painted:
    rng = np.random.default_rng(seed)
    name = FACES[seed % len(FACES)]
    size = int(rng.integers(15, 30))
    body = font(name, size)
    page = blank()
    if kind == "single":
        page.text(100, 90, "The rhythm of a page", font(name, size * 2))
        column(page, rng, (100, 110 + 2.6 * size, 1140, 1600), body, justify=seed % 2 == 0)
    elif kind == "two":
        top = 90.0
        if seed % 2:
            page.text(100, 90, "A heading that goes over both of the columns", font(name, 40))
            top = 170
        size = min(size, 24)
        body = font(name, size)
        gutter = max(36, 1.6 * size)
        middle = 620
        column(page, rng, (100, top, middle - gutter / 2, 1600), body, justify=seed % 3 == 0)
        end = top + rng.uniform(0.15, 1.0) * (1600 - top)
        column(page, rng, (middle + gutter / 2, top, 1140, end), body, justify=seed % 3 == 0)
    elif kind == "three":
        body = font(name, min(size, 18))
        for number, end in enumerate((1600, 1600, 1600 - 900 * rng.random())):
            column(page, rng, (80 + 370 * number, 90, 410 + 370 * number, end), body)
    elif kind == "large":
        size = int(rng.integers(60, 110))
        column(page, rng, (90, 90, 1150, 1600), font(name, size))
    elif kind == "small":
        page = blank(827, 1169)
        column(page, rng, (60, 60, 770, 1100), font(name, int(rng.integers(8, 11))))
    elif kind == "short":
        for number in range(int(rng.integers(1, 4))):
            words = rng.choice(WORDS, int(rng.integers(2, 6))).tolist()
            page.text(120, 200 + 3 * size * number, " ".join(words), body)
    elif kind == "list":
        y = 100.0
        indent = round(size * float(rng.uniform(1.4, 2.6)))
        for number in range(1, 12):
            before = len(page.boxes)
            lines = int(rng.integers(1, 4))
            end = paragraph(page, rng, (100 + indent, y, 1100, y + lines * round(1.35 * size) + 1), body)
            label = f"{number}." if seed % 2 else "•"
            ImageDraw.Draw(page.image).text((100, y), label, font=body, fill=0)
            first = page.boxes[before]
            drawn = page._box(100, y, label, body)
            page.boxes[before] = (drawn[0], min(first[1], drawn[1]), first[2], max(first[3], drawn[3]))
            y = end + 0.4 * size
    elif kind == "furniture":
        page.text(100, 40, "Chapter 3", font(name, 18))
        page.text(900, 40, "Of pages", font(name, 18))
        column(page, rng, (100, 130, 590, 1600), font(name, min(size, 20)))
        column(page, rng, (650, 130, 1140, 1600), font(name, min(size, 20)))
        page.text(610, 1680, str(int(rng.integers(1, 400))), font(name, 20))
    else:
        raise ValueError(kind)
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
    pixels = (30 + pixels * 0.86) * light
    blurred = Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))
    from PIL import ImageFilter

    blurred = blurred.filter(ImageFilter.GaussianBlur(float(rng.uniform(0.2, 0.9))))
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


def overlap(first: Box, second: Box) -> float:
    width = min(first[2], second[2]) - max(first[0], second[0])
    height = min(first[3], second[3]) - max(first[1], second[1])
    if width <= 0 or height <= 0:
        return 0.0
    shared = width * height
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (first, second)]
    return shared / (sum(areas) - shared)


def match(page: Painted, found: PageLines, angle: float = 0.0) -> list[int]:
    """For each found line the number of the true line that it covers (IoU at least 0.7), or -1."""
    truth = []
    for box in page.boxes:
        corners = turn(box, angle, page.image.size) @ found.matrix[:, :2].T + found.matrix[:, 2]
        left_top = (corners[0] + corners[3]) / 2, (corners[0] + corners[1]) / 2
        truth.append(
            (
                left_top[0][0],
                left_top[1][1],
                (corners[1][0] + corners[2][0]) / 2,
                (corners[2][1] + corners[3][1]) / 2,
            )
        )
    result = []
    for line in found.lines:
        scores = [overlap((line.left, line.top, line.right, line.bottom), box) for box in truth]
        best = int(np.argmax(scores)) if scores else -1
        result.append(best if scores and scores[best] >= 0.7 and best not in result else -1)
    return result


def gather(kinds: tuple[str, ...], seeds: range, scanned: bool) -> tuple[float, float, list[str]]:
    """(recall, precision, pages that were read in another order) over painted pages."""
    true = found = matched = 0
    disorder = []
    for kind in kinds:
        for seed in seeds:
            page = paint(kind, seed)
            image, angle = scan(page, seed) if scanned else (page.image, 0.0)
            lines = find_lines(np.asarray(image))
            hits = match(page, lines, angle)
            good = [hit for hit in hits if hit >= 0]
            true, found, matched = true + len(page.boxes), found + len(hits), matched + len(good)
            if good != sorted(good):
                disorder.append(f"{kind} {seed}")
    return matched / true, matched / max(1, found), disorder
