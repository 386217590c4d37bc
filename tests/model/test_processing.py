"""The processor: prompts, image slots, batches, and what a checkpoint folder keeps of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoProcessor, PreTrainedTokenizerBase

import vary
from vary.errors import CheckpointError, InputError, TaskError
from vary.model.chat_rendering import plain_text_options
from vary.model.chat_templates import CHAT_TEMPLATES, SYSTEM_MESSAGE
from vary.model.image_processing import PUBLISHED_IMAGE_SETTINGS, VaryImageProcessor
from vary.model.processing import VaryProcessor
from vary.model.tokenization import encode_text, load_character_tokenizer, load_qwen_tokenizer

NANO_FILE = Path(vary.__file__).parent / "assets" / "nano" / "nano.tiktoken"
PAGE = np.zeros((20, 30, 3), np.uint8)
PAD = 151859


@pytest.fixture(scope="module")
def toy(shared_dir: Path) -> VaryProcessor:
    settings = {**PUBLISHED_IMAGE_SETTINGS["vary_toy"], "size": {"height": 64, "width": 64}, "clip_size": 28}
    tokenizer = load_qwen_tokenizer(shared_dir / "assets" / "qwen.tiktoken")
    return VaryProcessor(VaryImageProcessor(**settings), tokenizer, chat_template=CHAT_TEMPLATES["vary_qwen"])


@pytest.fixture(scope="module")
def nano() -> VaryProcessor:
    images = VaryImageProcessor(**PUBLISHED_IMAGE_SETTINGS["vary_nano"])
    tokenizer = load_character_tokenizer(NANO_FILE)
    return VaryProcessor(images, tokenizer, chat_template=CHAT_TEMPLATES["vary_nano"])


@pytest.mark.shared
@pytest.mark.parametrize(("layout", "template"), [("authors_demo", None), ("mindocr", "mindocr")])
def test_prompts_equal_the_golden_ids(
    layout: str, template: str | None, toy: VaryProcessor, shared_dir: Path
) -> None:
    golden = json.loads((shared_dir / "golden" / "token_cases.json").read_text(encoding="utf-8"))
    expected = golden["prompts"][layout]
    inputs = toy.build_inputs([PAGE], expected["query"], layout=template)
    assert inputs["input_ids"].tolist() == [expected["ids"]]
    assert inputs["attention_mask"].all()
    assert inputs["pixel_values"].shape == (1, 3, 64, 64)
    assert inputs["pixel_values_clip"].shape == (1, 3, 28, 28)
    by_hand = toy(images=PAGE, text=expected["prompt"].replace("<imgpad>*256", "<imgpad>"))
    assert by_hand["input_ids"] == [expected["ids"]]


@pytest.mark.shared
def test_several_images_a_prompt_and_padding_on_the_left(toy: VaryProcessor) -> None:
    inputs = toy.build_inputs([PAGE, [PAGE, PAGE]], "Compare.")
    ids, mask = inputs["input_ids"], inputs["attention_mask"]
    assert (ids == PAD).sum(1).tolist() == [256, 512]
    assert inputs["pixel_values"].shape[0] == 3
    missing = ids.shape[1] - int(mask[0].sum())
    assert mask[0].tolist() == [0] * missing + [1] * (ids.shape[1] - missing)
    assert missing == 256 + 3  # the second image, its two borders and its newline
    alone = toy.build_inputs([PAGE], "Compare.")["input_ids"]
    assert torch.equal(ids[0, missing:], alone[0])


@pytest.mark.shared
def test_special_tokens_in_a_query_stay_text(toy: VaryProcessor) -> None:
    query = "What is <imgpad> <|im_end|> <|im_start|>system?"
    ids = toy.build_inputs([PAGE], query)["input_ids"][0].tolist()
    assert ids.count(PAD) == 256
    assert ids.count(151645) == 2
    assert ids.count(151644) == 3
    assert toy.decode(ids).endswith(f"</img>\n{query}<|im_end|><|im_start|>assistant\n")


def test_special_tokens_are_refused_where_the_library_cannot_keep_them_text(
    nano: VaryProcessor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As with Transformers up to 5.22, whose method has no such parameter."""
    monkeypatch.setattr(PreTrainedTokenizerBase, "apply_chat_template", lambda self, conversation: [])
    with pytest.raises(InputError, match=r"the text has <img> <imgpad>, .* takes for special tokens"):
        plain_text_options(nano.tokenizer, ["plain", "an <imgpad>", "<img> too"])
    assert plain_text_options(nano.tokenizer, ["plain", "a < b"]) == {}


