"""Scoring a suite: nothing is left out, and the numbers are those of the project's own scorer."""

from __future__ import annotations

import json
import random
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from vary.errors import DataError, InputError
from vary.evaluation.runner import (
    Prediction,
    load_predictions,
    prediction_of,
    read_suite,
    score_suite,
)
from vary.evaluation.suites import SuitePage, load_suite
from vary.outputs.document import Block, Document, Line, Page, PageStatus

SUITE = [
    SuitePage(Path("a.png"), "en", "plain", "one two"),
    SuitePage(Path("b.png"), "en", "large", "three"),
    SuitePage(Path("c.png"), "zh", "plain", "中文"),
]


def test_a_page_without_a_prediction_counts_as_empty() -> None:
    score = score_suite(SUITE, {"a": Prediction("one two", "ok"), "c": Prediction("中", "ok")})
    assert [page.prediction.status for page in score.pages] == ["ok", "missing", "ok"]
    assert {name: (rate.edits, rate.characters) for name, rate in score.groups.items()} == {
        "en": (5, 12),
        "en large": (5, 5),
        "en plain": (0, 7),
        "zh": (1, 2),
        "zh plain": (1, 2),
    }
    assert (score.overall.edits, score.overall.characters) == (6, 14)


def test_a_page_that_cannot_be_opened_counts_as_empty_and_the_others_are_read() -> None:
    page = Page(1, 10, 10, "b.png", PageStatus.LOOPED, "it repeats", (Block((Line("three"),)),), seconds=0.5)

    def read_many(images: Sequence[Path]) -> Iterator[Document | InputError]:
        assert images == [Path("a.png"), Path("b.png")], "all at once, so that they may be read together"
        yield InputError("a.png: is empty")
        yield Document("b.png", (page,))

    seen: list[tuple[int, int]] = []
    found = list(read_suite(SUITE[:2], read_many, progress=lambda done, count: seen.append((done, count))))
    assert [page for page, _ in found] == SUITE[:2]
    assert [prediction_of(result) for _, result in found] == [
        Prediction("", "failed", "a.png: is empty"),
        Prediction("three", "looped", "it repeats", 0.5),
    ]
    assert seen == [(1, 2), (2, 2)]


def test_the_report_holds_every_page_and_survives_json() -> None:
    report = json.loads(json.dumps(score_suite(SUITE, {}).as_dict()))
    assert report["cer"]["overall"] == {"cer": 1.0, "edits": 14, "characters": 14}
    assert [page["image"] for page in report["pages"]] == ["a.png", "b.png", "c.png"]
    assert {page["status"] for page in report["pages"]} == {"missing"}


def test_predictions_are_read_by_stem(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("one\n", encoding="utf-8")
    (tmp_path / "other.txt").write_text("x", encoding="utf-8")
    assert load_predictions(SUITE, tmp_path) == {"a": Prediction("one\n", "ok")}


def test_predictions_must_be_a_folder_of_utf8(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is no folder"):
        load_predictions(SUITE, tmp_path / "nowhere")
    (tmp_path / "a.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match=r"a\.txt: cannot be read as UTF-8"):
        load_predictions(SUITE, tmp_path)


def _spoil(text: str, source: random.Random) -> str:
    """The text with letters changed, dropped and doubled, and its white space shuffled."""
    spoilt = []
    for letter in text:
        kind = source.random()
        if kind < 0.05:
            continue
        spoilt.append(source.choice("xyz中 \n") if kind < 0.1 else letter * (2 if kind > 0.97 else 1))
    return "".join(spoilt)


@pytest.mark.shared
def test_the_rates_are_those_of_the_shared_scorer(shared_dir: Path, tmp_path: Path) -> None:
    source = random.Random(3)
    suite = load_suite(shared_dir / "eval" / "pages")
    for number, page in enumerate(suite):
        if number % 7 == 0:  # a missing page
            continue
        text = "junk " * 3000 if number % 7 == 1 else _spoil(page.text, source)
        (tmp_path / f"{page.stem}.txt").write_text(text, encoding="utf-8")
    command = [
        sys.executable,
        str(shared_dir / "eval" / "score.py"),
        str(shared_dir / "eval" / "pages"),
        str(tmp_path),
    ]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    lines = re.findall(r"^(.+?) +CER ([\d.]+)  \((\d+) characters\)$", printed, flags=re.MULTILINE)
    expected = {name: (rate, int(count)) for name, rate, count in lines}
    groups = score_suite(suite, load_predictions(suite, tmp_path)).groups
    assert {name: (f"{rate.rate:.4f}", rate.characters) for name, rate in groups.items()} == expected
