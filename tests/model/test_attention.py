"""The encoder's attention: its forms are the same, forwards and, where there is one, backwards."""

from __future__ import annotations

import pytest
import torch

from factories import random_model, tiny_nano_config, tiny_toy_config
from vary.model import vision_vocabulary
from vary.model.configuration import VaryConfig


@pytest.mark.parametrize("config", [tiny_nano_config(), tiny_toy_config()], ids=["line", "page"])
def test_written_out_attention_equals_the_fused_one(config: VaryConfig) -> None:
    network = random_model(config).model.vision_vocabulary
    settings = network.config
    height, width = settings.height, settings.width
    pixels = torch.randn(2, settings.num_channels, height, width, generator=torch.Generator().manual_seed(1))
    widths = torch.tensor([width, width // 2]) if settings.variable_width else None
    results = []
    for implementation in ("sdpa", "eager"):
        settings._attn_implementation = implementation
        network.zero_grad()
        tokens = network(pixels, widths)
        tokens.square().mean().backward()
        gradient = network.blocks[0].attn.rel_pos_w.grad
        assert gradient is not None
        results.append((tokens.detach(), gradient.clone()))
    (fused, fused_gradient), (written, written_gradient) = results
    torch.testing.assert_close(written, fused, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(written_gradient, fused_gradient, atol=1e-5, rtol=1e-4)
    assert fused_gradient.abs().max() > 0


@pytest.mark.parametrize("at_once", [1, 2**10, 2**24], ids=["a head", "some heads", "all"])
@pytest.mark.parametrize("config", [tiny_nano_config(), tiny_toy_config()], ids=["line", "page"])
def test_attention_that_only_reads_equals_the_one_that_learns(
    config: VaryConfig, at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a CPU the biases are written out where no gradients are wanted, and folded where they are."""
    monkeypatch.setattr(vision_vocabulary, "MOST_BIASES", at_once)
    network = random_model(config).model.vision_vocabulary
    settings = network.config
    pixels = torch.randn(
        *(3, settings.num_channels, settings.height, settings.width),
        generator=torch.Generator().manual_seed(1),
    )
    widths = torch.tensor([settings.width, 16, 80]) if settings.variable_width else None
    learns = network(pixels, widths)
    assert learns.grad_fn is not None
    with torch.no_grad():
        reads = network(pixels, widths)
    own = torch.ones(3, learns.shape[1], dtype=torch.bool)
    if widths is not None:
        own = torch.arange(learns.shape[1]) < (widths // settings.patch_size)[:, None]
    torch.testing.assert_close(reads[own], learns[own], atol=1e-5, rtol=1e-5)
