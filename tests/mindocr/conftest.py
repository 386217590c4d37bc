"""A settings file for the tiny random Vary-toy of the other tests."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from checkpoints import SPECIAL
from vary.mindocr.settings import Settings, read_settings

TINY = {
    "name": "VaryQwenForCausalLM",
    "hidden_size": 24,
    "num_layers": 2,
    "num_heads": 4,
    "kv_channels": 6,
    "vocab_size": 256 + len(SPECIAL),
    "intermediate_size": 40,
    "rms_norm_eps": 1e-6,
    "rotary_emb_base": 10000,
    "eos_token_id": SPECIAL["<|endoftext|>"],
    "seq_length": 1024,
    "compute_dtype": "float32",
    "do_sample": False,
    "max_new_tokens": 24,
}

WriteSettings = Callable[..., Path]


@pytest.fixture
def write_settings(tmp_path: Path, tiny_toy_folder: Path) -> WriteSettings:
    """Write the settings of the tiny checkpoint, changed; a value of None takes a key out."""

    def write(**changes: Any) -> Path:
        model = {"checkpoint_name_or_path": str(tiny_toy_folder), **TINY, **changes}
        path = tmp_path / "tiny.yaml"
        left = {name: value for name, value in model.items() if value is not None}
        path.write_text(yaml.safe_dump({"model": left}), encoding="utf-8")
        return path

    return write


@pytest.fixture
def settings(write_settings: WriteSettings) -> Callable[..., Settings]:
    """The same, read."""
    return lambda **changes: read_settings(write_settings(**changes))
