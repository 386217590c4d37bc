"""The chart engine: the same chart for the same index, whoever asks; samples that are whole; the command."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from vary.datagen.chart import ChartConfig, ChartEngine
from vary.datagen.fonts import FontCatalogue, FontFace
from vary.datagen.sample import Sample
from vary.datagen.shards import read_shards
from vary.errors import DataError, MissingDependencyError
from vary.inputs.tasks import TASKS
from vary.outputs.answers import parse_chart


@pytest.fixture(scope="module")
def config(node_modules: str, font_folder: Path) -> ChartConfig:
    return ChartConfig(
        seed=3, languages=("en",), content="both", node_modules=node_modules, font_folders=(str(font_folder),)
    )


@pytest.fixture(scope="module")
def engine(config: ChartConfig, catalogue: FontCatalogue) -> ChartEngine:
    return ChartEngine(config, fonts=catalogue)


def _digest(samples: tuple[Sample, ...]) -> str:
    digest = hashlib.sha256()
    for sample in samples:
        assert sample.image is not None
        digest.update(sample.image.tobytes())
        digest.update(repr((sample.prompt, sample.answer, sample.boxes, dict(sample.details))).encode())
    return digest.hexdigest()


def test_an_index_is_the_same_chart_in_any_order(engine: ChartEngine) -> None:
    forwards = [_digest(engine.draw(index).samples) for index in range(6)]
    copy = pickle.loads(pickle.dumps(engine))
    backwards = [_digest(copy.draw(index).samples) for index in reversed(range(6))]
    assert forwards == backwards[::-1]
    assert len(set(forwards)) == 6


def test_other_seeds_and_splits_give_other_charts(
    engine: ChartEngine, config: ChartConfig, catalogue: FontCatalogue
) -> None:
    own = engine.draw(0).samples
    for other in (replace(config, seed=4), replace(config, split="test")):
        assert _digest(ChartEngine(other, fonts=catalogue).draw(0).samples) != _digest(own)


def test_samples_are_whole(engine: ChartEngine) -> None:
    kinds, renderers = set(), set()
    for index in range(24):
        draw = engine.draw(index)
        assert len(draw.samples) + sum(draw.dropped.values()) == 1
        for sample in draw.samples:
            assert sample.task == "chart"
            assert sample.task in TASKS
            assert sample.prompt
            parsed = parse_chart(sample.answer)
            assert parsed.notes == ()
            assert isinstance(parsed.data, dict)
            assert set(parsed.data) == {"title", "data"}
            assert any(box.label == parsed.data["title"] for box in sample.boxes)
            assert sample.image is not None
            height, width = sample.image.shape[:2]
            for box in sample.boxes:
                assert -1 <= box.left < box.right <= width + 1
                assert -1 <= box.top < box.bottom <= height + 1
            json.dumps(dict(sample.details))
            kinds.add(sample.details["kind"])
            renderers.add(sample.details["renderer"])
    assert len(kinds) > 8
    assert renderers == {"matplotlib", "echarts"}


def test_an_undegraded_sample_is_the_chart(config: ChartConfig, catalogue: FontCatalogue) -> None:
    engine = ChartEngine(replace(config, clean_share=1.0), fonts=catalogue)
    sample = engine.draw(1).samples[0]
    chart = engine.chart(1)
    assert chart is not None
    assert sample.image is not None
    np.testing.assert_array_equal(sample.image, chart.painted.image)


def test_what_cannot_be_painted_is_counted(catalogue: FontCatalogue, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = ChartEngine(ChartConfig(languages=("en",), renderers=("matplotlib",)), fonts=catalogue)
    monkeypatch.setattr(FontFace, "missing", lambda face, text: {"a"} & set(text))
    drawn = [engine.draw(index) for index in range(3)]
    assert [draw.samples for draw in drawn] == [()] * 3
    assert [dict(draw.dropped) for draw in drawn] == [{"no font paints all its characters": 1}] * 3


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"kinds": ("barr",)}, "did you mean 'bar'"),
        ({"languages": ("fr",)}, "expected some of en, zh"),
        ({"renderers": ()}, "no renderers"),
        ({"content": "any"}, "expected some of random, related, both"),
        ({"width": (900, 300)}, "the least and the most"),
        ({"clean_share": 2.0}, "from 0 to 1"),
    ],
)
def test_wrong_settings_are_named(options: dict[str, object], words: str) -> None:
    with pytest.raises(DataError, match=words):
        ChartConfig(**options)


def test_missing_echarts_is_said_at_once(catalogue: FontCatalogue, tmp_path: Path) -> None:
    config = ChartConfig(languages=("en",), node_modules=str(tmp_path))
    with pytest.raises(MissingDependencyError, match="npm install"):
        ChartEngine(config, fonts=catalogue)


def test_no_chinese_font_is_said_at_once(catalogue: FontCatalogue) -> None:
    with pytest.raises(DataError, match="no font covers language 'zh'"):
        ChartEngine(ChartConfig(languages=("zh",), renderers=("matplotlib",)), fonts=catalogue)


def test_the_description_holds_no_place_of_this_machine(engine: ChartEngine, node_modules: str) -> None:
    text = json.dumps(engine.describe(), ensure_ascii=False)
    assert node_modules not in text
    assert str(Path.home()) not in text
    assert engine.describe()["versions"]["echarts"].startswith("6")


def test_the_command_writes_the_engine_s_charts(
    engine: ChartEngine, node_modules: str, font_folder: Path, tmp_path: Path
) -> None:
    words = [
        sys.executable,
        "-m",
        "vary",
        "synth",
        "chart",
        "--out",
        "charts",
        "--samples",
        "4",
        "--seed",
        "3",
    ]
    words += ["--languages", "en", "--content", "both", "--font-dir", str(font_folder)]
    ran = subprocess.run(
        words,
        cwd=tmp_path,
        env={**os.environ, "VARY_NODE_MODULES": node_modules},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    stored = list(read_shards(tmp_path / "charts"))
    assert len(stored) == 4
    drawn = [sample for index in range(6) for sample in engine.draw(index).samples][:4]
    for mine, theirs in zip(drawn, stored, strict=True):
        assert (mine.prompt, mine.answer, mine.source) == (theirs.prompt, theirs.answer, theirs.source)
        np.testing.assert_array_equal(mine.image, theirs.image)


def test_the_command_says_how_to_get_echarts(tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "VARY_NODE_MODULES"}
    ran = subprocess.run(
        [sys.executable, "-m", "vary", "synth", "chart", "--out", "charts", "--samples", "1"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 2
    assert "npm install --prefix DIR echarts@6" in ran.stderr
    assert "Traceback" not in ran.stderr
