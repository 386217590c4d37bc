"""LLaVA files: what is taken, what is refused and where, and the schema that says the same."""

from __future__ import annotations

import copy
import json
from importlib import resources
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from vary.datagen.readers import LlavaConfig, LlavaReader, RecordFault
from vary.datagen.readers.conversations import conversation_problems
from vary.datagen.readers.pictures import ImageFolder
from vary.errors import DataError, InputError

SCHEMA = json.loads(resources.files("vary.datagen.readers").joinpath("llava.schema.json").read_text("utf-8"))
RECORD = jsonschema.Draft202012Validator({**SCHEMA, "type": "object", "items": {}, "$ref": "#/$defs/record"})


def _turn(speaker: str, value: str) -> dict[str, str]:
    return {"from": speaker, "value": value}


GOOD: dict[str, Any] = {
    "id": "1",
    "image": "a.png",
    "conversations": [
        _turn("human", "<image>\nWhat is this?"),
        _turn("gpt", "A red square. \n"),
        _turn("human", "  And its colour?"),
        _turn("gpt", "红色"),
    ],
}


def _reader(folder: Path, records: list[Any], **settings: Any) -> LlavaReader:
    (folder / "data.json").write_text(json.dumps(records, indent=1), encoding="utf-8")
    return LlavaReader(LlavaConfig(file=str(folder / "data.json"), **settings))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    Image.new("RGB", (30, 20), "red").save(tmp_path / "a.png")
    (tmp_path / "broken.png").write_bytes((tmp_path / "a.png").read_bytes()[:50])
    return tmp_path


def test_a_conversation_about_an_image(folder: Path) -> None:
    reader = _reader(folder, [GOOD], licence="CC BY 4.0", split="val")
    [sample] = reader.draw(0).samples
    assert sample.image is not None
    assert sample.image.shape == (20, 30, 3)
    assert (sample.image == [255, 0, 0]).all()
    assert (sample.task, sample.prompt, sample.answer) == ("chat", "What is this?", "A red square. \n")
    assert sample.later == (("  And its colour?", "红色"),), "texts stay as they are"
    assert (sample.source, sample.licence, sample.language) == ("data.json#0", "CC BY 4.0", "mixed")
    assert sample.details == {"image": "a.png", "image_place": "before"}


@pytest.mark.parametrize(
    ("question", "prompt", "place"),
    [
        ("<image>\nWhat?", "What?", "before"),
        ("What?\n<image>", "What?", "after"),
        ("What is in <image> here?", "What is in here?", "within"),
        ("What?", "What?", ""),
        ("<image>", "", "before"),
    ],
)
def test_where_the_image_stands(folder: Path, question: str, prompt: str, place: str) -> None:
    record = {"image": "a.png", "conversations": [_turn("human", question), _turn("gpt", "x")]}
    [sample] = _reader(folder, [record]).draw(0).samples
    assert sample.prompt == prompt
    assert sample.details.get("image_place", "") == place


def test_text_alone_and_a_system_message(folder: Path) -> None:
    turns = [_turn("system", "Be brief."), _turn("human", "1+1?"), _turn("gpt", "2")]
    [sample] = _reader(folder, [{"conversations": turns}]).draw(0).samples
    assert sample.image is None
    assert (sample.system, sample.prompt, sample.answer, sample.later) == ("Be brief.", "1+1?", "2", ())


def test_captions_are_asked_for_in_our_wordings(folder: Path) -> None:
    record = {
        "image": "a.png",
        "conversations": [_turn("human", "Write a terse caption.\n<image>"), _turn("gpt", " a red square ")],
    }
    reader = _reader(folder, [record] * 30, captions=True)
    samples = [reader.draw(index).samples[0] for index in range(30)]
    assert {(s.task, s.answer, s.later) for s in samples} == {("caption", "a red square", ())}
    prompts = {s.prompt for s in samples}
    assert "Describe the content of this image in a sentence." in prompts
    assert len(prompts) > 3
    assert "Write a terse caption." not in prompts
    assert [s.prompt for s in samples] == [reader.draw(index).samples[0].prompt for index in range(30)]


