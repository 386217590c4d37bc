"""The reader with native kernels: what it says of itself, the same text, and refusals before loading."""

from __future__ import annotations

from pathlib import Path

import pytest

from vary.cli.main import main
from vary.engine import memory
from vary.errors import DeviceError, NativeError, VaryError
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
    assert document.model.settings["vision"].startswith("native int16 (")
    assert document.text == plain.read(PAGE).text


def test_beams_are_refused_with_packed_weights() -> None:
    with pytest.raises(VaryError, match=r"native int4-g32 .* follows no beams"):
        Reader.load(quantize="int4").read(PAGE, num_beams=2)


def test_packed_weights_are_for_a_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.setattr("vary.backends.pytorch.resolve_device", lambda device: torch.device("meta"))
    with pytest.raises(DeviceError, match=r"packed weights \(int4\) are decoded on a CPU, not on meta"):
        Reader.load(quantize="int4")


def test_what_does_not_fit_is_refused_with_what_would(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "available_memory", lambda device: 1000)
    with pytest.raises(
        DeviceError,
        match=r"^vary-nano needs about 0\.0 GB of memory, and cpu has 0\.0 GB free; --quantize int4",
    ):
        Reader.load(dtype="bfloat16")


def test_without_the_kernels_everything_but_packed_weights_works(
    monkeypatch: pytest.MonkeyPatch, plain: Reader, capsys: pytest.CaptureFixture[str]
) -> None:
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
    assert main(["read", str(PAGE), "--quantize", "int4"]) == 1
    assert "install a C++ compiler" in capsys.readouterr().err
