"""The Triton kernels of the vision vocabulary network: on a GPU, or interpreted (see `conftest.py`)."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from factories import randomise, tiny_vision_vocabulary
from vary.engine.cuda.vision import Tiles, TritonBlocks, use_triton_blocks
from vary.errors import NativeError
from vary.model.configuration import VisionVocabularyConfig
from vary.model.vision_vocabulary import PatchEmbed, VisionVocabulary

CUDA = torch.cuda.is_available()
DEVICE = "cuda" if CUDA else "cpu"
pytest.importorskip("triton", reason="Triton comes with PyTorch for GPUs; pip install triton")


def network(**changes: object) -> VisionVocabulary:
    """A windowed and a global block; two heads of 16 channels."""
    config = tiny_vision_vocabulary(
        **{
            "hidden_size": 32,
            "num_attention_heads": 2,
            "num_hidden_layers": 2,
            "global_attention_layers": (1,),
            **changes,
        }
    )
    made = VisionVocabulary(VisionVocabularyConfig(**config)).eval().to(DEVICE)
    randomise(made)
    return made


def grid(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1)).to(DEVICE)


def relative_error(found: Tensor, expected: Tensor) -> float:
    return float((found.float() - expected).norm() / expected.norm())


@torch.no_grad()
@pytest.mark.parametrize(
    ("size", "window"),
    [((8, 8), 3), ((6, 10), 14), ((17, 3), 2), ((5, 16), 20), ((3, 32), 0)],
    ids=str,
)
def test_blocks_equal_the_modules(size: tuple[int, int], window: int) -> None:
    """Windows that end beyond the grid, rows that are tiles of keys, and rows that are not."""
    own = network(window_size=window)
    x = grid(2 if CUDA else 1, *size, 32)
    found = TritonBlocks(own, half=False)(x)
    assert relative_error(found, own.run_blocks(x)) < 2e-6


@torch.no_grad()
@pytest.mark.parametrize("tiles", [Tiles(16, 16, 4, 1), Tiles(32, 32, 4, 1)], ids=str)
def test_tiles_change_nothing(tiles: Tiles) -> None:
    """Whole rows at a time, several, or parts of rows."""
    own = network(window_size=5)
    x = grid(1, 7, 9, 32)
    blocks = TritonBlocks(own, half=False)
    blocks.global_tiles = blocks.window_tiles = tiles
    assert relative_error(blocks(x), own.run_blocks(x)) < 2e-6


@torch.no_grad()
def test_lines_see_their_own_columns_only() -> None:
    own = network(
        image_size=(32, 512),
        window_size=0,
        global_attention_layers=(),
        merge_channels=(16,),
        merge_strides=((2, 1),),
        variable_width=True,
        use_absolute_position=False,
    )
    x = grid(2, 2, 11, 32)
    valid = (torch.arange(11) < torch.tensor([3, 11])[:, None]).to(DEVICE)
    inside = valid[:, None, :, None].expand_as(x)
    blocks = TritonBlocks(own, half=False)
    found = blocks(x, valid)
    assert relative_error(found[inside], own.run_blocks(x, valid)[inside]) < 2e-6
    other = torch.where(inside, x, torch.full_like(x, 5.0))
    assert torch.equal(blocks(other, valid)[inside], found[inside])


@torch.no_grad()
def test_float16_and_scores_far_apart() -> None:
    own = network()
    own.blocks[0].attn.qkv.weight.mul_(20)
    x = grid(1, 8, 8, 32)
    expected = own.run_blocks(x)
    found = TritonBlocks(own.half())(x.half())
    assert found.dtype == torch.float16
    assert found.isfinite().all()
    assert relative_error(found, expected) < 2e-2


def test_what_the_kernels_do_not_compute_is_refused() -> None:
    with pytest.raises(NativeError, match="need float16 or bfloat16; this network is in float32"):
        TritonBlocks(network())
    with pytest.raises(NativeError, match="heads of 12 channels"):
        TritonBlocks(network(hidden_size=24).half())
    with pytest.raises(NativeError, match="run on GPUs, and this network is on cpu"):
        use_triton_blocks(network().cpu())


@torch.no_grad()
@pytest.mark.parametrize("size", [(32, 48), (37, 50)], ids=str)
def test_patches_by_a_product_are_those_of_the_convolution(size: tuple[int, int]) -> None:
    embed = PatchEmbed(VisionVocabularyConfig(**tiny_vision_vocabulary()))
    pixels = torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(2))
    found = embed.by_product(pixels)
    torch.testing.assert_close(found, embed.proj(pixels), atol=1e-5, rtol=1e-5)
    assert found.permute(0, 2, 3, 1).is_contiguous()
