"""Checkpoint folders: their shapes, their hashes, and what the model computes."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from checkpoints import chat_config, chat_model, chat_processor
from vary.cli.main import main
from vary.errors import CheckpointError
from vary.weights.conversion import convert
from vary.weights.fetching import store
from vary.weights.fingerprint import (
    TOLERANCES,
    Fingerprint,
    compare,
    fixed_line,
    fixed_page,
    read_fingerprint,
    take_fingerprint,
)
from vary.weights.loading import load_checkpoint
from vary.weights.manifest import Finding, FindingKind, check_manifest, write_manifest
from vary.weights.verification import Report, Status, verify


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VARY_HOME", str(tmp_path / "home"))


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny Vary-toy with tokenizer and processor."""
    folder = tmp_path_factory.mktemp("verified") / "toy"
    config = chat_config()
    chat_model(config).save_pretrained(folder)
    chat_processor(config).save_pretrained(folder)
    return folder


@pytest.fixture
def folder(toy: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(toy, tmp_path / "checkpoint"))


@pytest.fixture
def nano(tiny_nano_folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_nano_folder, tmp_path / "nano"))


def check(folder: Path, **options: Any) -> Report:
    return verify(folder, query=lambda config: "" if config.window == "lines" else "Read.", **options)


def statuses(report: Report) -> dict[str, str]:
    return {found.name: str(found.status) for found in report.checks}


def details(report: Report, name: str) -> str:
    return "\n".join(next(found.details for found in report.checks if found.name == name))


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "model.safetensors")


def write_weights(folder: Path, tensors: dict[str, torch.Tensor]) -> None:
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})


# The manifest.


def test_a_manifest_lists_every_file(folder: Path) -> None:
    (folder / "more").mkdir()
    (folder / "more" / "x.txt").write_text("x")
    (folder / ".hidden").write_text("x")
    seen: list[tuple[int, int | None]] = []
    path = write_manifest(folder, progress=lambda done, total: seen.append((done, total)))
    content = json.loads(path.read_text(encoding="utf-8"))
    assert content["format"] == 1
    assert content["files"]["more/x.txt"] == {"size": 1, "sha256": hashlib.sha256(b"x").hexdigest()}
    assert "model.safetensors" in content["files"]
    assert not {".hidden", "manifest.json"} & set(content["files"])
    total = sum(entry["size"] for entry in content["files"].values())
    assert seen[-1] == (total, total)
    assert check_manifest(folder) == []


def test_what_differs_from_a_manifest_is_listed(folder: Path) -> None:
    write_manifest(folder)
    (folder / "tokenizer_config.json").unlink()
    (folder / "new.bin").write_bytes(b"x")
    data = bytearray((folder / "model.safetensors").read_bytes())
    data[-1] ^= 1
    (folder / "model.safetensors").write_bytes(bytes(data))
    (folder / "config.json").write_text("{}")
    found = check_manifest(folder)
    assert [(finding.kind, finding.name) for finding in found] == [
        (FindingKind.CHANGED, "config.json"),
        (FindingKind.CHANGED, "model.safetensors"),
        (FindingKind.EXTRA, "new.bin"),
        (FindingKind.MISSING, "tokenizer_config.json"),
    ]
    assert "2 bytes, expected" in found[0].detail
    assert "SHA-256" in found[1].detail
    assert str(Finding(FindingKind.MISSING, "a")) == "missing a"


@pytest.mark.skipif(sys.platform != "linux", reason="names of any bytes")
def test_names_that_are_no_text(folder: Path) -> None:
    (folder / "\udcff.txt").write_text("x")
    write_manifest(folder)
    assert check_manifest(folder) == []
    (folder / "\udcff.txt").unlink()
    assert [str(finding) for finding in check_manifest(folder)] == ["missing \udcff.txt"]


@pytest.mark.parametrize(
    "content",
    [
        *("", "[]", "{}", '{"format": 1, "files": {"a": {}}}', '{"format": 1}', "[" * 100_000),
        '{"format": 1, "files": {"a": {"size": Infinity, "sha256": ""}}}',
    ],
)
def test_what_is_no_manifest(folder: Path, content: str) -> None:
    (folder / "manifest.json").write_text(content, encoding="utf-8")
    with pytest.raises(CheckpointError, match="is no manifest"):
        check_manifest(folder)
    assert statuses(check(folder))["hashes"] == "differs"


def test_no_manifest_no_folder_nothing_in_it(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="is not there; write one with vary weights verify --record"):
        check_manifest(folder)
    (tmp_path / "empty").mkdir()
    with pytest.raises(CheckpointError, match="holds no files"):
        write_manifest(tmp_path / "empty")
    for path, message in ((tmp_path / "empty", "is empty"), (tmp_path / "none", "is no folder")):
        with pytest.raises(CheckpointError, match=message):
            check(path)


