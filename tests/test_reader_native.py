"""The reader with native kernels: what it says of itself, the same text, and refusals before loading."""

from __future__ import annotations

import gc
import random
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from vary.cli.main import main
from vary.conversation import Conversation
from vary.engine import memory
from vary.engine.decoders.native import NativeDecoder
from vary.engine.sampling import Sampling
from vary.errors import DeviceError, NativeError, VaryError
from vary.outputs.document import Page
from vary.reader import Reader

PAGE = Path(__file__).parent.parent / "examples" / "page.png"


@pytest.fixture(scope="module")
def plain() -> Reader:
    """Reads in PyTorch, whose vision vocabulary network the native kernels compute."""
    reader = Reader.load()
    assert reader.model.device.type == "cpu"
    return reader


def test_in_pytorch_the_vision_network_is_native_and_reads_the_same(plain: Reader) -> None:
    document = plain.read(PAGE)
    assert document.model.settings["vision"].startswith("native float32 (")
    assert document.model.settings["decoder"] == "PyTorch"
    without = Reader(plain.model, plain.processor, plain.name, plain.device)
    runner, plain.model.model.vision_vocabulary.block_runner = (
        plain.model.model.vision_vocabulary.block_runner,
        None,
    )
    try:
        other = without.read(PAGE)
    finally:
        plain.model.model.vision_vocabulary.block_runner = runner
    assert other.model.settings["vision"] == "PyTorch"
    assert other.text == document.text


def test_packed_weights_read_the_page(plain: Reader) -> None:
    reader = Reader.load(quantize="int8")
    document = reader.read(PAGE)
    assert document.model.settings["decoder"].startswith("native int8-g64 (")
    assert document.model.settings["vision"].startswith(("native int16 (", "native bfloat16 ("))
    assert document.text == plain.read(PAGE).text


def test_beams_are_refused_with_packed_weights() -> None:
    with pytest.raises(VaryError, match=r"native int4-g32 .* follows no beams"):
        Reader.load(quantize="int4").read(PAGE, num_beams=2)


def test_packed_weights_answer_in_a_conversation(native_toy_folder: Path) -> None:
    texts = []
    for quantize in (None, "float32"):
        reader = Reader.load(native_toy_folder, device="cpu", quantize=quantize)
        chat = Conversation(reader, PAGE, max_new_tokens=6)
        texts.append([chat.ask(question).text for question in ("What is this?", "And this?")])
    assert reader.decoder is not None
    assert reader.decoder.name.startswith("native float32 (")
    assert texts[0] == texts[1]


def test_a_conversation_gives_its_memory_back(native_toy_folder: Path) -> None:
    """With the last reference to it, or when the garbage collector finds that there is none."""
    reader = Reader.load(native_toy_folder, device="cpu", quantize="int8")
    assert isinstance(reader.decoder, NativeDecoder)
    sizes = []
    for turn in range(4):
        chat = Conversation(reader, PAGE, max_new_tokens=70)
        chat.ask("What is this?")
        sequence = chat._cache.sequence
        assert reader.decoder.length(sequence) > 70
        if turn % 2:
            vars(chat)["itself"] = chat
        del chat
        gc.collect()
        with pytest.raises(KeyError, match="not open"):
            reader.decoder.length(sequence)
        sizes.append(reader.decoder.cache_bytes)
    assert sizes == sizes[:1] * 4
    assert sizes[0] > 0


def test_a_conversation_refuses_what_reading_does(native_toy_folder: Path) -> None:
    """Beams and settings are the library's; with packed weights it has no modules to follow them."""
    reader = Reader.load(native_toy_folder, device="cpu", quantize="int4")
    chat = Conversation(reader, PAGE, sampling=Sampling(num_beams=2), max_new_tokens=4)
    with pytest.raises(VaryError) as of_reading:
        reader.read(PAGE, num_beams=2, max_new_tokens=4)
    for _ in range(2):
        with pytest.raises(VaryError, match=r"^native int4-g32 .* follows no beams") as of_asking:
            chat.ask("What is this?")
        assert str(of_asking.value) == str(of_reading.value)
    chat.sampling = Sampling()
    answer = chat.ask("What is this?")
    assert answer.ids == Conversation(reader, PAGE, max_new_tokens=4).ask("What is this?").ids
    reader.model.generation_config.use_cache = False
    with pytest.raises(VaryError, match="none of the library's further settings"):
        chat.ask("And this?")
    assert chat.turns == (answer,)


