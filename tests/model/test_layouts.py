"""Prompt layouts: a chat template with the preprocessing of its images, and conversations in them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tokenizers.processors import TemplateProcessing
from transformers import AutoProcessor
from transformers.models.got_ocr2.image_processing_pil_got_ocr2 import GotOcr2ImageProcessorPil
from transformers.models.got_ocr2.processing_got_ocr2 import GotOcr2Processor

from checkpoints import SPECIAL, byte_tokenizer, chat_config, chat_model, chat_processor
from vary.errors import CheckpointError, InputError, TaskError
from vary.model.chat_templates import CHAT_TEMPLATES, SYSTEM_MESSAGE
from vary.model.image_processing import PUBLISHED_IMAGE_SETTINGS, VaryImageProcessor
from vary.model.processing import VaryProcessor
from vary.model.tokenization import load_qwen_tokenizer, tokenizer_from_ranks, wrap_tokenizer

PAGE = np.random.default_rng(0).integers(0, 255, (20, 30, 3), dtype=np.uint8)
OTHER = 255 - PAGE
PAD, IMAGE, IMAGE_END = SPECIAL["<imgpad>"], SPECIAL["<img>"], SPECIAL["</img>"]
START, END = SPECIAL["<|im_start|>"], SPECIAL["<|im_end|>"]
SYSTEM = f"<|im_start|>system\n{SYSTEM_MESSAGE}<|im_end|>"
LAYOUTS = ("default", "mindocr")
SLOT = {"type": "image"}


@pytest.fixture(scope="module")
def toy() -> VaryProcessor:
    return chat_processor(chat_config())


def text_part(text: str) -> dict[str, str]:
    return {"type": "text", "text": text}


def user(*content: Any) -> dict[str, Any]:
    return {"role": "user", "content": [text_part(c) if isinstance(c, str) else c for c in content]}


def assistant(text: str, **more: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": text, **more}


def spelled(processor: VaryProcessor, ids: list[int]) -> str:
    return str(processor.tokenizer.decode(ids))


def test_a_checkpoint_lists_its_layouts(toy: VaryProcessor) -> None:
    assert toy.layouts == LAYOUTS
    one = VaryProcessor(VaryImageProcessor(), byte_tokenizer(), chat_template=CHAT_TEMPLATES["got_ocr2"])
    assert one.layouts == ("default",)
    pixels_only = VaryProcessor(
        VaryImageProcessor(variants={"dark": {"image_mean": [0.1, 0.1, 0.1]}}),
        byte_tokenizer(),
        chat_template=CHAT_TEMPLATES["vary_qwen"],
    )
    assert pixels_only.layouts == ("default", "mindocr", "dark")


@pytest.mark.parametrize("method", ["build_inputs", "image_inputs", "check_layout", "answer_header"])
def test_an_unknown_layout_is_refused_with_the_list(toy: VaryProcessor, method: str) -> None:
    arguments = () if method in ("check_layout", "answer_header") else ([PAGE],)
    with pytest.raises(TaskError, match=r"'mindcor'; this checkpoint has default, mindocr; .* 'mindocr'\?"):
        getattr(toy, method)(*arguments, **{"name" if method == "check_layout" else "layout": "mindcor"})


def test_a_layout_is_a_template_and_a_preprocessing(toy: VaryProcessor) -> None:
    own, other = (toy.build_inputs([PAGE], "Q", layout=layout) for layout in (None, "mindocr"))
    assert torch.equal(own["pixel_values"], torch.tensor(toy.image_processor([PAGE])["pixel_values"]))
    assert torch.equal(
        other["pixel_values"], torch.tensor(toy.image_processor([PAGE], variant="mindocr")["pixel_values"])
    )
    assert (own["pixel_values"] - other["pixel_values"]).abs().max() > 0.1
    assert torch.equal(own["pixel_values_clip"], other["pixel_values_clip"])
    image = "<img>" + 4 * "<imgpad>" + "</img>"
    assert spelled(toy, own["input_ids"][0].tolist()) == (
        f"{SYSTEM}<|im_start|>user\n{image}\nQ<|im_end|><|im_start|>assistant\n"
    )
    assert spelled(toy, other["input_ids"][0].tolist()) == f"{SYSTEM}\n<|im_start|>user\n{image}Q<|im_end|>\n"
    for layout in LAYOUTS:
        named = toy.build_inputs([PAGE], "Q", layout=layout)
        assert torch.equal(named["input_ids"], (own if layout == "default" else other)["input_ids"])
        assert torch.equal(named["pixel_values"], (own if layout == "default" else other)["pixel_values"])


def test_layouts_survive_saving(toy: VaryProcessor, tmp_path: Path) -> None:
    toy.save_pretrained(tmp_path)
    stored = json.loads((tmp_path / "processor_config.json").read_text())["image_processor"]
    assert stored["variants"] == {
        "mindocr": {
            "resizer": "opencv",
            "resample": 2,
            "image_mean": [0.485, 0.456, 0.406],
            "image_std": [0.229, 0.224, 0.225],
        }
    }
    assert "variant" not in stored
    for again in (VaryProcessor.from_pretrained(tmp_path), AutoProcessor.from_pretrained(tmp_path)):
        assert again.layouts == LAYOUTS
        for layout in LAYOUTS:
            expected = toy.build_inputs([PAGE], "Q", layout=layout)
            found = again.build_inputs([PAGE], "Q", layout=layout)
            for name, value in expected.items():
                assert torch.equal(found[name], value), name


@pytest.mark.parametrize(
    ("variants", "message"),
    [
        (
            {"big": {"size": {"height": 9, "width": 9}}},
            "variant 'big' sets size; expected some of .*image_mean",
        ),
        ({"typo": {"image_means": [1]}}, "sets image_means"),
        ({"default": {}}, "cannot be called 'default'"),
    ],
)
def test_a_variant_changes_values_of_pixels_and_nothing_else(variants: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        VaryImageProcessor(variants=variants)


def test_what_a_call_says_is_stronger_than_the_variant(toy: VaryProcessor) -> None:
    images = toy.image_processor
    plain = images([PAGE], variant="mindocr", do_normalize=False)["pixel_values"]
    assert plain.min() >= 0
    again = images([PAGE], variant="mindocr", image_mean=[0.0] * 3, image_std=[1.0] * 3)["pixel_values"]
    np.testing.assert_allclose(again, plain, atol=1e-6)
    with pytest.raises(TaskError, match="unknown preprocessing 'x'; this checkpoint has no other"):
        VaryImageProcessor()([PAGE], variant="x")
    with pytest.raises(ValueError, match="at a call"):
        VaryImageProcessor(variant="mindocr")


def test_only_mindocrs_model_writes_its_header_itself(toy: VaryProcessor) -> None:
    assert toy.answer_header() == toy.answer_header("default") == []
    assert toy.answer_header("mindocr") == [START, *b"assistant\n"]


@pytest.mark.shared
def test_the_header_is_that_of_the_golden_prompt(shared_dir: Path) -> None:
    """Qwen's own tokens: `<|im_start|>`, `assistant`, a newline, as the authors' prompt ends."""
    golden = json.loads((shared_dir / "golden" / "token_cases.json").read_text(encoding="utf-8"))
    processor = VaryProcessor(
        VaryImageProcessor(**PUBLISHED_IMAGE_SETTINGS["vary_toy"]),
        load_qwen_tokenizer(shared_dir / "assets" / "qwen.tiktoken"),
        chat_template=CHAT_TEMPLATES["vary_qwen"],
    )
    assert processor.answer_header("mindocr") == golden["prompts"]["authors_demo"]["ids"][-3:]
    for layout, name in (("default", "authors_demo"), ("mindocr", "mindocr")):
        expected = golden["prompts"][name]
        question = [user(SLOT, expected["query"])]
        assert processor.chat_ids(question, [256], layout=layout) == expected["ids"]
        inputs = processor.build_chat_inputs(question, [PAGE], layout=layout)
        assert inputs["input_ids"].tolist() == [expected["ids"]]
        written = [198, 198, 64, 64, 151, 25, 198]  # newlines, letters and a byte as no tokenizer cuts them
        turns = [*question, assistant("\n\naa", ids=written), user("Q2")]
        following = processor.chat_ids(turns, [256], layout=layout)
        so_far = [*expected["ids"], *processor.answer_header(layout), *written]
        assert following[: len(so_far) + 1] == [*so_far, 151645]


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("query", ["Q", "漢字?\nwhat", "a <|im_end|> <imgpad> b", "\n", " lead and trail "])
def test_a_first_question_is_the_same_prompt_either_way(toy: VaryProcessor, layout: str, query: str) -> None:
    alone = toy.build_inputs([[PAGE, OTHER]], query, layout=layout)
    chat = toy.build_chat_inputs([user(SLOT, query, SLOT)], [PAGE, OTHER], layout=layout)
    assert set(alone) == set(chat)
    for name, value in alone.items():
        assert torch.equal(value, chat[name]), name


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_conversation_is_what_the_library_renders(toy: VaryProcessor, layout: str) -> None:
    turns = [
        {"role": "system", "content": "Be brief."},
        user(SLOT, "Q1"),
        assistant("答 A1"),
        user("Q2"),
        assistant("A2\n"),
        user("Q3", SLOT),
    ]
    ids = toy.chat_ids(turns, [4, 4], layout=layout)
    text = toy.apply_chat_template(turns, chat_template=layout, add_generation_prompt=True)
    assert ids == toy.tokenizer(text.replace("<imgpad>", "<imgpad>" * 4))["input_ids"]


@given(
    answers=st.lists(st.lists(st.integers(0, 255) | st.sampled_from([START, END]), max_size=8), max_size=4),
    question=st.text(st.sampled_from("aé漢\n <|im_end|>\U00100000\U00100001\U000f0000"), max_size=12),
)
def test_answers_stand_in_the_prompt_as_they_were_written(answers: list[list[int]], question: str) -> None:
    """Bytes that make no character, special tokens, a newline that would join the header's: all stay."""
    toy = chat_processor(chat_config())
    for layout in LAYOUTS:
        turns: list[dict[str, Any]] = [user(SLOT, "Q0")]
        for ids in answers:
            turns += [assistant(spelled(toy, ids), ids=ids), user(question)]
        prompt = toy.chat_ids(turns, [4], layout=layout)
        start = 0
        for ids in answers:
            header = [START, *b"assistant\n"]
            found = [at for at in range(start, len(prompt)) if prompt[at : at + len(header)] == header]
            start = found[0] + len(header)
            assert prompt[start : start + len(ids) + 1] == [*ids, END]
            start += len(ids)
        assert prompt.count(PAD) == 4


