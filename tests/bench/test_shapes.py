"""Shapes, random and stored weights, operations, and rounding."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.flop_counter import FlopCounterMode

from vary.bench.contestants.protocol import Order
from vary.bench.contestants.transformers import Transformers
from vary.bench.names import INTEGERS, SHAPES
from vary.bench.orders import model_config
from vary.bench.phases import random_pixels
from vary.bench.quantization import group_rows, grouping, is_grouped
from vary.bench.shapes import DecoderSize, decoder_only, encode_flops, encoder_only, shape_config
from vary.bench.weights import (
    HEAD,
    LANGUAGE,
    RandomWeights,
    StoredWeights,
    build_model,
    row_slices,
    state_shapes,
)
from vary.errors import CheckpointError, VaryError
from vary.model.configuration import VaryConfig
from vary.model.modeling import VaryForConditionalGeneration

torch.set_num_threads(1)

TINY = shape_config("tiny")
EMBEDDING = f"{LANGUAGE}embed_tokens.weight"


def test_every_shape_is_one() -> None:
    for name in SHAPES:
        assert DecoderSize.of(shape_config(name)).layers > 0
    with pytest.raises(CheckpointError, match="did you mean 'vary-toy'"):
        shape_config("vary-toi")


def test_vary_toys_size_is_the_papers() -> None:
    size = DecoderSize.of(shape_config("vary-toy"))
    assert (size.layers, size.width, size.inner, size.heads, size.head_width) == (24, 2048, 5504, 16, 128)
    assert size.read_per_token == 24 * (4 * 2048**2 + 3 * 2048 * 5504) + 151860 * 2048


def test_random_weights_follow_from_seed_and_name() -> None:
    one, two, other = (RandomWeights(TINY, seed) for seed in (0, 0, 1))
    name = f"{LANGUAGE}layers.1.mlp.up_proj.weight"
    assert torch.equal(one.tensor(name), two.tensor(name))
    assert not torch.equal(one.tensor(name), other.tensor(name))
    assert not torch.equal(one.tensor(name), one.tensor(name.replace("1", "0")))
    assert torch.equal(one.rows(name, 3, 17), one.tensor(name)[3:17])
    assert one.tensor(f"{LANGUAGE}norm.weight").mean() == pytest.approx(1, abs=0.02)
    with pytest.raises(CheckpointError, match="no tensor"):
        one.tensor("nothing")


def test_a_large_matrix_does_not_repeat_its_rows() -> None:
    weights = RandomWeights(shape_config("vary-toy"), 0)
    first, again = weights.rows(HEAD, 0, 1), weights.rows(HEAD, 4096, 4097)
    assert not torch.equal(first, again)
    assert torch.equal(weights.rows(HEAD, 8190, 8194)[1:2], weights.rows(HEAD, 8191, 8192))


def test_a_tied_head_is_the_embedding() -> None:
    weights = RandomWeights(shape_config("vary-nano"), 0)
    assert torch.equal(weights.tensor(HEAD), weights.tensor(EMBEDDING))


def test_slices_are_the_matrix(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vary.bench.weights.SLICE_BYTES", 4 * 128 * 7)
    weights = RandomWeights(TINY, 0)
    slices = list(row_slices(weights, HEAD))
    assert [first for first, _ in slices] == list(range(0, 192, 7))
    assert torch.equal(torch.cat([rows for _, rows in slices]), weights.tensor(HEAD))


def test_parts_keep_their_weights() -> None:
    weights = RandomWeights(TINY, 0)
    whole = build_model(TINY, weights, torch.float32).state_dict()
    for part, kept in ((encoder_only, "vision_vocabulary"), (decoder_only, "language_model.layers")):
        state = build_model(part(TINY), weights, torch.float32).state_dict()
        names = [name for name in whole if kept in name]
        assert names
        for name in names:
            assert name in state or part is encoder_only
            if name in state and state[name].shape == whole[name].shape:
                assert torch.equal(state[name], whole[name]), name
    assert sum(t.numel() for t in state.values()) < sum(t.numel() for t in whole.values())


@pytest.mark.parametrize("shape", ["tiny", "vary-nano"])
def test_a_stored_checkpoint_gives_its_weights(shape: str, tmp_path: Path) -> None:
    config = shape_config(shape)
    model = build_model(config, RandomWeights(config, 3), torch.float32)
    model.save_pretrained(tmp_path)
    stored = StoredWeights(tmp_path, model_config("", str(tmp_path)))
    for name, tensor in model.state_dict().items():
        assert torch.equal(stored.tensor(name), tensor), name
        assert stored.shape(name) == tuple(tensor.shape)
    assert torch.equal(stored.rows(HEAD, 5, 9), model.lm_head.weight[5:9])


def test_what_is_no_checkpoint_is_said(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"no config\.json"):
        model_config("", str(tmp_path))
    TINY.save_pretrained(tmp_path)
    with pytest.raises(CheckpointError, match="tensors of the configuration are missing"):
        StoredWeights(tmp_path, TINY)
    (tmp_path / "model.safetensors").write_bytes(b"nonsense")
    with pytest.raises(CheckpointError, match="no safetensors file"):
        StoredWeights(tmp_path, TINY)


def written_out() -> VaryConfig:
    """The tiny shape with attention as products, which the counter of operations sees."""
    config = shape_config("tiny")
    config.clip_config._attn_implementation = "eager"
    return config


@torch.inference_mode()
def test_operations_of_encoding_are_those_that_the_librarys_encoder_does(tmp_path: Path) -> None:
    config = written_out()
    encoder = Transformers().encoding(
        Order(
            config=config,
            weights=RandomWeights(config, 0),
            precision="float32",
            threads=1,
            device=torch.device("cpu"),
            folder=tmp_path,
        )
    )
    assert encoder is not None
    with FlopCounterMode(display=False) as counter:
        encoder.encode(random_pixels(config, 1, 0, torch.device("cpu")))
    clip = config.clip_config
    tokens, width = (clip.image_size // clip.patch_size) ** 2 + 1, clip.hidden_size
    unused = 2 * tokens * (4 * width**2 + 2 * width * clip.intermediate_size) + 4 * tokens**2 * width
    assert counter.get_total_flops() - unused == encode_flops(config)


@torch.inference_mode()
def test_operations_of_a_prompt_are_those_of_the_model() -> None:
    config = decoder_only(TINY)
    config.text_config._attn_implementation = "eager"
    model = VaryForConditionalGeneration(config).eval()
    with FlopCounterMode(display=False) as counter:
        model(inputs_embeds=torch.zeros(1, 37, config.text_config.hidden_size), logits_to_keep=1)
    assert counter.get_total_flops() == DecoderSize.of(config).flops(37)


@given(
    st.sampled_from([4, 8]),
    st.sampled_from([32, 64]),
    st.integers(0, 2**32 - 1),
    st.floats(0.01, 1e3),
)
def test_rounding_is_within_half_a_step(bits: int, group: int, seed: int, spread: float) -> None:
    rows = torch.randn(3, 128, generator=torch.Generator().manual_seed(seed)) * spread
    grouped = group_rows(rows, bits, group)
    steps = grouped.scales.repeat_interleave(group, 1)
    largest = 2 ** (bits - 1) - 1
    assert grouped.codes.abs().max() <= largest
    # Scales are rounded to float16, so the largest weights may lie a little beyond the last step.
    assert ((grouped.restored - rows).abs() <= steps * (0.5 + largest * 2**-10) + 1e-9).all()


def test_a_group_of_zeros_stays_zero() -> None:
    assert torch.equal(group_rows(torch.zeros(2, 64), 4, 32).restored, torch.zeros(2, 64))


def test_groups_that_do_not_fit_are_refused() -> None:
    with pytest.raises(VaryError, match="64 do not divide"):
        group_rows(torch.zeros(2, 96), 4, 64)


def test_precisions_name_bits_and_groups() -> None:
    assert grouping("int4") == (4, 128)
    assert grouping("int8-g32") == (8, 32)
    assert all(is_grouped(name) for name in INTEGERS)
    assert not any(is_grouped(name) for name in ("float32", "int4-g", "int2", "int4-g48", "int4-g64x"))


def test_shapes_of_a_state_take_no_memory() -> None:
    shapes = state_shapes(shape_config("vary-toy"))
    assert shapes[HEAD] == (151860, 2048)