@pytest.mark.parametrize("quantize", ["int4", "float32"])
def test_no_draft_changes_anything(native_toy_folder: Path, quantize: str) -> None:
    """Every id of this model is a letter, and the decoder is exact: the same text, as sure of every line."""
    reader = Reader.load(native_toy_folder, device="cpu", quantize=quantize)

    def read(draft: str | list[str]) -> tuple[Page, dict[str, Any]]:
        document = reader.read(PAGE, max_new_tokens=150, draft=draft)
        return replace(document.pages[0], seconds=0.0), document.model.settings

    plain, settings = read("off")
    assert "draft_use" not in settings
    text, rng = plain.text, random.Random(6)
    assert len(text) > 140
    drafts = {
        "exact": text,
        "much more": text * 3,
        "its beginning": text[:40],
        "its end": text[40:],
        "halves the other way round": text[75:] + text[:75],
        "its letters in any order": "".join(rng.sample(text, len(text))),
        "half of it wrong": "".join(rng.choice([letter, "?"]) for letter in text),
        "a fifth left out": "".join(letter for letter in text if rng.random() < 0.8),
        "other characters": "\u6f22\u5b57\ufffd " * 40,
    }
    for name, draft in drafts.items():
        found, settings = read([draft])
        assert found == plain, name
        assert settings["draft_use"]["proposed"] > 0, name
        if name == "exact":
            assert settings["draft_use"]["accepted"] > 100


def test_what_does_not_fit_is_refused_with_what_would(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "available_memory", lambda device: 1000)
    with pytest.raises(
        DeviceError,
        match=r"^vary-nano needs about \d+\.\d MB of memory, and cpu has 0\.0 MB free; --quantize int4",
    ):
        Reader.load(dtype="bfloat16")


def test_without_the_kernels_everything_works(monkeypatch: pytest.MonkeyPatch, plain: Reader) -> None:
    expected = plain.read(PAGE).text

    def missing() -> None:
        raise NativeError("the native kernels were not built with this installation; install a C++ compiler")

    monkeypatch.setattr("vary.engine.native.load_library", missing)
    monkeypatch.setattr("vary.engine.native.vision.load_library", missing)
    monkeypatch.setattr("vary.engine.vision.vision_library", missing)
    monkeypatch.setattr("vary.engine.light.products.vision_library", missing)
    monkeypatch.setattr("vary.quantized.load_library", missing)
    document = Reader.load().read(PAGE)
    assert document.model.settings["vision"] == "PyTorch"
    assert document.text == expected
    reader = Reader.load(quantize="int4")
    assert "install a C++ compiler" in reader.notes[0]
    assert reader.read(PAGE, num_beams=2, max_new_tokens=2).model.settings["decoder"] == (
        "PyTorch int4-g32 (no native kernels)"
    )


def test_the_command_without_the_kernels_reads_and_says_once_how(plain: Reader, tmp_path: Path) -> None:
    """As after an installation without a compiler: there is no file of that name to load."""
    top = tmp_path / "top.png"
    with Image.open(PAGE) as page:
        page.crop((0, 0, page.width, page.height // 4)).save(top)
    code = (
        "import sys, vary.engine.native as native; native.EXTENSION_SUFFIXES = []\n"
        "from vary.cli.main import main; sys.exit(main(sys.argv[1:]))"
    )
    command = ["read", str(top), "--quantize", "int8", "--device", "cpu", "--verbose"]
    ran = subprocess.run([sys.executable, "-c", code, *command], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout == f"{plain.read(top).text}\n"
    assert ran.stdout.count("\n") > 3
    note, manner = ran.stderr.splitlines()
    assert note.startswith(
        "vary: note: PyTorch decodes the int8-g64 weights, slower than native kernels would: "
    )
    assert "install a C++ compiler" in note
    assert "vision: PyTorch; decoder: PyTorch int8-g64 (no native kernels)" in manner


def test_the_command_refuses_to_offload_on_a_cpu(capsys: pytest.CaptureFixture[str]) -> None:
    for command in (["read", str(PAGE)], ["predict", "--image_dir", str(PAGE), "--model", "vary-nano"]):
        assert main([*command, "--offload", "--device", "cpu"]) == 2
        assert "--offload keeps weights in main memory" in capsys.readouterr().err
