"""Vocabularies taken out of checkpoints of every format, whole or not at all."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from authors_files import authors_settings, authors_state, tiny_got
from factories import random_model, tiny_nano_config, tiny_opt_config, tiny_toy_config
from vary.errors import CheckpointError
from vary.model.configuration import VaryConfig
from vary.model.image_processing import PUBLISHED_IMAGE_SETTINGS, VaryImageProcessor
from vary.model.modeling import VaryForConditionalGeneration
from vary.model.vision_vocabulary import VisionVocabulary
from vary.model.vocabulary_folder import load_image_processor
from vary.weights import vocabulary as module
from vary.weights.conversion import convert
from vary.weights.files import TensorFiles
from vary.weights.formats.names import OPT_600K_NAMES, OPT_NAMES, QWEN_NAMES
from vary.weights.manifest import check_manifest
from vary.weights.vocabulary import extract_vocabulary, read_vocabulary

NAMES = {"qwen2": QWEN_NAMES, "opt": OPT_NAMES}


def ours(model: VaryForConditionalGeneration, folder: Path) -> Path:
    model.save_pretrained(folder)
    return folder


def theirs(model: VaryForConditionalGeneration, folder: Path) -> Path:
    folder.mkdir(parents=True)
    names = NAMES[model.config.text_config.model_type]
    torch.save(authors_state(model.state_dict(), names), folder / "pytorch_model.bin")
    (folder / "config.json").write_text(json.dumps(authors_settings(model.config)), encoding="utf-8")
    return folder


def mindspore(model: VaryForConditionalGeneration, folder: Path) -> Path:
    convert(ours(model, folder / "ours"), folder / "ckpt", to="mindspore")
    (folder / "ckpt/config.json").unlink(missing_ok=True)
    settings = {"num_attention_heads": 4, "clip_config": {"num_attention_heads": 2}}
    settings |= {"im_patch_token": 91, "im_start_token": 92, "im_end_token": 93}
    (folder / "ckpt/config.json").write_text(json.dumps(settings))
    return folder / "ckpt" / "vary_toy.ckpt"


def six_hundred(model: VaryForConditionalGeneration, folder: Path) -> Path:
    folder.mkdir(parents=True)
    state = {"model": authors_state(model.state_dict(), OPT_600K_NAMES), "optimizer": {}, "epoch": 3}
    torch.save(state, folder / "checkpoint_3.pth")
    (folder / "config.json").write_text(json.dumps({"num_attention_heads": 4}), encoding="utf-8")
    return folder / "checkpoint_3.pth"


FORMS: list[tuple[Callable[[], VaryConfig], Callable[..., Path], str]] = [
    (tiny_toy_config, ours, "vary"),
    (tiny_nano_config, ours, "vary"),
    (tiny_toy_config, theirs, "vary-qwen"),
    (tiny_opt_config, theirs, "vary-opt"),
    (tiny_opt_config, six_hundred, "vary-tiny-600k"),
    (tiny_toy_config, mindspore, "mindocr"),
]


def the_model(make: Callable[[], VaryConfig]) -> VaryForConditionalGeneration:
    config = make()
    if config.text_config.model_type == "opt":
        config.text_config.update({"bos_token_id": 2, "eos_token_id": 2, "pad_token_id": 1})
    return random_model(config)


def same(network: VisionVocabulary, state: dict[str, Tensor]) -> bool:
    found = network.state_dict()
    return found.keys() == state.keys() and all(torch.equal(found[name], state[name]) for name in found)


@pytest.mark.parametrize(("make", "write", "layout"), FORMS)
def test_every_format(
    make: Callable[[], VaryConfig],
    write: Callable[..., Path],
    layout: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = the_model(make)
    checkpoint = write(model, tmp_path / "source" / "a.b c")
    read: list[str] = []
    original = TensorFiles.read
    monkeypatch.setattr(
        TensorFiles, "read", lambda self, names: (read.extend(found := list(names)), original(self, found))[1]
    )
    out = tmp_path / "模型" / "vocabulary"
    done = extract_vocabulary(checkpoint, out)
    monkeypatch.undo()
    expected = model.model.vision_vocabulary.state_dict()
    # A tied head is compared with the embeddings; beyond that nothing but the network is read.
    others = [name for name in read if "lm_head" not in name and "embed_tokens" not in name]
    assert len(set(others)) == len(expected)
    assert same(VisionVocabulary.from_folder(out), expected)
    assert set(done.files) == {path.name for path in out.iterdir()}
    assert {"config.json", "model.safetensors", "preprocessor_config.json", "origin.json"} <= set(done.files)
    assert check_manifest(out) == []
    origin = json.loads((out / "origin.json").read_text(encoding="utf-8"))
    assert (origin["format"], origin["checkpoint"]) == (layout, checkpoint.name)
    assert str(tmp_path) not in json.dumps(origin)
    assert [path.name for path in out.parent.iterdir()] == ["vocabulary"]

    again = tmp_path / "again"
    extract_vocabulary(out, again)
    assert (again / "model.safetensors").read_bytes() == (out / "model.safetensors").read_bytes()
    assert json.loads((again / "origin.json").read_text(encoding="utf-8")) == origin


@pytest.mark.parametrize(
    ("make", "write", "published"),
    [
        (tiny_toy_config, theirs, "vary_toy"),
        (tiny_opt_config, theirs, "vary_tiny"),
    ],
)
def test_the_formats_preprocessing_goes_along(
    make: Callable[[], VaryConfig], write: Callable[..., Path], published: str, tmp_path: Path
) -> None:
    done = extract_vocabulary(write(the_model(make), tmp_path / "source"), tmp_path / "out")
    found = load_image_processor(tmp_path / "out")
    assert found is not None
    settings = PUBLISHED_IMAGE_SETTINGS[published]
    assert list(found.image_mean) == list(settings["image_mean"])
    assert found.resample == settings["resample"]
    assert (found.size["height"], found.clip_size) == (128, None)
    assert done.notes == ()


@torch.no_grad()
def test_the_vocabulary_of_got_ocr2_computes_what_transformers_does(tmp_path: Path) -> None:
    """An independent reference: the same network in Transformers' own code, up to its projector."""
    theirs = tiny_got()
    theirs.save_pretrained(tmp_path / "source")
    done = extract_vocabulary(tmp_path / "source", tmp_path / "out")
    assert done.origin["format"].startswith("got")
    seen: list[Tensor] = []
    projector = theirs.model.multi_modal_projector.multimodal_projector
    projector.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    pixels = torch.randn(2, 3, 128, 128, generator=torch.Generator().manual_seed(6))
    theirs.get_image_features(pixels)
    found = VisionVocabulary.from_folder(tmp_path / "out")(pixels)
    torch.testing.assert_close(found, seen[0], atol=1e-5, rtol=0)


