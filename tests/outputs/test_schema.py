"""The JSON form: exact round trip, the shipped schema, refusals."""

from __future__ import annotations

import contextlib
import json
import re
from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vary.errors import DocumentError
from vary.outputs.document import (
    SCHEMA_VERSION,
    Block,
    BlockKind,
    Box,
    Detection,
    Document,
    FinishReason,
    Line,
    Page,
    PageStatus,
    Provenance,
    Word,
)
from vary.outputs.schema import dumps, json_schema, loads

VALIDATOR = jsonschema.Draft202012Validator(json_schema())

texts = st.text(max_size=12)
numbers = st.floats(-1e6, 1e6)
confidences = st.none() | st.floats(0, 1)
boxes = st.none() | st.tuples(numbers, numbers, numbers, numbers).map(
    lambda edges: Box(min(edges[:2]), min(edges[2:]), max(edges[:2]), max(edges[2:]))
)
polygons = st.none() | st.lists(st.tuples(numbers, numbers), min_size=4, max_size=4).map(tuple)
words = st.builds(Word, texts, boxes, confidences)
lines = st.builds(
    Line, texts, polygons, boxes, confidences, st.lists(words, max_size=2), st.sampled_from(FinishReason)
)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=5,
)
detections = st.builds(Detection, texts, boxes.filter(lambda box: box is not None), confidences)
blocks = st.builds(
    Block,
    st.lists(lines, max_size=3),
    st.sampled_from(BlockKind),
    boxes,
    st.lists(detections, max_size=2),
    json_values,
    texts,
)
pages = st.builds(
    Page,
    number=st.integers(1, 9999),
    width=st.integers(0, 20_000),
    height=st.integers(0, 20_000),
    source=texts,
    status=st.sampled_from(PageStatus),
    message=texts,
    blocks=st.lists(blocks, max_size=3),
    dpi=st.none() | st.floats(1, 2400),
    rotation=st.sampled_from([0, 90, 180, 270]),
    skew=st.floats(-45, 45),
    seconds=st.none() | st.floats(0, 1e4),
)
provenances = st.builds(
    Provenance, texts, texts, texts, texts, texts, st.dictionaries(texts, json_values, max_size=3)
)
documents = st.builds(Document, texts, st.lists(pages, max_size=3), provenances)


@settings(deadline=None, max_examples=60)
@given(documents, st.none() | st.integers(0, 3))
def test_round_trip_and_schema(document: Document, indent: int | None) -> None:
    text = document.to_json(indent=indent)
    assert Document.from_json(text) == document
    assert Document.from_json(text.encode()) == document
    VALIDATOR.validate(json.loads(text))


def sample() -> Document:
    line = Line(
        "你好 “world”",
        polygon=((100, 200), (500, 200), (500, 240), (100, 240)),
        confidence=0.75,
        words=[Word("你好", Box(100, 200, 180, 240), 0.5)],
    )
    read = Page(1, 1000, 2000, "a.pdf", blocks=[Block([line], "heading")], dpi=200, rotation=90, seconds=1.5)
    failed = Page(2, 0, 0, "a.pdf", status="failed", message="page 2 of a.pdf: broken")
    model = Provenance("vary-nano", "1", "0.1.0", "ocr", "OCR:", {"device": "cpu"})
    return Document("a.pdf", (read, failed), model)


def test_what_is_written() -> None:
    content = json.loads(sample().to_json())
    assert content["schema_version"] == SCHEMA_VERSION == "1.1"
    assert content["status"] == "failed"
    assert content["model"]["settings"] == {"device": "cpu"}
    first, second = content["pages"]
    assert (first["text"], first["confidence"], first["rotation"]) == ("你好 “world”", 0.75, 90)
    block = first["blocks"][0]
    assert (block["kind"], block["box"], block["box_1000"]) == (
        "heading",
        [100, 200, 500, 240],
        [100, 100, 500, 120],
    )
    assert block["lines"][0]["polygon"] == [[100, 200], [500, 200], [500, 240], [100, 240]]
    assert block["lines"][0]["words"][0]["box_1000"] == [100, 100, 180, 120]
    assert (second["status"], second["message"], second["blocks"]) == (
        "failed",
        "page 2 of a.pdf: broken",
        [],
    )
    assert "你好" in sample().to_json()


def test_the_schema_is_valid_and_strict() -> None:
    schema = json_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    content = json.loads(sample().to_json())
    assert VALIDATOR.is_valid(content)
    content["pages"][0]["blocks"][0]["lines"][0]["surprise"] = 1
    assert not VALIDATOR.is_valid(content)
    enums = schema["$defs"]
    assert enums["status"]["enum"] == list(PageStatus)
    assert enums["block"]["properties"]["kind"]["enum"] == list(BlockKind)
    assert enums["line"]["properties"]["finish_reason"]["enum"] == list(FinishReason)


def test_a_terminal_finds_nothing_to_obey() -> None:
    block = Block([Line("a")], "chart", data={"\x1b[2J\x9b31m": "\x7f\x85é漢"})
    stored = Document("a.png", [Page(1, 10, 10, "a.png", blocks=[block])])
    text = dumps(stored)
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f]", text)
    assert "é漢" in text
    assert loads(text) == stored


def test_text_that_no_encoding_holds_still_makes_json() -> None:
    document = Document("caf\udce9.png", (Page(1, 1, 1, "x", blocks=[Block([Line("\ud800")])]),))
    text = document.to_json()
    text.encode("utf-8")
    assert Document.from_json(text) == document


def change(*path: str | int, to: Any) -> str:
    """The sample's JSON with one value replaced, or removed where ``to`` is ...."""
    content = json.loads(sample().to_json())
    place = content
    for key in path[:-1]:
        place = place[key]
    if to is ...:
        del place[path[-1]]
    else:
        place[path[-1]] = to
    return json.dumps(content)


