"""ECharts in its node process: found, asked, broken; its SVG taken apart."""

from __future__ import annotations

import pickle
import re
import sys
from pathlib import Path
from typing import IO, Any

import numpy as np
import pytest

from vary.datagen.chart import echarts_process
from vary.datagen.chart.echarts_painter import EchartsPainter
from vary.datagen.chart.echarts_process import EchartsProcess, echarts_version, find_node_modules
from vary.datagen.chart.outlines import Outlines
from vary.datagen.chart.svg import painted_svg
from vary.datagen.fonts import FontFace
from vary.errors import DataError, MissingDependencyError

OPTION = {
    "animation": False,
    "xAxis": {"type": "category", "data": ["a", "b"]},
    "yAxis": {"type": "value"},
    "series": [{"type": "bar", "data": [1, 2]}],
}


def _unnumbered(svg: str) -> str:
    """Without the running numbers in the names of classes."""
    return re.sub(r"zr\d+-\w+(-\d+)?", "name", svg)


def test_it_is_found_where_it_should_be(
    node_modules: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("VARY_NODE_MODULES", node_modules)
    assert find_node_modules() == Path(node_modules).resolve()
    monkeypatch.delenv("VARY_NODE_MODULES")
    monkeypatch.chdir(tmp_path)
    for wanted in (None, str(tmp_path / "there")):
        with pytest.raises(MissingDependencyError, match=r"npm install --prefix DIR echarts@6"):
            find_node_modules(wanted)
    assert echarts_version(Path(node_modules)).split(".")[0] == "6"


def test_a_missing_node_is_named(node_modules: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MissingDependencyError, match="nodejs"):
        EchartsProcess(Path(node_modules)).render(OPTION, 200, 100, {})


def test_one_process_draws_many_charts_and_outlives_a_bad_one(node_modules: str) -> None:
    process = EchartsProcess(Path(node_modules))
    try:
        first = process.render(OPTION, 200, 100, {})
        number = process._process.pid if process._process else 0
        with pytest.raises(DataError, match="cannot draw"):
            process.render({**OPTION, "xAxis": {"type": "no such"}}, 200, 100, {})
        assert _unnumbered(process.render(OPTION, 200, 100, {})) == _unnumbered(first)
        assert process._process is not None
        assert process._process.pid == number
        process._process.kill()
        process._process.wait()
        with pytest.raises(DataError, match="ended or hung"):
            process.render(OPTION, 200, 100, {})
        assert _unnumbered(process.render(OPTION, 200, 100, {})) == _unnumbered(first)
    finally:
        process.close()


NODE = f"""#!{sys.executable}
import json, sys
print(json.dumps({{"version": "1"}}), flush=True)
for line in sys.stdin:
    print(json.dumps({{"svg": json.loads(line)["option"]["name"]}}), flush=True)
"""
"""Answers each request with its name."""


@pytest.mark.parametrize("answers", [0, 1])
def test_after_an_interrupt_no_chart_gets_the_answer_of_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answers: int
) -> None:
    node = tmp_path / "node"
    node.write_text(NODE, encoding="utf-8")
    node.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    read = echarts_process._answer
    left = [answers]

    def interrupted(pipe: IO[str]) -> dict[str, Any]:
        if left[0] == 0:
            raise KeyboardInterrupt
        left[0] -= 1
        return read(pipe)

    process = EchartsProcess(tmp_path)
    try:
        with monkeypatch.context() as patch:
            patch.setattr(echarts_process, "_answer", interrupted)
            with pytest.raises(KeyboardInterrupt):
                process.render({"name": "first"}, 1, 1, {})
        assert process.render({"name": "second"}, 1, 1, {}) == "second"
        assert process.render({"name": "third"}, 1, 1, {}) == "third"
    finally:
        process.close()


def test_a_folder_that_holds_no_program_is_named(tmp_path: Path) -> None:
    package = tmp_path / "echarts"
    package.mkdir()
    (package / "package.json").write_text('{"version": "6.0.0", "main": "nothing.js"}', encoding="utf-8")
    with pytest.raises(DataError, match="cannot load ECharts"):
        EchartsProcess(tmp_path).render(OPTION, 200, 100, {})


def test_a_painter_can_be_pickled(echarts: EchartsPainter) -> None:
    copy = pickle.loads(pickle.dumps(echarts))
    assert copy.folder == echarts.folder