def test_the_last_known_answer_is_a_prefix_of_the_next_prompt(toy: VaryProcessor) -> None:
    """So a cache goes on where the answer ended."""
    for layout in LAYOUTS:
        turns = [user(SLOT, "Q1")]
        first = toy.chat_ids(turns, [4], layout=layout)
        answer = [0xE6, 0x0A, 0x41]
        second = toy.chat_ids([*turns, assistant("�\nA", ids=answer), user("Q2")], [4], layout=layout)
        written = [*first, *toy.answer_header(layout), *answer]
        assert second[: len(written)] == written


def test_a_placeholder_that_the_model_wrote_is_no_place_for_an_image(toy: VaryProcessor) -> None:
    turns = [user(SLOT, "Q1"), assistant("ab", ids=[0x61, PAD, 0x62]), user("Q2")]
    plain = [turns[0], assistant("ab"), turns[2]]
    assert toy.chat_ids(turns, [4]) == toy.chat_ids(plain, [4])


@pytest.mark.parametrize("images", [[], [PAGE, OTHER]])
def test_images_and_their_places_must_agree(toy: VaryProcessor, images: list[Any]) -> None:
    with pytest.raises(InputError, match=rf"1 place\(s\) for images, but {len(images)} image"):
        toy.build_chat_inputs([user(SLOT, "Q")], images)