BLOCK = ("pages", 0, "blocks", 0)
LINE = (*BLOCK, "lines", 0)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "this is not the JSON of a document"),
        ("{", "this is not the JSON of a document"),
        (b"\xff\xfe\x00", "this is not the JSON of a document"),
        ("[" * 100_000, "this is not the JSON of a document"),
        ("[]", "document: expected an object, found a list"),
        ("{}", "document: 'schema_version' is missing"),
        (
            change("schema_version", to="2.0"),
            "schema version '2.0', this vary reads 1.1; install a vary that",
        ),
        (change("schema_version", to=1), "document.schema_version: expected a string, found an integer"),
        (change("pages", to={}), "document.pages: expected a list, found an object"),
        (change("pages", 1, to=None), r"pages\[1\]: expected an object, found null"),
        (
            change("pages", 0, "number", to=True),
            r"pages\[0\].number: expected an integer, found true or false",
        ),
        (change("pages", 0, "status", to="fine"), r"pages\[0\]: status is 'fine', expected one of"),
        (change("pages", 0, "width", to=...), r"pages\[0\]: 'width' is missing"),
        (
            change(*LINE, "text", to=3),
            r"pages\[0\].blocks\[0\].lines\[0\].text: expected a string, found an int",
        ),
        (change(*LINE, "box", to=[1, 2, 3]), r"lines\[0\].box: expected 4 numbers, found \[1, 2, 3\]"),
        (change(*LINE, "box", to=[9, 2, 3, 4]), r"lines\[0\]: a box needs left <= right"),
        (change(*LINE, "polygon", to=[[1, "2"]]), r"lines\[0\].polygon: expected 2 numbers"),
        (change(*LINE, "confidence", to=7), r"lines\[0\]: a confidence is between 0 and 1"),
        (change(*BLOCK, "note", to=...), r"blocks\[0\]: 'note' is missing"),
        (change(*BLOCK, "data", to=...), r"blocks\[0\]: 'data' is missing"),
        (change(*BLOCK, "note", to=None), r"blocks\[0\].note: expected a string, found null"),
        (change(*BLOCK, "detections", to={}), r"blocks\[0\].detections: expected a list, found an object"),
        (change(*BLOCK, "detections", to=[{}]), r"blocks\[0\].detections\[0\]: 'box' is missing"),
        (
            change(*BLOCK, "detections", to=[{"label": "a", "box": None, "confidence": None}]),
            r"detections\[0\].box: expected a list, found null",
        ),
        (
            change(*BLOCK, "detections", to=[{"label": "a", "box": [0, 0, 1, 1], "confidence": 7}]),
            r"detections\[0\]: a confidence is between 0 and 1",
        ),
        (change("model", "settings", to=[]), "model.settings: expected an object, found a list"),
    ],
)
def test_what_does_not_follow_the_schema_is_refused_with_its_place(text: str | bytes, message: str) -> None:
    with pytest.raises(DocumentError, match=message):
        Document.from_json(text)


def of_version_1_0() -> dict[str, Any]:
    """The sample as vary 0.1.0 wrote it."""
    content: dict[str, Any] = json.loads(sample().to_json())
    content["schema_version"] = "1.0"
    for page in content["pages"]:
        for block in page["blocks"]:
            for key in ("detections", "data", "note"):
                del block[key]
    return content


def test_documents_of_version_1_0_are_still_read() -> None:
    document = Document.from_json(json.dumps(of_version_1_0()))
    assert document.pages == sample().pages
    assert document.schema_version == "1.0"
    assert Document.from_json(document.to_json()) == document


@pytest.mark.parametrize("version", ["1.1", "1.7", "1.x"])
def test_only_documents_of_version_1_0_may_lack_what_came_later(version: str) -> None:
    with pytest.raises(DocumentError, match=r"blocks\[0\]: 'detections' is missing"):
        Document.from_json(json.dumps({**of_version_1_0(), "schema_version": version}))


def test_detections_and_charts_are_written_with_both_spaces() -> None:
    found = Detection("猫", Box(100, 200, 500, 1000), 0.5)
    block = Block([Line("cat: [..]")], "detection", None, [found], {"title": "t", "data": [1.5, None]}, "odd")
    content = json.loads(Document("a", (Page(1, 1000, 2000, "a", blocks=[block]),)).to_json())
    [written] = content["pages"][0]["blocks"]
    assert written["detections"] == [
        {"label": "猫", "box": [100, 200, 500, 1000], "box_1000": [100, 100, 500, 500], "confidence": 0.5}
    ]
    assert (written["kind"], written["data"], written["note"]) == (
        "detection",
        {"title": "t", "data": [1.5, None]},
        "odd",
    )


def test_keys_of_later_versions_are_passed_over() -> None:
    content = json.loads(change("schema_version", to="1.7"))
    content["pages"][0]["language"] = "zh"
    document = Document.from_json(json.dumps(content))
    assert document.pages == sample().pages
    assert document.schema_version == "1.7"


@settings(deadline=None, max_examples=100)
@given(
    json_values,
    st.sampled_from(
        [
            ("pages",),
            ("model",),
            ("pages", 0),
            ("schema_version",),
            LINE,
            (*LINE, "words"),
            (*LINE, "box"),
            (*BLOCK, "detections"),
            (*BLOCK, "data"),
        ]
    ),
)
def test_hostile_values_never_raise_anything_else(value: Any, path: tuple[str | int, ...]) -> None:
    with contextlib.suppress(DocumentError):
        Document.from_json(change(*path, to=value))
