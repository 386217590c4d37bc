"""Tokenizers with image tokens, and processors that write prompts which the grafted model takes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import CLIPImageProcessorPil

from factories import random_model, tiny_nano_config, tiny_toy_config, tiny_vision_vocabulary
from text_models import KINDS, byte_tokenizer, chatml_tokenizer, llama_tokenizer, opt_tokenizer, text_folder
from vary.errors import CheckpointError, InputError
from vary.model.configuration import VisionVocabularyConfig
from vary.model.grafting import (
    choose_layout,
    graft_processor,
    graft_tokenizer,
    image_token_ids,
    load_text_tokenizer,
)
from vary.model.image_processing import PUBLISHED_IMAGE_SETTINGS, VaryImageProcessor, as_pillow
from vary.model.loading import load_model
from vary.model.modeling import VaryForConditionalGeneration
from vary.model.processing import VaryProcessor

TOKENIZERS = {"chatml": chatml_tokenizer, "own": llama_tokenizer, "plain": opt_tokenizer}
IMAGE_NAMES = ("<img>", "</img>", "<imgpad>")
PAGE = np.full((60, 40, 3), 200, dtype=np.uint8)
SYSTEM = (
    "<|im_start|>system\nYou should follow the instructions carefully and explain your answers in detail."
    "<|im_end|>"
)


def grafted(tokenizer: Any, **changes: Any) -> VaryForConditionalGeneration:
    """A model of random parts with the tokenizer's image tokens."""
    vocabulary = changes.pop("vision_vocabulary", VisionVocabularyConfig(**tiny_vision_vocabulary()))
    text = random_model(tiny_toy_config()).config.text_config
    text.vocab_size, text.model_type = 300, "qwen2"
    return VaryForConditionalGeneration.from_parts(
        vision_vocabulary=vocabulary, text=text, tokenizer=tokenizer, **changes
    )


def prompt(processor: VaryProcessor, query: str = "Read.", images: int = 1, **options: Any) -> str:
    inputs = processor.build_inputs([[PAGE] * images], query, **options)
    text = str(processor.tokenizer.decode(inputs["input_ids"][0]))
    return text.replace("<imgpad>" * 4, "[4]")


@pytest.mark.parametrize("make", TOKENIZERS.values())
def test_image_tokens_follow_the_last_and_are_special(make: Any) -> None:
    tokenizer = make()
    before = len(tokenizer)
    new = graft_tokenizer(tokenizer)
    assert image_token_ids(new) == {
        "image_start_token_id": before,
        "image_end_token_id": before + 1,
        "image_token_id": before + 2,
    }
    assert new.decode(new("a<img>b", add_special_tokens=False)["input_ids"], skip_special_tokens=True) == "ab"
    assert set(IMAGE_NAMES) <= set(new.all_special_tokens)
    assert (new.padding_side, new.pad_token) == ("left", tokenizer.pad_token or tokenizer.eos_token)
    assert len(tokenizer) == before  # it is a copy
    assert not set(IMAGE_NAMES) & tokenizer.get_vocab().keys()
    for text in ("plain", "<|im_end|>", "中文 é", "</s>"):
        assert new(text)["input_ids"] == tokenizer(text)["input_ids"]
    assert image_token_ids(graft_tokenizer(new)) == image_token_ids(new)


def test_image_tokens_that_are_there_keep_their_ids() -> None:
    tokenizer = byte_tokenizer(["<imgpad>", "<e>", "<img>"], eos_token="<e>")
    assert image_token_ids(graft_tokenizer(tokenizer)) == {
        "image_start_token_id": 258,
        "image_end_token_id": 259,
        "image_token_id": 256,
    }


def test_a_tokenizer_without_any_end() -> None:
    with pytest.raises(CheckpointError, match="neither a padding nor an end token"):
        graft_tokenizer(byte_tokenizer(["<e>"]))


def test_chatml_gets_the_prompt_of_the_family() -> None:
    tokenizer = chatml_tokenizer()
    processor = graft_processor(grafted(tokenizer).config, tokenizer)
    assert prompt(processor) == (
        f"{SYSTEM}<|im_start|>user\n<img>[4]</img>\nRead.<|im_end|><|im_start|>assistant\n"
    )
    assert processor.layouts == ("default",)


def test_a_template_of_its_own_gets_images_in_front_of_the_text() -> None:
    tokenizer = llama_tokenizer()
    processor = graft_processor(grafted(tokenizer).config, tokenizer)
    assert prompt(processor) == "<s>[INST] <img>[4]</img>\nRead. [/INST]"
    assert prompt(processor, images=2) == "<s>[INST] <img>[4]</img>\n<img>[4]</img>\nRead. [/INST]"
    messages = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "What?"}]},
        {"role": "assistant", "content": [{"type": "text", "text": "A page."}]},
        {"role": "user", "content": "And?"},
    ]
    ids = processor.chat_ids(messages, [4])
    assert processor.tokenizer.decode(ids).replace("<imgpad>" * 4, "[4]") == (
        "<s><<Be brief.>>[INST] <img>[4]</img>\nWhat? [/INST]A page.</s>[INST] And? [/INST]"
    )
    plain = [{"role": "user", "content": "Only text."}]
    assert processor.chat_ids(plain, []) == tokenizer.apply_chat_template(plain, return_dict=False)


