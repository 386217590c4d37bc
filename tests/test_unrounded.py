"""Page models on a CPU as they are loaded by default: the native kernels decode, and nothing is rounded."""

from __future__ import annotations

import string
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from checkpoints import chat_config, chat_model, chat_processor, native_chat_config
from vary import unrounded
from vary.conversation import Conversation
from vary.engine.sampling import Sampling
from vary.errors import DeviceError, NativeError
from vary.memory import memory_needed
from vary.model.modeling import VaryForConditionalGeneration
from vary.reader import Reader
from vary.weights.loading import load_checkpoint
from vary.weights.sources import open_source

CPU = torch.device("cpu")
LETTERS = string.ascii_letters + " .,\n"


@pytest.fixture(scope="module", params=[torch.float32, torch.bfloat16], ids=["float32", "bfloat16"])
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny checkpoint that the kernels decode, stored in a type."""
    place = tmp_path_factory.mktemp("checkpoint") / "toy"
    config = native_chat_config()
    chat_model(config, letters=LETTERS).to(request.param).save_pretrained(place)
    chat_processor(config).save_pretrained(place)
    return place


def page(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (64, 64, 3), np.uint8)


def by_the_library(folder: Path, dtype: torch.dtype = torch.float32) -> Reader:
    """A reader whose language model PyTorch computes."""
    return Reader(*load_checkpoint(folder, dtype=dtype), "toy", CPU)


def text(reader: Reader, seed: int = 0, **options: object) -> str:
    return reader.read(page(seed), task="ocr", max_new_tokens=40, **options).text


def stored_type(folder: Path) -> str:
    return str(open_source(folder).dtype).removeprefix("torch.")


def test_the_kernels_decode_and_read_the_same(folder: Path) -> None:
    reader = Reader.load(folder, device="cpu")
    plain = by_the_library(folder)
    assert reader._backend.parts()["decoder"].startswith(f"native {stored_type(folder)} (")
    assert reader._backend.parts()["dtype"] == "float32"
    assert plain._backend.parts()["decoder"] == "PyTorch"
    for seed in range(3):
        assert text(reader, seed) == text(plain, seed) != ""
    assert reader.read(page(), task="ocr", max_new_tokens=40).model.settings["decoder"].startswith("native ")
    assert sorted(folder.glob("*.packed")) == []  # nothing is left beside the checkpoint


def test_in_bfloat16_too(folder: Path) -> None:
    reader = Reader.load(folder, device="cpu", dtype="bfloat16")
    assert reader._backend.parts()["decoder"].startswith("native bfloat16 (")
    assert text(reader) != ""


def test_float16_is_the_librarys(folder: Path) -> None:
    assert Reader.load(folder, device="cpu", dtype="float16")._backend.parts()["decoder"] == "PyTorch"


def test_several_pages_at_once_read_the_same(folder: Path) -> None:
    reader = Reader.load(folder, device="cpu")
    assert reader._backend.pages_at_once(Sampling()) == 4
    together = [found.text for found in reader.read_many([page(seed) for seed in range(5)], task="ocr")]
    assert together == [reader.read(page(seed), task="ocr", batch_size=1).text for seed in range(5)]


def test_several_pages_only_where_they_fit(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reader = Reader.load(folder, device="cpu")
    longest = reader.decoder.token_bytes * reader.decoder.context
    for pages in (0, 1, 3, 9):
        monkeypatch.setattr("vary.backends.pytorch.available_memory", lambda _, free=pages * longest: free)
        assert reader._backend.pages_at_once(Sampling()) == min(4, max(1, pages))


@torch.inference_mode()
def test_the_model_is_whole_for_who_asks_for_it(folder: Path) -> None:
    reader = Reader.load(folder, device="cpu")
    before = text(reader)
    model, [whole, _] = reader.model, load_checkpoint(folder, dtype=torch.float32)
    assert isinstance(model, VaryForConditionalGeneration)
    state, expected = model.state_dict(), whole.state_dict()
    assert state.keys() == expected.keys()
    assert all(torch.equal(state[name], expected[name]) for name in expected)
    ids = torch.randint(0, 250, (1, 9), generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(model(input_ids=ids).logits, whole(input_ids=ids).logits)
    assert reader._backend.parts()["decoder"].startswith("native ")
    assert text(reader) == before


def test_a_tied_head_is_restored(tmp_path: Path) -> None:
    settings = native_chat_config().to_dict()
    config = chat_config(lambda: type(native_chat_config())(**settings | {"tie_word_embeddings": True}))
    config.text_config.tie_word_embeddings = True
    chat_model(config).save_pretrained(tmp_path)
    chat_processor(config).save_pretrained(tmp_path)
    reader = Reader.load(tmp_path, device="cpu")
    assert reader._backend.parts()["decoder"].startswith("native float32 (")
    model = reader.model
    assert model.lm_head.weight.data_ptr() == model.get_input_embeddings().weight.data_ptr()
    assert text(reader) == text(by_the_library(tmp_path))


def test_beams_are_the_librarys(folder: Path) -> None:
    reader = Reader.load(folder, device="cpu")
    plain = by_the_library(folder)
    for options, name in (({"num_beams": 2}, "PyTorch"), ({}, "native "), ({"num_beams": 2}, "PyTorch")):
        found = [one.read(page(), task="ocr", max_new_tokens=40, **options) for one in (reader, plain)]
        assert found[0].text == found[1].text
        assert found[0].model.settings["decoder"].startswith(name)
    assert reader._backend.pages_at_once(Sampling(num_beams=2)) == 1


def test_conversations(folder: Path) -> None:
    reader = Reader.load(folder, device="cpu")
    chats = [Conversation(one, page(), max_new_tokens=20) for one in (reader, by_the_library(folder))]
    for question in ("What is this?", "And this?"):
        answers = [chat.ask(question) for chat in chats]
        assert answers[0].ids == answers[1].ids
        assert answers[0].cached_tokens == answers[1].cached_tokens
    for chat in chats:
        chat.sampling = Sampling(num_beams=2)
    answers = [chat.ask("And now?") for chat in chats]
    assert answers[0].ids == answers[1].ids
    for chat in chats:
        chat.sampling = Sampling()
    answers = [chat.ask("What else?") for chat in chats]
    assert answers[0].ids == answers[1].ids
    other = Conversation(reader, page(1), max_new_tokens=20).ask("What is this?")
    assert (
        other.ids == Conversation(by_the_library(folder), page(1), max_new_tokens=20).ask("What is this?").ids
    )


def test_threads_of_all_kinds(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While one brings the library's modules in, others go on reading."""
    completing = unrounded.complete

    def slowly(*args: Any) -> VaryForConditionalGeneration:
        time.sleep(0.3)
        return completing(*args)

    monkeypatch.setattr(unrounded, "complete", slowly)
    reader, plain = Reader.load(folder, device="cpu"), by_the_library(folder)
    kinds = [{}, {"num_beams": 2}, {}, {"num_beams": 2}]
    with ThreadPoolExecutor(4) as threads:
        found = list(threads.map(lambda options: [text(reader, **options) for _ in range(3)], kinds))
    assert found == [[text(plain, **options)] * 3 for options in kinds]


