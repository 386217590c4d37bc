"""Checkpoints written from parts: whole, readable, honest about what is untrained, or not there."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import CLIPVisionConfig, CLIPVisionModel

from authors_files import authors_settings, authors_state
from factories import random_model, tiny_opt_config, tiny_toy_config
from text_models import ROWS, text_folder, text_model, tokenizer_of
from vary.errors import CheckpointError, TaskError
from vary.model.image_processing import as_pillow
from vary.model.loading import load_model
from vary.model.processing import VaryProcessor
from vary.reader import Reader
from vary.weights import grafts
from vary.weights.formats.names import QWEN_NAMES
from vary.weights.grafts import graft_checkpoint
from vary.weights.manifest import check_manifest
from vary.weights.vocabulary import extract_vocabulary

PAGE = np.full((60, 40, 3), 200, dtype=np.uint8)


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("toy") / "toy"
    random_model(tiny_toy_config()).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def theirs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same in the authors' format."""
    folder = tmp_path_factory.mktemp("theirs")
    model = random_model(tiny_toy_config())
    torch.save(authors_state(model.state_dict(), QWEN_NAMES), folder / "pytorch_model.bin")
    (folder / "config.json").write_text(json.dumps(authors_settings(model.config)), encoding="utf-8")
    return folder


@torch.no_grad()
@pytest.mark.parametrize("kind", ["qwen3", "llama", "opt"])
def test_what_is_written_reads(kind: str, toy: Path, tmp_path: Path) -> None:
    text = text_folder(tmp_path / "text", kind)
    extract_vocabulary(toy, tmp_path / "vocabulary")
    out = tmp_path / "a.b c/模型"
    done = graft_checkpoint(tmp_path / "vocabulary", text, out, clip=toy)
    model = load_model(out)
    processor = VaryProcessor.from_pretrained(out, local_files_only=True)
    ids = torch.arange(1, 8)[None]
    expected = text_model(kind)(input_ids=ids).logits
    assert torch.equal(model(input_ids=ids).logits[..., :ROWS], expected)
    inputs = processor.build_inputs([PAGE], "Read.")
    assert {"pixel_values", "pixel_values_clip"} < set(inputs)
    assert model.generate(**inputs, max_new_tokens=3, do_sample=False).shape[1] > inputs["input_ids"].shape[1]
    assert check_manifest(out) == []
    assert done.layout == {"llama": "own", "opt": "plain"}.get(kind, "chatml")
    known = len(tokenizer_of(kind))
    assert done.image_tokens == (known, known + 1, known + 2)
    assert sum(done.parameters.values()) == sum(p.numel() for p in model.parameters())
    assert list(done.parameters) == ["vision vocabulary", "CLIP", "projector", "language model"]
    assert (done.text, done.dtype) == (kind, "float32")
    origin = json.loads((out / "origin.json").read_text(encoding="utf-8"))
    assert origin["projector"] == {"trained": False, "seed": 0}
    assert (origin["text"], origin["clip"], origin["vision_vocabulary"]["checkpoint"]) == (
        "text",
        "toy",
        "toy",
    )
    assert str(tmp_path) not in json.dumps(origin)


def test_a_reader_refuses_what_was_never_trained(toy: Path, tmp_path: Path) -> None:
    graft_checkpoint(toy, text_folder(tmp_path / "text", "qwen2"), tmp_path / "out")
    reader = Reader.load(tmp_path / "out", device="cpu")
    assert reader.tasks == ()
    with pytest.raises(TaskError, match="names no tasks"):
        reader.read(PAGE)
    settings = json.loads((tmp_path / "out/config.json").read_text())
    settings["tasks"] = ["ocr"]
    (tmp_path / "out/config.json").write_text(json.dumps(settings))
    document = Reader.load(tmp_path / "out", device="cpu").read(PAGE, max_new_tokens=3)
    assert len(document.pages) == 1


def test_a_graft_learns_to_read(toy: Path, tmp_path: Path) -> None:
    """The loop of docs/vocabulary.md: two pages, each with its text; the vision networks stay as they are."""
    torch.manual_seed(0)
    graft_checkpoint(toy, text_folder(tmp_path / "text", "qwen3"), tmp_path / "out", clip=toy)
    model, processor = load_model(tmp_path / "out").train(), VaryProcessor.from_pretrained(tmp_path / "out")
    vision = (model.model.vision_vocabulary, model.model.clip)
    for network in vision:
        network.requires_grad_(False)
    before = [{name: value.clone() for name, value in network.state_dict().items()} for network in vision]
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-2)
    random = np.random.default_rng(0)
    pages = {text: random.integers(0, 255, (80, 60, 3), dtype=np.uint8) for text in ("ab", "xyz")}
    for _ in range(40):
        for text, page in pages.items():
            shown = [{"type": "image", "image": as_pillow(page)}, {"type": "text", "text": "Read."}]
            messages = [{"role": "user", "content": shown}, {"role": "assistant", "content": text}]
            batch = processor.apply_chat_template(
                [messages],
                tokenize=True,
                return_dict=True,
                return_tensors="pt",
                return_assistant_tokens_mask=True,
            )
            written = torch.as_tensor(batch.pop("assistant_masks"))
            labels = batch["input_ids"].masked_fill(written == 0, -100)
            model(**batch, labels=labels).loss.backward()
            optimizer.step()
            optimizer.zero_grad()
    for network, state in zip(vision, before, strict=True):
        assert all(torch.equal(value, state[name]) for name, value in network.state_dict().items())
    model.config.tasks = ("ocr",)
    model.config.prompts = {"ocr": "Read."}
    model.save_pretrained(tmp_path / "trained")
    processor.save_pretrained(tmp_path / "trained")
    reader = Reader.load(tmp_path / "trained", device="cpu")
    assert [reader.read(page).text.strip() for page in pages.values()] == list(pages)