def test_other_languages_are_left_out_and_counted(folder: Path) -> None:
    records = [
        {"conversations": [_turn("human", text), _turn("gpt", text)]}
        for text in ("Hello there", "你好吗", "Привет мир", "12 + 3")
    ]
    reader = _reader(folder, records, languages=("en",))
    draws = [reader.draw(index) for index in range(4)]
    assert [len(draw.samples) for draw in draws] == [1, 0, 0, 1]
    assert [dict(draw.dropped) for draw in draws[1:3]] == [{"language zh": 1}, {"language other": 1}]
    assert len(_reader(folder, records).draw(2).samples) == 1, "without languages everything is kept"


def _changed(*path: Any, value: Any = None, remove: bool = False) -> dict[str, Any]:
    record = copy.deepcopy(GOOD)
    place: Any = record
    for step in path[:-1]:
        place = place[step]
    if remove:
        del place[path[-1]]
    else:
        place[path[-1]] = value
    return record


BAD = [
    ("text", "$", "expected an object, found a text"),
    (_changed("conversations", remove=True), "$.conversations", "found nothing"),
    (_changed("conversations", value=[]), "$.conversations", "found none"),
    (_changed("conversations", value="hi"), "$.conversations", "found a text"),
    (_changed("image", value=None), "$.image", "found null; leave the key out"),
    (_changed("image", value=" "), "$.image", "found an empty name"),
    (_changed("image", value=["a.png", "b.png"]), "$.image", "2 images"),
    (_changed("image", remove=True), "$.conversations[0].value", "in a record without an image"),
    (_changed("conversations", 1, value="A red square"), "$.conversations[1]", "found a text"),
    (_changed("conversations", 1, "from", value="bot"), "$.conversations[1].from", "found 'bot'"),
    (_changed("conversations", 1, "from", remove=True), "$.conversations[1].from", "found nothing"),
    (
        _changed("conversations", 1, "from", value="human"),
        "$.conversations[1].from",
        "expected gpt, whose turn",
    ),
    (_changed("conversations", 0, "from", value="gpt"), "$.conversations[0].from", "expected human"),
    (_changed("conversations", 2, "from", value="system"), "$.conversations[2].from", "expected human"),
    (_changed("conversations", 1, "value", value=""), "$.conversations[1].value", "an empty answer"),
    (_changed("conversations", 1, "value", value=" \n"), "$.conversations[1].value", "an empty answer"),
    (_changed("conversations", 1, "value", value=5), "$.conversations[1].value", "found a number"),
    (_changed("conversations", 1, "value", remove=True), "$.conversations[1].value", "found nothing"),
    (_changed("conversations", 2, "value", value=""), "$.conversations[2].value", "an empty text"),
    (
        _changed("conversations", 2, "value", value="<image> again?"),
        "$.conversations[2].value",
        "first question alone",
    ),
    (
        _changed("conversations", 0, "value", value="<image><image> x"),
        "$.conversations[0].value",
        "stands 2 times",
    ),
    (_changed("conversations", value=GOOD["conversations"][:3]), "$.conversations[2]", "has no answer"),
    (_changed("conversations", value=[_turn("system", "x")]), "$.conversations", "without a conversation"),
    (
        _changed("conversations", value=GOOD["conversations"] * 501),
        "$.conversations",
        "2,004 turns are too many",
    ),
]


@pytest.mark.parametrize(("record", "path", "reason"), BAD)
def test_what_is_wrong_is_named_with_its_place(folder: Path, record: Any, path: str, reason: str) -> None:
    problems = list(conversation_problems(record))
    assert [problem.path for problem in problems][:1] == [path]
    assert reason in problems[0].reason
    reader = _reader(folder, [GOOD, record])
    with pytest.raises(RecordFault) as caught:
        reader.draw(1)
    assert (caught.value.number, caught.value.path) == (1, path)
    assert str(caught.value).startswith(f"data.json:{caught.value.line}: record 1: {path}: ")
    assert len(reader.draw(0).samples) == 1


def test_every_problem_is_reported_not_only_the_first() -> None:
    record = {"image": 3, "conversations": [_turn("human", ""), {"from": "gpt"}, 7, _turn("dog", "wuff")]}
    assert [problem.path for problem in conversation_problems(record)] == [
        "$.image",
        "$.conversations[1].value",
        "$.conversations[2]",
        "$.conversations[3].from",
    ]


