"""Suites: what is taken for one, and the message for what is not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from vary.errors import DataError
from vary.evaluation.suites import load_suite

PAGE = {"image": "a.png", "lang": "en", "kind": "plain", "text": "words", "font": "Some Font"}


def _write(folder: Path, content: Any) -> Path:
    text = content if isinstance(content, str) else json.dumps(content)
    (folder / "pages.json").write_text(text, encoding="utf-8")
    return folder


def test_a_suite_keeps_the_order_of_its_index(tmp_path: Path) -> None:
    suite = load_suite(
        _write(tmp_path, [PAGE, {**PAGE, "image": "sub/b.jpg", "lang": "zh", "kind": "large"}])
    )
    assert [page.image for page in suite] == [tmp_path / "a.png", tmp_path / "sub" / "b.jpg"]
    assert suite[1].stem == "b"
    assert suite[1].groups == ("zh", "zh large")
    assert suite[0].text == "words"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "is not JSON"),
        ([], "at least one page"),
        ({}, "found dict"),
        ([1], r"entry 0: expected an object"),
        ([PAGE, {**PAGE, "text": None}], r"entry 1: 'text' must be a string, found None"),
        ([{**PAGE, "image": "../a.png"}], "inside the folder"),
        ([{**PAGE, "image": "/a.png"}], "inside the folder"),
        ([PAGE, {**PAGE, "image": "a.jpg"}], "share the stem 'a'"),
    ],
)
def test_what_is_no_suite_is_named(tmp_path: Path, content: Any, message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        load_suite(_write(tmp_path, content))
    assert str(tmp_path / "pages.json") in str(caught.value)


def test_a_folder_without_an_index(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"pages\.json: cannot be read \(No such file"):
        load_suite(tmp_path)
