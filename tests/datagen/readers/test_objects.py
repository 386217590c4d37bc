"""COCO, OpenImages and RefCOCO: drawn rectangles come back from the answers as the parsers read them."""

from __future__ import annotations

import csv
import json
import pickle
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw

from vary.datagen.readers import (
    CocoReader,
    DetectionConfig,
    OpenImagesConfig,
    OpenImagesReader,
    RecordFault,
    RefcocoConfig,
    RefcocoReader,
)
from vary.datagen.readers.formats import FORMATS
from vary.datagen.readers.object_table import load_coco
from vary.datagen.sample import Sample
from vary.errors import DataError
from vary.inputs.tasks import TASKS
from vary.outputs.answers import parse_boxes

COLOURS = {"cat": "#ff0000", "dog": "#00ff00", "traffic light": "#0000ff"}
CATEGORIES = [{"id": 18 + number, "name": name} for number, name in enumerate(COLOURS)]
ID_OF = {category["name"]: category["id"] for category in CATEGORIES}
WIDTH, HEIGHT = 200, 100

Box = tuple[int, int, int, int]


def _draw(
    path: Path, boxes: list[tuple[str, Box]], size: tuple[int, int] = (WIDTH, HEIGHT), **save: Any
) -> None:
    image = Image.new("RGB", size, "white")
    for name, (left, top, right, bottom) in boxes:
        ImageDraw.Draw(image).rectangle((left, top, right - 1, bottom - 1), fill=COLOURS[name])
    image.save(path, **save)


def _annotation(number: int, image: int, name: str, box: Box, **more: Any) -> dict[str, Any]:
    left, top, right, bottom = box
    return {
        "id": number,
        "image_id": image,
        "category_id": ID_OF[name],
        "bbox": [left, top, right - left, bottom - top],
        "segmentation": [[1, 2, 3, 4, 5, 6]],
        "iscrowd": 0,
        **more,
    }


def _image(number: int, **more: Any) -> dict[str, Any]:
    return {"id": number, "file_name": f"{number}.png", "width": WIDTH, "height": HEIGHT, **more}


def _coco(
    folder: Path, images: list[Any], annotations: list[Any], categories: list[Any] = CATEGORIES
) -> Path:
    path = folder / "instances.json"
    value = {"info": {}, "images": images, "annotations": annotations, "categories": categories}
    path.write_text(json.dumps(value, indent=1), encoding="utf-8")
    return path


def _reader(path: Path, **settings: Any) -> CocoReader:
    return CocoReader(DetectionConfig(file=str(path), image_folder=str(path.parent), **settings))


THREE: list[tuple[str, Box]] = [
    ("dog", (20, 10, 80, 60)),
    ("cat", (100, 30, 150, 90)),
    ("dog", (160, 5, 190, 50)),
]


@pytest.fixture
def three(tmp_path: Path) -> Path:
    """Image 7 with three objects, and image 3, which comes first in the file, with one."""
    _draw(tmp_path / "7.png", THREE)
    _draw(tmp_path / "3.png", [("traffic light", (50, 20, 90, 70))])
    annotations = [_annotation(number, 7, name, box) for number, (name, box) in enumerate(THREE)]
    annotations.insert(1, _annotation(90, 3, "traffic light", (50, 20, 90, 70)))
    return _coco(tmp_path, [_image(3), _image(7)], annotations)


def _check_on_image(sample: Sample) -> None:
    """Each box of the answer holds its class's colour alone, within what rounding to thousandths allows."""
    assert sample.image is not None
    height, width = sample.image.shape[:2]
    parsed = parse_boxes(sample.answer)
    assert not parsed.notes
    for box in parsed.boxes:
        left, top, right, bottom = box.edges
        found = np.argwhere((sample.image == _rgb(box.label)).all(axis=2))
        inside = found[
            (found[:, 1] >= left / 1000 * width - 1)
            & (found[:, 1] <= right / 1000 * width + 1)
            & (found[:, 0] >= top / 1000 * height - 1)
            & (found[:, 0] <= bottom / 1000 * height + 1)
        ]
        edges = [*inside.min(axis=0)[::-1], *(inside.max(axis=0)[::-1] + 1)]
        expected = [left / 1000 * width, top / 1000 * height, right / 1000 * width, bottom / 1000 * height]
        assert np.abs(np.array(edges) - np.array(expected)).max() <= 1