def test_chatml_with_the_text_models_own_template() -> None:
    tokenizer = chatml_tokenizer()
    config = grafted(tokenizer).config
    processor = graft_processor(config, tokenizer, layout="own")
    assert prompt(processor) == "<|im_start|>user\n<img>[4]</img>\nRead.<|im_end|>\n<|im_start|>assistant\n"
    plain = graft_processor(config, tokenizer, layout="plain")
    assert prompt(plain) == "<img>[4]</img>Read.\n"


def test_no_template_gets_a_plain_prompt() -> None:
    tokenizer = opt_tokenizer()
    processor = graft_processor(grafted(tokenizer).config, tokenizer)
    assert prompt(processor) == "</s><img>[4]</img>Read.\n"
    assert prompt(processor, "") == "</s><img>[4]</img>"
    shown = as_pillow(PAGE)
    messages = [
        {"role": "user", "content": [{"type": "image", "image": shown}, {"type": "text", "text": "a "}]},
        {"role": "assistant", "content": "b"},
        {"role": "user", "content": "c"},
    ]
    text = processor.tokenizer.decode(processor.chat_ids(messages, [1]))
    assert text == "</s><img><imgpad></img>a \nb</s>c\n"
    rendered = processor.apply_chat_template(
        messages[:2], tokenize=True, return_dict=True, return_assistant_tokens_mask=True
    )
    written = [
        token
        for token, mark in zip(rendered["input_ids"][0], rendered["assistant_masks"][0], strict=True)
        if mark
    ]
    assert processor.tokenizer.decode(written) == "b</s>"


@pytest.mark.parametrize(("layout", "make"), TOKENIZERS.items())
def test_special_tokens_in_a_query_stay_text(layout: str, make: Any) -> None:
    tokenizer = make()
    processor = graft_processor(grafted(tokenizer).config, tokenizer)
    query = "<imgpad> <img> </s> <|im_end|>"
    inputs = processor.build_inputs([PAGE], query)
    slots = image_token_ids(processor.tokenizer)
    ids = inputs["input_ids"][0].tolist()
    assert [ids.count(slots[name]) for name in slots] == [1, 1, 4]
    assert query in processor.tokenizer.decode(ids)
    assert choose_layout(grafted(tokenizer).config, tokenizer) == layout


@pytest.mark.parametrize(
    ("layout", "make", "match"),
    [
        ("chatml", llama_tokenizer, "'chatml' needs <|im_start|> and <|im_end|>"),
        ("own", opt_tokenizer, "'own' needs the text model's chat template"),
        ("fancy", opt_tokenizer, "no layout 'fancy'; there are auto"),
    ],
)
def test_layouts_that_are_not_possible(layout: Any, make: Any, match: str) -> None:
    tokenizer = make()
    with pytest.raises(CheckpointError, match=match.replace("|", r"\|")):
        graft_processor(grafted(tokenizer).config, tokenizer, layout=layout)


@pytest.mark.parametrize("kind", KINDS)
def test_model_and_processor_are_read_again(kind: str, tmp_path: Path) -> None:
    text = text_folder(tmp_path / "text", kind)
    tokenizer = load_text_tokenizer(text)
    assert tokenizer is not None
    model = VaryForConditionalGeneration.from_parts(
        vision_vocabulary=VisionVocabularyConfig(**tiny_vision_vocabulary()), text=text
    )
    processor = graft_processor(model.config, tokenizer)
    folder = tmp_path / "a.b c/模型"
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    again = VaryProcessor.from_pretrained(folder, local_files_only=True)
    expected = processor.build_inputs([PAGE], "Read é 中.")
    found = again.build_inputs([PAGE], "Read é 中.")
    assert expected.keys() == found.keys()
    assert all(torch.equal(expected[name], found[name]) for name in expected)
    loaded = load_model(folder)
    answers = [m.generate(**found, max_new_tokens=5, do_sample=False) for m in (model, loaded)]
    assert answers[0].tolist() == answers[1].tolist()
    slots = (found["input_ids"] == loaded.config.image_token_id).sum()
    assert slots == loaded.config.image_seq_length
    assert again.tokenizer.pad_token_id == loaded.generation_config.pad_token_id or kind == "opt"


def test_ids_that_are_not_the_models() -> None:
    tokenizer = opt_tokenizer()
    config = grafted(chatml_tokenizer()).config
    config.image_token_id += 5
    with pytest.raises(CheckpointError, match=r"but the model has .*; give from_parts the same tokenizer"):
        graft_processor(config, tokenizer)


