"""Formats by name: recognised by what a file holds, offered by the command line, checked whole."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from vary.cli.synth.annotations import FORMAT_NAMES
from vary.datagen.readers.checks import FileCheck
from vary.datagen.readers.formats import FORMATS, find_format, recognise_format
from vary.datagen.sample import Engine
from vary.errors import DataError

TALK = [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Hello"}]
COCO_IMAGES = [{"id": 1, "file_name": "a.png", "width": 20, "height": 10}]
EXAMPLES: dict[str, Any] = {
    "llava": [{"conversations": TALK}, {"image": "a.png", "conversations": TALK}],
    "coco": {
        "images": COCO_IMAGES,
        "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 2, 3, 4]}],
        "categories": [{"id": 1, "name": "cat"}],
    },
    "refcoco": [{"ann_id": 1, "split": "train", "sentences": [{"sent": "the cat"}]}],
    "coco-captions": {"images": COCO_IMAGES, "annotations": [{"id": 1, "image_id": 1, "caption": "A cat."}]},
    "docvqa": {"data": [{"question": "Who?", "image": "a.png", "answers": ["me"]}]},
    "chartqa": [{"imgname": "a.png", "query": "Who?", "label": "me"}],
    "sharegpt": [{"conversations": TALK}],
    "alpaca": [{"instruction": "Say hello.", "input": "", "output": "Hello."}],
}
BOXES = "ImageID,LabelName,XMin,XMax,YMin,YMax\na,/m/1,0.1,0.2,0.1,0.3\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A good file of each format, named after it, and the image and second files that they need."""
    Image.new("RGB", (20, 10)).save(tmp_path / "a.png")
    Image.new("RGB", (20, 10)).save(tmp_path / "a.jpg")
    for name, value in EXAMPLES.items():
        (tmp_path / f"{name}.json").write_text(json.dumps(value), encoding="utf-8")
    (tmp_path / "openimages.csv").write_text(BOXES, encoding="utf-8")
    (tmp_path / "classes.csv").write_text("/m/1,cat\n", encoding="utf-8")
    return tmp_path


def _file(folder: Path, name: str) -> Path:
    return folder / (f"{name}.csv" if name == "openimages" else f"{name}.json")


def test_the_command_line_offers_every_format() -> None:
    assert tuple(FORMATS) == FORMAT_NAMES
    assert set(EXAMPLES) | {"openimages"} == set(FORMATS)


@pytest.mark.parametrize("name", FORMATS)
def test_a_format_is_recognised_read_and_checked(folder: Path, name: str) -> None:
    path = _file(folder, name)
    assert recognise_format(path) == name
    assert find_format(None, path) is FORMATS[name]
    second = {"classes": folder / "classes.csv", "instances": folder / "coco.json"}
    fields = {"image_folder": folder, **second}
    given = {key: str(value) for key, value in fields.items() if key in FORMATS[name].options}
    reader: Engine = FORMATS[name].reader(file=str(path), licence="CC0-1.0", split="train", seed=1, **given)
    assert reader.length
    samples = [sample for index in range(reader.length) for sample in reader.draw(index).samples]
    assert samples
    assert {sample.licence for sample in samples} == {"CC0-1.0"}
    assert all(sample.prompt and sample.answer and sample.source.startswith(path.name) for sample in samples)
    assert reader.describe()["format"] == name
    assert reader.name == name
    check = FileCheck(path=path, format=name, image_folder=folder, **second)
    assert list(check) == []
    assert check.records
    assert check.broken == 0


def test_json_lines_are_recognised_too(tmp_path: Path) -> None:
    path = tmp_path / "data.jsonl"
    path.write_text("\n".join(map(json.dumps, EXAMPLES["llava"])), encoding="utf-8")
    assert recognise_format(path) == "llava"


@pytest.mark.parametrize("value", [[{"a": 1}], {"x": 1}, [1, 2], {"images": [{"id": 1}]}])
def test_what_is_like_no_format(tmp_path: Path, value: Any) -> None:
    path = tmp_path / "data.json"
    path.write_text(json.dumps(value), encoding="utf-8")
    with pytest.raises(DataError, match=r"like no format that is known .*llava, coco, openimages"):
        recognise_format(path)


