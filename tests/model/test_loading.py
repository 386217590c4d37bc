"""Loading a checkpoint folder: exactly its tensors, or an error that lists what is wrong."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from vary.errors import CheckpointError
from vary.model.loading import load_model

WEIGHTS = "model.safetensors"


@pytest.fixture
def folder(tiny_nano_folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_nano_folder, tmp_path / "copy"))


def test_a_whole_checkpoint_loads(folder: Path) -> None:
    assert load_model(folder).config.window == "lines"


def test_missing_and_unknown_tensors_are_listed(folder: Path) -> None:
    tensors = load_file(folder / WEIGHTS)
    gone = "model.vision_vocabulary.blocks.1.mlp.lin1.weight"
    tensors["stranger"] = tensors.pop(gone)
    save_file(tensors, folder / WEIGHTS, metadata={"format": "pt"})
    with pytest.raises(
        CheckpointError, match=rf"missing: 1 tensors, {gone}; unexpected: 1 tensors, stranger"
    ):
        load_model(folder)


def test_a_tensor_of_another_shape_is_refused(folder: Path) -> None:
    tensors = load_file(folder / WEIGHTS)
    name = "model.projector.vision_vocabulary.bias"
    tensors[name] = tensors[name][:-1].clone()
    save_file(tensors, folder / WEIGHTS, metadata={"format": "pt"})
    with pytest.raises(CheckpointError, match=name):
        load_model(folder)


def test_a_truncated_file_is_refused(folder: Path) -> None:
    data = (folder / WEIGHTS).read_bytes()
    (folder / WEIGHTS).write_bytes(data[: len(data) // 2])
    with pytest.raises(CheckpointError, match="copy"):
        load_model(folder)
