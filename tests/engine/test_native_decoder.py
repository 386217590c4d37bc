"""The native decoder against the library's model, and against itself in other company."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from transformers import Qwen2Config, Qwen2ForCausalLM

from vary.engine.decoders.interface import Entry
from vary.engine.decoders.native import NativeDecoder
from vary.engine.native import kernels_name
from vary.engine.packing import MatrixPlan, PackedModel, pack_matrix, unpack_matrix, write_packed
from vary.engine.precisions import precision
from vary.errors import ContextError, NativeError

TOKENS = 90
KERNELS = ("AMX", "AVX-512", "AVX2", "NEON", "plain C++")
PRECISIONS = ("float32", "bfloat16", "int8", "int4", "int4-g128")


def runs_here(kernels: str) -> bool:
    """Whether this processor has kernels of a name."""
    try:
        return kernels_name(kernels) == kernels
    except NativeError:
        return False


def build(folder: Path, name: str, **changes: int | float) -> tuple[Qwen2ForCausalLM, PackedModel]:
    """A random model, none of whose parts is nothing, and its packed weights."""
    torch.manual_seed(0)
    config = Qwen2Config(
        **{
            "hidden_size": 96,
            "num_hidden_layers": 3,
            "num_attention_heads": 3,
            "num_key_value_heads": 3,
            "intermediate_size": 200,
            "vocab_size": 131,
            "max_position_embeddings": 200,
            "initializer_range": 0.15,
            **changes,
        }
    )
    model = Qwen2ForCausalLM(config).eval()
    for parameter in model.parameters():
        if parameter.dim() == 1:  # norms and biases
            torch.nn.init.normal_(parameter, float(parameter.detach().mean()), 0.2)
    state = {**model.model.state_dict(), "lm_head.weight": model.lm_head.weight.detach()}
    write_packed(folder / name, config, state.__getitem__, precision(name), "")
    return model, PackedModel.open(folder / name)


@pytest.fixture(scope="module")
def int4(tmp_path_factory: pytest.TempPathFactory) -> PackedModel:
    return build(tmp_path_factory.mktemp("packed"), "int4")[1]


@pytest.fixture(scope="module")
def states() -> Tensor:
    torch.manual_seed(1)
    return torch.randn(TOKENS, 96)


def scores(decoder: NativeDecoder, states: Tensor) -> Tensor:
    sequence = decoder.open()
    found = decoder.read([Entry(sequence, states, len(states))])
    decoder.close(sequence)
    return found


def rounded(model: Qwen2ForCausalLM, name: str) -> Qwen2ForCausalLM:
    """The model with the weights that packing leaves of its own."""
    kind = precision(name)
    for module in model.modules():
        if isinstance(module, torch.nn.Linear):
            values, scales = pack_matrix(module.weight, kind)
            plan = MatrixPlan(*module.weight.shape, kind)
            module.weight.data = unpack_matrix(plan, values, scales)
    return model


@torch.inference_mode()
@pytest.mark.parametrize(
    ("name", "most"),
    [("float32", 2e-3), ("bfloat16", 2e-3), ("int8", 0.06), ("int4", 0.06), ("int4-g128", 0.06)],
)
@pytest.mark.parametrize("kernels", ["", "plain C++"])
def test_against_the_library(tmp_path: Path, states: Tensor, name: str, most: float, kernels: str) -> None:
    """With the packed weights the library differs by the rounding of activations, keys and values alone."""
    model, packed = build(tmp_path, name)
    expected = rounded(model, name)(inputs_embeds=states[None]).logits[0]
    found = scores(NativeDecoder(packed, kernels=kernels), states)
    error = float((found - expected).pow(2).mean().sqrt() / expected.std())
    assert error < most


@torch.inference_mode()
@pytest.mark.parametrize(
    "changes",
    [
        {"num_attention_heads": 6, "num_key_value_heads": 2, "head_dim": 32},
        {"num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 128},
        {"intermediate_size": 33, "vocab_size": 17},
        {"hidden_size": 100, "num_attention_heads": 2, "num_key_value_heads": 2, "head_dim": 64},
        {"rope_theta": 1e6, "rms_norm_eps": 1e-3},
    ],
)
def test_shapes_of_all_kinds(tmp_path: Path, changes: dict[str, int | float]) -> None:
    model, packed = build(tmp_path, "float32", **changes)
    states = torch.randn(70, packed.shape.hidden)
    expected = model(inputs_embeds=states[None]).logits[0]
    torch.testing.assert_close(scores(NativeDecoder(packed), states), expected, atol=5e-2, rtol=1e-2)


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, PackedModel]:
    """A model in every precision, with more heads than keys."""
    folder = tmp_path_factory.mktemp("precisions")
    sizes = {"num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 32}
    return {name: build(folder, name, **sizes)[1] for name in PRECISIONS}


@pytest.mark.parametrize("kernels", [name for name in KERNELS if runs_here(name)])
@pytest.mark.parametrize("name", PRECISIONS)
@given(cuts=st.lists(st.integers(1, 20), min_size=1, max_size=12), data=st.data())
@settings(max_examples=10, deadline=None)
def test_the_same_bits_however_a_sequence_is_cut_and_in_whatever_company(
    packed: dict[str, PackedModel],
    states: Tensor,
    name: str,
    kernels: str,
    cuts: list[int],
    data: st.DataObject,
) -> None:
    alone = scores(NativeDecoder(packed[name], threads=1, kernels=kernels), states)
    decoder = NativeDecoder(packed[name], threads=2, kernels=kernels)
    rows = [decoder.open() for _ in range(3)]
    read = dict.fromkeys(rows, 0)
    for cut in cuts:
        order = data.draw(st.permutations(rows))
        entries, expected = [], []
        for row in order[: data.draw(st.integers(1, 3))]:
            tokens = states[read[row] : read[row] + cut]
            if not len(tokens):
                continue
            scored = data.draw(st.integers(0, len(tokens)))
            entries.append(Entry(row, tokens, scored))
            read[row] += len(tokens)
            expected.append(alone[read[row] - scored : read[row]])
        if entries:
            assert torch.equal(decoder.read(entries), torch.cat(expected))
    assert [decoder.length(row) for row in rows] == [read[row] for row in rows]


def test_threads_and_kernels_do_not_change_integers(int4: PackedModel, states: Tensor) -> None:
    one = scores(NativeDecoder(int4, threads=1), states)
    for threads in (2, 3, 8):
        assert torch.equal(scores(NativeDecoder(int4, threads=threads), states), one)
    plain = scores(NativeDecoder(int4, threads=1, kernels="plain C++"), states)
    # Attention is added up in another order, and a few activations are rounded to the next integer.
    assert (plain - one).pow(2).mean().sqrt() < 0.03 * one.std()


def test_idle_threads_sleep(int4: PackedModel, states: Tensor) -> None:
    decoder = NativeDecoder(int4, threads=4)
    scores(decoder, states)
    time.sleep(0.2)  # PyTorch's threads sleep later than ours
    before = time.process_time()
    time.sleep(0.5)
    assert time.process_time() - before < 0.1
    scores(decoder, states)  # and they wake


def test_a_sequence_goes_on_where_it_was_cut(int4: PackedModel, states: Tensor) -> None:
    decoder = NativeDecoder(int4)
    whole = scores(decoder, states)
    sequence = decoder.open()
    decoder.read([Entry(sequence, torch.randn(70, 96), 0)])
    decoder.cut(sequence, 0)
    decoder.read([Entry(sequence, states[:80], 0)])
    for length in (80, 65, 64, 63, 1):
        decoder.cut(sequence, length)
        assert decoder.length(sequence) == length
        assert torch.equal(decoder.read([Entry(sequence, states[length:], 1)]), whole[-1:])


def test_memory_of_closed_sequences_is_used_again(int4: PackedModel, states: Tensor) -> None:
    decoder = NativeDecoder(int4)
    scores(decoder, states)
    bytes_of_one = decoder.cache_bytes
    assert bytes_of_one == 2 * (2 * 3 * 3 * 64 * 32 * 2)  # two blocks of 64 positions, keys and values
    for _ in range(5):
        scores(decoder, states)
    assert decoder.cache_bytes == bytes_of_one
    first, second = decoder.open(), decoder.open()
    decoder.read([Entry(first, states, 0), Entry(second, states, 0)])
    assert decoder.cache_bytes == 2 * bytes_of_one


def test_what_is_refused(int4: PackedModel, states: Tensor) -> None:
    decoder = NativeDecoder(int4)
    sequence = decoder.open()
    decoder.read([Entry(sequence, torch.randn(190, 96), 0)])
    with pytest.raises(ContextError, match="201 tokens is longer than the model's 200"):
        decoder.read([Entry(sequence, torch.randn(11, 96))])
    assert decoder.length(sequence) == 190
    with pytest.raises(ValueError, match="width 95, expected 96"):
        decoder.read([Entry(sequence, torch.randn(1, 95))])
    with pytest.raises(ValueError, match="3 new tokens, 4 of them scored"):
        decoder.read([Entry(sequence, torch.randn(3, 96), 4)])
    with pytest.raises(ValueError, match="190 tokens, not 191"):
        decoder.cut(sequence, 191)
    with pytest.raises(ValueError, match="named twice"):
        decoder.read([Entry(sequence, states[:1]), Entry(sequence, states[:1])])
    decoder.close(sequence)
    decoder.close(sequence)  # as closing a file twice
    with pytest.raises(KeyError, match="not open"):
        decoder.length(sequence)
    with pytest.raises(NativeError, match="does not run the kernels 'MMX'"):
        NativeDecoder(int4, kernels="MMX")


def test_the_name_says_what_it_is(int4: PackedModel) -> None:
    assert NativeDecoder(int4).name == f"native int4-g32 ({kernels_name()})"


def test_embeddings_are_the_packed_table(tmp_path: Path) -> None:
    model, packed = build(tmp_path, "int8")
    decoder = NativeDecoder(packed)
    assert torch.equal(decoder.embed([5, 130, 0]), model.model.embed_tokens.weight[[5, 130, 0]])