def _rgb(name: str) -> list[int]:
    return [int(COLOURS[name][place : place + 2], 16) for place in (1, 3, 5)]


def test_all_objects_come_back_from_the_answer(three: Path) -> None:
    reader = pickle.loads(pickle.dumps(_reader(three)))
    assert reader.length == 2
    assert [reader.source_of(index) for index in range(2)] == ["instances.json#3.png", "instances.json#7.png"]
    [sample] = reader.draw(1).samples
    assert (sample.task, sample.language) == ("detect", "en")
    assert sample.answer == "dog: [100, 100, 400, 600], [800, 050, 950, 500]; cat: [500, 300, 750, 900]"
    _check_on_image(sample)
    assert [(box.label, (box.left, box.top, box.right, box.bottom)) for box in sample.boxes] == THREE
    [other] = reader.draw(0).samples
    assert other.answer == "traffic light: [250, 200, 450, 700]"


def test_prompts_in_both_languages(three: Path) -> None:
    prompts = set()
    for seed in range(40):
        [sample] = _reader(three, languages=("en", "zh"), seed=seed).draw(1).samples
        assert sample.language == ("zh" if any(c >= "\u4e00" for c in sample.prompt) else sample.language)
        prompts.add(sample.prompt)
    assert TASKS["detect"].prompts["en"][0] in prompts
    assert any(prompt[0] >= "\u4e00" for prompt in prompts)
    with pytest.raises(DataError, match="expected some of en, zh"):
        _reader(three, languages=("fr",))


def test_more_than_thirty_boxes_are_asked_for_by_class(tmp_path: Path) -> None:
    boxes = []
    for number in range(45):
        name = ("cat", "dog", "traffic light")[number % 3]
        left, top = number % 9 * 22, number // 9 * 20
        boxes.append((name, (left, top, left + 12, top + 10)))
    _draw(tmp_path / "1.png", boxes)
    annotations = [_annotation(number, 1, name, box) for number, (name, box) in enumerate(boxes)]
    path = _coco(tmp_path, [_image(1)], annotations)
    asked = set()
    for seed in range(30):
        [sample] = _reader(path, seed=seed).draw(0).samples
        told = parse_boxes(sample.answer).boxes
        names = {box.label for box in told}
        assert len(told) == 15 * len(names) <= 30, "all boxes of the classes asked for, and no others"
        assert {name for name in COLOURS if re.search(rf"\b{name}\b", sample.prompt)} == names
        assert len(sample.boxes) == 45
        assert sample.details["told_boxes"] == len(told)
        _check_on_image(sample)
        asked.add(tuple(sorted(names)))
    assert len(asked) > 3
    [fewer] = _reader(_coco(tmp_path, [_image(1)], annotations[:30])).draw(0).samples
    assert len(parse_boxes(fewer.answer).boxes) == 30
    assert not any(re.search(rf"\b{name}\b", fewer.prompt) for name in COLOURS)


def test_crowds_and_boxes_without_area_are_counted(three: Path) -> None:
    value = json.loads(three.read_text(encoding="utf-8"))
    value["annotations"].append(_annotation(50, 7, "cat", (0, 0, 200, 100), iscrowd=1))
    value["annotations"].append(_annotation(51, 7, "cat", (5, 5, 5, 20)))
    value["images"].append(_image(8))
    value["images"].append(_image(9))
    value["annotations"].append(_annotation(52, 9, "cat", (0, 0, 20, 10), iscrowd=1))
    three.write_text(json.dumps(value), encoding="utf-8")
    reader = _reader(three)
    draw = reader.draw(1)
    assert dict(draw.dropped) == {"boxes of crowds or groups": 1, "boxes without area": 1}
    assert len(parse_boxes(draw.samples[0].answer).boxes) == 3
    assert dict(reader.draw(2).dropped) == {"images without boxes": 1}, "no image is read for it"
    assert dict(reader.draw(3).dropped) == {"boxes of crowds or groups": 1, "images without boxes": 1}


