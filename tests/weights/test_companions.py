"""What stands beside the weights after a conversion: settings that come back, types, tokenizers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import CLIPVisionConfig, Qwen2Config

from authors_files import (
    assert_equal,
    byte_tokenizer,
    opt_folder,
    opt_model,
    speaking_toy,
    tensors_of,
    toy_folder,
)
from factories import random_model, tiny_toy_config
from vary.errors import CheckpointError
from vary.model.configuration import VaryConfig
from vary.model.loading import load_model
from vary.weights import conversion
from vary.weights.conversion import ORIGIN, convert
from vary.weights.formats.their_settings import choose_layout
from vary.weights.loading import load_checkpoint


def settings_of(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    return found


PUBLISHED = {
    "architectures": ["MMGPTQwenForCausalLM"],
    "model_type": "mmgpt",
    "torch_dtype": "float32",
    "use_im_start_end": False,
    "image_token_len": 999,
}
"""Keys that vary does not read: the `config.json` of Vary-toy has other values than vary would write."""


def test_the_authors_settings_come_back_as_they_were(tmp_path: Path) -> None:
    theirs = toy_folder(tmp_path / "theirs", random_model(tiny_toy_config()), **PUBLISHED)
    tiny = opt_folder(tmp_path / "tiny", opt_model())
    settings = settings_of(tiny) | {
        "max_position_embeddings": 7
    }  # OPT's own number, of before the stretching
    (tiny / "config.json").write_text(json.dumps(settings), encoding="utf-8")
    for source in (theirs, tiny):
        convert(source, tmp_path / f"{source.name} ours")
        convert(tmp_path / f"{source.name} ours", tmp_path / f"{source.name} back", to="authors")
        assert settings_of(tmp_path / f"{source.name} back") == settings_of(source)


def test_what_lay_beside_the_authors_weights_comes_back(tmp_path: Path) -> None:
    theirs = toy_folder(tmp_path / "theirs", speaking_toy())
    byte_tokenizer(theirs / "qwen.tiktoken")
    beside = {
        "tokenizer_config.json": b'{"tokenizer_class": "QWenTokenizer"}\r\n',
        "special_tokens_map.json": '{"x": "模型"}'.encode(),
        "generation_config.json": b'{"max_new_tokens": 7}',
    }
    for name, content in beside.items():
        (theirs / name).write_bytes(content)
    convert(theirs, tmp_path / "ours")
    assert (tmp_path / "ours" / "tokenizer_config.json").read_bytes() != beside["tokenizer_config.json"]
    convert(tmp_path / "ours", tmp_path / "copy")
    convert(tmp_path / "copy", tmp_path / "back", to="authors")
    assert {name: (tmp_path / "back" / name).read_bytes() for name in beside} == beside
    convert(tmp_path / "ours", tmp_path / "mindspore", to="mindspore")
    assert not (tmp_path / "mindspore" / "tokenizer_config.json").exists(), "MindOCR has no such file"


def test_the_settings_say_the_type_that_was_written(tmp_path: Path) -> None:
    model = random_model(tiny_toy_config())
    model.save_pretrained(tmp_path / "ours")
    assert settings_of(tmp_path / "ours")["dtype"] == "float32"
    convert(tmp_path / "ours", tmp_path / "half", dtype="bfloat16")
    assert load_model(tmp_path / "half").dtype == torch.bfloat16
    theirs = toy_folder(tmp_path / "theirs", model, torch_dtype="float32")
    convert(theirs, tmp_path / "converted", dtype="bfloat16")
    convert(tmp_path / "converted", tmp_path / "back", to="authors")
    assert settings_of(tmp_path / "back") == settings_of(theirs) | {"torch_dtype": "bfloat16"}
    convert(tmp_path / "ours", tmp_path / "new", to="authors", dtype="float16")
    assert settings_of(tmp_path / "new")["torch_dtype"] == "float16"


def test_a_tokenizer_may_come_later(tmp_path: Path) -> None:
    """A folder that was converted without one gets it from a second conversion, or when it is loaded."""
    theirs = toy_folder(tmp_path / "theirs", speaking_toy())
    file = byte_tokenizer(tmp_path / "elsewhere.tiktoken")
    assert "no tokenizer beside the weights" in convert(theirs, tmp_path / "bare").notes[0]
    assert "qwen.tiktoken" in convert(tmp_path / "bare", tmp_path / "bare again").notes[0]
    assert convert(tmp_path / "bare", tmp_path / "full", tokenizer=file).notes == []
    (model, later), (same, full) = (
        load_checkpoint(tmp_path / "bare", tokenizer=file),
        load_checkpoint(tmp_path / "full"),
    )
    assert_equal(dict(model.state_dict()), dict(same.state_dict()))
    page = torch.zeros(3, 40, 30, dtype=torch.uint8).numpy()
    for layout in full.layouts:
        inputs = [processor.build_inputs([page], "Text?", layout=layout) for processor in (later, full)]
        assert torch.equal(inputs[0]["input_ids"], inputs[1]["input_ids"])
        assert torch.equal(inputs[0]["pixel_values"], inputs[1]["pixel_values"])


@pytest.mark.parametrize("to", ["authors", "mindspore"])
def test_the_named_tokenizer_goes_along(tmp_path: Path, to: str) -> None:
    theirs = toy_folder(tmp_path / "theirs", speaking_toy())
    (theirs / "qwen.tiktoken").write_bytes(b"another")
    file = byte_tokenizer(tmp_path / "elsewhere.tiktoken")
    assert convert(theirs, tmp_path / "out", to=to, tokenizer=file).notes == []
    assert (tmp_path / "out" / "qwen.tiktoken").read_bytes() == file.read_bytes()


def test_opt_files_from_elsewhere_go_along(tmp_path: Path) -> None:
    theirs = opt_folder(tmp_path / "theirs", opt_model())
    (tmp_path / "opt").mkdir()
    (tmp_path / "opt" / "vocab.json").write_text('{"a": 0}')
    (tmp_path / "opt" / "merges.txt").write_text("#version: 0.2\n")
    convert(theirs, tmp_path / "out", to="authors", tokenizer=tmp_path / "opt")
    assert {"vocab.json", "merges.txt"} < {path.name for path in (tmp_path / "out").iterdir()}


def test_a_tokenizer_that_is_not_where_it_should_be(tmp_path: Path) -> None:
    """It is not the same as none: whoever names one wants it."""
    theirs = toy_folder(tmp_path / "theirs", speaking_toy())
    byte_tokenizer(theirs / "qwen.tiktoken")
    random_model(tiny_toy_config()).save_pretrained(tmp_path / "ours")
    with pytest.raises(CheckpointError, match=r"nowhere: no tokenizer here; expected qwen.tiktoken"):
        convert(theirs, tmp_path / "out", tokenizer=tmp_path / "nowhere")
    with pytest.raises(CheckpointError, match=r"in our format and was not converted.*leave --tokenizer out"):
        convert(tmp_path / "ours", tmp_path / "out", tokenizer=theirs / "qwen.tiktoken")
    assert not (tmp_path / "out").exists()


def test_what_is_small_is_checked_before_the_weights_are_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    theirs = toy_folder(tmp_path / "theirs", random_model(tiny_toy_config()))
    byte_tokenizer(theirs / "qwen.tiktoken")
    monkeypatch.setattr(conversion, "_write_weights", lambda *_: pytest.fail("gigabytes for nothing"))
    with pytest.raises(CheckpointError, match="<imgpad> has id 472, but the checkpoint expects 91"):
        convert(theirs, tmp_path / "ours")


def test_a_file_that_cannot_be_copied_is_named(tmp_path: Path) -> None:
    theirs = toy_folder(tmp_path / "theirs", random_model(tiny_toy_config()))
    (theirs / "LICENSE").symlink_to("nowhere")
    with pytest.raises(CheckpointError, match=r"theirs/LICENSE cannot be copied \(a link to nothing\)"):
        convert(theirs, tmp_path / "ours")
    assert not (tmp_path / "ours").exists()


@pytest.mark.parametrize("content", ['{"config": "x"}', '{"config": ["x"]}', '{"beside": 3}', "[]", "{"])
def test_a_record_of_the_conversion_that_is_none(tmp_path: Path, content: str) -> None:
    random_model(tiny_toy_config()).save_pretrained(tmp_path / "ours")
    (tmp_path / "ours" / ORIGIN).write_text(content, encoding="utf-8")
    with pytest.raises(CheckpointError, match=ORIGIN):
        convert(tmp_path / "ours", tmp_path / "out", to="authors")


def test_a_record_names_no_files_of_its_own(tmp_path: Path) -> None:
    random_model(tiny_toy_config()).save_pretrained(tmp_path / "ours")
    beside = {"../evil.json": "x", "generation_config.json": "{}", "tokenizer_config.json": 3}
    content = {"layout": "vary-qwen", "beside": beside}
    (tmp_path / "ours" / ORIGIN).write_text(json.dumps(content), encoding="utf-8")
    convert(tmp_path / "ours", tmp_path / "out", to="authors")
    assert {path.name for path in tmp_path.iterdir()} == {"ours", "out"}
    assert (tmp_path / "out" / "generation_config.json").read_text() == "{}"
    assert not (tmp_path / "out" / "tokenizer_config.json").exists()


def test_text_that_is_no_utf8(tmp_path: Path) -> None:
    """JSON can name characters that no file of text can hold; they stay as they are named."""
    theirs = toy_folder(tmp_path / "theirs", random_model(tiny_toy_config()), their_own="\ud800 模")
    convert(theirs, tmp_path / "ours")
    convert(tmp_path / "ours", tmp_path / "back", to="authors")
    assert settings_of(tmp_path / "back")["their_own"] == "\ud800 模"
    assert "模" in (tmp_path / "back" / "config.json").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"num_key_value_heads": 2}, "a key head for each of its heads, this one 2"),
        (
            {"rope_parameters": {"rope_type": "linear", "factor": 2.0, "rope_theta": 1e4}},
            "rope_type 'linear'",
        ),
        ({"use_sliding_window": True, "sliding_window": 64}, "no sliding window"),
        ({"hidden_act": "gelu"}, "gated by silu, this one by gelu"),
    ],
)
@pytest.mark.parametrize("target", ["authors", "mindspore"])
def test_what_the_authors_settings_have_no_words_for(
    changes: dict[str, Any], reason: str, target: str
) -> None:
    sizes = {"hidden_size": 2048, "num_attention_heads": 16, "num_hidden_layers": 2, "vocab_size": 151860}
    text = Qwen2Config(**{**sizes, "num_key_value_heads": 16, **changes})
    with pytest.raises(CheckpointError, match=reason):
        choose_layout(
            target,
            VaryConfig(
                text_config=text,
                clip_config=CLIPVisionConfig(image_size=224, patch_size=14),
                projector_dim=1024,
            ),
            None,
        )


def test_an_opt_that_lacks_what_others_have(tmp_path: Path) -> None:
    model = opt_model()
    model.config.text_config.enable_bias = False
    model = random_model(model.config)
    assert not any(name.endswith("fc1.bias") for name in model.state_dict())
    model.save_pretrained(tmp_path / "ours")
    convert(tmp_path / "ours", tmp_path / "theirs", to="authors")
    convert(tmp_path / "theirs", tmp_path / "again")
    assert_equal(tensors_of(tmp_path / "again"), tensors_of(tmp_path / "ours"))
