"""The native kernels compute the vision vocabulary network's blocks as its modules do."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor

from factories import randomise, tiny_vision_vocabulary
from vary.engine.native import kernels_name
from vary.engine.vision import PRECISIONS, NativeBlocks, VisionPrecision, fastest_precision, use_native_blocks
from vary.errors import NativeError
from vary.model.configuration import VisionVocabularyConfig
from vary.model.vision_vocabulary import VisionVocabulary

# The largest relative errors of the blocks' output; random weights are worse than trained ones.
ERRORS: dict[VisionPrecision, float] = {"float32": 2e-6, "int16": 3e-3, "int8": 8e-2, "bfloat16": 1.5e-2}
WIDTH = 64
AMX = kernels_name() == "AMX"
HERE = [precision for precision in PRECISIONS if AMX or precision != "bfloat16"]
EVERY_PRECISION = pytest.mark.parametrize(
    "precision",
    [
        pytest.param(precision, marks=pytest.mark.skipif(precision not in HERE, reason="no AMX here"))
        for precision in PRECISIONS
    ],
)


def page_network(**changes: object) -> VisionVocabulary:
    """Windowed and global blocks; two heads of 32 channels, which all precisions take."""
    config = tiny_vision_vocabulary(**{"hidden_size": WIDTH, "num_attention_heads": 2, **changes})
    network = VisionVocabulary(VisionVocabularyConfig(**config)).eval()
    randomise(network)
    return network


def line_network() -> VisionVocabulary:
    """Global blocks over lines of any width, with a convolutional stem."""
    return page_network(
        image_size=(32, 512),
        num_channels=1,
        stem="conv",
        stem_channels=(4, 8, 12),
        window_size=0,
        global_attention_layers=(),
        use_absolute_position=False,
        merge_channels=(16,),
        merge_strides=((2, 1),),
        variable_width=True,
    )


def grid(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1))


def relative_error(found: Tensor, expected: Tensor) -> float:
    return float((found - expected).norm() / expected.norm())


@torch.no_grad()
@EVERY_PRECISION
@pytest.mark.parametrize("window", [2, 3, 8, 14])
@pytest.mark.parametrize("size", [(8, 8), (6, 10), (17, 3), (1, 1)], ids=str)
def test_blocks_equal_the_modules(size: tuple[int, int], window: int, precision: VisionPrecision) -> None:
    network = page_network(window_size=window)
    x = grid(2, *size, WIDTH)
    expected = network.run_blocks(x)
    found = NativeBlocks(network, precision)(x)
    assert relative_error(found, expected) < ERRORS[precision]
    if precision == "float32":
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


@torch.no_grad()
@EVERY_PRECISION
def test_many_blocks_of_keys_and_parts_of_queries(precision: VisionPrecision) -> None:
    """A grid of 1,480 positions: three blocks of keys, two tasks a head, with a ragged end."""
    network = page_network(num_hidden_layers=2, global_attention_layers=(1,), image_size=640)
    x = 3 * grid(1, 37, 40, WIDTH)
    assert relative_error(NativeBlocks(network, precision)(x), network.run_blocks(x)) < ERRORS[precision]


@torch.no_grad()
@EVERY_PRECISION
def test_scores_that_rise_from_block_to_block(precision: VisionPrecision) -> None:
    """By their rows alone keys differ by up to 72, the largest first for some queries and last for others."""
    network = page_network(num_hidden_layers=1, global_attention_layers=(0,), image_size=640)
    attention = network.blocks[0].attn
    attention.qkv.bias[:WIDTH] = 1.0
    distances = torch.arange(len(attention.rel_pos_h))[:, None]
    attention.rel_pos_h.copy_(distances.expand_as(attention.rel_pos_h) / 32)
    x = grid(1, 37, 40, WIDTH)
    found = NativeBlocks(network, precision)(x)
    assert relative_error(found, network.run_blocks(x)) < 2 * ERRORS[precision]


@torch.no_grad()
@EVERY_PRECISION
def test_lines_see_their_own_columns_only(precision: VisionPrecision) -> None:
    network = line_network()
    x = grid(4, 2, 32, WIDTH)
    valid = torch.arange(32) < torch.tensor([1, 7, 32, 20])[:, None]
    expected = network.run_blocks(x, valid)
    blocks = NativeBlocks(network, precision)
    found = blocks(x, valid)
    own = valid[:, None, :, None].expand_as(x)
    assert relative_error(found[own], expected[own]) < ERRORS[precision]
    other = torch.where(own, x, torch.tensor(1e3))
    assert torch.equal(blocks(other, valid)[own], found[own])


@torch.no_grad()
@EVERY_PRECISION
def test_neither_threads_nor_neighbours_change_a_bit(precision: VisionPrecision) -> None:
    network = page_network()
    blocks = NativeBlocks(network, precision)
    x = grid(3, 8, 8, WIDTH)
    together = blocks(x)
    assert torch.equal(blocks(x[1:2]), together[1:2])
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        assert torch.equal(blocks(x), together)
    finally:
        torch.set_num_threads(threads)


@torch.no_grad()
@pytest.mark.parametrize("precision", ["int16", "int8"])
def test_no_sum_of_integers_overflows(precision: VisionPrecision) -> None:
    """The worst case: all weights and all inputs of one size, so that every product has its largest value."""
    network = page_network(hidden_size=256, num_hidden_layers=1, global_attention_layers=(0,))
    block = network.blocks[0]
    for norm in (block.norm1, block.norm2):
        norm.weight.zero_()
        norm.bias.fill_(3.0)
    for layer in (block.attn.qkv, block.attn.proj, block.mlp.lin1, block.mlp.lin2):
        layer.weight.fill_(0.5)
    x = grid(1, 24, 24, 256)
    assert relative_error(NativeBlocks(network, precision)(x), network.run_blocks(x)) < 1e-3


@torch.no_grad()
def test_scores_far_apart_and_rows_of_zeros() -> None:
    """One key takes all the weight; a matrix and a token of zeros have no scale to divide by."""
    network = page_network(num_hidden_layers=2, global_attention_layers=(0, 1))
    network.blocks[0].attn.qkv.weight.mul_(300)
    network.blocks[1].mlp.lin1.weight.zero_()
    x = grid(1, 8, 8, WIDTH)
    x[0, 0, 0] = 0
    for precision in HERE:
        found = NativeBlocks(network, precision)(x)
        assert found.isfinite().all()
    found = NativeBlocks(network)(x)
    assert relative_error(found, network.run_blocks(x)) < 1e-4


def test_modules_compute_where_gradients_are_wanted() -> None:
    network = page_network()
    pixels = grid(1, 3, 128, 128)
    with torch.no_grad():
        expected = network(pixels)
    assert use_native_blocks(network).startswith("native float32 (")
    network(pixels).square().mean().backward()
    gradient = network.blocks[0].attn.rel_pos_h.grad
    assert gradient is not None
    assert gradient.abs().max() > 0
    with torch.no_grad():
        calls: list[Tensor] = []
        runner = network.block_runner
        assert runner is not None
        network.block_runner = lambda x, valid: (calls.append(x), runner(x, valid))[1]
        torch.testing.assert_close(network(pixels), expected, atol=1e-5, rtol=1e-5)
    assert len(calls) == 1


@torch.no_grad()
def test_a_copy_reads_as_the_original() -> None:
    network = page_network()
    use_native_blocks(network, "int8")
    pixels = grid(1, 3, 128, 128)
    assert torch.equal(copy.deepcopy(network)(pixels), network(pixels))


@torch.no_grad()
def test_bfloat16_is_read_and_given() -> None:
    network = page_network().to(torch.bfloat16)
    x = grid(1, 8, 8, WIDTH).to(torch.bfloat16)
    found = NativeBlocks(network)(x)
    assert found.dtype == torch.bfloat16
    exact = network.float().run_blocks(x.float())
    assert relative_error(found.float(), exact) < 4e-3


@pytest.mark.parametrize(
    "changes",
    [{"hidden_size": 24, "num_attention_heads": 4}, {"hidden_act": "relu"}, {"num_attention_heads": 4}],
    ids=str,
)
def test_a_shape_that_the_kernels_do_not_take_is_refused(changes: dict[str, object]) -> None:
    config = tiny_vision_vocabulary(**{"hidden_size": 32, "num_attention_heads": 2, **changes})
    network = VisionVocabulary(VisionVocabularyConfig(**config))
    with pytest.raises(NativeError, match="multiples of 16 channels; this network has"):
        use_native_blocks(network)
    assert network.block_runner is None


def test_what_a_shape_can_have_instead_of_bfloat16_is_said() -> None:
    network = page_network(hidden_size=32)
    with pytest.raises(
        NativeError, match=r"AMX.* multiples of 32 .* has 32 channels .* have float32, int16, int8"
    ):
        NativeBlocks(network, "bfloat16")
    assert fastest_precision(network) == "int16"


def test_bfloat16_is_the_fastest_where_it_runs() -> None:
    assert fastest_precision(page_network()) == ("bfloat16" if AMX else "int16")


def test_an_unknown_precision_is_refused() -> None:
    with pytest.raises(NativeError, match="choose of float32, int16, int8, bfloat16"):
        NativeBlocks(page_network(), "int4")  # type: ignore[arg-type]