def test_names_and_fields_that_are_not_there(folder: Path) -> None:
    with pytest.raises(DataError, match=r"no format 'lava'; there are llava.* did you mean 'llava'\?"):
        find_format("lava", folder / "llava.json")
    with pytest.raises(DataError, match="format alpaca has no image_folder"):
        FORMATS["alpaca"].reader(file="x.json", image_folder="y")
    with pytest.raises(DataError, match="format refcoco needs image_folder, instances"):
        FORMATS["refcoco"].reader(file="x.json")
    (folder / "refs.p").write_bytes(b"(lp0\n.")
    with pytest.raises(DataError, match="a Python pickle"):
        find_format(None, folder / "refs.p")


def _problems(path: Path, name: str, **second: Any) -> list[str]:
    check = FileCheck(path=path, format=name, **second)
    found = [f"{fault.number} {fault.path} {fault.reason}" for fault in check]
    assert check.broken <= len(found)
    assert bool(check.broken) == bool(found)
    return found


def test_all_problems_of_a_coco_file(folder: Path) -> None:
    value = json.loads((folder / "coco.json").read_text(encoding="utf-8"))
    value["images"] += [{"id": 2, "file_name": "none.png"}, {"file_name": "b.png"}]
    value["annotations"] += [
        {"id": 2, "image_id": 1, "category_id": 9, "bbox": [1, 2, 3, 4]},
        {"id": 3, "image_id": 1, "category_id": 1, "bbox": [15, 2, 30, 4]},
        {"id": 4, "image_id": 1, "category_id": 1, "bbox": None},
        {"id": 5, "image_id": 1, "category_id": 1, "bbox": [1, 1]},
        {"id": 6, "image_id": 77, "category_id": 1, "bbox": [1, 2, 3, 4]},
        {"id": 7, "image_id": 1, "category_id": 1, "bbox": [15, 2, 30, 4], "iscrowd": 1},
    ]
    path = folder / "coco.json"
    path.write_text(json.dumps(value), encoding="utf-8")
    expected = [
        "2 $.id expected a whole number, found nothing",
        "5 $.image_id no image has the id 77",
        "3 $.bbox expected [left, top, width, height], found null",
        "4 $.bbox expected [left, top, width, height], found [1, 1]",
        "1 $.category_id no class has the id 9",
        "2 $.bbox the box 15, 2, 45, 6 lies outside of its image of 20 x 10 px",
    ]
    assert _problems(path, "coco") == expected
    with_images = _problems(path, "coco", image_folder=folder)
    assert with_images == [*expected, "1 $.file_name image 'none.png' is not in the image folder"]


def test_all_problems_of_the_other_formats(folder: Path) -> None:
    def write(name: str, change: Any) -> Path:
        path = _file(folder, name)
        value = json.loads(path.read_text(encoding="utf-8"))
        change(value)
        path.write_text(json.dumps(value), encoding="utf-8")
        return path

    path = write("docvqa", lambda v: v["data"].extend([{"question": ""}, 5]))
    assert [p.rpartition(" expected")[0] or p for p in _problems(path, "docvqa")][:3] == [
        "1 $.question",
        "1 $.image",
        "1 $.answers no answers; the files of test splits have none, and teach nothing",
    ]
    path = write("coco-captions", lambda v: v["annotations"].append({"image_id": 3, "caption": "x"}))
    assert _problems(path, "coco-captions") == ["1 $.image_id no image has the id 3"]
    path = write("refcoco", lambda v: v.append({"ann_id": 5, "split": "val", "sentences": [{"sent": "x"}]}))
    assert _problems(path, "refcoco") == []
    known = _problems(path, "refcoco", instances=folder / "coco.json")
    assert known == ["1 $.ann_id no annotation of coco.json has the id 5"]
    path = write("chartqa", lambda v: v.append({"imgname": "none.png", "query": "x", "label": 3}))
    assert _problems(path, "chartqa") == []
    assert _problems(path, "chartqa", image_folder=folder) == [
        "1 $.imgname image 'none.png' is not in the image folder"
    ]
    (folder / "openimages.csv").write_text(BOXES + "a,/m/7,0.1,0.2,0.1,0.3\n", encoding="utf-8")
    [problem] = _problems(folder / "openimages.csv", "openimages", classes=folder / "classes.csv")
    assert problem == "1 $.LabelName the class '/m/7' has no name in classes.csv"