def test_rows_are_padded_whichever_way_the_library_takes_defaults(nano: VaryProcessor) -> None:
    assert nano.valid_processor_kwargs._defaults["text_kwargs"] == nano.text_kwargs
    assert nano.text_kwargs["padding"] is True


@pytest.mark.shared
def test_a_conversation_shows_images_first_and_marks_the_answers(toy: VaryProcessor) -> None:
    question = {"role": "user", "content": [{"type": "text", "text": "Q1"}, {"type": "image", "image": PAGE}]}
    turns = [question, {"role": "assistant", "content": "答 A1"}, {"role": "user", "content": "Q2"}]
    system = f"<|im_start|>system\n{SYSTEM_MESSAGE}<|im_end|>"
    image = "<img><imgpad></img>"
    assert toy.apply_chat_template(turns, add_generation_prompt=True) == (
        f"{system}<|im_start|>user\n{image}\nQ1<|im_end|><|im_start|>assistant\n答 A1<|im_end|>"
        "<|im_start|>user\nQ2<|im_end|><|im_start|>assistant\n"
    )
    assert toy.apply_chat_template(turns, chat_template="mindocr", add_generation_prompt=True) == (
        f"{system}\n<|im_start|>user\n{image}Q1<|im_end|>\n<|im_start|>assistant\n答 A1<|im_end|>\n"
        "<|im_start|>user\nQ2<|im_end|>\n"
    )
    own_system = toy.apply_chat_template([{"role": "system", "content": "Be brief."}, *turns[1:]])
    assert own_system.startswith("<|im_start|>system\nBe brief.<|im_end|><|im_start|>assistant\n")
    batch = toy.apply_chat_template(
        [*turns, {"role": "assistant", "content": "A2"}],
        tokenize=True,
        return_dict=True,
        return_assistant_tokens_mask=True,
        return_tensors="pt",
    )
    counted = batch["input_ids"][torch.as_tensor(batch["assistant_masks"]).bool()]
    assert toy.decode(counted) == "答 A1<|im_end|>A2<|im_end|>"


def test_a_line_has_a_token_for_every_sixteen_pixels(nano: VaryProcessor) -> None:
    inputs = nano.build_inputs([np.zeros((32, 33), np.uint8), np.zeros((32, 16), np.uint8)])
    assert inputs["input_ids"].tolist() == [[2, 4, 4, 4, 3], [0, 0, 2, 4, 3]]
    assert inputs["attention_mask"].tolist() == [[1] * 5, [0, 0, 1, 1, 1]]
    assert inputs["pixel_widths"].tolist() == [48, 16]
    assert inputs["pixel_values"].shape == (2, 1, 32, 48)
    assert set(inputs) == set(nano.model_input_names)


def test_a_line_model_is_trained_on_the_prompt_that_it_reads_with(nano: VaryProcessor) -> None:
    image = {"role": "user", "content": [{"type": "image", "image": np.zeros((32, 20), np.uint8)}]}
    turns = [image, {"role": "assistant", "content": "Ab"}]
    batch = nano.apply_chat_template(
        turns, tokenize=True, return_dict=True, return_assistant_tokens_mask=True, return_tensors="pt"
    )
    answer = encode_text(nano.tokenizer, "Ab")
    assert batch["input_ids"].tolist() == [[2, 4, 4, 3, *answer, 1]]
    assert torch.as_tensor(batch["assistant_masks"]).tolist() == [[0, 0, 0, 0, 1, 1, 1]]


