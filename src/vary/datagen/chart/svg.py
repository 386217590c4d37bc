"""From ECharts' SVG to pixels: matplotlib's Agg paints it, texts as outlines of the chart's own font.

ECharts writes every text as a `text` element with a size, an anchor and a transformation, and marks the
elements that stand for data with their series and number.  Both are read off here, so boxes are exact.
"""

from __future__ import annotations

import math
import re
import xml.etree.ElementTree as ET
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from fontTools.pens.basePen import BasePen
from fontTools.svgLib.path import parse_path
from matplotlib.backends.backend_agg import RendererAgg
from matplotlib.colors import to_rgba
from matplotlib.path import Path
from matplotlib.transforms import Affine2D, Bbox
from numpy.typing import NDArray

from vary.datagen.chart.crowding import PaintedText, line_quad
from vary.datagen.chart.outlines import Outlines
from vary.errors import DataError

__all__ = ["DrawnMark", "painted_svg"]

_MIDDLE = 0.36
"""Of the em: how far the middle of a line is above its baseline."""
_POINTS_AN_INCH = 72
"""At as many px an inch Agg's points are px."""
_NUMBERS = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:e[-+]?\d+)?")
_TRANSFORM = re.compile(r"(\w+)\s*\(([^)]*)\)")
_SIZE = re.compile(r"font-size:\s*([\d.]+)px")
_ANCHORS = {"start": 0.0, "middle": 0.5, "end": 1.0}
_CAPS = {"butt": "butt", "round": "round", "square": "projecting"}

Matrix = NDArray[np.float64]
Edges = tuple[float, float, float, float]
"""Left, top, right, bottom."""


@dataclass(frozen=True, slots=True)
class DrawnMark:
    """An element that stands for a datum: its series, its number, and where it is in px."""

    series: int
    number: int
    edges: Edges


def painted_svg(
    svg: str, outlines: Outlines, width: int, height: int
) -> tuple[NDArray[np.uint8], tuple[PaintedText, ...], tuple[DrawnMark, ...]]:
    """The pixels of an SVG, uint8 (height, width, 3), its texts, and the marks of its data.

    Raises:
        DataError: if it is not the SVG that ECharts writes.
    """
    try:
        root = ET.fromstring(svg)
    except ET.ParseError as error:
        raise DataError(f"ECharts wrote no readable SVG: {error}") from error
    painter = _Painter(root, outlines, width, height)
    painter.paint(root, np.eye(3), None)
    image = np.asarray(painter.renderer.buffer_rgba())[..., :3].copy()
    return image, tuple(painter.texts), tuple(painter.marks)


class _Painter:
    """Paints the elements of an SVG one after the other and notes its texts and marks."""

    def __init__(self, root: ET.Element, outlines: Outlines, width: int, height: int) -> None:
        self.renderer = RendererAgg(width, height, _POINTS_AN_INCH)
        self.texts: list[PaintedText] = []
        self.marks: list[DrawnMark] = []
        self._outlines = outlines
        self._upwards: Matrix = np.array([[1, 0, 0], [0, -1, height], [0, 0, 1]])
        clips = (element for element in root.iter() if _name(element) == "clipPath")
        self._clips = {f"url(#{clip.get('id')})": _shape(clip[0].get("d", ""))[1] for clip in clips}

    def paint(self, parent: ET.Element, matrix: Matrix, clip: Bbox | None) -> None:
        """Paint what is in an element, its own transformation included in `matrix`, within `clip`."""
        for element in parent:
            name, own = _name(element), matrix @ _transform(element.get("transform", ""))
            if name == "g":
                bounds = self._clips.get(element.get("clip-path", ""))
                inner = bounds and Bbox(_moved(_corners(bounds), self._upwards @ own)[[0, 2]])
                self.paint(element, own, inner or clip)
            elif name == "text":
                self._paint_text(element, own, clip)
            elif name == "path":
                shape, bounds = _shape(element.get("d", ""))
                self._paint_shape(element, shape, own, clip)
                self._note_mark(element, bounds, own)
            elif name in ("polygon", "polyline"):
                points = _numbers(element.get("points", "")).reshape(-1, 2)
                ends = points[:1] if name == "polygon" else points[:0]
                self._paint_shape(element, Path(np.concatenate([points, ends])), own, clip)
            elif name == "rect":
                x, y, width, height = (float(element.get(side, 0)) for side in ("x", "y", "width", "height"))
                self._paint_shape(element, Path(_corners((x, y, x + width, y + height))), own, clip)
            elif name not in ("style", "defs"):  # of styles there are those of a mouse
                raise DataError(f"ECharts wrote an element that is not known here: {name}")

    def _paint_text(self, element: ET.Element, matrix: Matrix, clip: Bbox | None) -> None:
        content = "".join(element.itertext())
        found = _SIZE.search(element.get("style", ""))
        if found is None:
            raise DataError(f"ECharts wrote a text without a size: {content!r}")
        size = float(found[1])
        width = self._outlines.width(content) * size
        left = float(element.get("x", 0)) - _ANCHORS[element.get("text-anchor", "start")] * width
        baseline = float(element.get("y", 0))
        if element.get("dominant-baseline") == "central":
            baseline += _MIDDLE * size
        if content.strip():
            points, codes = self._outlines.path(content, left, baseline, size)
            self._paint_shape(element, Path(points, codes), matrix, clip)
            self.texts.append(PaintedText(content, _moved(line_quad(left, baseline, width, size), matrix)))

    def _paint_shape(self, element: ET.Element, shape: Path, matrix: Matrix, clip: Bbox | None) -> None:
        fill, stroke = _colour(element, "fill", "#000"), _colour(element, "stroke", "none")
        pen: Any = self.renderer.new_gc()
        pen.set_snap(False)  # boxes are where lines are drawn
        pen.set_clip_rectangle(clip)
        pen.set_linewidth(0)
        if stroke is not None:
            scale = math.sqrt(abs(float(np.linalg.det(matrix[:2, :2]))))
            pen.set_linewidth(scale * float(element.get("stroke-width", 1)))
            pen.set_foreground(stroke, isRGBA=True)
            pen.set_capstyle(_CAPS[element.get("stroke-linecap", "butt")])
            pen.set_joinstyle(element.get("stroke-linejoin", "miter"))
            dashes = (scale * _numbers(element.get("stroke-dasharray", ""))).tolist()
            if dashes:
                pen.set_dashes(0, dashes * (1 + len(dashes) % 2))
        self.renderer.draw_path(pen, shape, Affine2D(self._upwards @ matrix), fill)

    def _note_mark(self, element: ET.Element, bounds: Edges, matrix: Matrix) -> None:
        if element.get("ecmeta_ssr_type") != "chart" or element.get("ecmeta_data_index") is None:
            return
        series, number = (int(element.get(f"ecmeta_{what}_index", 0)) for what in ("series", "data"))
        self.marks.append(DrawnMark(series, number, _edges(_moved(_corners(bounds), matrix))))


