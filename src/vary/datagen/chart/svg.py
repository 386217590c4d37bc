"""From ECharts' SVG to pixels: text becomes outlines of the chart's own font, then typst draws the picture.

ECharts writes every text as a `text` element with a size, an anchor and a transformation, and marks the
elements that stand for data with their series and number.  Both are read off here, so boxes are exact.
"""

from __future__ import annotations

import math
import re
import xml.etree.ElementTree as ET
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from vary.datagen.chart.crowding import PaintedText
from vary.datagen.chart.outlines import Outlines
from vary.errors import DataError, MissingDependencyError

__all__ = ["DrawnMark", "outlined", "rasterised"]

_NAMESPACE = "http://www.w3.org/2000/svg"
_MIDDLE, _ASCENT, _DESCENT = 0.36, 0.88, 0.22
"""Of the em, above the baseline: the line's middle; above and below it: how far letters reach."""
_NUMBERS = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:e[-+]?\d+)?")
_TRANSFORM = re.compile(r"(\w+)\s*\(([^)]*)\)")
_SIZE = re.compile(r"font-size:\s*([\d.]+)px")
_ANCHORS = {"start": 0.0, "middle": 0.5, "end": 1.0}
_PAINT = (
    "fill",
    "fill-opacity",
    "stroke",
    "stroke-width",
    "paint-order",
    "stroke-miterlimit",
    "stroke-linejoin",
)

Matrix = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class DrawnMark:
    """An element that stands for a datum: its series, its number, and left, top, right, bottom in px."""

    series: int
    number: int
    edges: tuple[float, float, float, float]


def outlined(svg: str, outlines: Outlines) -> tuple[str, tuple[PaintedText, ...], tuple[DrawnMark, ...]]:
    """The SVG without text elements and styles, its texts, and the marks of its data.

    Raises:
        DataError: if it is not the SVG that ECharts writes.
    """
    try:
        root = ET.fromstring(svg)
    except ET.ParseError as error:
        raise DataError(f"ECharts wrote no readable SVG: {error}") from error
    ET.register_namespace("", _NAMESPACE)
    texts: list[PaintedText] = []
    marks: list[DrawnMark] = []
    _walk(root, np.eye(3), outlines, texts, marks)
    return ET.tostring(root, encoding="unicode"), tuple(texts), tuple(marks)


def _walk(
    parent: ET.Element, matrix: Matrix, outlines: Outlines, texts: list[PaintedText], marks: list[DrawnMark]
) -> None:
    for place, element in enumerate(list(parent)):
        name = element.tag.rpartition("}")[2]
        own = matrix @ _transform(element.get("transform", ""))
        if name == "style":
            parent.remove(element)
        elif name == "text":
            path, text = _text(element, own, outlines)
            parent[place] = path
            if text is not None:
                texts.append(text)
        else:
            mark = _mark(element, own) if name in ("path", "polyline") else None
            if mark is not None:
                marks.append(mark)
            _walk(element, own, outlines, texts, marks)


def _text(element: ET.Element, matrix: Matrix, outlines: Outlines) -> tuple[ET.Element, PaintedText | None]:
    """A text element as a path, and what it says and where."""
    content = "".join(element.itertext())
    found = _SIZE.search(element.get("style", ""))
    if found is None:
        raise DataError(f"ECharts wrote a text without a size: {content!r}")
    size = float(found[1])
    width = outlines.width(content) * size
    left = float(element.get("x", 0)) - _ANCHORS[element.get("text-anchor", "start")] * width
    baseline = float(element.get("y", 0))
    if element.get("dominant-baseline") == "central":
        baseline += _MIDDLE * size
    path = ET.Element(f"{{{_NAMESPACE}}}path", {"d": outlines.path(content, left, baseline, size)})
    for name in ("transform", *_PAINT):
        value = element.get(name)
        if value is not None:
            path.set(name, value)
    if not content.strip():
        return path, None
    top, bottom = baseline - _ASCENT * size, baseline + _DESCENT * size
    corners = [(left, top), (left + width, top), (left + width, bottom), (left, bottom)]
    return path, PaintedText(content, _moved(corners, matrix))


def _mark(element: ET.Element, matrix: Matrix) -> DrawnMark | None:
    if element.get("ecmeta_ssr_type") != "chart" or element.get("ecmeta_data_index") is None:
        return None
    bounds = _bounds(element.get("d", ""))
    if bounds is None:
        return None
    left, top, right, bottom = bounds
    corners = _moved([(left, top), (right, top), (right, bottom), (left, bottom)], matrix)
    low, high = corners.min(axis=0), corners.max(axis=0)
    edges = (float(low[0]), float(low[1]), float(high[0]), float(high[1]))
    return DrawnMark(
        int(element.get("ecmeta_series_index", 0)), int(element.get("ecmeta_data_index", 0)), edges
    )


def _bounds(data: str) -> tuple[float, float, float, float] | None:
    """What a path reaches, curves and arcs included."""
    from fontTools.pens.boundsPen import BoundsPen
    from fontTools.svgLib.path import parse_path

    pen = BoundsPen(None)
    parse_path(data, pen)
    return pen.bounds


def _transform(text: str) -> Matrix:
    """The matrix of a `transform` attribute."""
    matrix: Matrix = np.eye(3)
    for name, arguments in _TRANSFORM.findall(text):
        numbers = [float(number) for number in _NUMBERS.findall(arguments)]
        matrix = matrix @ _single(name, numbers)
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


def _moved(points: list[tuple[float, float]], matrix: Matrix) -> NDArray[np.float64]:
    corners = np.array([(x, y, 1.0) for x, y in points])
    return np.asarray((corners @ matrix.T)[:, :2])


def rasterised(svg: str, width: int, height: int) -> NDArray[np.uint8]:
    """The pixels of an SVG of `width` x `height` px: uint8 (height, width, 3).

    Raises:
        DataError: if typst cannot draw it.
        MissingDependencyError: without typst.
    """
    try:
        import typst
    except ImportError as error:
        raise MissingDependencyError("charts of ECharts need typst: pip install 'vary-toy[synth]'") from error
    # A point is a px at 72 px an inch; the picture travels as an input of the document.
    source = (
        f"#set page(width: {width}pt, height: {height}pt, margin: 0pt)\n"
        f'#image(bytes(sys.inputs.svg), format: "svg", width: {width}pt, height: {height}pt)'
    )
    fonts = typst.Fonts(include_system_fonts=False, include_embedded_fonts=False)
    try:
        data = typst.compile(
            source.encode(), format="png", ppi=72.0, font_paths=fonts, sys_inputs={"svg": svg}
        )
    except RuntimeError as error:
        raise DataError(f"typst cannot draw a chart of ECharts: {error}") from error
    assert isinstance(data, bytes)
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    if image is None or image.shape[:2] != (height, width):
        raise DataError(f"typst drew no picture of {width} x {height} px")
    return np.ascontiguousarray(image[..., ::-1])
