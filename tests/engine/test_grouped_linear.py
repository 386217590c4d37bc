"""Linear layers of 4 and 8 bits in PyTorch: the products of the restored weights, in any type, in parts."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from factories import random_model, tiny_nano_config, tiny_opt_config, tiny_text, tiny_toy_config
from vary.engine import grouped_linear
from vary.engine.decoders.graphed import GraphDecoder
from vary.engine.grouped_linear import (
    CastLinear,
    GroupedLinear,
    grouped_linears,
    grouped_tensors,
    linear_names,
    use_narrow_linears,
)
from vary.engine.precisions import precision
from vary.errors import NativeError
from vary.model.configuration import VaryConfig
from vary.model.modeling import VaryForConditionalGeneration


def layer_of(weights: torch.Tensor, name: str, *, bias: bool = False) -> GroupedLinear:
    kind = precision(name)
    layer = GroupedLinear(weights.shape[1], weights.shape[0], kind, bias=bias)
    layer.load_state_dict(layer.state_dict() | grouped_tensors(weights, kind))
    return layer


@pytest.mark.parametrize("name", ["int8", "int4", "int4-g128"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@torch.inference_mode()
def test_products_are_those_of_the_restored_weights(
    name: str, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    weights, x = torch.randn(50, 72), torch.randn(2, 3, 72).to(dtype)
    layer = layer_of(weights, name, bias=True).to(dtype)
    layer.scales = layer.scales.half()  # as it is loaded: only what PyTorch multiplies is in its type
    nn.init.normal_(layer.bias)
    table = layer.restored()
    assert (table - weights).abs().max() < {"int8": 0.02, "int4": 0.7, "int4-g128": 0.7}[name]
    assert torch.equal(layer.restored(slice(7, 9)), table[7:9])
    expected = F.linear(x, table.to(dtype), layer.bias)
    found = layer(x)
    assert found.dtype == dtype
    assert torch.equal(found, expected)
    monkeypatch.setattr(grouped_linear, "ON_CPU", 9 * 72)  # nine rows at a time
    torch.testing.assert_close(layer(x), expected)


@torch.inference_mode()
def test_bfloat16_is_multiplied_in_the_type_of_the_states(monkeypatch: pytest.MonkeyPatch) -> None:
    layer, x = CastLinear(24, 50, bias=True), torch.randn(3, 24)
    nn.init.normal_(layer.weight)
    nn.init.normal_(layer.bias)
    expected = F.linear(x, layer.weight.float(), layer.bias)
    assert torch.equal(layer(x), expected)
    monkeypatch.setattr(grouped_linear, "ON_CPU", 9 * 24)
    torch.testing.assert_close(layer(x), expected)


def test_it_takes_the_bytes_it_is_said_to_take() -> None:
    for name, bits in (("int4", 4.5), ("int8", 8.25), ("int4-g128", 4.125)):
        layer = layer_of(torch.randn(64, 256), name)
        assert sum(tensor.nbytes for tensor in layer.state_dict().values()) == 64 * 256 * bits / 8


def planned(config: VaryConfig) -> VaryForConditionalGeneration:
    with torch.device("meta"):
        return VaryForConditionalGeneration(config)


@pytest.mark.parametrize("config", [tiny_toy_config, tiny_opt_config, tiny_nano_config])
def test_all_linear_layers_of_a_language_model_are_replaced(config: object) -> None:
    model = planned(config())  # type: ignore[operator]
    names = linear_names(model)
    found = use_narrow_linears(model, precision("int4"))
    assert list(found) == names
    assert len(grouped_linears(model)) == len(names)
    assert all(layer.codes.is_meta for layer in found.values())
    left = [name for name, module in model.named_modules() if isinstance(module, nn.Linear)]
    assert not any(name.startswith("model.language_model") for name in left)
    # A CTC branch reads single rows of the head.
    assert ("lm_head" in left) == (config is tiny_nano_config)


def test_a_language_model_without_linear_layers_is_refused() -> None:
    text = {
        "model_type": "gpt2",
        "vocab_size": 96,
        "n_embd": 24,
        "n_layer": 1,
        "n_head": 2,
        "n_positions": 64,
    }
    settings = tiny_toy_config().to_dict() | {"text_config": {**text, "pad_token_id": 0}}
    with pytest.raises(
        NativeError, match="'gpt2' has no linear layers that could be rounded; leave --quantize"
    ):
        use_narrow_linears(planned(VaryConfig(**settings)), precision("int4"))


def test_the_graphed_decoder_leaves_them_alone() -> None:
    pytest.importorskip("triton")
    wide = tiny_text(hidden_size=64, num_attention_heads=2, num_key_value_heads=2)
    settings = tiny_toy_config().to_dict() | {"text_config": wide, "projector_dim": 32}
    model = random_model(VaryConfig(**settings))
    assert GraphDecoder.supports(model)
    model.lm_head.to(torch.bfloat16)
    assert not GraphDecoder.supports(model)  # it multiplies in one type
    model.lm_head.float()
    use_narrow_linears(model, precision("int8"))
    assert not GraphDecoder.supports(model)