@pytest.mark.parametrize(
    ("change", "path", "reason"),
    [
        ({"category_id": 99}, "$.category_id", "no class has the id 99"),
        ({"bbox": [150, 50, 90, 20]}, "$.bbox", "150, 50, 240, 70 lies outside of its image of 200 x 100 px"),
        ({"bbox": [-5, 50, 90, 20]}, "$.bbox", "lies outside"),
        ({"bbox": [1, 2, 3]}, "$.bbox", r"expected \[left, top, width, height\], found \[1, 2, 3\]"),
        ({"bbox": [1, 2, 3, "4"]}, "$.bbox", "expected"),
        ({"bbox": [1, 2, -3, 4]}, "$.bbox", "below 0"),
        ({"bbox": [1, 2, 1e999, 4]}, "$", "Infinity|expected"),
        ({"category_id": "cat"}, "$.category_id", "expected a whole number, found a text"),
    ],
)
def test_a_broken_annotation_is_named_and_takes_no_other_image_with_it(
    three: Path, change: dict[str, Any], path: str, reason: str
) -> None:
    value = json.loads(three.read_text(encoding="utf-8"))
    value["annotations"][2].update(change)
    text = json.dumps(value, indent=1).replace("Infinity", "1e999")
    three.write_text(text, encoding="utf-8")
    reader = _reader(three)
    with pytest.raises(RecordFault, match=reason) as caught:
        reader.draw(1)
    assert caught.value.number == 2
    assert caught.value.path.startswith(path)
    line = text.splitlines()[caught.value.line - 1]
    assert line.strip() == "{", "the line on which the annotation begins"
    assert len(reader.draw(0).samples) == 1


def test_a_pixel_outside_is_clipped(three: Path) -> None:
    value = json.loads(three.read_text(encoding="utf-8"))
    value["annotations"][2]["bbox"] = [100, 30, 100.9, 70.6]
    three.write_text(json.dumps(value), encoding="utf-8")
    [sample] = _reader(three).draw(1).samples
    assert "cat: [500, 300, 1000, 1000]" in sample.answer


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"file_name": "missing.png"}, "'missing.png' is not in the image folder"),
        ({"file_name": "../7.png"}, "outside of the image folder"),
        ({"width": 400, "height": 200}, "has 200 x 100 px, the file says 400 x 200"),
    ],
)
def test_an_image_that_does_not_fit_is_named(three: Path, change: dict[str, Any], reason: str) -> None:
    value = json.loads(three.read_text(encoding="utf-8"))
    value["images"][1].update(change)
    three.write_text(json.dumps(value), encoding="utf-8")
    with pytest.raises(RecordFault, match=reason) as caught:
        _reader(three).draw(1)
    assert caught.value.number == 1


