"""The scene engine: answers that come back, the rule of thirty, degraded boxes, the command."""

from __future__ import annotations

import hashlib
import json
import pickle
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from vary.datagen.box_answers import MOST_BOXES
from vary.datagen.degradation import Degradation
from vary.datagen.sample import Sample
from vary.datagen.scene import SceneConfig, SceneEngine
from vary.datagen.scene.config import NEGATIVE_ANSWERS
from vary.datagen.scene.engine import _rim
from vary.datagen.shards import read_shards
from vary.errors import DataError
from vary.inputs.tasks import TASKS
from vary.outputs.answers import parse_boxes

CONFIG = SceneConfig(seed=5, width=(256, 420), height=(256, 420), negative_share=0.15, crowded_share=0.3)


@pytest.fixture(scope="module")
def samples() -> list[Sample]:
    engine = SceneEngine(CONFIG)
    return [sample for index in range(48) for sample in engine.draw(index).samples]


def _digest(sample: Sample) -> str:
    assert sample.image is not None
    text = repr((sample.prompt, sample.answer, sample.boxes, dict(sample.details)))
    return hashlib.sha256(sample.image.tobytes() + text.encode()).hexdigest()


def test_an_index_is_the_same_picture_in_any_order_and_process() -> None:
    engine = SceneEngine(CONFIG)
    forwards = [_digest(s) for index in range(5) for s in engine.draw(index).samples]
    copy = pickle.loads(pickle.dumps(engine))
    backwards = [_digest(s) for index in reversed(range(5)) for s in copy.draw(index).samples]
    assert forwards == backwards[::-1]
    for other in (replace(CONFIG, seed=6), replace(CONFIG, split="test")):
        assert _digest(SceneEngine(other).draw(0).samples[0]) != forwards[0]


def test_answers_tell_the_boxes_within_half_a_unit(samples: list[Sample]) -> None:
    seen = set()
    for sample in samples:
        seen.add(sample.task)
        assert sample.task in TASKS
        assert sample.image is not None
        height, width = sample.image.shape[:2]
        if sample.task == "ocr":
            continue
        parsed = parse_boxes(sample.answer)
        assert parsed.notes == ()
        if sample.task == "locate":
            target = sample.boxes[sample.details["target"]]
            assert [box.label for box in parsed.boxes] == [sample.details["expression"]]
            assert sample.details["expression"] in sample.prompt
            wanted = [target]
        else:
            told = {box.label for box in parsed.boxes}
            wanted = [box for box in sample.boxes if box.label in told]
            order = list(dict.fromkeys(box.label for box in wanted))
            wanted.sort(key=lambda box: order.index(box.label))
            assert [box.label for box in parsed.boxes] == [box.label for box in wanted]
        for found, box in zip(parsed.boxes, wanted, strict=True):
            exact = (box.left / width, box.top / height, box.right / width, box.bottom / height)
            for number, edge in zip(found.edges, exact, strict=True):
                assert abs(number - 1000 * edge) <= 0.5 + 1e-6
    assert seen == {"ocr", "locate", "detect"}


def test_up_to_thirty_boxes_all_are_told_and_beyond_some_classes(samples: list[Sample]) -> None:
    crowded = 0
    for sample in samples:
        if sample.task != "detect":
            continue
        told = {box.label for box in parse_boxes(sample.answer).boxes}
        names = {box.label for box in sample.boxes}
        if len(sample.boxes) <= MOST_BOXES:
            assert told == names
        else:
            crowded += 1
            assert all(name in sample.prompt for name in told)
            assert len(parse_boxes(sample.answer).boxes) <= MOST_BOXES or len(told) == 1
    assert crowded >= 3


def test_pictures_without_text_get_the_fixed_sentence(samples: list[Sample]) -> None:
    negatives = [sample for sample in samples if sample.task == "ocr"]
    assert negatives
    for sample in negatives:
        assert sample.answer == NEGATIVE_ANSWERS[sample.language]
        assert sample.details["negative"] is True


def test_names_are_in_the_language_of_the_question(samples: list[Sample]) -> None:
    for sample in samples:
        for box in sample.boxes:
            assert any("\u4e00" <= c <= "\u9fff" for c in box.label) == (sample.language == "zh")