def test_text_becomes_outlines_where_it_stood(face: FontFace) -> None:
    outlines = Outlines(face.path)
    svg = (
        '<svg xmlns="http://www.w3.org/2000/svg" width="200" height="100" viewBox="0 0 200 100">'
        '<rect width="200" height="100" fill="#fff"/>'
        '<g transform="translate(20 10)"><text dominant-baseline="central" text-anchor="middle" '
        'style="font-size:20px;font-family:x;" transform="translate(80 40)" fill="#000">HHH</text></g>'
        '<path d="M10 10l30 0l0 20l-30 0Z" fill="#f00" ecmeta_series_index="1" ecmeta_data_index="2" '
        'ecmeta_ssr_type="chart"/></svg>'
    )
    image, texts, marks = painted_svg(svg, outlines, 200, 100)
    assert [text.text for text in texts] == ["HHH"]
    assert [(mark.series, mark.number, mark.edges) for mark in marks] == [(1, 2, (10, 10, 40, 30))]
    np.testing.assert_array_equal(image[10:30, 10:40].reshape(-1, 3), [[255, 0, 0]] * 600)
    rows, columns = np.nonzero(image.max(axis=2) < 100)
    box = texts[0].box()
    assert abs((columns.min() + columns.max() + 1) / 2 - 100) < 1.5, "the anchor is in the middle"
    assert box.left - 1 <= columns.min()
    assert columns.max() + 1 <= box.right + 1
    assert box.top <= rows.min()
    assert rows.max() + 1 <= box.bottom
    assert abs((rows.min() + rows.max() + 1) / 2 - 50) < 2.5, "capitals stand around the line's middle"


def test_widths_are_those_of_the_font(face: FontFace) -> None:
    from PIL import ImageFont

    font = ImageFont.truetype(face.path, 1000, layout_engine=ImageFont.Layout.BASIC)
    outlines = Outlines(face.path)
    for character in "AWil.7é":
        assert abs(outlines.advance(character) * 1000 - font.getlength(character)) <= 1


def _painted(shapes: str, face: FontFace) -> np.ndarray:
    head = '<svg xmlns="http://www.w3.org/2000/svg"><rect width="60" height="40" fill="#fff"/>'
    return painted_svg(f"{head}{shapes}</svg>", Outlines(face.path), 60, 40)[0]


@pytest.mark.parametrize(
    ("shape", "inside", "outside"),
    [
        ('<polygon points="10 10 30 10 30 30 10 30" fill="rgb(0,0,255)"/>', (20, 20), (35, 20)),
        ('<polyline points="5 20 55 20" fill="none" stroke="blue" stroke-width="4"/>', (30, 21), (30, 24)),
        (
            '<path d="M1 0A1 1 0 1 1 1 -0.0001" transform="matrix(8,0,0,8,30,20)" fill="#00f"/>',
            (25, 14),
            (23, 12),
        ),
        (
            '<defs><clipPath id="c"><path d="M0 0l20 0l0 40l-20 0Z"/></clipPath></defs>'
            '<g clip-path="url(#c)"><path d="M0 0l60 0l0 40l-60 0Z" fill="#00f"/></g>',
            (10, 20),
            (30, 20),
        ),
    ],
)
def test_shapes_are_where_they_should_be(
    shape: str, inside: tuple[int, int], outside: tuple[int, int], face: FontFace
) -> None:
    image = _painted(shape, face)
    assert image[inside[1], inside[0]].tolist() == [0, 0, 255]
    assert image[outside[1], outside[0]].tolist() == [255, 255, 255]


def test_opacity_and_dashes(face: FontFace) -> None:
    pale = _painted('<path d="M0 0l60 0l0 40l-60 0Z" fill="#000" fill-opacity="0.2"/>', face)
    assert abs(int(pale[20, 30, 0]) - 204) <= 1
    line = _painted(
        '<path d="M0 20L60 20" fill="none" stroke="#000" stroke-width="2" stroke-dasharray="10"/>', face
    )
    assert [int(line[20, x, 0]) for x in (5, 15, 25, 35)] == [0, 255, 0, 255]


def test_broken_pictures_are_data_errors(face: FontFace) -> None:
    for svg, words in (
        ("<svg", "no readable SVG"),
        ("<svg><image/></svg>", "image"),
        ("<svg><text/></svg>", "size"),
    ):
        with pytest.raises(DataError, match=words):
            painted_svg(svg, Outlines(face.path), 60, 40)