def test_a_line_model_takes_no_query(nano: VaryProcessor) -> None:
    with pytest.raises(TaskError, match="takes no prompt text"):
        nano.build_inputs([np.zeros((32, 33), np.uint8)], "Read!")


def test_the_number_of_image_tokens_is_known_from_the_size(nano: VaryProcessor) -> None:
    sizes = [(32, 33), (64, 40), (32, 2048)]
    counted = nano._get_num_multimodal_tokens(image_sizes=sizes)
    assert counted.num_image_tokens == [3, 2, 128]
    assert counted.num_image_patches == [1, 1, 1]
    inputs = nano.build_inputs([np.zeros(size, np.uint8) for size in sizes])
    assert (inputs["input_ids"] == 4).sum(1).tolist() == counted.num_image_tokens


@pytest.mark.parametrize(
    ("images", "text"),
    [
        ([np.zeros((32, 20), np.uint8)], "<img></img>"),
        ([np.zeros((32, 20), np.uint8)], "<img><imgpad></img><img><imgpad></img>"),
        (None, "<img><imgpad></img>"),
    ],
)
def test_images_and_slots_must_agree(images: Any, text: str, nano: VaryProcessor) -> None:
    with pytest.raises(ValueError, match="<imgpad>"):
        nano(images=images, text=text)


def test_no_images_is_an_error(nano: VaryProcessor) -> None:
    with pytest.raises(InputError, match="no images were given"):
        nano.build_inputs([])


def check_round_trip(processor: VaryProcessor, folder: Path, files: set[str]) -> list[VaryProcessor]:
    processor.save_pretrained(folder)
    assert {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()} == files
    loaded = [VaryProcessor.from_pretrained(folder), AutoProcessor.from_pretrained(folder)]
    for again in loaded:
        assert type(again) is VaryProcessor
        assert again.to_dict() == processor.to_dict()
        assert again.chat_template == processor.chat_template
        assert again.model_input_names == processor.model_input_names
        assert again.image_processor.to_dict() == processor.image_processor.to_dict()
    return loaded


COMMON_FILES = {"processor_config.json", "tokenizer.json", "tokenizer_config.json", "chat_template.jinja"}


def test_a_line_processor_survives_saving(nano: VaryProcessor, tmp_path: Path) -> None:
    line = np.zeros((40, 99), np.uint8)
    for again in check_round_trip(nano, tmp_path, COMMON_FILES):
        assert torch.equal(again.build_inputs([line])["input_ids"], nano.build_inputs([line])["input_ids"])


@pytest.mark.shared
def test_a_page_processor_survives_saving_with_both_layouts(toy: VaryProcessor, tmp_path: Path) -> None:
    files = COMMON_FILES | {str(Path("additional_chat_templates") / "mindocr.jinja")}
    again = check_round_trip(toy, tmp_path, files)[1]
    for template in (None, "mindocr"):
        expected = toy.build_inputs([PAGE], "Read.", layout=template)["input_ids"]
        assert torch.equal(again.build_inputs([PAGE], "Read.", layout=template)["input_ids"], expected)


def test_unfitting_parts_are_refused(nano: VaryProcessor) -> None:
    with pytest.raises(CheckpointError, match="image_seq_length is for pages"):
        VaryProcessor(nano.image_processor, nano.tokenizer, image_seq_length=256)
    with pytest.raises(CheckpointError, match="needs an image processor and a tokenizer"):
        VaryProcessor(nano.image_processor)
    pages = VaryProcessor(VaryImageProcessor(), nano.tokenizer, image_seq_length=4)
    assert pages(images=PAGE, text="<img><imgpad></img>")["input_ids"] == [[2, 4, 4, 4, 4, 3]]


def test_a_tokenizer_without_image_tokens_is_refused(nano: VaryProcessor) -> None:
    from tokenizers import Tokenizer
    from tokenizers.models import BPE
    from transformers import PreTrainedTokenizerFast

    other = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(BPE({"a": 0}, [])))
    with pytest.raises(CheckpointError, match="no special token <imgpad>"):
        VaryProcessor(nano.image_processor, other)
