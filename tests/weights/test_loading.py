"""Checkpoints loaded as they are named: ours, with and without a tokenizer; nothing in them is run."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
import torch

from authors_files import byte_tokenizer, speaking_toy, toy_folder
from checkpoints import chat_config, chat_model, chat_processor
from vary.errors import CheckpointError
from vary.weights.conversion import convert
from vary.weights.loading import as_dtype, load_checkpoint, resolve_checkpoint


@pytest.fixture
def ours(tmp_path: Path) -> Path:
    """A folder of ours that was never anything else."""
    config = chat_config()
    chat_model(config).save_pretrained(tmp_path / "ours")
    chat_processor(config).save_pretrained(tmp_path / "ours")
    return tmp_path / "ours"


def change(path: Path, **values: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | values), encoding="utf-8")


@pytest.fixture
def pwned(ours: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """What the code in `ours/evil.py` would write; the library asks whether to run it, a pipe says yes."""
    monkeypatch.setattr("sys.stdin", io.StringIO("y\n" * 9))
    monkeypatch.setattr("builtins.input", lambda *_: pytest.fail("nobody may be asked"))
    (ours / "evil.py").write_text(f"open({str(tmp_path / 'pwned')!r}, 'w')\nclass Evil: pass\n")
    return tmp_path / "pwned"


def test_a_tokenizer_that_needs_code_is_refused(ours: Path, pwned: Path) -> None:
    named = {"auto_map": {"AutoTokenizer": ["evil.Evil", "evil.Evil"]}, "tokenizer_class": "Evil"}
    change(ours / "tokenizer_config.json", **named)
    with pytest.raises(CheckpointError, match="brings code of its own, which is never run") as caught:
        load_checkpoint(ours)
    assert "trust_remote_code" not in str(caught.value)
    assert not pwned.exists()


def test_code_that_nothing_needs_is_passed_over(ours: Path, pwned: Path) -> None:
    change(ours / "processor_config.json", auto_map={"AutoProcessor": "evil.Evil"})
    change(ours / "config.json", auto_map={"AutoConfig": "evil.Evil", "AutoModel": "evil.Evil"})
    load_checkpoint(ours)
    assert not pwned.exists()


def test_without_its_tokenizer_a_converted_folder_says_what_to_do(tmp_path: Path) -> None:
    convert(toy_folder(tmp_path / "theirs", speaking_toy()), tmp_path / "bare")
    (tmp_path / "bare" / "model.safetensors").unlink()  # that is said before any weights are read
    with pytest.raises(CheckpointError, match=r"converted without a tokenizer.*qwen.tiktoken.*--tokenizer"):
        load_checkpoint(tmp_path / "bare")


def test_a_tokenizer_for_a_folder_that_has_one(ours: Path, tmp_path: Path) -> None:
    file = byte_tokenizer(tmp_path / "qwen.tiktoken")
    with pytest.raises(CheckpointError, match="has a tokenizer of its own; leave --tokenizer out"):
        load_checkpoint(ours, tokenizer=file)


def test_the_file_of_weights_stands_for_its_folder(ours: Path) -> None:
    model, _ = load_checkpoint(ours / "model.safetensors")
    assert model.dtype == torch.float32
    assert resolve_checkpoint(ours / "model.safetensors") == ours
    other = ours / "other.ckpt"
    other.touch()
    assert resolve_checkpoint(other) == other


@pytest.mark.parametrize(
    "name", ["config.json", "generation_config.json", "tokenizer.json", "processor_config.json"]
)
@pytest.mark.parametrize("content", ["", "[", '{"a":' * 5000])
def test_broken_files_are_said(ours: Path, name: str, content: str) -> None:
    (ours / name).write_text(content)
    with pytest.raises(CheckpointError):
        load_checkpoint(ours)


@pytest.mark.parametrize(
    "values",
    [
        {"text_config": {"model_type": "qwen2"}},  # a width that no other size fits
        {"text_config": {"model_type": "nothing"}},
        {"text_config": {"model_type": ["a"]}},
        {"vision_vocabulary_config": {"patch_size": 0}},
        {"projector_dim": "x"},
        {"prompts": [1]},
    ],
)
def test_settings_that_make_no_model(ours: Path, values: dict[str, Any]) -> None:
    change(ours / "config.json", **values)
    with pytest.raises(CheckpointError, match="not a checkpoint that vary can load"):
        load_checkpoint(ours)


def test_types_of_weights() -> None:
    assert as_dtype(None) is None
    assert as_dtype("bfloat16") is as_dtype(torch.bfloat16) is torch.bfloat16
    for wrong in (torch.int8, torch.float8_e4m3fn, "int8", "torch.float32", ""):
        with pytest.raises(CheckpointError, match="of weights; expected float32, bfloat16 or float16"):
            as_dtype(wrong)
