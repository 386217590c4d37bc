"""The vision vocabulary network equals two encoders of the library on the same random weights."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from transformers.models.deepseek_ocr2.configuration_deepseek_ocr2 import DeepseekOcr2SamVisionConfig
from transformers.models.deepseek_ocr2.modeling_deepseek_ocr2 import DeepseekOcr2SamVisionEncoder
from transformers.models.got_ocr2.configuration_got_ocr2 import GotOcr2VisionConfig
from transformers.models.got_ocr2.modeling_got_ocr2 import GotOcr2VisionEncoder

from factories import randomise, tiny_vision_vocabulary
from vary.model.configuration import VisionVocabularyConfig
from vary.model.vision_vocabulary import RelativeAttention, VisionVocabulary

# The library's names for ours, in both encoders.
NAMES = (
    ("blocks.", "layers."),
    (".norm1.", ".layer_norm1."),
    (".norm2.", ".layer_norm2."),
    ("patch_embed.proj.", "patch_embed.projection."),
    ("neck.0.", "neck.conv1."),
    ("neck.1.", "neck.layer_norm1."),
    ("neck.2.", "neck.conv2."),
    ("neck.3.", "neck.layer_norm2."),
    ("merge.0.", "proj.conv1."),
    ("merge.1.", "proj.conv2."),
)


@pytest.fixture(params=[False, True], ids=["reads", "learns"])
def grad_mode(request: pytest.FixtureRequest) -> Iterator[None]:
    """Without gradients and with them, which on a CPU are two forms of attention."""
    with torch.set_grad_enabled(request.param):
        yield


def their_state(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    renamed = {}
    for name, tensor in state.items():
        for ours, theirs in NAMES:
            name = name.replace(ours, theirs)
        renamed[name] = tensor
    return renamed


def their_settings(config: VisionVocabularyConfig) -> dict[str, object]:
    return {
        "image_size": config.image_size,
        "hidden_size": config.hidden_size,
        "num_hidden_layers": config.num_hidden_layers,
        "num_attention_heads": config.num_attention_heads,
        "window_size": config.window_size,
        "global_attn_indexes": list(config.global_attention_layers),
        "output_channels": config.neck_channels,
        "mlp_dim": int(config.hidden_size * config.mlp_ratio),
    }


def got_ocr2(ours: VisionVocabulary) -> GotOcr2VisionEncoder:
    """GOT-OCR2's encoder with our weights: all before the merging convolutions, at its own size only."""
    theirs = GotOcr2VisionEncoder(GotOcr2VisionConfig(**their_settings(ours.config))).eval()
    state = {name: value for name, value in their_state(ours.state_dict()).items() if "proj.conv" not in name}
    theirs.load_state_dict(state, strict=True)
    return theirs


def deepseek_ocr2(ours: VisionVocabulary, attention: str) -> DeepseekOcr2SamVisionEncoder:
    """DeepSeek-OCR-2's encoder with our weights, the merging convolutions included."""
    config = DeepseekOcr2SamVisionConfig(
        **their_settings(ours.config), downsample_channels=list(ours.config.merge_channels)
    )
    config._attn_implementation = attention
    theirs = DeepseekOcr2SamVisionEncoder(config).eval()
    theirs.load_state_dict(their_state(ours.state_dict()), strict=True)
    return theirs


def our_network(**changes: object) -> VisionVocabulary:
    network = VisionVocabulary(VisionVocabularyConfig(**tiny_vision_vocabulary(**changes))).eval()
    randomise(network)
    return network


def merged(ours: VisionVocabulary, features: Tensor) -> Tensor:
    for conv in ours.merge:
        features = F.conv2d(features, conv.weight, stride=2, padding=1)
    return features.flatten(2).transpose(1, 2)