def test_modules_that_do_not_fit_are_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reader = Reader.load(folder, device="cpu")
    before = text(reader)
    monkeypatch.setattr("vary.engine.memory.available_memory", lambda _: 1000)
    with pytest.raises(DeviceError, match=r"the language model of toy in PyTorch.*0\.0 MB free"):
        reader.read(page(), task="ocr", num_beams=2)
    monkeypatch.undo()
    assert text(reader) == before


def test_drafts_are_chosen_by_all_weights(folder: Path) -> None:
    reader = Reader.load(folder, device="cpu")
    weights = reader._backend.traits.weights
    whole = sum(one.numel() for one in by_the_library(folder).model.parameters())
    assert weights == pytest.approx(whole, rel=0.01)  # rows that fill up the last block count too
    assert reader.model is not None
    assert reader._backend.traits.weights == weights


def test_without_kernels_a_note_says_so(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> None:
        raise NativeError("they were not built")

    monkeypatch.setattr("vary.quantized.load_library", missing)
    reader = Reader.load(folder, device="cpu")
    assert reader._backend.parts()["decoder"] == "PyTorch"
    assert reader.notes == ("PyTorch decodes, slower than native kernels would: they were not built",)


def test_what_memory_it_takes(folder: Path) -> None:
    source = open_source(folder)
    kept = memory_needed(source, torch.float32, None, CPU).device
    packed = memory_needed(source, torch.float32, stored_type(folder), CPU).device
    table = source.info("model.language_model.embed_tokens.weight").nbytes
    assert kept == packed + table
