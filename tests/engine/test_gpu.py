"""What is promised of a GPU: float32 as on the CPU, half precision near it, and rows as if alone."""

from __future__ import annotations

from difflib import SequenceMatcher
from pathlib import Path

import pytest
import torch
from torch import Tensor

from factories import (
    alone,
    page_batch,
    random_model,
    tiny_text,
    tiny_toy_config,
    tiny_vision_vocabulary,
)
from vary.bench.page import paint_page
from vary.engine.cuda.branches import RecordedBranches, use_gpu_vision
from vary.engine.decoders.library import LibraryDecoder
from vary.engine.generation import generate
from vary.errors import NativeError
from vary.model.configuration import VaryConfig
from vary.model.modeling import VaryForConditionalGeneration
from vary.reader import Reader

GPU = torch.cuda.is_available()


def page_model() -> VaryForConditionalGeneration:
    """Both branches; heads of 16 channels, which the kernels take."""
    settings = tiny_toy_config().to_dict()
    settings["vision_vocabulary_config"] = tiny_vision_vocabulary(hidden_size=64)
    return random_model(VaryConfig(**settings))


def pixels_of(model: VaryForConditionalGeneration, images: int, seed: int) -> dict[str, Tensor]:
    batch = page_batch(model.config, [images], seed=seed)
    return {name: value for name, value in batch.items() if name.startswith("pixel")}


def encoded(model: VaryForConditionalGeneration, pixels: dict[str, Tensor]) -> Tensor:
    with torch.no_grad():
        placed = {name: value.to(model.device) for name, value in pixels.items()}
        tokens = model.get_image_features(**placed).pooler_output
    assert isinstance(tokens, Tensor)
    return tokens.float().cpu()


def relative_error(found: Tensor, expected: Tensor) -> float:
    return float((found - expected).norm() / expected.norm())


def test_gpu_vision_needs_a_gpu() -> None:
    model = page_model()
    with pytest.raises(NativeError, match="need a GPU, and this model is on cpu"):
        use_gpu_vision(model)
    assert model.model.branch_runner is None


def test_a_runner_computes_where_nothing_is_learned() -> None:
    """By a stand-in for the graphs, which computes the same at once."""
    model, calls = page_model(), []
    pixels = pixels_of(model, 2, 0)
    expected = encoded(model, pixels)
    compute = RecordedBranches(model.model)._compute
    model.model.branch_runner = lambda own, clip: (calls.append(own), compute(own, clip))[1]
    assert torch.equal(encoded(model, pixels), expected)
    assert len(calls) == 1
    model.get_image_features(**pixels).pooler_output.square().mean().backward()
    assert len(calls) == 1
    assert model.model.projector.vision_vocabulary.weight.grad is not None


@pytest.mark.gpu
@pytest.mark.skipif(not GPU, reason="needs an NVIDIA GPU")
def test_float32_is_float32_on_a_gpu() -> None:
    """Ten bits, which convolutions take there by default, would be off by 3e-4."""
    model = page_model()
    pixels = pixels_of(model, 3, 1)
    expected = encoded(model, pixels)
    model.cuda()
    before = torch.backends.cudnn.allow_tf32
    assert relative_error(encoded(model, pixels), expected) < 1e-5
    assert torch.backends.cudnn.allow_tf32 == before
    assert use_gpu_vision(model) == "PyTorch"
    for _ in range(4):  # the third is recorded, the fourth replayed
        assert relative_error(encoded(model, pixels), expected) < 1e-5


@pytest.mark.gpu
@pytest.mark.skipif(not GPU, reason="needs an NVIDIA GPU")
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_recorded_branches_encode_what_they_are_given(dtype: torch.dtype) -> None:
    """Images of several numbers, again and again: each as it was encoded first, and near float32."""
    model = page_model()
    inputs = [pixels_of(model, images, seed) for seed, images in enumerate((1, 2, 1, 2, 1, 1, 2, 4, 4, 4))]
    exact = [encoded(model, pixels) for pixels in inputs]
    model.to("cuda", dtype)
    first = [encoded(model, pixels) for pixels in inputs]
    assert use_gpu_vision(model).startswith("Triton")
    found = [encoded(model, pixels) for pixels in inputs]
    with torch.inference_mode():
        again = [encoded(model, pixels) for pixels in inputs]
    for ours, repeated, plain, wanted in zip(found, again, first, exact, strict=True):
        assert relative_error(ours, wanted) < max(2 * relative_error(plain, wanted), 5e-3)
        assert torch.equal(ours, repeated)
    branches = model.model.branch_runner
    assert isinstance(branches, RecordedBranches)
    assert len(branches._recordings) == 3


@pytest.mark.gpu
@pytest.mark.skipif(not GPU, reason="needs an NVIDIA GPU")
def test_rows_of_any_length_are_read_as_alone() -> None:
    config = VaryConfig(**{**tiny_toy_config().to_dict(), "text_config": tiny_text(initializer_range=0.5)})
    model = random_model(config).cuda()
    batch = page_batch(config, [1, 0, 2, 1])
    placed = {name: value.cuda() for name, value in batch.items()}
    together = generate(model, placed, 24, decoder=LibraryDecoder(model))
    for row, answer in enumerate(together):
        single = {name: value.cuda() for name, value in alone(config, batch, row).items()}
        [expected] = generate(model, single, 24, decoder=LibraryDecoder(model))
        assert answer.ids == expected.ids


@pytest.mark.gpu
@pytest.mark.skipif(not GPU, reason="needs an NVIDIA GPU")
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_vary_nano_reads_a_page_as_on_the_cpu(dtype: str, tmp_path: Path) -> None:
    page = tmp_path / "page.png"
    truth = paint_page(page)
    text = Reader.load(device="cuda", dtype=dtype).read(page).text
    if dtype == "float32":
        assert text == Reader.load(device="cpu").read(page).text
    assert SequenceMatcher(None, text.split(), truth.split(), autojunk=False).ratio() > 0.9