# Shapes.


def test_shapes_need_no_weights_in_memory(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vary.weights.verification.load_checkpoint", None)
    report = check(folder)
    assert statuses(report) == {"shapes": "ok", "hashes": "not checked", "fingerprint": "not checked"}
    assert f"{len(weights(folder))} tensors in model.safetensors" in details(report, "shapes")
    assert report.ok


def test_every_wrong_tensor_is_named(folder: Path) -> None:
    tensors = weights(folder)
    tensors["extra"] = torch.zeros(1)
    missing = "model.projector.clip.bias"
    del tensors[missing]
    misshapen = "model.projector.vision_vocabulary.weight"
    tensors[misshapen] = torch.zeros(12, 21)
    write_weights(folder, tensors)
    report = check(folder)
    assert statuses(report)["shapes"] == "differs"
    assert not report.ok
    text = details(report, "shapes")
    assert f"1 missing: {missing}" in text
    assert "1 unknown: extra" in text
    assert f"1 misshapen: {misshapen} is 12x21, expected 12x20" in text


@pytest.mark.parametrize("kind", ["cut", "longer", "text", "empty", "gone", "configuration"])
def test_damaged_files_differ(folder: Path, kind: str) -> None:
    path = folder / "model.safetensors"
    data = path.read_bytes()
    changed = {"cut": data[:-4], "longer": data + b"x", "text": b"<html>not found</html>", "empty": b""}
    if kind in changed:
        path.write_bytes(changed[kind])
    elif kind == "gone":
        path.unlink()
    else:
        (folder / "config.json").write_text('{"model_type": "vary", "text_config": {}, "projector_dim": "x"}')
    report = check(folder, record=True)
    assert statuses(report)["shapes"] == "differs"
    assert statuses(report)["fingerprint"] == "not checked"
    assert not report.ok


@pytest.mark.parametrize(
    "header",
    [
        b"[" * 100_000,
        b"[]",
        b'{"x": []}',
        b'{"x": {"dtype": "F32", "shape": [1], "data_offsets": [0, Infinity]}}',
        b'{"x": {"dtype": "F32", "shape": [1e999], "data_offsets": [0, 4]}}',
    ],
)
def test_headers_that_are_none(folder: Path, header: bytes) -> None:
    (folder / "model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header)
    assert "is no safetensors file" in details(check(folder), "shapes")


def test_what_cannot_be_recorded_loses_no_other_check(folder: Path) -> None:
    (folder / ".fingerprint.json.new").mkdir()
    report = check(folder, record=True)
    assert statuses(report) == {"shapes": "ok", "hashes": "recorded", "fingerprint": "not checked"}
    assert "fingerprint.json: cannot be written" in details(report, "fingerprint")


def test_tied_heads_and_statistics_are_known(nano: Path) -> None:
    assert "lm_head.weight" not in weights(nano)
    assert any("running_var" in name for name in weights(nano))
    assert statuses(check(nano))["shapes"] == "ok"


def test_sharded_weights(folder: Path) -> None:
    model, _ = load_checkpoint(folder)
    (folder / "model.safetensors").unlink()
    model.save_pretrained(folder, max_shard_size="40KB")
    assert (folder / "model.safetensors.index.json").is_file()
    assert statuses(check(folder))["shapes"] == "ok"
    shard = sorted(folder.glob("*.safetensors"))[0]
    shard.unlink()
    report = check(folder)
    assert statuses(report)["shapes"] == "differs"
    assert shard.name in details(report, "shapes")


def test_a_vision_vocabulary_alone(folder: Path, tmp_path: Path) -> None:
    from vary.weights.vocabulary import extract_vocabulary

    extract_vocabulary(folder, tmp_path / "vocabulary")
    report = check(tmp_path / "vocabulary", record=True)
    assert statuses(report) == {"shapes": "ok", "hashes": "ok", "fingerprint": "not checked"}
    assert "alone reads no page" in details(report, "fingerprint")
    path = tmp_path / "vocabulary" / "model.safetensors"
    tensors = load_file(path)
    tensors.pop("pos_embed")
    save_file(tensors, path, {"format": "pt"})
    assert "1 missing: pos_embed" in details(check(tmp_path / "vocabulary"), "shapes")


def test_another_format_is_checked_too(folder: Path, tmp_path: Path) -> None:
    theirs = tmp_path / "theirs"
    convert(folder, theirs, to="authors")
    report = check(theirs, record=True)
    assert statuses(report)["shapes"] == "ok"
    assert "each has its place and its shape" in details(report, "shapes")
    assert statuses(report)["hashes"] == "recorded"
    assert statuses(check(theirs))["hashes"] == "ok"
    path = theirs / "pytorch_model.bin"
    tensors = torch.load(path, weights_only=True)
    tensors.pop("transformer.mm_projector.bias")
    torch.save(tensors, path)
    report = check(theirs)
    assert "transformer.mm_projector.bias" in details(report, "shapes")
    assert statuses(report)["hashes"] == "differs"


# Fingerprints.


@pytest.mark.parametrize("which", ["folder", "nano"])
def test_recorded_once_compared_ever_after(which: str, request: pytest.FixtureRequest) -> None:
    place: Path = request.getfixturevalue(which)
    report = check(place, record=True)
    assert statuses(report) == {"shapes": "ok", "hashes": "recorded", "fingerprint": "recorded"}
    assert report.ok
    for record in (False, True):  # a second --record compares, it overwrites nothing
        report = check(place, record=record)
        assert statuses(report) == {"shapes": "ok", "hashes": "ok", "fingerprint": "ok"}
    assert "bit for bit" in details(report, "fingerprint")


@pytest.mark.parametrize(
    "name",
    [
        "lm_head.weight",
        "model.language_model.layers.1.mlp.down_proj.weight",
        "model.projector.clip.weight",
        "model.vision_vocabulary.blocks.0.mlp.lin2.weight",
        "model.clip.encoder.layers.1.mlp.fc2.weight",
    ],
)
def test_a_changed_weight_shows(folder: Path, name: str) -> None:
    check(folder, record=True)
    tensors = weights(folder)
    tensors[name] *= 1.1
    write_weights(folder, tensors)
    report = check(folder)
    assert statuses(report) == {"shapes": "ok", "hashes": "differs", "fingerprint": "differs"}
    assert not report.ok
    assert "SHA-256" in details(report, "hashes")


def test_noise_below_the_tolerance_passes(folder: Path) -> None:
    check(folder, record=True)
    tensors = weights(folder)
    for tensor in tensors.values():
        if tensor.is_floating_point():
            tensor *= 1 + 1e-6
    write_weights(folder, tensors)
    report = check(folder)
    assert statuses(report)["fingerprint"] == "ok"
    assert "within 0.001 of the spread" in details(report, "fingerprint")
    assert statuses(report)["hashes"] == "differs"


def test_the_recorded_type_is_computed_in(folder: Path) -> None:
    """Weights in bfloat16 are not widened, so no more memory is taken than they need."""
    model, _ = load_checkpoint(folder, dtype="bfloat16")
    model.save_pretrained(folder)
    check(folder, record=True)
    assert read_fingerprint(folder / "fingerprint.json").dtype == "bfloat16"
    model, _ = load_checkpoint(folder, dtype="float32")
    model.save_pretrained(folder)
    report = check(folder)
    assert statuses(report)["fingerprint"] == "ok"
    assert "bfloat16" in details(report, "fingerprint")


def test_another_tokenizer_or_prompt_is_named(folder: Path) -> None:
    check(folder, record=True)
    template = folder / "chat_template.jinja"
    text = template.read_text(encoding="utf-8")
    assert "carefully" in text
    template.write_text(text.replace("carefully", "well"), encoding="utf-8")
    assert "the prompt's token ids" in details(check(folder), "fingerprint")


def test_without_a_tokenizer_it_is_said(folder: Path) -> None:
    (folder / "tokenizer.json").unlink()
    report = check(folder, record=True)
    assert statuses(report) == {"shapes": "ok", "hashes": "recorded", "fingerprint": "not checked"}
    assert "tokenizer" in details(report, "fingerprint")
    assert not (folder / "fingerprint.json").exists()


def test_not_run(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    check(folder, record=True)
    monkeypatch.setattr("vary.weights.verification.load_checkpoint", None)
    assert statuses(check(folder, run=False))["fingerprint"] == "not checked"


@pytest.mark.parametrize(
    "content", ["", "{}", '{"format": 1, "vary": "1", "dtype": "int8"}', '{"format": 1, "vary": "1"}']
)
def test_what_is_no_fingerprint(folder: Path, content: str) -> None:
    (folder / "fingerprint.json").write_text(content, encoding="utf-8")
    report = check(folder)
    assert statuses(report)["fingerprint"] == "differs"
    assert "is no fingerprint" in details(report, "fingerprint")


def test_nothing_could_be_checked(folder: Path) -> None:
    """Then nothing is fine either."""
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    report = check(folder)
    assert {found.status for found in report.checks} == {Status.NOT_CHECKED}
    assert not report.ok


def example(**changes: Any) -> Fingerprint:
    base = Fingerprint(
        dtype="float32",
        device="cpu",
        query="",
        image="i",
        prompt="p",
        pixels=(0.0, 1.0),
        features=(0.0, 2.0),
        probes=(1.0, 2.0),
        features_sha256="f",
        features_shape=(4, 8),
        top=((1, 3.0), (2, 2.9999), (3, 2.0)),
        logits=(0.0, 1.0),
    )
    return dataclasses.replace(base, **changes)


@pytest.mark.parametrize(
    ("changes", "differs"),
    [
        ({}, False),
        ({"device": "cuda", "features_sha256": "g"}, False),
        ({"top": ((2, 3.0), (1, 2.9999), (3, 2.0))}, False),  # a near tie changed places
        ({"top": ((1, 3.0), (2, 2.9999), (4, 2.0005))}, False),  # so did the last one, with one outside
        ({"top": ((1, 3.0), (2, 2.9999), (4, 2.1))}, True),
        ({"top": ((1, 3.0), (2, 2.9999), (3, 2.01))}, True),
        ({"top": ((9, 3.5), (1, 3.0), (2, 2.9999))}, True),  # a new likeliest token
        ({"top": ((1, float("nan")), (2, 2.9999), (3, 2.0))}, True),
        ({"features": (0.0, 2.01)}, True),
        ({"features": (float("nan"), 2.0)}, True),
        ({"probes": (1.0, 2.001)}, False),
        ({"probes": (1.0, 2.01)}, True),
        ({"probes": (1.0, float("nan"))}, True),
        ({"logits": (0.01, 1.0)}, True),
        ({"pixels": (0.01, 1.0)}, True),
        ({"prompt": "q"}, True),
        ({"image": "j"}, True),
        ({"features_shape": (4, 9)}, True),
        ({"dtype": "bfloat16"}, True),
    ],
)
def test_the_comparison(changes: dict[str, Any], differs: bool) -> None:
    assert bool(compare(example(**changes), example())) == differs


def test_wider_types_have_wider_tolerances() -> None:
    assert list(TOLERANCES) == ["float32", "float16", "bfloat16"]
    for dtype in ("float16", "bfloat16"):
        off = example(dtype=dtype, logits=(0.009, 1.0))
        assert compare(off, example(dtype=dtype)) == []
        assert compare(dataclasses.replace(off, logits=(0.2, 1.0)), example(dtype=dtype))


def test_the_fixed_images_never_change() -> None:
    """A recorded fingerprint is of these very bytes."""
    page, line = fixed_page(), fixed_line(32)
    assert (page.shape, line.shape) == ((960, 720, 3), (32, 480, 3))
    assert 0.05 < (page < 128).mean() < 0.4
    assert hashlib.sha256(page.tobytes()).hexdigest()[:16] == "3184277224df73bf"
    assert hashlib.sha256(line.tobytes()).hexdigest()[:16] == "88d41e5303f305d8"


def test_a_fingerprint_depends_on_the_image(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, processor = load_checkpoint(folder)
    before = take_fingerprint(model.eval(), processor, "Read.")
    monkeypatch.setattr("vary.weights.fingerprint.fixed_page", lambda: fixed_page(960, 721)[:, 1:] // 2)
    after = take_fingerprint(model, processor, "Read.")
    assert compare(after, before)
    assert before.top != after.top


# The command.


def test_the_command(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["weights", "verify", str(folder), "--record"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == str(folder)
    assert [line.split()[:2] for line in lines[1:]] == [
        ["shapes", "ok"],
        ["hashes", "recorded"],
        ["fingerprint", "recorded"],
    ]
    query = read_fingerprint(folder / "fingerprint.json").query
    assert query == "Provide the ocr results of this image."
    (folder / "config.json").write_bytes((folder / "config.json").read_bytes() + b" ")
    assert main(["weights", "verify", str(folder), "--no-run"]) == 1
    out = capsys.readouterr().out
    assert "changed config.json" in out
    assert "left out: the model was not loaded" in out


def test_the_shipped_checkpoint_by_name(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["weights", "verify", "vary-nano", "--no-run"]) == 0
    assert "tensors in model.safetensors are those of config.json" in capsys.readouterr().out


def test_files_copied_by_hand_are_held_to_public_checksums(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = store.checkpoint_folder("got-ocr2.0")
    shutil.copytree(folder, place)
    assert main(["weights", "verify", "got-ocr2.0", "--no-run"]) == 1
    assert "expected 6175ac7868a4e757" in capsys.readouterr().out


def test_wrong_names_and_files(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["weights", "verify", "no-such-thing"]) == 2
    assert main(["weights", "verify", str(folder / "config.json")]) == 2
    assert "is a file; give the folder" in capsys.readouterr().err