SPEAKERS = st.sampled_from(["human", "gpt", "system", "bot", None, 3])
VALUES = st.sampled_from(["", " ", "text", "<image>\ntext", "text <image>", "<image>", None, 5, ["x"]])
TURNS = st.fixed_dictionaries({}, optional={"from": SPEAKERS, "value": VALUES}) | st.sampled_from(["x", None])
ALTERNATING = st.lists(st.tuples(VALUES, VALUES), min_size=1, max_size=3).map(
    lambda pairs: [
        {"from": who, "value": v} for pair in pairs for who, v in zip(("human", "gpt"), pair, strict=True)
    ]
)
RECORDS = st.fixed_dictionaries(
    {},
    optional={
        "image": st.sampled_from(["a.png", "", " ", None, 3, ["a", "b"]]),
        "conversations": st.lists(TURNS, max_size=5) | ALTERNATING | st.sampled_from([None, "x", {}]),
        "id": st.integers(),
    },
)
BEYOND_THE_SCHEMA = (
    "whose turn it is",
    "has no answer",
    "an empty text",
    "<image>",
    "without a conversation",
)


@given(record=RECORDS)
def test_the_check_and_the_schema_agree(record: Any) -> None:
    problems = list(conversation_problems(record))
    beyond = [p for p in problems if any(words in p.reason for words in BEYOND_THE_SCHEMA)]
    valid = RECORD.is_valid(record)
    if not problems:
        assert valid, list(RECORD.iter_errors(record))
    if not valid:
        assert problems
    if valid and problems:
        assert beyond == problems, "the schema allows what it could refuse"


def test_the_schema_is_one_and_takes_the_example() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    example = Path(__file__).parents[3] / "examples" / "llava" / "conversations.json"
    records = json.loads(example.read_text(encoding="utf-8"))
    jsonschema.validate(records, SCHEMA)
    reader = LlavaReader(LlavaConfig(file=str(example)))
    assert reader.length == len(records) == 5
    assert [len(reader.draw(index).samples) for index in range(5)] == [1] * 5
    assert sum(path.stat().st_size for path in example.parent.iterdir()) <= 60_000


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("missing.png", "is not in the image folder"),
        ("broken.png", "cut off"),
        ("../outside.png", "outside of the image folder"),
        ("sub/../../outside.png", "outside of the image folder"),
        ("/etc/hostname", "outside of the image folder"),
        ("C:\\pictures\\a.png", "outside of the image folder"),
        ("..\\outside.png", "outside of the image folder"),
        ("link.png", "a link that leads out"),
        ("https://example.org/a.png", "is an address"),
        ("a\0.png", "has no name"),
        ("data.json", r"data\.json: this is plain text, expected PNG"),
        ("x" * 5000, "cannot be looked up|not in the image folder"),
    ],
)
def test_images_that_cannot_be_had_are_named(folder: Path, name: str, reason: str) -> None:
    Image.new("RGB", (30, 20)).save(folder.parent / "outside.png")
    (folder / "link.png").symlink_to(folder.parent / "outside.png")
    (folder / "sub").mkdir()
    reader = _reader(folder, [{**GOOD, "image": name}])
    with pytest.raises(RecordFault, match=reason) as caught:
        reader.draw(0)
    assert caught.value.path == "$.image"
    assert str(folder) not in str(caught.value)
    with pytest.raises(InputError):
        ImageFolder(folder).open(name)


def test_exif_turns_are_followed(folder: Path) -> None:
    image = Image.new("RGB", (30, 20))
    exif = image.getexif()
    exif[0x0112] = 6
    image.save(folder / "turned.jpg", exif=exif)
    [sample] = _reader(folder, [{**GOOD, "image": "turned.jpg"}]).draw(0).samples
    assert sample.image is not None
    assert sample.image.shape == (30, 20, 3)


def test_the_manifest_knows_the_file_and_no_folder(folder: Path) -> None:
    described = _reader(folder, [GOOD]).describe()
    assert described["records"] == 1
    assert described["files"][0]["file"] == "data.json"
    assert len(described["files"][0]["sha256"]) == 64
    assert str(folder) not in json.dumps(described)


def test_an_empty_file_is_refused(folder: Path) -> None:
    with pytest.raises(DataError, match="no records"):
        _reader(folder, [])


def test_a_png_stays_what_it_is(folder: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (9, 11, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(folder / "noise.png")
    [sample] = _reader(folder, [{**GOOD, "image": "noise.png"}]).draw(0).samples
    assert np.array_equal(sample.image, pixels)