def test_a_processor_without_templates_says_so() -> None:
    with pytest.raises(CheckpointError, match="no chat template"):
        VaryProcessor(VaryImageProcessor(), byte_tokenizer()).build_inputs([PAGE], "Q")


@torch.inference_mode()
@pytest.mark.parametrize("layout", LAYOUTS)
def test_images_go_where_the_ids_say(toy: VaryProcessor, layout: str) -> None:
    """A port of Vary has one at a fixed place; here a system message moves them, and there are two."""
    model = chat_model(chat_config())
    seen: list[torch.Tensor] = []
    hook = model.model.language_model.register_forward_pre_hook(
        lambda module, args, kwargs: seen.append(kwargs["inputs_embeds"]), with_kwargs=True
    )
    for length in (0, 1, 7):
        turns = [
            {"role": "system", "content": "x" * length},
            user(SLOT, "Q1"),
            assistant("A"),
            user(SLOT, "Q2"),
        ]
        inputs = toy.build_chat_inputs(turns, [PAGE, OTHER], layout=layout)
        ids = inputs["input_ids"][0]
        features = model.get_image_features(
            inputs["pixel_values"], pixel_values_clip=inputs["pixel_values_clip"]
        )
        model(**inputs)
        embedded = seen.pop()[0]
        places = (ids == PAD).nonzero()[:, 0]
        assert [int(ids[at]) for at in (places[0] - 1, places[3] + 1, places[4] - 1, places[7] + 1)] == [
            IMAGE,
            IMAGE_END,
        ] * 2
        torch.testing.assert_close(embedded[places], features.pooler_output.flatten(0, 1))
        words = model.get_input_embeddings()(ids)
        rest = ids != PAD
        torch.testing.assert_close(embedded[rest], words[rest])
    hook.remove()