def test_the_vocabularys_preprocessing_is_kept_and_clips_added(tmp_path: Path) -> None:
    tokenizer = opt_tokenizer()
    clip = tiny_toy_config().clip_config
    config = grafted(tokenizer, clip=clip).config
    settings: dict[str, Any] = {
        **PUBLISHED_IMAGE_SETTINGS["vary_toy"],
        "size": {"height": 128, "width": 128},
        "image_mean": [0.1, 0.2, 0.3],
        "clip_size": 99,
    }
    VaryImageProcessor(**settings).save_pretrained(tmp_path / "vocabulary")
    published = graft_processor(config, tokenizer, image_processor=tmp_path / "vocabulary").image_processor
    assert list(published.image_mean) == [0.1, 0.2, 0.3]
    assert (published.clip_size, published.variants) == (28, None)
    assert list(published.clip_image_mean) == list(PUBLISHED_IMAGE_SETTINGS["vary_toy"]["clip_image_mean"])
    assert published.model_input_names == ["pixel_values", "pixel_values_clip"]

    (tmp_path / "clip").mkdir()
    (tmp_path / "clip/config.json").write_text(json.dumps({"model_type": "clip"}))
    CLIPImageProcessorPil(
        size={"shortest_edge": 28}, crop_size=28, resample=2, image_mean=[0.5] * 3, image_std=[0.4] * 3
    ).save_pretrained(tmp_path / "clip")
    theirs = graft_processor(config, tokenizer, clip=tmp_path / "clip").image_processor
    assert (list(theirs.clip_image_mean), list(theirs.clip_image_std)) == ([0.5] * 3, [0.4] * 3)
    assert (theirs.clip_size, theirs.clip_resample) == (28, 2)

    file = tmp_path / "clip/preprocessor_config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "crop_size": {"height": 30, "width": 30}}))
    with pytest.raises(CheckpointError, match="cuts images of 30 pixels, but the network was built for 28"):
        graft_processor(config, tokenizer, clip=tmp_path / "clip")
    without = graft_processor(
        grafted(tokenizer).config, tokenizer, image_processor=VaryImageProcessor(**settings)
    )
    assert without.image_processor.clip_size is None


def test_clips_preprocessing_of_a_checkpoint_of_ours(tmp_path: Path) -> None:
    tokenizer = opt_tokenizer()
    model = random_model(tiny_toy_config())
    model.config.save_pretrained(tmp_path)
    VaryImageProcessor(
        size={"height": 128, "width": 128}, clip_size=28, clip_image_mean=[0.3] * 3
    ).save_pretrained(tmp_path)
    config = grafted(tokenizer, clip=model).config
    found = graft_processor(config, tokenizer, image_processor=tmp_path, clip=tmp_path).image_processor
    assert (list(found.clip_image_mean), found.clip_size) == ([0.3] * 3, 28)


def test_preprocessing_of_another_size() -> None:
    tokenizer = opt_tokenizer()
    config = grafted(tokenizer).config
    with pytest.raises(CheckpointError, match=r"height and width \(1024, 1024\), but .* for \(128, 128\)"):
        graft_processor(
            config, tokenizer, image_processor=VaryImageProcessor(**PUBLISHED_IMAGE_SETTINGS["vary_tiny"])
        )
    with pytest.raises(CheckpointError, match="has mode 'line', but the network needs mode 'square'"):
        graft_processor(
            config, tokenizer, image_processor=VaryImageProcessor(**PUBLISHED_IMAGE_SETTINGS["vary_nano"])
        )


def test_lines_get_a_plain_prompt_and_as_many_tokens_as_they_are_wide() -> None:
    tokenizer = chatml_tokenizer()
    model = grafted(tokenizer, vision_vocabulary=random_model(tiny_nano_config()))
    processor = graft_processor(model.config, tokenizer)
    assert choose_layout(model.config, tokenizer) == "plain"
    lines = [np.full((32, width), 250, dtype=np.uint8) for width in (40, 100)]
    inputs = processor.build_inputs(lines)
    slots = (inputs["input_ids"] == model.config.image_token_id).sum(1)
    assert slots.tolist() == [3, 7]
    assert inputs["pixel_widths"].tolist() == [48, 112]
    answers = model.generate(**inputs, max_new_tokens=3, do_sample=False)
    assert len(answers) == 2


def test_a_folder_with_and_without_a_tokenizer(tmp_path: Path) -> None:
    assert load_text_tokenizer(text_folder(tmp_path / "bare", "llama", tokenizer=False)) is None
    found = load_text_tokenizer(text_folder(tmp_path / "whole", "llama"))
    assert found is not None
    assert found("ab")["input_ids"] == llama_tokenizer()("ab")["input_ids"]
    (tmp_path / "whole/tokenizer.json").write_text("{")
    with pytest.raises(CheckpointError, match="whole: the tokenizer cannot be loaded"):
        load_text_tokenizer(tmp_path / "whole")


def test_a_prompt_needs_an_image() -> None:
    tokenizer = opt_tokenizer()
    with pytest.raises(InputError, match="no images were given"):
        graft_processor(grafted(tokenizer).config, tokenizer).build_inputs([], "Read.")