@pytest.mark.parametrize("seeds", [(0, 0), (0, 1)])
def test_the_seed_decides_the_projector(seeds: tuple[int, int], toy: Path, tmp_path: Path) -> None:
    text = text_folder(tmp_path / "text", "llama")
    files = []
    for place, seed in enumerate(seeds):
        graft_checkpoint(toy, text, tmp_path / str(place), seed=seed)
        files.append((tmp_path / str(place) / "model.safetensors").read_bytes())
    assert (files[0] == files[1]) == (seeds[0] == seeds[1])


def test_parts_of_the_authors_format(toy: Path, theirs: Path, tmp_path: Path) -> None:
    text = text_folder(tmp_path / "text", "llama")
    graft_checkpoint(toy, text, tmp_path / "ours", clip=toy)
    graft_checkpoint(theirs, text, tmp_path / "theirs", clip=theirs)
    first, second = (load_model(tmp_path / name).state_dict() for name in ("ours", "theirs"))
    assert first.keys() == second.keys()
    assert [name for name in first if not torch.equal(first[name], second[name])] == []


def test_types_and_layouts(toy: Path, tmp_path: Path) -> None:
    text = text_folder(tmp_path / "text", "qwen2")
    done = graft_checkpoint(toy, text, tmp_path / "out", dtype="bfloat16", layout="own")
    assert (done.dtype, done.layout) == ("bfloat16", "own")
    assert load_model(tmp_path / "out").dtype == torch.bfloat16
    with pytest.raises(CheckpointError, match="no type 'int8'"):
        graft_checkpoint(toy, text, tmp_path / "never", dtype="int8")


def test_a_language_model_without_a_tokenizer(toy: Path, tmp_path: Path) -> None:
    text = text_folder(tmp_path / "text", "llama", tokenizer=False)
    done = graft_checkpoint(toy, text, tmp_path / "out")
    assert done.layout is None
    assert "has no tokenizer, so no processor was written" in done.notes[-1]
    assert load_model(tmp_path / "out").config.image_token_id == ROWS + 2
    with pytest.raises(CheckpointError, match="the layout 'plain' cannot be written"):
        graft_checkpoint(toy, text, tmp_path / "never", layout="plain")


def test_parts_that_do_not_fit_leave_nothing(toy: Path, tmp_path: Path) -> None:
    text = text_folder(tmp_path / "text", "llama")
    other = CLIPVisionConfig(
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=3,
        num_attention_heads=2,
        image_size=42,
        patch_size=14,
    )
    CLIPVisionModel(other).save_pretrained(tmp_path / "clip")
    random_model(tiny_opt_config()).save_pretrained(tmp_path / "single")
    (tmp_path / "full").mkdir()
    (tmp_path / "full/mine").touch()
    for parts, out, match in (
        ({"clip": tmp_path / "clip"}, "out", "CLIP makes 9 tokens of an image, but the vision vocabulary 4"),
        ({"clip": tmp_path / "single"}, "out", "has no CLIP branch"),
        ({"clip": text}, "out", "unknown parameter names"),
        ({"clip": tmp_path / "nowhere"}, "out", "there is no such folder or file"),
        ({}, "full", "not empty"),
    ):
        with pytest.raises(CheckpointError, match=match):
            graft_checkpoint(toy, text, tmp_path / out, **parts)
    with pytest.raises(CheckpointError, match="no such folder; parts are read from local folders only"):
        graft_checkpoint(toy, "owner/model", tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert [path.name for path in (tmp_path / "full").iterdir()] == ["mine"]


def test_what_fails_half_way_leaves_nothing(
    toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(folder: Path) -> None:
        assert (folder / "model.safetensors").is_file()
        raise KeyboardInterrupt

    text = text_folder(tmp_path / "text", "llama")
    monkeypatch.setattr(grafts, "write_manifest", fail)
    with pytest.raises(KeyboardInterrupt):
        graft_checkpoint(toy, text, tmp_path / "out")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["text"]