def test_a_checkpoints_own_preprocessing_goes_along(tmp_path: Path) -> None:
    folder = ours(the_model(tiny_toy_config), tmp_path / "source")
    assumed = extract_vocabulary(folder, tmp_path / "first")
    assert "records no preprocessing" in assumed.notes[0]
    settings = {"size": {"height": 128, "width": 128}, "clip_size": 28, "image_mean": [0.1, 0.2, 0.3]}
    VaryImageProcessor(**settings).save_pretrained(folder)
    recorded = extract_vocabulary(folder, tmp_path / "second")
    assert recorded.notes == ()
    found = load_image_processor(tmp_path / "second")
    assert found is not None
    assert (list(found.image_mean), found.clip_size) == ([0.1, 0.2, 0.3], None)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_the_type_stays_or_is_chosen(dtype: torch.dtype, tmp_path: Path) -> None:
    model = the_model(tiny_opt_config).to(dtype)
    done = extract_vocabulary(theirs(model, tmp_path / "source"), tmp_path / "out")
    assert done.dtype == str(dtype).removeprefix("torch.")
    assert same(VisionVocabulary.from_folder(tmp_path / "out"), model.model.vision_vocabulary.state_dict())
    chosen = read_vocabulary(tmp_path / "source", dtype=torch.float32)
    assert chosen.network.dtype == torch.float32


