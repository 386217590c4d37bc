"""The files of a line checkpoint, read without PyTorch: what is refused, what is broken, what is text."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file
from transformers import AutoTokenizer

from checkpoints import byte_tokenizer
from line_checkpoints import line_config, write_checkpoint
from vary.assets import default_checkpoint
from vary.engine.light import LightModel, LightSettings
from vary.engine.light.tensors import TensorFile
from vary.engine.light.text import TokenTexts
from vary.engine.native import load_library
from vary.errors import CheckpointError, NativeError
from vary.model.configuration import VaryConfig

TOKENIZER = AutoTokenizer.from_pretrained(default_checkpoint())
TEXTS = TokenTexts.read(default_checkpoint())
ASCII_AND_BYTES = st.integers(0, 290)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp("light") / "checkpoint", line_config())


@pytest.fixture
def folder(source: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(source, tmp_path / "copy"))


# --- text


@given(st.lists(st.integers(-3, 7200) | ASCII_AND_BYTES, max_size=40))
def test_ids_are_the_librarys_text(ids: list[int]) -> None:
    known = [token for token in ids if 0 <= token < len(TOKENIZER)]
    expected = TOKENIZER.decode(known, skip_special_tokens=True, clean_up_tokenization_spaces=False)
    assert TEXTS(ids) == expected


@given(st.lists(st.integers(111, 271), max_size=12))
def test_broken_characters_are_the_librarys(ids: list[int]) -> None:
    """Of bytes beyond ASCII alone hardly any are a character."""
    assert TEXTS(ids) == TOKENIZER.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)


@given(st.text(max_size=20))
def test_text_comes_back(text: str) -> None:
    assert TEXTS(TOKENIZER(text, add_special_tokens=False, split_special_tokens=True)["input_ids"]) == text


def test_other_byte_level_tokenizers(tmp_path: Path) -> None:
    tokenizer = byte_tokenizer()
    tokenizer.save_pretrained(tmp_path)
    ids = [*range(256), 256, 300, *"ä€".encode()]
    assert TokenTexts.read(tmp_path)(ids) == tokenizer.decode(ids, skip_special_tokens=True)


@pytest.mark.parametrize(
    ("change", "error"),
    [
        (lambda c: c["model"].update(type="Unigram"), NativeError),
        (lambda c: c["decoder"].update(type="WordPiece"), NativeError),
        (lambda c: c.update(decoder=None), NativeError),
        (lambda c: c["added_tokens"][0].update(special=False), NativeError),
        (lambda c: c["added_tokens"].append({"id": "x"}), CheckpointError),
        (lambda c: c["model"].update(vocab=["a"]), CheckpointError),
        (lambda c: c["model"]["vocab"].update(a="1"), CheckpointError),
    ],
)
def test_tokenizers_of_other_kinds_and_broken_ones(
    change: Callable[[Any], object], error: type[Exception], tmp_path: Path
) -> None:
    content = json.loads((default_checkpoint() / "tokenizer.json").read_text(encoding="utf-8"))
    change(content)
    (tmp_path / "tokenizer.json").write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(error, match=r"tokenizer\.json"):
        TokenTexts.read(tmp_path)


# --- tensors


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16, torch.int64])
def test_tensors_are_those_of_the_package(dtype: torch.dtype, tmp_path: Path) -> None:
    values = torch.tensor([0.0, -0.0, 1.0, -2.5, 1e-7, 6e4, 3.0, 7.0])
    if dtype.is_floating_point:
        values = torch.cat([values, torch.tensor([float("inf"), 1e-40])])
    tensors = {"a": values.to(dtype), "b": torch.arange(6).reshape(2, 3).to(dtype), "c": torch.tensor(5)}
    save_file(tensors, tmp_path / "x.safetensors", metadata={"format": "pt"})
    with TensorFile(tmp_path / "x.safetensors") as file:
        assert file.shapes == {name: tuple(tensor.shape) for name, tensor in tensors.items()}
        for name, tensor in tensors.items():
            np.testing.assert_array_equal(file.read(name), tensor.float().numpy())


def _file(path: Path, header: object, body: bytes = b"", size: int | None = None) -> Path:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes((len(text) if size is None else size).to_bytes(8, "little") + text + body)
    return path


def _entry(shape: Any = (2,), offsets: Any = (0, 8), dtype: Any = "F32") -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": offsets}


@pytest.mark.parametrize(
    ("header", "body", "size"),
    [
        ({"a": _entry()}, b"\0" * 7, None),
        ({"a": _entry()}, b"\0" * 9, None),
        ({"a": _entry(offsets=(0, 4))}, b"\0" * 8, None),
        ({"a": _entry(offsets=(8, 0))}, b"\0" * 8, None),
        ({"a": _entry(offsets=(8, 16))}, b"\0" * 16, None),
        ({"a": _entry(offsets=(-8, 0))}, b"\0" * 8, None),
        ({"a": _entry(shape=(-2,), offsets=(0, -8))}, b"", None),
        ({"a": _entry(shape=(2**62,), offsets=(0, 2**64))}, b"\0" * 8, None),
        ({"a": _entry(shape=(2.0,))}, b"\0" * 8, None),
        ({"a": _entry(shape=None)}, b"\0" * 8, None),
        ({"a": _entry(offsets=(0, 8, 8))}, b"\0" * 8, None),
        ({"a": _entry(dtype=7)}, b"\0" * 8, None),
        ({"a": _entry(), "b": _entry()}, b"\0" * 8, None),
        ({"a": _entry(), "b": _entry(offsets=(4, 12))}, b"\0" * 12, None),
        ({"a": [1]}, b"", None),
        ([1], b"", None),
        (b"{not json", b"", None),
        (b"\xff\xfe{}", b"", None),
        (b"[" * 100_000, b"", None),
        ({"a": _entry()}, b"\0" * 8, 2**63),
        ({"a": _entry()}, b"\0" * 8, 10**9),
        ({"a": _entry()}, b"\0" * 8, 0),
        ({"a": _entry()}, b"\0" * 8, 20),
    ],
)
def test_files_that_are_broken(header: object, body: bytes, size: int | None, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"no readable safetensors file"):
        TensorFile(_file(tmp_path / "x.safetensors", header, body, size))


@pytest.mark.parametrize("kept", [0, 7, 8, 9, 500])
def test_files_that_were_cut(folder: Path, kept: int) -> None:
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:kept])
    with pytest.raises(CheckpointError):
        LightModel.load(folder)


@pytest.mark.parametrize("cut", [1, 1000])
def test_files_that_lost_their_end(folder: Path, cut: int) -> None:
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-cut])
    with pytest.raises(CheckpointError, match="bytes"):
        LightModel.load(folder)


def test_a_file_that_gets_shorter_while_it_is_read(folder: Path) -> None:
    path = folder / "model.safetensors"
    with TensorFile(path) as file:
        path.write_bytes(path.read_bytes()[:3000])
        with pytest.raises(CheckpointError, match="ends at"):
            file.read(list(file.shapes)[-1])


def test_types_that_only_pytorch_reads(tmp_path: Path) -> None:
    with pytest.raises(NativeError, match="F8_E4M3"):
        TensorFile(
            _file(tmp_path / "x.safetensors", {"a": _entry(dtype="F8_E4M3", offsets=(0, 2))}, b"\0" * 2)
        )


def test_weights_that_are_not_the_configurations(folder: Path) -> None:
    with TensorFile(folder / "model.safetensors") as file:
        tensors = {name: torch.from_numpy(file.read(name)) for name in file.shapes}
    tensors["more"] = torch.zeros(2)
    del tensors["model.projector.vision_vocabulary.bias"]
    tensors["model.language_model.norm.weight"] = torch.zeros(65)
    save_file(tensors, folder / "model.safetensors")
    with pytest.raises(CheckpointError) as caught:
        LightModel.load(folder)
    for said in (
        "missing: 1 tensors, model.projector.vision_vocabulary.bias",
        "unexpected: 1 tensors, more",
        "mismatched: 1 tensors, model.language_model.norm.weight",
    ):
        assert said in str(caught.value)


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("config.json", CheckpointError),
        ("tokenizer.json", CheckpointError),
        ("model.safetensors", CheckpointError),
        ("generation_config.json", NativeError),
        ("processor_config.json", NativeError),
        ("chat_template.jinja", NativeError),
    ],
)
def test_files_that_are_missing_or_empty(name: str, error: type[Exception], folder: Path) -> None:
    (folder / name).write_bytes(b"")
    with pytest.raises((CheckpointError, NativeError)):
        LightModel.load(folder)
    (folder / name).unlink()
    with pytest.raises(error):
        LightModel.load(folder)


def test_several_files_of_weights_are_the_librarys(folder: Path) -> None:
    index = {"weight_map": {"a": "model.safetensors", "b": "more.safetensors"}}
    (folder / "model.safetensors").rename(folder / "more.safetensors")
    shutil.copy(folder / "more.safetensors", folder / "model-1.safetensors")
    index["weight_map"]["a"] = "model-1.safetensors"
    (folder / "model.safetensors.index.json").write_text(json.dumps(index), encoding="utf-8")
    with pytest.raises(NativeError, match="single safetensors file"):
        LightModel.load(folder)


# --- settings


def test_the_settings_are_the_configurations() -> None:
    folder = default_checkpoint()
    config, settings = VaryConfig.from_pretrained(folder), LightSettings.read(folder)
    vision = config.vision_vocabulary_config
    assert settings.tasks == tuple(config.tasks)
    assert settings.languages == tuple(config.languages)
    assert settings.prompts == config.prompts
    assert settings.version == config.checkpoint_version
    assert settings.confidence == config.confidence
    assert settings.line_size == config.line_size
    assert settings.text.context == config.text_config.max_position_embeddings
    assert (settings.vision.rows, settings.vision.columns) == vision.grid


Change = Callable[[Any], object]
VISION, TEXT = "vision_vocabulary_config", "text_config"


@pytest.mark.parametrize(
    ("change", "error"),
    [
        (lambda c: c.update(window="whole"), NativeError),
        (lambda c: c.update(clip_config={}), NativeError),
        (lambda c: c.update(projector_dim=63), CheckpointError),
        (lambda c: c.pop("tasks"), NativeError),
        (lambda c: c.update(prompts=[1]), CheckpointError),
        (lambda c: c.update(confidence=3), CheckpointError),
        (lambda c: c.update(line_width=16), CheckpointError),
        (lambda c: c.update(image_token_id=544), CheckpointError),
        (lambda c: c.pop(TEXT), NativeError),
        (lambda c: c[VISION].update(hidden_act="relu"), NativeError),
        (lambda c: c[VISION].update(stem="patch"), NativeError),
        (lambda c: c[VISION].update(window_size=3), NativeError),
        (lambda c: c[VISION].update(num_channels=3), NativeError),
        (lambda c: c[VISION].update(image_size=32), NativeError),
        (lambda c: c[VISION].update(image_size=[64, 2048]), NativeError),
        (lambda c: c[VISION].update(image_size=[32, 10**12]), CheckpointError),
        (lambda c: c[VISION].update(hidden_size=0), CheckpointError),
        (lambda c: c[VISION].update(hidden_size=True), CheckpointError),
        (lambda c: c[VISION].update(num_hidden_layers="2"), CheckpointError),
        (lambda c: c[VISION].update(merge_strides=[[2, 2]]), CheckpointError),
        (lambda c: c[VISION].update(merge_strides=[[2]]), CheckpointError),
        (lambda c: c[VISION].update(mlp_ratio=float("nan")), CheckpointError),
        (lambda c: c[VISION].update(layer_norm_eps=None), NativeError),
        (lambda c: c[VISION].update(stem_channels=[10, 21]), CheckpointError),
        (lambda c: c[TEXT].update(model_type="llama"), NativeError),
        (lambda c: c[TEXT].update(use_sliding_window=True), NativeError),
        (lambda c: c[TEXT].update(layer_types=["sliding_attention"]), NativeError),
        (lambda c: c[TEXT].update(rope_parameters={"rope_type": "yarn"}), NativeError),
        (lambda c: c[TEXT].update(rope_parameters=3), CheckpointError),
        (lambda c: c[TEXT].update(num_attention_heads=0), CheckpointError),
        (lambda c: c[TEXT].update(num_key_value_heads=3), CheckpointError),
        (lambda c: c[TEXT].update(eos_token_id=None), NativeError),
        (lambda c: c[TEXT].update(vocab_size=10**9), CheckpointError),
        (lambda c: c[TEXT].update(rms_norm_eps="x"), CheckpointError),
    ],
)
def test_configurations_that_are_not_computed_or_make_no_sense(
    change: Change, error: type[Exception], folder: Path
) -> None:
    _change(folder / "config.json", change)
    with pytest.raises(error):
        LightModel.load(folder)


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("generation_config.json", lambda c: c.update(min_length=5)),
        ("processor_config.json", lambda c: c.update(image_processor=None)),
        ("generation_config.json", lambda c: c.update(eos_token_id=None)),
        ("generation_config.json", lambda c: c.update(use_cache=False)),
        ("processor_config.json", lambda c: c["image_processor"].update(mode="square")),
        ("processor_config.json", lambda c: c["image_processor"].update(line_height=48)),
        ("processor_config.json", lambda c: c["image_processor"].update(do_normalize=False)),
    ],
)
def test_settings_that_only_pytorch_follows(name: str, change: Change, folder: Path) -> None:
    _change(folder / name, change)
    with pytest.raises(NativeError):
        LightModel.load(folder)


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("generation_config.json", lambda c: c.update(suppress_tokens=[10**6])),
        ("processor_config.json", lambda c: c["image_processor"].update(image_std=[0])),
        ("processor_config.json", lambda c: c["image_processor"].update(image_mean=[])),
    ],
)
def test_settings_that_make_no_sense(name: str, change: Change, folder: Path) -> None:
    _change(folder / name, change)
    with pytest.raises(CheckpointError):
        LightModel.load(folder)


@pytest.mark.parametrize(
    "vision",
    [
        {"hidden_size": 24, "num_attention_heads": 2},
        {"num_attention_heads": 8},
        {"neck_channels": 40},
    ],
)
def test_sizes_that_the_kernels_do_not_compute(vision: dict[str, Any], tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path / "x", line_config(vision=vision))
    with pytest.raises(NativeError, match="multiples of 16"):
        LightModel.load(folder)


def test_heads_that_the_decoder_does_not_compute(tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path / "x", line_config(text={"num_attention_heads": 4}))
    with pytest.raises(NativeError, match="multiple of 32"):
        LightModel.load(folder)


def test_without_kernels_it_says_so(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> None:
        raise NativeError("not built")

    load_library()
    monkeypatch.setattr("vary.engine.light.vision.vision_library", missing)
    with pytest.raises(NativeError, match="not built"):
        LightModel.load(source)


def _change(file: Path, change: Change) -> None:
    content = json.loads(file.read_text(encoding="utf-8"))
    change(content)
    file.write_text(json.dumps(content), encoding="utf-8")
