"""Reading tensors: what is missing, broken or hostile is an error that names the file."""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from vary.errors import CheckpointError
from vary.model.checkpoint_files import checkpoint_files, read_json
from vary.weights.files import TensorFiles


def read_tensors(folder: Path) -> dict[str, torch.Tensor]:
    """All tensors of a checkpoint folder."""
    files = TensorFiles(checkpoint_files(folder))
    return files.read(files.info)


class Hostile:
    """Unpickling this would run a command."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, ("pwned",)


def resident() -> int:
    """Bytes of this process that are in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.safetensors"])
def test_tensors_are_mapped_not_read(tmp_path: Path, name: str) -> None:
    tensors = {"x": torch.zeros(2**25)}  # 128 MB
    save_file(tensors, tmp_path / name) if name.endswith("safetensors") else torch.save(
        tensors, tmp_path / name
    )
    before = resident()
    found = read_tensors(tmp_path)["x"]
    assert resident() - before < 2**26
    assert found[-1] == 0


def test_hostile_pickles_are_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"x": Hostile()}, tmp_path / "pytorch_model.bin")
    with pytest.raises(CheckpointError, match=r"pytorch_model.bin is no PyTorch file of plain tensors"):
        read_tensors(tmp_path)
    assert not (tmp_path / "pwned").exists()


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.safetensors"])
@pytest.mark.parametrize("kind", ["empty", "text", "cut"])
def test_broken_files(tmp_path: Path, name: str, kind: str) -> None:
    path = tmp_path / name
    content = b"" if kind == "empty" else b"<html>404 not found</html>" * 9
    if kind == "cut":
        tensors = {"x": torch.zeros(999)}
        save_file(tensors, path) if name.endswith("safetensors") else torch.save(tensors, path)
        content = path.read_bytes()[:-500]
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=f"{name} is no .*fetch it again"):
        read_tensors(tmp_path)


def test_no_weights(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"holds no weights; expected one of model.safetensors,"):
        read_tensors(tmp_path)


@pytest.mark.parametrize("content", [[torch.zeros(1)], {"x": torch.zeros(1), "step": 3}])
def test_anything_but_tensors_is_refused(tmp_path: Path, content: object) -> None:
    torch.save(content, tmp_path / "pytorch_model.bin")
    with pytest.raises(CheckpointError, match=r"holds (a list|more than plain tensors: step)"):
        read_tensors(tmp_path)


@pytest.mark.parametrize("kind", ["sparse", "quantized"])
@pytest.mark.filterwarnings("ignore")
def test_tensors_of_other_kinds_are_refused(tmp_path: Path, kind: str) -> None:
    tensor = torch.ones(2, 2)
    other = tensor.to_sparse() if kind == "sparse" else torch.quantize_per_tensor(tensor, 0.1, 0, torch.qint8)
    torch.save({"x": tensor, "y": other}, tmp_path / "pytorch_model.bin")
    with pytest.raises(CheckpointError, match="holds more than plain tensors: y"):
        read_tensors(tmp_path)


def test_nobody_is_told_to_load_it_unsafely(tmp_path: Path) -> None:
    """As torch does in its own message; what the file holds is said instead."""
    for content, expected in (
        ({"x": Hostile()}, f"it holds {os.mkdir.__module__}.mkdir, which is never loaded"),
        (
            {"model": {"x": torch.ones(1)}, "args": argparse.Namespace(a=1)},
            "it holds argparse.Namespace, which",
        ),
    ):
        torch.save(content, tmp_path / "pytorch_model.bin")
        with pytest.raises(CheckpointError, match=expected) as caught:
            read_tensors(tmp_path)
        assert "weights_only" not in str(caught.value)
    (tmp_path / "pytorch_model.bin").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0")
    with pytest.raises(CheckpointError, match=r"\(it is something else, or damaged; fetch it again\)"):
        read_tensors(tmp_path)


@pytest.mark.parametrize(
    ("name", "index"),
    [
        ("pytorch_model-{}-of-00002.bin", "pytorch_model.bin.index.json"),
        ("model-{}-of-00002.safetensors", "model.safetensors.index.json"),
    ],
)
def test_parts_without_their_index(tmp_path: Path, name: str, index: str) -> None:
    for part in ("00001", "00002"):
        torch.save({"x": torch.ones(1)}, tmp_path / name.format(part))
        with pytest.raises(CheckpointError, match=f"but no {index} that lists its parts; fetch it"):
            read_tensors(tmp_path)


@pytest.mark.parametrize("key", ["model", "state_dict"])
def test_the_state_dict_of_a_training_file(tmp_path: Path, key: str) -> None:
    content = {key: {"x": torch.ones(2)}, "optimizer": {"state": {}}, "epoch": 3}
    torch.save(content, tmp_path / "checkpoint_3.pth")
    assert torch.equal(read_tensors(tmp_path)["x"], torch.ones(2))
    assert checkpoint_files(tmp_path / "checkpoint_3.pth") == [tmp_path / "checkpoint_3.pth"]


def test_a_folder_with_two_files_of_other_names_asks_which(tmp_path: Path) -> None:
    for name in ("a.pth", "b.ckpt"):
        torch.save({"x": torch.ones(1)}, tmp_path / name)
    with pytest.raises(CheckpointError, match=r"several files of weights \(a.pth, b.ckpt\)"):
        read_tensors(tmp_path)
    files = TensorFiles([tmp_path / "b.ckpt"])  # a PyTorch file, whatever its ending says
    assert files.info["x"].nbytes == 4


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_what_was_read_is_released(tmp_path: Path) -> None:
    torch.save({"x": torch.ones(2**25), "y": torch.ones(2)}, tmp_path / "pytorch_model.bin")
    files = TensorFiles(checkpoint_files(tmp_path))
    before = resident()
    found = files.read(["x"])
    assert found["x"].sum() == 2**25
    assert resident() - before > 2**26
    del found
    assert resident() - before < 2**25


@pytest.mark.parametrize(
    ("weight_map", "message"),
    [
        ({"x": "a.bin", "y": "b.bin", "z": "c.bin"}, "lacks b.bin, c.bin of .*fetch the missing files"),
        ({"x": "../a.bin"}, "files outside its directory: ../a.bin"),
        ({}, "no weight_map"),
        ({"x": 3}, "no weight_map"),
        (None, "no weight_map"),
    ],
)
def test_wrong_indices(tmp_path: Path, weight_map: object, message: str) -> None:
    torch.save({"x": torch.zeros(1)}, tmp_path / "a.bin")
    (tmp_path / "pytorch_model.bin.index.json").write_text(json.dumps({"weight_map": weight_map}))
    with pytest.raises(CheckpointError, match=message):
        read_tensors(tmp_path)


def test_a_tensor_in_two_files_is_refused(tmp_path: Path) -> None:
    for name in ("a.bin", "b.bin"):
        torch.save({"x": torch.zeros(1)}, tmp_path / name)
    index = {"weight_map": {"x": "a.bin", "y": "b.bin"}}
    (tmp_path / "pytorch_model.bin.index.json").write_text(json.dumps(index))
    with pytest.raises(CheckpointError, match=r"b.bin repeats tensors of another file: x"):
        read_tensors(tmp_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [(None, "cannot be read"), ("{", "is no JSON"), ("[1]", "holds a list"), (b"\xff\xfe", "is no JSON")],
)
def test_json_that_is_none(tmp_path: Path, content: str | bytes | None, message: str) -> None:
    path = tmp_path / "config.json"
    if content is not None:
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    with pytest.raises(CheckpointError, match=f"config.json {message}"):
        read_json(path)