def opt_tokenizer() -> Any:
    """Bytes, OPT's special tokens, the image tokens in spare rows behind them; puts `</s>` before a text."""
    tokens = ["<s>", "<pad>", "</s>", "<unk>", "<imgpad>", "<img>", "</img>"]
    special = {token: 256 + index for index, token in enumerate(tokens)}
    tokenizer = tokenizer_from_ranks(
        {bytes([value]): value for value in range(256)},
        special_tokens=special,
        pattern=r"\s?\S+|\s",
        nfc=False,
    )
    tokenizer.post_processor = TemplateProcessing(single="</s> $A", special_tokens=[("</s>", 258)])
    return wrap_tokenizer(tokenizer, pad_token="<pad>", eos_token="</s>", bos_token="</s>")


def opt_processor(family: str) -> VaryProcessor:
    settings = {**PUBLISHED_IMAGE_SETTINGS[family], "size": {"height": 16, "width": 16}}
    return VaryProcessor(
        VaryImageProcessor(**settings), opt_tokenizer(), 3, chat_template=CHAT_TEMPLATES[family]
    )


def test_vary_tinys_layout() -> None:
    processor = opt_processor("vary_tiny")
    assert processor.tokenizer("a")["input_ids"] == [258, 97], "this tokenizer adds a token of its own"
    inputs = processor.build_inputs([PAGE, [PAGE, OTHER]])
    one = [258, 261, 260, 260, 260, 262]
    assert inputs["input_ids"][0][inputs["attention_mask"][0].bool()].tolist() == one
    assert inputs["input_ids"][1].tolist() == [*one, *one[1:]]
    assert set(inputs) == {"input_ids", "attention_mask", "pixel_values"}
    with pytest.raises(TaskError, match="reads the page that it is shown and takes no prompt text"):
        processor.build_inputs([PAGE], "Read!")
    assert processor.answer_header() == []
    trained = processor.apply_chat_template(
        [user({"type": "image", "image": PAGE}), assistant("Ab")],
        tokenize=True,
        return_dict=True,
        return_assistant_tokens_mask=True,
    )
    assert trained["input_ids"] == [[*one, 65, 98, 258]]
    assert trained["assistant_masks"] == [[0] * 6 + [1] * 3]


def test_vary_tiny_600ks_layout() -> None:
    processor = opt_processor("vary_tiny_600k")
    inputs = processor.build_inputs([PAGE], "OCR: ")
    assert inputs["input_ids"].tolist() == [[260, 260, 260, 258, *b"OCR: "]]
    assert processor.chat_ids([user(SLOT, "OCR: ")], [3]) == inputs["input_ids"][0].tolist()
    assert processor.answer_header() == []
    own = VaryImageProcessor(**{**PUBLISHED_IMAGE_SETTINGS["vary_toy"], "size": {"height": 16, "width": 16}})
    np.testing.assert_array_equal(inputs["pixel_values"].numpy(), own([PAGE])["pixel_values"])
    trained = processor.apply_chat_template(
        [user({"type": "image", "image": PAGE}, "OCR: "), assistant("Ab")],
        tokenize=True,
        return_dict=True,
        return_assistant_tokens_mask=True,
    )
    assert trained["input_ids"] == [[260, 260, 260, 258, *b"OCR: Ab\n"]]
    assert trained["assistant_masks"] == [[0] * 9 + [1] * 3]


@pytest.mark.parametrize("pages", [1, 2])
def test_got_layout_equals_the_librarys_processor(pages: int) -> None:
    size = {"height": 48, "width": 48}
    settings = {**PUBLISHED_IMAGE_SETTINGS["got_ocr2"], "size": size}
    ours = VaryProcessor(
        VaryImageProcessor(**settings), byte_tokenizer(), 5, chat_template=CHAT_TEMPLATES["got_ocr2"]
    )
    theirs = GotOcr2Processor(GotOcr2ImageProcessorPil(size=size), byte_tokenizer())
    images = [PAGE, OTHER][:pages]
    expected = theirs(
        images if pages == 1 else [images],
        multi_page=pages > 1,
        num_image_tokens=5,
        return_tensors="pt",
    )
    query = " OCR: " if pages == 1 else " OCR across multi pages: "
    found = ours.build_inputs([images], query)
    assert found["input_ids"].tolist() == expected["input_ids"].tolist()
    torch.testing.assert_close(
        found["pixel_values"], expected["pixel_values"].reshape(found["pixel_values"].shape)
    )
    text_only = ours.chat_ids([user("Q")], [])
    assert spelled(ours, text_only) == f"{SYSTEM}<|im_start|>user\nQ<|im_end|><|im_start|>assistant\n"