def test_facts_of_the_network(tmp_path: Path) -> None:
    model = the_model(tiny_toy_config)
    done = extract_vocabulary(ours(model, tmp_path / "source"), tmp_path / "out")
    assert done.parameters == sum(p.numel() for p in model.model.vision_vocabulary.parameters())
    assert (done.image, done.tokens, done.dtype) == ((128, 128), (4, 20), "float32")


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    source = ours(the_model(tiny_opt_config), tmp_path / "source")
    (tmp_path / "full").mkdir()
    (tmp_path / "full/mine.txt").write_text("mine")
    (tmp_path / "file").write_text("mine")
    for out, match in (("full", "not empty"), ("file", "exists already"), ("source", "not empty")):
        with pytest.raises(CheckpointError, match=match):
            extract_vocabulary(source, tmp_path / out)
    assert [path.name for path in (tmp_path / "full").iterdir()] == ["mine.txt"]
    (tmp_path / "empty").mkdir()
    extract_vocabulary(source, tmp_path / "empty")
    assert (tmp_path / "empty/model.safetensors").is_file()


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_what_fails_half_way_leaves_nothing(
    error: BaseException, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = ours(the_model(tiny_opt_config), tmp_path / "source")

    def fail(folder: Path) -> None:
        assert (folder / "model.safetensors").is_file()
        raise error

    monkeypatch.setattr(module, "write_manifest", fail)
    with pytest.raises((CheckpointError, KeyboardInterrupt)):
        extract_vocabulary(source, tmp_path / "out" / "deep")
    assert list((tmp_path / "out").iterdir()) == []


def test_what_holds_no_vocabulary(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="there is no such folder or file"):
        extract_vocabulary(tmp_path / "nowhere", tmp_path / "out")
    (tmp_path / "empty").mkdir()
    with pytest.raises(CheckpointError, match="empty holds no weights"):
        extract_vocabulary(tmp_path / "empty", tmp_path / "out")
    source = theirs(the_model(tiny_toy_config), tmp_path / "source")
    state = torch.load(source / "pytorch_model.bin", weights_only=True)
    del state["transformer.vision_tower_high.net_2.weight"]
    torch.save(state, source / "pytorch_model.bin")
    with pytest.raises(CheckpointError, match=r"transformer\.vision_tower_high\.net_2\.weight"):
        extract_vocabulary(source, tmp_path / "out")
    assert not (tmp_path / "out").exists()


# Extracts, and prints by how many kB that raised the most memory that the process ever had.
PEAK = """
import sys
import torch
from vary.weights.vocabulary import extract_vocabulary

def peak():
    return int(open("/proc/self/status").read().split("VmHWM:")[1].split()[0])

torch.set_num_threads(1)
before = peak()
extract_vocabulary(sys.argv[1], sys.argv[2])
print(peak() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="asks the kernel of Linux")
@pytest.mark.parametrize("kind", ["safetensors", "bin"])
def test_the_language_model_takes_no_memory(kind: str, tmp_path: Path) -> None:
    """Of a checkpoint of 200 MB nearly all is the language model, which is not read."""
    config = tiny_toy_config()
    config.text_config.vocab_size = 1_000_000
    with torch.device("meta"):
        shapes = VaryForConditionalGeneration(config).state_dict()
    state = {key: torch.zeros(value.shape, dtype=value.dtype) for key, value in shapes.items()}
    if kind == "safetensors":
        config.save_pretrained(tmp_path)
        save_file(state, tmp_path / "model.safetensors", {"format": "pt"})
    else:
        torch.save(authors_state(state, QWEN_NAMES), tmp_path / "pytorch_model.bin")
        (tmp_path / "config.json").write_text(json.dumps(authors_settings(config)), encoding="utf-8")
    command = [sys.executable, "-c", PEAK, str(tmp_path), str(tmp_path / "out")]
    ran = subprocess.run(command, check=True, capture_output=True, text=True)
    assert int(ran.stdout) < 80_000