def test_annotations_of_no_image_are_named_in_the_manifest(three: Path) -> None:
    value = json.loads(three.read_text(encoding="utf-8"))
    value["annotations"].append(_annotation(70, 12345, "cat", (1, 1, 9, 9)))
    value["annotations"].append({"id": 71})
    value["images"].append({"id": 5})
    three.write_text(json.dumps(value, indent=1), encoding="utf-8")
    reader = _reader(three)
    assert reader.length == 2
    left_out = " ".join(reader.describe()["left_out"])
    assert "record 4: $.image_id: no image has the id 12345" in left_out
    assert "record 5: $.image_id: expected a whole number, found nothing" in left_out
    assert "record 2: $.file_name: expected a text, found nothing" in left_out


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("said", ["stored", "upright"])
def test_boxes_follow_exif_turns(tmp_path: Path, orientation: int, said: str) -> None:
    boxes: list[tuple[str, Box]] = [("cat", (30, 10, 130, 40)), ("dog", (150, 60, 190, 90))]
    upright_size = (WIDTH, HEIGHT)
    upright = tmp_path / "upright.png"
    _draw(upright, boxes)
    undone = {
        1: None,
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }[orientation]
    stored = Image.open(upright)
    stored = stored if undone is None else stored.transpose(undone)
    exif = stored.getexif()
    exif[0x0112] = orientation
    stored.save(tmp_path / "1.png", exif=exif)
    if said == "stored" and stored.size != upright_size:
        pixels = np.asarray(stored.convert("RGB"))
        placed = []
        for name, _ in boxes:
            rows, columns = np.nonzero((pixels == _rgb(name)).all(axis=2))
            edges = (int(columns.min()), int(rows.min()), int(columns.max()) + 1, int(rows.max()) + 1)
            placed.append((name, edges))
        size = stored.size
    else:
        placed, size = boxes, upright_size
    annotations = [_annotation(number, 1, name, box) for number, (name, box) in enumerate(placed)]
    path = _coco(tmp_path, [_image(1, width=size[0], height=size[1])], annotations)
    [sample] = _reader(path).draw(0).samples
    assert sample.image is not None
    assert sample.image.shape[:2] == (HEIGHT, WIDTH)
    _check_on_image(sample)


def test_a_file_in_any_order_gives_the_same_table(three: Path) -> None:
    value = json.loads(three.read_text(encoding="utf-8"))
    before = load_coco(three)
    three.write_text(json.dumps(dict(reversed(list(value.items())))), encoding="utf-8")
    after = load_coco(three)
    assert before.names == after.names
    assert np.array_equal(before.boxes, after.boxes)
    assert np.array_equal(before.starts, after.starts)
    for row, number in enumerate(before.ids.tolist()):
        assert before.row_of_id(number) == row
    assert [before.image_of_row(row) for row in range(4)] == [0, 1, 1, 1]
    assert before.row_of_id(4242) is None


@pytest.mark.parametrize("key", ["images", "annotations", "categories"])
def test_a_file_without_one_of_its_arrays(three: Path, key: str) -> None:
    value = json.loads(three.read_text(encoding="utf-8"))
    del value[key]
    three.write_text(json.dumps(value), encoding="utf-8")
    with pytest.raises(DataError, match=f"no {key}; expected COCO's images, annotations, categories"):
        load_coco(three)
    three.write_text("[{}]", encoding="utf-8")
    with pytest.raises(DataError, match="an array of records"):
        load_coco(three)


def test_two_images_of_one_id(three: Path) -> None:
    value = json.loads(three.read_text(encoding="utf-8"))
    value["images"].append(_image(7))
    three.write_text(json.dumps(value), encoding="utf-8")
    with pytest.raises(DataError, match="two images have the id 7"):
        load_coco(three)


# OpenImages

COLUMNS = ("ImageID", "Source", "LabelName", "Confidence", "XMin", "XMax", "YMin", "YMax", "IsGroupOf")


def _openimages(
    folder: Path, rows: list[tuple[Any, ...]], columns: tuple[str, ...] = COLUMNS
) -> OpenImagesReader:
    boxes, classes = folder / "boxes.csv", folder / "classes.csv"
    with boxes.open("w", encoding="utf-8", newline="") as stream:
        csv.writer(stream).writerows([columns, *rows])
    classes.write_text('/m/1,cat\n/m/2,dog\n/m/3,"Light, red"\n', encoding="utf-8")
    return OpenImagesReader(OpenImagesConfig(file=str(boxes), image_folder=str(folder), classes=str(classes)))


def _row(image: str, code: str, box: Box, group: int = 0) -> tuple[Any, ...]:
    left, top, right, bottom = box
    edges = left / WIDTH, right / WIDTH, top / HEIGHT, bottom / HEIGHT
    return (image, "xclick", code, 1, *edges, group)