def test_degraded_boxes_stay_around_their_objects() -> None:
    """On a degraded picture, what lies within the boxes differs from the paper between them."""
    config = replace(CONFIG, clean_share=0.0, crowded_share=0.0, negative_share=0.0, referring_share=0.0)
    plain = SceneEngine(replace(config, clean_share=1.0))
    engine = SceneEngine(config)
    moved = 0
    for index in range(25):
        for sample, clean in zip(engine.draw(index).samples, plain.draw(index).samples, strict=True):
            assert len(sample.boxes) == len(clean.boxes)
            assert sample.image is not None
            height, width = sample.image.shape[:2]
            for box, before in zip(sample.boxes, clean.boxes, strict=True):
                assert 0 <= box.left < box.right <= width
                assert 0 <= box.top < box.bottom <= height
                assert box.label == before.label
                moved += (box.left, box.top) != (before.left, before.top)
    assert moved > 10


def test_a_moved_box_is_that_of_the_moved_ink() -> None:
    """A degradation that only turns: the owner map, turned in the same way, has the same bounds."""
    engine = SceneEngine(replace(CONFIG, referring_share=0.0, negative_share=0.0, crowded_share=0.0))
    scene = engine.scene(2)
    turn = Degradation("turned", (("rotate", 0.9),))
    masks = [np.where(scene.owner == n, 0, 255).astype(np.uint8) for n in range(len(scene.objects))]
    for number, mask in enumerate(masks):
        image, geometry = turn.apply(mask, 20.0, np.random.default_rng(3))
        rows, columns = np.nonzero(image < 128)
        if not len(rows) or number > 5:
            continue
        points = geometry.apply(_rim(scene.owner == number) - 0.5) + 0.5
        assert abs(points[:, 0].min() - columns.min()) <= 1.5
        assert abs(points[:, 0].max() - columns.max() - 1) <= 1.5
        assert abs(points[:, 1].min() - rows.min()) <= 1.5
        assert abs(points[:, 1].max() - rows.max() - 1) <= 1.5


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"classes": ("cupp",)}, "did you mean 'cup'"),
        ({"languages": ()}, "no languages"),
        ({"referring_share": 0.8, "negative_share": 0.4}, "no more than 1 together"),
        ({"least_visible": -1.0}, "from 0 to 1"),
        ({"objects": (5, 2)}, "the least and the most"),
        ({"crowd": (31, 100_000)}, "the least and the most"),
        ({"negative_answers": (("en", "No text."),)}, "language 'zh'"),
    ],
)
def test_wrong_settings_are_named(options: dict[str, object], words: str) -> None:
    with pytest.raises(DataError, match=words):
        SceneConfig(**options)


def test_the_command_writes_the_engine_s_pictures(tmp_path: Path) -> None:
    words = [sys.executable, "-m", "vary", "synth", "scene", "--out", "scenes", "--samples", "6"]
    words += ["--seed", "9", "--classes", "cup,key,house", "--languages", "en", "--negative-share", "0"]
    ran = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    stored = list(read_shards(tmp_path / "scenes"))
    config = SceneConfig(seed=9, classes=("cup", "key", "house"), languages=("en",), negative_share=0.0)
    engine = SceneEngine(config)
    drawn = [sample for index in range(20) for sample in engine.draw(index).samples][:6]
    for mine, theirs in zip(drawn, stored, strict=True):
        assert (mine.task, mine.prompt, mine.answer) == (theirs.task, theirs.prompt, theirs.answer)
        np.testing.assert_array_equal(mine.image, theirs.image)
        assert {box.label for box in theirs.boxes} <= {"cup", "key", "house"}
    manifest = json.loads((tmp_path / "scenes" / "manifest.json").read_text(encoding="utf-8"))
    assert manifest["counts"]["samples"] == 6


def test_a_wrong_class_is_said_without_a_traceback(tmp_path: Path) -> None:
    words = [
        sys.executable,
        "-m",
        "vary",
        "synth",
        "scene",
        "--out",
        "x",
        "--samples",
        "1",
        "--classes",
        "cupp",
    ]
    ran = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ran.returncode == 1
    assert "did you mean 'cup'" in ran.stderr
    assert "Traceback" not in ran.stderr
