"""The convolutional stem: normalisation that is folded into convolutions changes nothing."""

from __future__ import annotations

import torch

from factories import random_model, tiny_nano_config
from vary.model.vision_vocabulary import ConvStem


def test_a_stem_that_only_reads_equals_one_that_learns() -> None:
    stem = random_model(tiny_nano_config()).model.vision_vocabulary.patch_embed.eval()
    assert isinstance(stem, ConvStem)
    generator = torch.Generator().manual_seed(1)
    for norm in stem.norms:
        norm.running_mean.normal_(generator=generator)
        norm.running_var.uniform_(0.2, 5, generator=generator)
    pixels = torch.randn(2, 1, 32, 96, generator=generator)
    valid = torch.arange(96) < torch.tensor([96, 48])[:, None]
    learns = stem(pixels, valid)
    assert learns.requires_grad
    with torch.no_grad():
        torch.testing.assert_close(stem(pixels, valid), learns, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_in_training_a_batch_is_normalised_by_itself() -> None:
    """Also without gradients, where a fold would take the running figures."""
    stem = random_model(tiny_nano_config()).model.vision_vocabulary.patch_embed.train()
    pixels = torch.randn(2, 1, 32, 96, generator=torch.Generator().manual_seed(1))
    training = stem(pixels)
    assert not torch.allclose(training, stem.eval()(pixels), atol=1e-3)
