"""Decoding options and layouts through the reader: pages of a whole-page model, and lines."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw

from checkpoints import SPECIAL, chat_config, chat_model, chat_processor
from factories import tiny_opt_config, tiny_toy_config
from vary.conversation import Conversation
from vary.engine.sampling import Sampling
from vary.errors import ContextError, DocumentError, TaskError, VaryError
from vary.outputs.document import PageStatus
from vary.page_work import PageWork
from vary.reader import Reader


@pytest.fixture(scope="module")
def reader(tiny_toy_folder: Path) -> Reader:
    return Reader.load(tiny_toy_folder, device="cpu")


@pytest.mark.parametrize("layout", [None, "default", "mindocr"])
@pytest.mark.parametrize(
    "options", [{}, {"num_beams": 3}, {"temperature": 1.5, "seed": 2}, {"no_repeat_ngram_size": 2}], ids=str
)
def test_a_page_is_read_as_a_conversation_about_it_begins(
    reader: Reader, layout: str | None, options: dict[str, Any]
) -> None:
    named = {} if layout is None else {"layout": layout}
    document = reader.read(painted(), prompt="What?", max_new_tokens=12, **named, **options)
    chat = Conversation(reader, painted(), layout=layout, sampling=Sampling(**options), max_new_tokens=12)
    assert document.text.split() == chat.ask("What?").text.split()
    assert document.model.settings.items() >= (named | options).items()


def painted() -> Image.Image:
    page = Image.new("RGB", (300, 120), "white")
    ImageDraw.Draw(page).text((20, 30), "some words on a page", fill="black")
    return page


def test_an_unknown_layout_is_refused_before_anything_is_read(reader: Reader, tmp_path: Path) -> None:
    with pytest.raises(TaskError, match="unknown layout 'mindcor'"):
        reader.iter_pages(tmp_path / "is not there.png", layout="mindcor")


@pytest.mark.parametrize("make", [tiny_toy_config, tiny_opt_config])
def test_an_answer_ends_where_the_models_positions_do(make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    config = chat_config(make, positions=150)
    reader = Reader(chat_model(config), chat_processor(config), "tiny", torch.device("cpu"))
    monkeypatch.setattr(reader.model.generation_config, "suppress_tokens", [SPECIAL["<|im_end|>"]])
    room = 150 - reader.processor.build_inputs([painted()], "What?")["input_ids"].shape[1]
    read = reader.read(painted(), prompt="What?", max_new_tokens=1000, temperature=9.0, seed=1).pages[0]
    assert read.status is PageStatus.TRUNCATED
    assert room / 4 < len(read.text) <= room  # a character has a byte, or several, each a token
    with pytest.raises(ContextError, match=r"the prompt has \d+ tokens with the image, and tiny holds 150"):
        reader.read(painted(), prompt="long " * 30)


@pytest.mark.parametrize("name", ["max_new_tokens", "batch_size"])
@pytest.mark.parametrize("value", [0, -1])
def test_impossible_numbers_are_refused(reader: Reader, name: str, value: int) -> None:
    with pytest.raises(VaryError, match=f"{name} is {value}, expected at least 1"):
        reader.read(painted(), **{name: value})


def test_options_that_no_document_holds_are_refused_before_anything_is_read(
    reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(PageWork, "_windows", lambda *_: pytest.fail("a page was read"))
    with pytest.raises(DocumentError, match="float32"):
        reader.read(painted(), temperature=np.float32(0.5))


def test_several_pages_at_once_with_beams(reader: Reader, tmp_path: Path) -> None:
    path = tmp_path / "pages.tiff"
    painted().save(path, save_all=True, append_images=[painted().rotate(180)])
    options: dict[str, Any] = {"num_beams": 2, "max_new_tokens": 8}
    together = reader.read(path, batch_size=2, **options)
    alone = reader.read(path, batch_size=1, **options)
    assert [page.text for page in together.pages] == [page.text for page in alone.pages]


def test_a_loop_is_found_in_what_beams_wrote(reader: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader.model.generation_config, "suppress_tokens", [SPECIAL["<|im_end|>"]])
    read = reader.read(painted(), num_beams=2, max_new_tokens=1200).pages[0]
    assert read.status is PageStatus.LOOPED


@pytest.mark.parametrize(
    "options", [{"num_beams": 2}, {"no_repeat_ngram_size": 1}, {"repetition_penalty": 3.0}]
)
def test_lines_are_decoded_where_an_option_asks_for_more_than_greed(
    tiny_nano_folder: Path, monkeypatch: pytest.MonkeyPatch, options: dict[str, Any]
) -> None:
    """A draft is what greedy decoding gives, so with other options there is none."""
    seen: list[Sampling] = []

    def no_draft(*args: Any) -> Any:
        raise AssertionError("a draft was made")

    from vary.engine import lines, model_lines

    decode = model_lines.generate

    def noted(*args: Any, **kwargs: Any) -> Any:
        seen.append(kwargs["sampling"])
        return decode(*args, **kwargs)

    monkeypatch.setattr(lines, "_decode_with_drafts", no_draft)
    monkeypatch.setattr(model_lines, "generate", noted)
    Reader.load(tiny_nano_folder, device="cpu").read(painted(), max_new_tokens=5, **options)
    assert seen == [Sampling(**options)]