@pytest.mark.usefixtures("grad_mode")
@pytest.mark.parametrize("window", [2, 3, 8])
def test_equals_got_ocr2_at_the_size_it_was_built_for(window: int) -> None:
    ours = our_network(window_size=window)
    pixels = torch.randn(2, 3, 128, 128, generator=torch.Generator().manual_seed(1))
    features = got_ocr2(ours)(pixels).last_hidden_state
    torch.testing.assert_close(ours.encode(pixels)[0], features, atol=1e-5, rtol=0)
    torch.testing.assert_close(ours(pixels), merged(ours, features), atol=1e-5, rtol=0)


@pytest.mark.usefixtures("grad_mode")
@pytest.mark.parametrize("attention", ["eager", "sdpa"])
@pytest.mark.parametrize("size", [(128, 128), (96, 160), (256, 64), (48, 48)])
def test_equals_deepseek_ocr2_at_other_sizes(size: tuple[int, int], attention: str) -> None:
    ours = our_network()
    pixels = torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(1))
    theirs = deepseek_ocr2(ours, attention)(pixels).last_hidden_state
    torch.testing.assert_close(ours(pixels), theirs.flatten(2).transpose(1, 2), atol=1e-5, rtol=0)


@pytest.mark.slow
@torch.no_grad()
def test_equals_got_ocr2_at_full_size() -> None:
    """About 8 s and 4 GB: the library's attention holds matrices of 12 x 4096 x 4096."""
    ours = VisionVocabulary(VisionVocabularyConfig()).eval()
    randomise(ours)
    pixels = torch.randn(1, 3, 1024, 1024, generator=torch.Generator().manual_seed(1))
    tokens = ours(pixels)
    assert tokens.shape == (1, 256, 1024)
    features = got_ocr2(ours)(pixels).last_hidden_state
    torch.testing.assert_close(tokens, merged(ours, features), atol=5e-5, rtol=0)


@torch.no_grad()
@pytest.mark.parametrize("columns", [3, 7, 16])
def test_variable_width_takes_relative_positions_as_true_distances(columns: int) -> None:
    """The plain formula, position by position: the bias of a distance is the same at every width."""
    config = VisionVocabularyConfig(
        image_size=(32, 256),
        hidden_size=8,
        num_attention_heads=2,
        window_size=0,
        use_absolute_position=False,
        merge_strides=((2, 1), (1, 1)),
        variable_width=True,
    )
    attention = RelativeAttention(config, config.grid, resize=False).eval()
    randomise(attention)
    x = torch.randn(1, 2, columns, 8, generator=torch.Generator().manual_seed(1))
    valid = torch.arange(columns)[None] < max(columns - 2, 1)

    query, key, value = attention.qkv(x).view(2 * columns, 3, 2, 4).unbind(1)  # each (N, heads, 4)
    mixed = torch.zeros(2 * columns, 2, 4)
    for i in range(2 * columns):
        scores = torch.full((2, 2 * columns), float("-inf"))
        for j in range(2 * columns):
            if valid[0, j % columns]:
                down, across = i // columns - j // columns, i % columns - j % columns
                bias = attention.rel_pos_h[down + 1] + attention.rel_pos_w[across + 15]
                scores[:, j] = (query[i] * (key[j] * 4**-0.5 + bias)).sum(-1)
        mixed[i] = torch.einsum("hj,jhd->hd", scores.softmax(-1), value)
    expected = attention.proj(mixed.flatten(1)).view(1, 2, columns, 8)
    torch.testing.assert_close(attention(x, valid), expected, atol=1e-5, rtol=0)


def test_a_line_wider_than_the_table_is_refused() -> None:
    config = VisionVocabularyConfig(
        image_size=(32, 64),
        window_size=0,
        use_absolute_position=False,
        merge_strides=((2, 1), (1, 1)),
        variable_width=True,
        num_hidden_layers=1,
    )
    with pytest.raises(ValueError, match="5 patches is too wide; the network was built for 4"):
        VisionVocabulary(config)(torch.zeros(1, 3, 32, 80))