def test_openimages(tmp_path: Path) -> None:
    _draw(tmp_path / "b.jpg", THREE, quality=100, subsampling=0)
    rows = [
        _row("b", "/m/2", THREE[0][1]),
        _row("a", "/m/1", (0, 0, 50, 50)),
        _row("b", "/m/1", THREE[1][1]),
        _row("b", "/m/2", THREE[2][1]),
        _row("b", "/m/1", (0, 0, 200, 100), group=1),
    ]
    reader = _openimages(tmp_path, rows)
    assert [reader.source_of(index) for index in range(reader.length)] == [
        "boxes.csv#b.jpg",
        "boxes.csv#a.jpg",
    ]
    draw = reader.draw(0)
    assert (
        draw.samples[0].answer == "dog: [100, 100, 400, 600], [800, 050, 950, 500]; cat: [500, 300, 750, 900]"
    )
    assert dict(draw.dropped) == {"boxes of crowds or groups": 1}
    with pytest.raises(RecordFault, match=r"boxes\.csv:3: record 1: .*'a\.jpg' is not in the image folder"):
        reader.draw(1)
    assert {entry["file"] for entry in reader.describe()["files"]} == {"boxes.csv", "classes.csv"}


@pytest.mark.parametrize(
    ("row", "found"),
    [
        (
            ("b", "x", "/m/9", 1, 0.1, 0.2, 0.1, 0.2, 0),
            r"LabelName: the class '/m/9' has no name in classes\.csv",
        ),
        (("b", "x", "/m/1", 1, 0.1, 1.2, 0.1, 0.2, 0), "XMax: expected a number from 0 to 1, found '1.2'"),
        (("b", "x", "/m/1", 1, "nan", 1, 0.1, 0.2, 0), "XMin: expected a number"),
        (("b", "x", "/m/1"), "XMin: expected a number from 0 to 1, found ''"),
    ],
)
def test_broken_rows_of_openimages(tmp_path: Path, row: tuple[Any, ...], found: str) -> None:
    _draw(tmp_path / "b.jpg", THREE)
    reader = _openimages(tmp_path, [_row("b", "/m/2", THREE[0][1]), row])
    with pytest.raises(RecordFault, match=rf"boxes\.csv:3: record 1: \$\.{found}"):
        reader.draw(0)


