"""The reader without PyTorch: when it does without, that it reads the same, and when PyTorch takes over."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from vary.backends import light
from vary.backends.light import LightBackend, may_have_an_accelerator
from vary.backends.pytorch import PyTorchBackend
from vary.errors import CheckpointError, TaskError
from vary.outputs.document import Document
from vary.reader import Reader

PAGE = Path(__file__).parent.parent / "examples" / "page.png"


@pytest.fixture(scope="module")
def document() -> Document:
    return Reader.load(device="cpu").read(PAGE)


def test_by_default_a_page_is_read_without_pytorch(document: Document) -> None:
    settings = document.model.settings
    assert settings["vision"].startswith("native float32 (")
    assert settings["decoder"].startswith("native float32 (")
    assert (settings["device"], settings["dtype"]) == ("cpu", "float32")


def test_pytorch_reads_the_same(document: Document) -> None:
    reader = Reader.load(device="cpu")
    assert reader.model.config.window == "lines"  # from here on PyTorch reads
    other = reader.read(PAGE)
    assert other.model.settings["decoder"] == "PyTorch"
    assert other.text == document.text
    for mine, theirs in zip(document.pages[0].blocks, other.pages[0].blocks, strict=True):
        assert mine.kind == theirs.kind
        for line, same in zip(mine.lines, theirs.lines, strict=True):
            assert line.confidence == pytest.approx(same.confidence, abs=1e-3)
            assert line.polygon == same.polygon
            assert [word.text for word in line.words] == [word.text for word in same.words]


def test_nothing_of_pytorch_is_loaded_to_read_a_page() -> None:
    code = (
        "import sys, vary\n"
        f"page = vary.Reader.load(device='cpu').read({str(PAGE)!r})\n"
        "assert page.ok and len(page.text) > 500\n"
        "sys.exit(', '.join(m for m in ('torch', 'transformers', 'tokenizers') if m in sys.modules) or 0)"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr


@pytest.mark.parametrize(
    "options", [{"temperature": 0.5, "seed": 1}, {"num_beams": 2}, {"repetition_penalty": 1.1}], ids=str
)
def test_what_it_cannot_do_pytorch_does(options: dict[str, float]) -> None:
    reader = Reader.load(device="cpu")
    assert isinstance(reader._backend, LightBackend)
    found = reader.read(PAGE, max_new_tokens=4, **options)
    assert isinstance(reader._backend, PyTorchBackend)
    assert found.model.settings["decoder"] == "PyTorch"
    assert found.model.settings.items() >= options.items()


def test_an_unknown_layout_is_refused_with_those_there_are() -> None:
    with pytest.raises(TaskError, match="unknown layout 'chat'; this checkpoint has default"):
        Reader.load(device="cpu").read(PAGE, layout="chat")


@pytest.mark.parametrize("options", [{"dtype": "bfloat16"}, {"quantize": "int8"}], ids=str)
def test_other_precisions_are_pytorch_s(options: dict[str, str]) -> None:
    assert isinstance(Reader.load(device="cpu", **options)._backend, PyTorchBackend)


def test_a_machine_with_an_accelerator_asks_pytorch(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(light, "DEVICES", tmp_path)
    assert not may_have_an_accelerator()
    (tmp_path / "nvidia0").touch()
    assert may_have_an_accelerator()
    (tmp_path / "nvidia0").unlink()
    monkeypatch.setattr(light, "version", lambda _: "2.13.0+xpu")
    assert may_have_an_accelerator()


def test_a_folder_without_weights_is_refused(tmp_path: Path) -> None:
    from vary.assets import default_checkpoint

    for name in ("config.json", "tokenizer.json", "processor_config.json", "generation_config.json"):
        (tmp_path / name).write_bytes((default_checkpoint() / name).read_bytes())
    with pytest.raises(CheckpointError):
        Reader.load(tmp_path, device="cpu")
