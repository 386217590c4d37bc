"""`vary synth check` and `vary synth annotations`, as programs of their own."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from vary.cli.main import main
from vary.datagen.shards import read_manifest, read_shards

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "llava"


def _vary(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "vary", "synth", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, encoding="utf-8", check=False)


def _write(path: Path, value: Any) -> Path:
    path.write_text(json.dumps(value, indent=1, ensure_ascii=False), encoding="utf-8")
    return path


def _broken_example(folder: Path) -> Path:
    """The example with three faults in two of its records."""
    records = json.loads((EXAMPLE / "conversations.json").read_text(encoding="utf-8"))
    records[1]["conversations"][1]["value"] = ""
    records[1]["conversations"][2]["from"] = "人"
    records[3]["image"] = "gone.png"
    return _write(folder / "broken.json", records)


def test_the_example_has_no_problem() -> None:
    ran = _vary("check", EXAMPLE / "conversations.json", "--images", EXAMPLE)
    assert (ran.returncode, ran.stdout) == (0, "")
    assert ran.stderr.strip().endswith("conversations.json: llava, 5 records, no problems")


def test_every_problem_has_its_line(tmp_path: Path) -> None:
    path = _broken_example(tmp_path)
    ran = _vary("check", path, "--images", EXAMPLE)
    assert ran.returncode == 1
    lines = path.read_text(encoding="utf-8").splitlines()
    starts = [number for number, line in enumerate(lines, start=1) if line == " {"]
    assert ran.stdout.splitlines() == [
        f"{path}:{starts[1]}: record 1: $.conversations[1].value: an empty answer: there is nothing to learn "
        "from it",
        f"{path}:{starts[1]}: record 1: $.conversations[2].from: expected human, gpt or (first of all) "
        "system, found '人'",
        f"{path}:{starts[3]}: record 3: $.image: image 'gone.png' is not in the image folder",
    ]
    assert ran.stderr.strip() == f"{path}: llava, 5 records, 3 problems in 2 of them"
    without_images = _vary("check", path)
    assert len(without_images.stdout.splitlines()) == 2
    assert "(images were not looked up; --images does)" in without_images.stderr


def test_many_problems_are_counted_not_shown(tmp_path: Path) -> None:
    path = tmp_path / "bad.jsonl"
    path.write_text('{"conversations": []}\n' * 30, encoding="utf-8")
    ran = _vary("check", path, "--format", "llava", "--most", "3")
    assert ran.returncode == 1
    assert len(ran.stdout.splitlines()) == 4
    assert ran.stdout.splitlines()[-1] == "27 more problems are not shown; raise --most to see them"
    assert "30 problems in 30 of them" in ran.stderr


def test_a_file_that_is_cut_off_is_a_problem(tmp_path: Path) -> None:
    path = tmp_path / "cut.json"
    text = (EXAMPLE / "conversations.json").read_text(encoding="utf-8")
    path.write_text(text[:-40], encoding="utf-8")
    ran = _vary("check", path, "--format", "llava")
    assert ran.returncode == 1
    assert "cut off" in ran.stdout or "closing quote" in ran.stdout
    assert "Traceback" not in ran.stderr


@pytest.mark.parametrize(
    ("arguments", "found"),
    [
        (["check", "nowhere.json"], "nowhere.json: cannot be read"),
        (["check", "x.json", "--images", "nowhere"], "nowhere: no such folder of images"),
        (["check", "x.json", "--classes", "x.json"], "format llava takes no --classes"),
        (["check", "x.csv"], "format openimages needs --classes"),
        (["annotations", "x.json", "--out", "o", "--every-caption"], "format llava takes no --every-caption"),
        (["annotations", "x.json", "--out", "o", "--format", "coco"], "format coco needs --images"),
        (["annotations", "x.csv", "--out", "o"], "format openimages needs --images and --classes"),
        (["annotations", "refs.p", "--out", "o"], "a Python pickle"),
        (["annotations", "x.json", "--out", "o", "--format", "yolo"], "invalid choice: 'yolo'"),
    ],
)
def test_wrong_usage_is_explained(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    found: str,
) -> None:
    talk = [{"from": "human", "value": "a"}, {"from": "gpt", "value": "b"}]
    _write(tmp_path / "x.json", [{"image": "a.png", "conversations": talk}])
    (tmp_path / "x.csv").write_text("ImageID\n", encoding="utf-8")
    (tmp_path / "refs.p").write_bytes(b"\x80\x02.")
    monkeypatch.chdir(tmp_path)
    try:
        code = main(["synth", *arguments])
    except SystemExit as error:  # argparse's
        code = int(str(error.code))
    assert code in (1, 2)
    assert found in capsys.readouterr().err
    assert not (tmp_path / "o").exists()


def test_annotations_become_shards_and_broken_ones_are_named(tmp_path: Path) -> None:
    path = _broken_example(tmp_path)
    out = tmp_path / "out"
    ran = _vary("annotations", path, "--images", EXAMPLE, "--out", out, "--licence", "CC0-1.0", "--seed", "3")
    assert ran.returncode == 0, ran.stderr
    manifest = read_manifest(out)
    assert manifest["counts"]["samples"] == 3
    assert [entry["source"] for entry in manifest["broken"]] == ["broken.json#1", "broken.json#3"]
    assert "an empty answer" in manifest["broken"][0]["reason"]
    assert str(tmp_path) not in json.dumps(manifest)
    samples = list(read_shards(out))
    assert [sample.source for sample in samples] == ["broken.json#0", "broken.json#2", "broken.json#4"]
    assert {sample.licence for sample in samples} == {"CC0-1.0"}
    assert [sample.image is None for sample in samples] == [False, False, True]
    assert samples[2].system == "Answer in one sentence."


def test_a_file_that_is_no_json_says_where(tmp_path: Path) -> None:
    path = tmp_path / "syntax.json"
    path.write_text('[{"image": "a.png", "conversations": [{"from": "human", "value": "x"},]}]', "utf-8")
    ran = _vary("check", path)
    assert ran.returncode == 1
    assert "syntax.json:1: record 0: $: no JSON (Expecting value, line 1" in ran.stderr
