"""The encoder's attention: written out and fused are the same, forwards and backwards."""

from __future__ import annotations

import pytest
import torch

from factories import random_model, tiny_nano_config, tiny_toy_config
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
