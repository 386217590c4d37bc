"""Vary-tiny and Vary-tiny-600k through the production loader, against OPT and its tokenizer by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from transformers import GPT2Tokenizer, OPTForCausalLM

from authors_files import authors_settings, authors_state
from factories import random_model, tiny_opt_config
from vary.model.configuration import VaryConfig
from vary.model.modeling import VaryForConditionalGeneration
from vary.model.special_tokens import byte_letters
from vary.reader import Reader
from vary.weights.formats.names import OPT_600K_NAMES, OPT_NAMES
from vary.weights.loading import load_checkpoint

BICUBIC = Image.Resampling.BICUBIC
MERGES = [("t", "h"), ("th", "e"), ("Ġ", "the"), ("i", "n"), ("Ġ", "a"), ("O", "C"), ("OC", "R")]


def write_tokenizer(folder: Path) -> int:
    """OPT's files with few merges; returns the number of tokens."""
    tokens = ["<s>", "<pad>", "</s>", "<unk>", *byte_letters(), *("".join(pair) for pair in MERGES)]
    (folder / "vocab.json").write_text(json.dumps({token: place for place, token in enumerate(tokens)}))
    merges = "\n".join(" ".join(pair) for pair in MERGES)
    (folder / "merges.txt").write_text(f"#version: 0.2\n{merges}\n", encoding="utf-8")
    return len(tokens)


def opt_config(tokens: int) -> VaryConfig:
    config = tiny_opt_config()
    config.text_config.update(
        {"bos_token_id": 2, "eos_token_id": 2, "pad_token_id": 1, "vocab_size": tokens + 3}
    )
    for place, name in enumerate(("image_token_id", "image_start_token_id", "image_end_token_id")):
        setattr(config, name, tokens + place)
    return config


@pytest.fixture(scope="module", params=["vary-tiny", "vary-tiny-600k"])
def published(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[str, Path, Any]:
    """A checkpoint in the form in which it is published, and the model that it was made from."""
    folder = tmp_path_factory.mktemp(request.param)
    config = opt_config(write_tokenizer(folder))
    model = random_model(config)
    if request.param == "vary-tiny":
        torch.save(authors_state(model.state_dict(), OPT_NAMES), folder / "pytorch_model.bin")
        (folder / "config.json").write_text(json.dumps(authors_settings(config)))
    else:
        state = authors_state(model.state_dict(), OPT_600K_NAMES)
        torch.save({"model": state, "epoch": 3}, folder / "checkpoint_3.pth")
        (folder / "config.json").write_text(json.dumps({"num_attention_heads": 4}))
    return request.param, folder, model


@pytest.fixture(scope="module")
def picture() -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (50, 70, 3), dtype=np.uint8))


def by_hand(
    name: str,
    model: VaryForConditionalGeneration,
    folder: Path,
    pixels: torch.Tensor,
    prompt: str,
    count: int,
) -> list[int]:
    """Greedy ids from OPT's own class; what goes in is what the authors' demos put in."""
    opt = OPTForCausalLM(model.config.text_config).eval()
    decoder = {f"model.{key}": value for key, value in model.model.language_model.state_dict().items()}
    opt.load_state_dict({**decoder, "lm_head.weight": model.lm_head.weight}, strict=True)
    tokenizer = GPT2Tokenizer(str(folder / "vocab.json"), str(folder / "merges.txt"))
    image = model.model.projector.vision_vocabulary(model.model.vision_vocabulary(pixels))
    embed = opt.get_input_embeddings()
    end, config = 2, model.config
    if name == "vary-tiny":
        before, after = [end, config.image_start_token_id], [config.image_end_token_id]
    else:
        before, after = [], [end, *tokenizer(prompt, add_special_tokens=False)["input_ids"]]
    pieces = [embed(torch.tensor([before], dtype=torch.long)), image, embed(torch.tensor([after]))]
    embeddings = torch.cat(pieces, dim=1)
    found: list[int] = []
    for _ in range(count):
        found.append(int(opt(inputs_embeds=embeddings).logits[0, -1].argmax()))
        embeddings = torch.cat([embeddings, embed(torch.tensor([found[-1:]]))], dim=1)
    return found


@torch.no_grad()
def test_answers_are_those_of_opt_behind_the_image(
    published: tuple[str, Path, Any], picture: Image.Image
) -> None:
    name, folder, model = published
    loaded, processor = load_checkpoint(folder)
    prompt = loaded.config.prompts["ocr"]
    assert prompt == ("" if name == "vary-tiny" else "OCR: ")
    inputs = processor.build_inputs([picture], prompt)
    assert int((inputs["input_ids"] == loaded.config.image_token_id).sum()) == 4
    answer = loaded.generate(**inputs, max_new_tokens=9, do_sample=False, eos_token_id=-1)
    expected = by_hand(name, model, folder, inputs["pixel_values"], prompt, 9)
    assert answer[0, inputs["input_ids"].shape[1] :].tolist() == expected


def test_preprocessing_is_that_of_each_demo(published: tuple[str, Path, Any], picture: Image.Image) -> None:
    name, folder, _ = published
    pixels = load_checkpoint(folder)[1].build_inputs([picture], "" if name == "vary-tiny" else "x")[
        "pixel_values"
    ]
    tiny = name == "vary-tiny"
    # albumentations' Resize in the one demo, torchvision's on Pillow images in the other
    resized = cv2.resize(np.asarray(picture), (128, 128)) if tiny else picture.resize((128, 128), BICUBIC)
    mean = (0.485, 0.456, 0.406) if tiny else (0.48145466, 0.4578275, 0.40821073)
    std = (0.229, 0.224, 0.225) if tiny else (0.26862954, 0.26130258, 0.27577711)
    expected = (np.asarray(resized) / 255.0 - np.array(mean)) / np.array(std)
    np.testing.assert_allclose(pixels[0].permute(1, 2, 0).numpy(), expected, atol=1e-5)


def test_the_reader_takes_it_as_it_is(published: tuple[str, Path, Any], picture: Image.Image) -> None:
    _, folder, _ = published
    page = Reader.load(folder).read(picture, max_new_tokens=5).pages[0]
    assert page.lines
    assert page.status in ("ok", "truncated", "low_confidence")


@settings(max_examples=60)
@given(text=st.text(max_size=30))
def test_ids_are_those_of_opts_own_tokenizer(published: tuple[str, Path, Any], text: str) -> None:
    _, folder, _ = published
    theirs, ours = tokenizers(folder)
    assert (
        ours(text, add_special_tokens=False, split_special_tokens=True)["input_ids"]
        == theirs(text, add_special_tokens=False, split_special_tokens=True)["input_ids"]
    )


LOADED: dict[Path, tuple[Any, Any]] = {}


def tokenizers(folder: Path) -> tuple[Any, Any]:
    if folder not in LOADED:
        theirs = GPT2Tokenizer(str(folder / "vocab.json"), str(folder / "merges.txt"))
        LOADED[folder] = theirs, load_checkpoint(folder)[1].tokenizer
    return LOADED[folder]
