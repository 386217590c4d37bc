"""`vary info`: versions, devices and the default checkpoint, for people and for programs."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from vary import __version__
from vary.assets import default_checkpoint
from vary.cli import info
from vary.errors import CheckpointError

Run = Callable[..., Any]


def test_text_names_versions_devices_and_checkpoint(vary: Run) -> None:
    ran = vary("info")
    assert (ran.code, ran.err) == (0, "")
    lines = [" ".join(line.split()) for line in ran.out.splitlines()]
    assert lines[0] == f"vary {__version__}"
    assert f"torch {torch.__version__}" in lines
    assert "cpu cpu" in lines
    assert f"path {default_checkpoint()}" in lines


def test_json_has_the_same_facts(vary: Run) -> None:
    facts = json.loads(vary("info", "--json").out)
    assert facts["vary"] == __version__
    assert facts["packages"]["torch"] == torch.__version__
    assert list(facts["devices"]["available"]) == ["cuda", "npu", "xpu", "mps", "cpu"]
    assert facts["default_checkpoint"]["path"] == str(default_checkpoint())


def test_a_folder_without_weights_is_not_complete(tmp_path: Path) -> None:
    assert info._checkpoint(tmp_path) == {"path": str(tmp_path), "complete": False}


def test_a_checkpoint_is_counted_without_loading_it(tmp_path: Path) -> None:
    from vary.model.presets import preset_config

    preset_config("vary-nano").save_pretrained(tmp_path)
    save_file({"a": torch.zeros(3, 5), "b": torch.zeros(2)}, tmp_path / "model.safetensors", {"format": "pt"})
    facts = info._checkpoint(tmp_path)
    assert facts["complete"]
    assert facts["parameters"] == 17
    assert (facts["window"], facts["tasks"], facts["languages"]) == ("lines", ["ocr"], ["en"])


@pytest.mark.parametrize(
    "content", [b"", b"short", struct.pack("<Q", 2) + b"[]", struct.pack("<Q", 9) + b"{"]
)
def test_a_broken_weights_file_is_named(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "model.safetensors"
    file.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"model\.safetensors: is no safetensors file"):
        info.stored_parameters(file)


def test_a_package_that_is_not_installed_has_no_version() -> None:
    assert info._version("no-such-package-of-vary") is None
