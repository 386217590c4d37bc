"""The text engine: same pages everywhere, exact texts, nothing that a font cannot paint."""

from __future__ import annotations

import hashlib
import pickle
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from vary.datagen.fonts import FontCatalogue
from vary.datagen.lines.engine import LineEngine, LineSample
from vary.datagen.lines.layout import LineLimits, break_paragraph
from vary.datagen.lines.painting import LinePlan, Typesetter, paint_page
from vary.datagen.lines.planning import LineEngineConfig
from vary.datagen.wording import LATIN_ALPHABET
from vary.errors import DataError
from vary.inputs.windows import cut_line, find_lines


def digest(samples: list[LineSample]) -> list[tuple[object, ...]]:
    return [(s.text, s.font, s.box, s.source, s.degradation, s.image.tobytes()) for s in samples]


ELSEWHERE = """
import hashlib, pickle, sys
engine = pickle.load(open(sys.argv[1], "rb"))
for index in map(int, sys.argv[2:]):
    digest = [(s.text, s.font, s.box, s.source, s.degradation, s.image.tobytes()) for s in engine.page(index)]
    print(hashlib.sha256(repr(digest).encode()).hexdigest())
"""


def test_a_page_depends_on_seed_and_index_alone(
    engine: LineEngine, config: LineEngineConfig, tmp_path: Path
) -> None:
    pages = [digest(engine.page(index)) for index in range(6)]
    assert all(pages)
    assert pages[0] != pages[1]
    assert digest(engine.page(3)) == pages[3], "a page must not depend on what was painted before"
    stored = tmp_path / "engine.pickle"
    stored.write_bytes(pickle.dumps(engine))
    order = (5, 0, 3)
    command = [sys.executable, "-c", ELSEWHERE, str(stored), *map(str, order)]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    assert printed == [hashlib.sha256(repr(pages[index]).encode()).hexdigest() for index in order]
    assert digest(engine.with_config(replace(config, seed=12)).page(3)) != pages[3]
    assert digest(engine.with_config(replace(config, split="val")).page(3)) != pages[3]


def test_the_engine_needs_no_torch() -> None:
    code = "import sys, vary.datagen; sys.exit(sorted({'torch', 'transformers'} & set(sys.modules)) or 0)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_sample_has_the_text_that_was_painted_at_its_box(
    engine: LineEngine, config: LineEngineConfig
) -> None:
    """The label comes from the text engine, the picture from the reader's code: they meet by place only."""
    clean = engine.with_config(replace(config, clean_share=1.0, jitter=0.0))
    checked = 0
    for index in range(12):
        plan = clean.plan(index)
        for sample in clean.page(index):
            left, top, right, bottom = sample.box
            at = [line for line in plan.lines if top < line.baseline - 0.2 * plan.size < bottom]
            assert [line.text for line in at] == [sample.text]
            alone = replace(plan, lines=(LinePlan(sample.text, "", at[0].left, at[0].baseline, at[0].gap),))
            ink = np.abs(paint_page(alone).gray.astype(int) - plan.paper) > 40
            xs = np.nonzero(ink.any(axis=0))[0]
            assert abs(xs[0] - left) <= 3 + 0.07 * plan.size
            assert abs(xs[-1] + 1 - right) <= 3 + 0.07 * plan.size
            checked += 1
    assert checked > 60


def test_a_picture_looks_like_its_text_repainted(engine: LineEngine, config: LineEngineConfig) -> None:
    clean = engine.with_config(replace(config, clean_share=1.0, jitter=0.0, columns=(20, 40)))
    own, other = [], []
    for index in range(6):
        plan = clean.plan(index)
        samples = [s for s in clean.page(index) if len(s.text) >= 15]
        gaps = {line.text: line for line in plan.lines}
        for sample, wrong in zip(samples, samples[1:] + samples[:1], strict=True):
            for text, scores in ((sample.text, own), (wrong.text, other)):
                line = LinePlan(text, "", 30.0, 3 * plan.size, gaps[text].gap)
                page = paint_page(replace(plan, lines=(line,), height=round(6 * plan.size)))
                found = find_lines(page.gray)
                if len(found.lines) == 1:
                    scores.append(likeness(sample.image, cut_line(found.gray, found.lines[0])))
    assert len(own) > 20
    assert np.median(own) > 0.85
    assert np.median(other) < 0.65


def likeness(one: np.ndarray, two: np.ndarray) -> float:
    two = cv2.resize(two, one.shape[::-1])
    one, two = (cv2.GaussianBlur(255 - image, (0, 0), 1.5).astype(float) for image in (one, two))
    return float((one * two).sum() / np.sqrt((one**2).sum() * (two**2).sum()) - 0.2) / 0.8


def test_texts_are_clean_and_within_the_alphabet(engine: LineEngine) -> None:
    samples = [sample for index in range(40) for sample in engine.page(index)]
    assert len(samples) > 200
    for sample in samples:
        assert sample.text == " ".join(sample.text.split())
        assert set(sample.text) <= LATIN_ALPHABET
        assert "\t" not in sample.text
        assert sample.image.shape[0] == 32
        assert sample.image.dtype == np.uint8
        assert sample.source == "made-up" or sample.source.startswith("small.txt#")
    made_up = sum(sample.source == "made-up" for sample in samples)
    assert 0.05 < made_up / len(samples) < 0.5
    assert not any("☃" in sample.text for sample in samples)


