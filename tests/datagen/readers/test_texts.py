"""Questions, captions, dialogues and instructions: what is taken of each format, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from vary.datagen.readers import (
    AlpacaReader,
    CaptionConfig,
    ChartqaReader,
    CocoCaptionReader,
    DialogueConfig,
    DocvqaReader,
    QuestionConfig,
    RecordFault,
    SharegptReader,
)
from vary.errors import DataError
from vary.inputs.tasks import resolve_task


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "documents").mkdir()
    Image.new("RGB", (20, 30), "blue").save(tmp_path / "documents" / "a.png")
    (tmp_path / "png").mkdir()
    Image.new("RGB", (20, 30), "blue").save(tmp_path / "png" / "c.png")
    return tmp_path


def _write(folder: Path, value: Any) -> str:
    path = folder / "data.json"
    path.write_text(json.dumps(value, indent=1), encoding="utf-8")
    return str(path)


def _docvqa(**change: Any) -> dict[str, Any]:
    record = {
        "questionId": 337,
        "question": "What is the date?",
        "image": "documents/a.png",
        "docId": 279,
        "answers": ["1/8/93", "Jan 8"],
        "data_split": "train",
    }
    return {key: value for key, value in {**record, **change}.items() if value is not ...}


def test_docvqa(folder: Path) -> None:
    data = {"dataset_name": "docvqa", "data": [_docvqa()] * 30}
    reader = DocvqaReader(QuestionConfig(file=_write(folder, data), licence="x"))
    samples = [reader.draw(index).samples[0] for index in range(reader.length)]
    assert {(s.task, s.answer, s.language, s.licence) for s in samples} == {("ask", "1/8/93", "en", "x")}
    details = {"question": "What is the date?", "answers": ["1/8/93", "Jan 8"], "image": "documents/a.png"}
    assert samples[0].details == {**details, "questionId": 337, "docId": 279}
    prompts = [sample.prompt for sample in samples]
    assert resolve_task("ask", ["ask"], prompt="What is the date?").prompt in prompts
    assert all("What is the date?" in prompt for prompt in prompts)
    assert len(set(prompts)) > 3
    assert samples[0].image is not None
    assert samples[0].image.shape == (30, 20, 3)


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ({"answers": ...}, r"\$\.answers: no answers; the files of test splits"),
        ({"answers": []}, r"\$\.answers: expected an array of texts, found none"),
        ({"answers": ["x", " "]}, r"\$\.answers\[1\]: expected a text, found an empty one"),
        ({"question": ""}, r"\$\.question: expected a text, found an empty one"),
        ({"image": ...}, r"\$\.image: expected a text, found nothing"),
        ({"image": "documents/b.png"}, r"\$\.image: image 'documents/b\.png' is not in the image folder"),
    ],
)
def test_broken_docvqa_records_are_named(folder: Path, change: dict[str, Any], found: str) -> None:
    reader = DocvqaReader(QuestionConfig(file=_write(folder, {"data": [_docvqa(), _docvqa(**change)]})))
    with pytest.raises(RecordFault, match=rf"data\.json:\d+: record 1: {found}"):
        reader.draw(1)


def test_chartqa(folder: Path) -> None:
    records = [
        {"imgname": "c.png", "query": "How many?", "label": "14"},
        {"imgname": "c.png", "query": "图中最高的是多少？", "label": 0.57},
        {"imgname": "c.png", "query": "How many?", "label": ""},
        {"imgname": "c.png", "query": "How many?", "label": True},
    ]
    reader = ChartqaReader(QuestionConfig(file=_write(folder, records)))
    [one], [two] = reader.draw(0).samples, reader.draw(1).samples
    assert (one.answer, one.language, one.details["question"]) == ("14", "en", "How many?")
    assert (two.answer, two.language) == ("0.57", "zh")
    for number in (2, 3):
        with pytest.raises(RecordFault, match=rf"record {number}: \$\.label"):
            reader.draw(number)
    elsewhere = ChartqaReader(QuestionConfig(file=_write(folder, records), image_folder=str(folder)))
    with pytest.raises(RecordFault, match="not in the image folder"):
        elsewhere.draw(0)


def _captions(*annotations: tuple[int, Any]) -> dict[str, Any]:
    return {
        "images": [{"id": 9, "file_name": "a.png"}, {"id": 4, "file_name": "a.png"}],
        "annotations": [
            {"id": n, "image_id": image, "caption": text} for n, (image, text) in enumerate(annotations)
        ],
    }


def test_coco_captions(folder: Path) -> None:
    images = str(folder / "documents")
    data = _captions((9, "A blue  page.\n"), (5, "Of no image."), (9, "Something blue."), (9, "Blue."))
    drawn = set()
    for seed in range(20):
        reader = CocoCaptionReader(CaptionConfig(file=_write(folder, data), image_folder=images, seed=seed))
        [sample] = reader.draw(0).samples
        assert sample.task == "caption"
        assert sample.details["captions"] == ["A blue page.", "Something blue.", "Blue."]
        drawn.add(sample.answer)
    assert drawn == {"A blue page.", "Something blue.", "Blue."}
    assert dict(reader.draw(1).dropped) == {"images without captions": 1}
    assert reader.describe()["captions_without_image"] == 1
    every = CocoCaptionReader(
        CaptionConfig(file=_write(folder, data), image_folder=images, every_caption=True)
    )
    assert [sample.answer for sample in every.draw(0).samples] == ["A blue page.", "Something blue.", "Blue."]
    broken = _write(folder, _captions((9, "Good."), (9, "")))
    with pytest.raises(RecordFault, match=r"record 1: \$\.caption: expected a text, found an empty one"):
        CocoCaptionReader(CaptionConfig(file=broken, image_folder=images)).draw(0)


def _turns(*texts: tuple[str, str], who: str = "from", what: str = "value") -> list[dict[str, str]]:
    return [{who: speaker, what: text} for speaker, text in texts]


def test_sharegpt_in_both_of_its_shapes(folder: Path) -> None:
    talk = [("system", "Be brief."), ("human", "Hi"), ("gpt", "Hello"), ("user", "1+1?"), ("assistant", "2")]
    records = [
        {"id": "a", "conversations": _turns(*talk)},
        {"messages": _turns(*talk, who="role", what="content")},
    ]
    reader = SharegptReader(DialogueConfig(file=_write(folder, records)))
    one, two = (reader.draw(index).samples[0] for index in range(2))
    for sample in (one, two):
        assert sample.image is None
        assert (sample.task, sample.system, sample.prompt, sample.answer) == (
            "chat",
            "Be brief.",
            "Hi",
            "Hello",
        )
        assert sample.later == (("1+1?", "2"),)


def test_what_everybody_leaves_out_of_sharegpt_is_counted(folder: Path) -> None:
    talk = [("gpt", "I went on."), ("human", "Hi"), ("gpt", "Hello"), ("human", "And?")]
    reader = SharegptReader(DialogueConfig(file=_write(folder, [{"conversations": _turns(*talk)}])))
    draw = reader.draw(0)
    assert (draw.samples[0].prompt, draw.samples[0].answer, draw.samples[0].later) == ("Hi", "Hello", ())
    assert dict(draw.counts) == {
        "left out: an answer before the first question": 1,
        "left out: a question without an answer at the end": 1,
    }


@pytest.mark.parametrize(
    ("record", "found"),
    [
        ({"conversations": []}, r"\$\.conversations: expected 1 to 2,000 turns, found 0"),
        ({"text": "x"}, r"\$\.conversations: expected 1 to 2,000 turns, found null"),
        ({"conversations": _turns(("gpt", "alone"))}, r"\$\.conversations: no question that is answered"),
        ({"conversations": _turns(("human", "a"), ("human", "b"), ("gpt", "c"))}, "do not take turns"),
        (
            {"conversations": _turns(("human", "a"), ("gpt", " "))},
            r"\$\.conversations\[1\]\.value: an empty text",
        ),
        (
            {"conversations": _turns(("human", "a"), ("pirate", "b"))},
            r"\$\.conversations\[1\]: expected a known",
        ),
        ({"messages": [{"role": "user", "content": ["x"]}]}, r"\$\.messages\[0\]: expected a known"),
        ([1], "expected an object, found an array"),
    ],
)
def test_broken_dialogues_are_named(folder: Path, record: Any, found: str) -> None:
    good = {"conversations": _turns(("human", "a"), ("gpt", "b"))}
    reader = SharegptReader(DialogueConfig(file=_write(folder, [good, record])))
    with pytest.raises(RecordFault, match=rf"record 1: .*{found}"):
        reader.draw(1)
    assert len(reader.draw(0).samples) == 1


def test_alpaca(folder: Path) -> None:
    records = [
        {"instruction": "Name a fruit.", "input": "", "output": "A pear."},
        {"instruction": "Translate.", "input": "pear", "output": "梨"},
        {"instruction": "Name two.", "output": ""},
        {"instruction": "Name two.", "input": 3, "output": "x"},
    ]
    reader = AlpacaReader(DialogueConfig(file=_write(folder, records)))
    prompts = [reader.draw(index).samples[0].prompt for index in range(2)]
    assert prompts == ["Name a fruit.", "Translate.\n\npear"]
    assert reader.draw(1).samples[0].answer == "梨"
    with pytest.raises(RecordFault, match=r"record 2: \$\.output: expected a text, found an empty one"):
        reader.draw(2)
    with pytest.raises(RecordFault, match=r"record 3: \$\.input: expected a text or nothing, found a number"):
        reader.draw(3)


def test_long_and_foreign_texts_are_left_out_and_counted(folder: Path) -> None:
    records = [{"instruction": text, "output": "ok"} for text in ("short", "x" * 500, "你好你好")]
    config = DialogueConfig(file=_write(folder, records), max_characters=100, languages=("en",))
    reader = AlpacaReader(config)
    assert [dict(reader.draw(index).dropped) for index in range(3)] == [
        {},
        {"more than max_characters": 1},
        {"language mixed": 1} if reader.draw(2).dropped["language mixed"] else {"language zh": 1},
    ]


def test_a_file_of_another_format_is_refused(folder: Path) -> None:
    path = _write(folder, {"questions": [1]})
    with pytest.raises(DataError, match="no array 'data' with records"):
        DocvqaReader(QuestionConfig(file=path))
    with pytest.raises(DataError, match="no array 'images' with records"):
        CocoCaptionReader(CaptionConfig(file=path, image_folder=str(folder)))
