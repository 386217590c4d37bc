"""The reader with native kernels: what it says of itself, the same text, and refusals before loading."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from checkpoints import chat_config, chat_model, chat_processor
from vary.cli.main import main
from vary.conversation import Conversation
from vary.engine import memory
from vary.errors import DeviceError, NativeError, VaryError
from vary.model.configuration import VaryConfig
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


def test_packed_weights_answer_in_a_conversation(tmp_path: Path) -> None:
    settings = chat_config().to_dict()
    settings["text_config"] |= {"hidden_size": 64, "num_attention_heads": 2, "num_key_value_heads": 2}
    model = chat_model(VaryConfig(**settings | {"projector_dim": 32}))
    model.save_pretrained(tmp_path)
    chat_processor(model.config).save_pretrained(tmp_path)
    texts = []
    for reader in (
        Reader.load(tmp_path, device="cpu"),
        Reader.load(tmp_path, device="cpu", quantize="float32"),
    ):
        chat = Conversation(reader, PAGE, max_new_tokens=6)
        texts.append([chat.ask(question).text for question in ("What is this?", "And this?")])
    assert reader.decoder is not None
    assert reader.decoder.name.startswith("native float32 (")
    assert texts[0] == texts[1]


def test_what_does_not_fit_is_refused_with_what_would(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "available_memory", lambda device: 1000)
    with pytest.raises(
        DeviceError,
        match=r"^vary-nano needs about 0\.0 GB of memory, and cpu has 0\.0 GB free; --quantize int4",
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