def test_nothing_is_painted_that_the_font_lacks(engine: LineEngine, catalogue: FontCatalogue) -> None:
    faces = {face.name: face for face in catalogue.faces}
    for index in range(25):
        plan = engine.plan(index)
        assert not faces[plan.face.name].missing("".join(line.text for line in plan.lines))


def test_every_ascii_character_occurs(engine: LineEngine) -> None:
    counts = Counter("".join(line.text for index in range(250) for line in engine.plan(index).lines))
    rare = {chr(code): counts[chr(code)] for code in range(0x21, 0x7F) if counts[chr(code)] < 5}
    assert not rare


@pytest.mark.parametrize(
    ("change", "holds"),
    [
        ({"max_chars": 12}, lambda s: len(s.text) <= 12),
        ({"max_words": 2}, lambda s: s.text.count(" ") <= 1),
        ({"max_width_px": 200}, lambda s: s.image.shape[1] <= 200),
        ({"min_chars": 9, "columns": (20, 40)}, lambda s: len(s.text) >= 9),
    ],
)
def test_a_curriculum_bounds_the_lines(
    engine: LineEngine, config: LineEngineConfig, change: dict[str, int], holds: object
) -> None:
    pages = [engine.with_config(replace(config, **change)).page_samples(index) for index in range(12)]
    samples = [sample for page in pages for sample in page.samples]
    assert len(samples) > 0.5 * sum(page.painted for page in pages)
    assert all(holds(sample) for sample in samples)


def test_kept_and_dropped_lines_add_up(engine: LineEngine) -> None:
    pages = [engine.page_samples(index) for index in range(30)]
    for page in pages:
        lost = sum(page.dropped[r] for r in ("not found", "wider than max_width_px", "fewer than min_chars"))
        assert len(page.samples) + lost + page.dropped["less than 2 px a character"] == page.painted
    kept = sum(len(page.samples) for page in pages)
    assert kept > 0.85 * sum(page.painted for page in pages)


def test_wrong_found_lines_are_dropped_not_mislabelled(
    engine: LineEngine, config: LineEngineConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A reader that merges each line with the next one, or cuts off its end, gives no sample at all."""
    clean = engine.with_config(replace(config, clean_share=1.0, columns=(20, 40)))

    def merged(gray: np.ndarray) -> object:
        page = find_lines(gray)
        lines = [replace(a, bottom=b.bottom) for a, b in zip(page.lines, page.lines[1:], strict=False)]
        return replace(page, lines=lines)

    def shortened(gray: np.ndarray) -> object:
        page = find_lines(gray)
        return replace(page, lines=[replace(x, right=x.right - 0.2 * (x.right - x.left)) for x in page.lines])

    for wrong, reason in ((merged, "several lines in one"), (shortened, "cut left or right")):
        monkeypatch.setattr("vary.datagen.lines.engine.find_lines", wrong)
        pages = [clean.page_samples(index) for index in range(4)]
        assert sum((page.dropped for page in pages), Counter())[reason] > 10
        assert sum(len(s.text) > 8 for page in pages for s in page.samples) == 0


def test_chinese_without_a_chinese_font_is_refused(tmp_path: Path, catalogue: FontCatalogue) -> None:
    corpus = tmp_path / "zh.txt"
    corpus.write_text("服务器状态变量提供有关服务器全局状态的信息。\n", encoding="utf-8")
    with pytest.raises(DataError, match="no font covers language 'zh'"):
        LineEngine(LineEngineConfig(corpus=(str(corpus),), languages=("zh",)), fonts=catalogue)


@pytest.mark.parametrize(
    "change",
    [{"columns": (9, 3)}, {"max_chars": 0}, {"max_width_px": 20}, {"language_weights": (1.0, 2.0)}],
)
def test_senseless_settings_are_refused(config: LineEngineConfig, change: dict[str, object]) -> None:
    with pytest.raises(DataError, match=r"expected|language_weights"):
        replace(config, **change)


def broken(text: str, face: object, width: float, characters: int = 99, **options: object) -> list[str]:
    font = Typesetter.make(face, 20, False)
    return list(break_paragraph(text, font, LineLimits(width, characters), {}, **options))


def test_lines_are_broken_without_loss(catalogue: FontCatalogue) -> None:
    face = catalogue.faces[0]
    text = "several words, some_extraordinarily_long_identifier.with_dots() and the rest"
    for width in (30, 90, 200, 10_000):
        lines = broken(text, face, width)
        assert "".join(lines).replace(" ", "") == text.replace(" ", "")
    assert broken(text, face, 10_000) == [text]
    assert all(len(line) <= 7 for line in broken(text, face, 10_000, 7))
    hyphened = broken("an internationalization", face, 150, hyphenate=True)
    assert hyphened[0].endswith("-")
    assert "".join(hyphened).replace("-", "") == "an internationalization"


def test_chinese_lines_break_between_characters_but_not_before_a_stop(catalogue: FontCatalogue) -> None:
    lines = broken("服务器状态，变量。提供Prepare语句", catalogue.faces[0], 10_000, 5)
    assert "".join(lines) == "服务器状态，变量。提供Prepare语句"
    assert not any(line[0] in "，。" for line in lines)