def _name(element: ET.Element) -> str:
    return element.tag.rpartition("}")[2]


def _colour(element: ET.Element, name: str, default: str) -> tuple[float, ...] | None:
    """Red, green, blue and opacity, 0 to 1, of an element's fill or stroke; None if it has none."""
    text, opacity = element.get(name, default), float(element.get(f"{name}-opacity", 1))
    if text == "none":
        return None
    if text.startswith("rgb"):
        return (*(_numbers(text)[:3] / 255).tolist(), opacity)
    return to_rgba(text, opacity)


class _PathPen(BasePen):
    """Collects a path as matplotlib has it: points and what is done with each."""

    def __init__(self) -> None:
        super().__init__(None)
        self.points: list[tuple[float, float]] = []
        self.codes: list[int] = []

    def _add(self, code: Any, *points: tuple[float, float]) -> None:
        self.points += points
        self.codes += [code] * len(points)

    def _moveTo(self, pt: tuple[float, float]) -> None:
        self._add(Path.MOVETO, pt)

    def _lineTo(self, pt: tuple[float, float]) -> None:
        self._add(Path.LINETO, pt)

    def _curveToOne(self, pt1: Any, pt2: Any, pt3: Any) -> None:
        self._add(Path.CURVE4, pt1, pt2, pt3)

    def _closePath(self) -> None:
        self._add(Path.CLOSEPOLY, (0.0, 0.0))


@lru_cache(maxsize=1024)
def _shape(data: str) -> tuple[Path, Edges]:
    """A path, and left, top, right, bottom of what it reaches; symbols are alike on many charts."""
    pen = _PathPen()
    parse_path(data, pen)
    path = Path(np.array(pen.points).reshape(-1, 2), pen.codes)
    return path, _edges(path.get_extents().get_points())


def _numbers(text: str) -> NDArray[np.float64]:
    return np.array(_NUMBERS.findall(text), dtype=np.float64)


def _transform(text: str) -> Matrix:
    """The matrix of a `transform` attribute."""
    matrix: Matrix = np.eye(3)
    for name, arguments in _TRANSFORM.findall(text):
        matrix = matrix @ _single(name, _numbers(arguments).tolist())
    return matrix


def _single(name: str, numbers: list[float]) -> Matrix:
    if name == "matrix" and len(numbers) == 6:
        a, b, c, d, e, f = numbers
        return np.array([[a, c, e], [b, d, f], [0, 0, 1]])
    if name == "translate" and len(numbers) in (1, 2):
        return np.array([[1, 0, numbers[0]], [0, 1, numbers[1] if len(numbers) > 1 else 0], [0, 0, 1]])
    if name == "scale" and len(numbers) in (1, 2):
        return np.diag([numbers[0], numbers[-1], 1.0])
    if name == "rotate" and len(numbers) == 1:
        angle = math.radians(numbers[0])
        return np.array(
            [[math.cos(angle), -math.sin(angle), 0], [math.sin(angle), math.cos(angle), 0], [0, 0, 1]]
        )
    raise DataError(f"ECharts wrote a transformation that is not known here: {name}({numbers})")


def _corners(edges: Edges) -> NDArray[np.float64]:
    """The corners (4, 2) of a rectangle."""
    left, top, right, bottom = edges
    return np.array([(left, top), (right, top), (right, bottom), (left, bottom)])


def _edges(points: NDArray[np.float64]) -> Edges:
    """The rectangle around points (N, 2)."""
    (left, top), (right, bottom) = points.min(axis=0).tolist(), points.max(axis=0).tolist()
    return left, top, right, bottom


def _moved(points: NDArray[np.float64], matrix: Matrix) -> NDArray[np.float64]:
    return np.asarray(points @ matrix[:2, :2].T + matrix[:2, 2])