def test_openimages_needs_its_columns_and_its_classes(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no column YMin, YMax"):
        _openimages(tmp_path, [("b", "x", "/m/1", 1, 0.1, 0.2)], COLUMNS[:6])
    with pytest.raises(DataError, match="format openimages needs classes"):
        FORMATS["openimages"].reader(file=str(tmp_path / "boxes.csv"), image_folder=str(tmp_path))


# RefCOCO


def _refs(folder: Path, records: list[Any]) -> Path:
    path = folder / "refs.json"
    path.write_text(json.dumps(records, indent=1), encoding="utf-8")
    return path


def _ref(annotation: int, split: str, *sentences: str) -> dict[str, Any]:
    return {
        "ref_id": annotation,
        "ann_id": annotation,
        "image_id": 7,
        "split": split,
        "file_name": "COCO_train2014_000000000007_1.jpg",
        "sentences": [{"sent": sentence, "raw": sentence.upper(), "tokens": []} for sentence in sentences],
    }


def _refcoco(three: Path, records: list[Any], **settings: Any) -> RefcocoReader:
    path = _refs(three.parent, records)
    config = RefcocoConfig(file=str(path), instances=str(three), image_folder=str(three.parent), **settings)
    return RefcocoReader(config)


def test_expressions_and_their_boxes(three: Path) -> None:
    records = [
        _ref(0, "train", "left dog", "big green thing"),
        _ref(1, "val", "cat"),
        _ref(2, "train", "右边的狗"),
    ]
    reader = _refcoco(three, records)
    assert reader.length == 2
    assert reader.describe()["records_by_split"] == {"train": 2, "val": 1}
    first, second = reader.draw(0).samples
    assert (first.task, first.details["expression"], second.details["expression"]) == (
        "locate",
        "left dog",
        "big green thing",
    )
    for sample in (first, second):
        assert sample.details["expression"] in sample.prompt
        [box] = parse_boxes(sample.answer).boxes
        assert (box.label, box.edges) == (sample.details["expression"], (100, 100, 400, 600))
        assert sample.details["class"] == "dog"
    [chinese] = reader.draw(1).samples
    assert (chinese.language, chinese.answer) == ("zh", "右边的狗: [800, 050, 950, 500]")
    assert chinese.source == "refs.json#2"
    val = _refcoco(three, records, split="val")
    assert [sample.details["expression"] for sample in val.draw(0).samples] == ["cat"]


@pytest.mark.parametrize(
    ("expression", "label"),
    [
        ("dog; the left one.", "dog, the left one"),
        ("[the dog]:", "the dog"),
        ("...", ""),
        ("a  b\n c", "a b c"),
    ],
)
def test_expressions_that_are_no_names(three: Path, expression: str, label: str) -> None:
    [sample] = _refcoco(three, [_ref(0, "train", expression)]).draw(0).samples
    [box] = parse_boxes(sample.answer).boxes
    assert (box.label, box.edges) == (label, (100, 100, 400, 600))


def test_the_published_wording_is_the_commonest(three: Path) -> None:
    reader = _refcoco(three, [_ref(0, "train", "left dog")] * 40)
    prompts = [reader.draw(index).samples[0].prompt for index in range(40)]
    assert 10 <= prompts.count("Detect an object: left dog.") <= 32


@pytest.mark.parametrize(
    ("record", "found"),
    [
        (
            {**_ref(0, "train", "x"), "ann_id": 999},
            r"\$\.ann_id: no annotation of instances\.json has the id 999",
        ),
        ({**_ref(0, "train"), "ann_id": 0}, r"\$\.sentences: expected 1 to 100 expressions, found 0"),
        ({**_ref(0, "train", "x"), "ann_id": "0"}, r"\$\.ann_id: expected a whole number, found a text"),
        (_ref(0, "train", "  "), r"\$\.sentences\[0\]\.sent: no expression"),
        ({"ann_id": 0, "sentences": [{"sent": "x"}]}, r"\$\.split: expected train"),
    ],
)
def test_broken_expressions_are_named(three: Path, record: Any, found: str) -> None:
    reader = _refcoco(three, [_ref(1, "train", "cat"), record])
    with pytest.raises(RecordFault, match=rf"refs\.json:\d+: record 1: {found}"):
        reader.draw(1)
    assert len(reader.draw(0).samples) == 1


def test_pickles_are_never_read(three: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[Any, tuple[str]]:
            return Path.touch, (three.parent / "sprung",)

    for name, data in (
        ("refs(unc).p", pickle.dumps([Trap()])),
        ("refs.json", pickle.dumps(Trap(), protocol=2)),
    ):
        path = three.parent / name
        path.write_bytes(data)
        config = RefcocoConfig(file=str(path), instances=str(three), image_folder=str(three.parent))
        with pytest.raises(DataError, match=r"a Python pickle, .*turn it into JSON: python -c"):
            RefcocoReader(config)
    assert not (three.parent / "sprung").exists()


def test_the_conversion_that_the_message_names_works(three: Path) -> None:
    records = [_ref(0, "train", "left dog")]
    path = three.parent / "refs(unc).p"
    path.write_bytes(pickle.dumps(records, protocol=2))
    config = RefcocoConfig(file=str(path), instances=str(three), image_folder=str(three.parent))
    with pytest.raises(DataError) as caught:
        RefcocoReader(config)
    found = re.search(r"python -c .*", str(caught.value))
    assert found is not None
    command = [sys.executable, *shlex.split(found[0])[1:]]
    subprocess.run(command, cwd=three.parent, check=True)
    assert json.loads((three.parent / "refs.json").read_text(encoding="utf-8")) == records


def test_a_split_that_is_not_there(three: Path) -> None:
    with pytest.raises(DataError, match=r"no object of the split 'testA'; the file has train \(1\)"):
        _refcoco(three, [_ref(0, "train", "x")], split="testA")
