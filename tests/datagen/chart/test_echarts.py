"""ECharts in its node process: found, asked, broken; its SVG taken apart."""

from __future__ import annotations

import pickle
import re
from pathlib import Path

import numpy as np
import pytest

from vary.datagen.chart.echarts_painter import EchartsPainter
from vary.datagen.chart.echarts_process import EchartsProcess, echarts_version, find_node_modules
from vary.datagen.chart.outlines import Outlines
from vary.datagen.chart.svg import outlined, rasterised
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
    drawn, texts, marks = outlined(svg, outlines)
    assert "<text" not in drawn.replace("ns0:", "")
    assert [text.text for text in texts] == ["HHH"]
    assert [(mark.series, mark.number, mark.edges) for mark in marks] == [(1, 2, (10, 10, 40, 30))]
    image = rasterised(drawn, 200, 100)
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


def test_broken_pictures_are_data_errors(face: FontFace) -> None:
    with pytest.raises(DataError, match="no readable SVG"):
        outlined("<svg", Outlines(face.path))
    with pytest.raises(DataError, match="typst cannot draw"):
        rasterised("no svg", 100, 100)
