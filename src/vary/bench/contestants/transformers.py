"""The Transformers library as it is: GOT-OCR2's vision encoder, CLIP and the language model, not compiled."""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import MODEL_FOR_CAUSAL_LM_MAPPING, AutoModelForCausalLM, CLIPVisionModel, DynamicCache
from transformers.models.got_ocr2.configuration_got_ocr2 import GotOcr2VisionConfig
from transformers.models.got_ocr2.modeling_got_ocr2 import GotOcr2VisionEncoder

from vary.bench.contestants.protocol import DTYPES, Decoding, Encoding, Order
from vary.bench.machine import package_versions
from vary.bench.weights import HEAD, LANGUAGE, Weights
from vary.model.configuration import VaryConfig, VisionVocabularyConfig
from vary.model.loading import quiet_library

__all__ = ["Transformers", "same_network"]

VISION, CLIP, PROJECTOR = "model.vision_vocabulary.", "model.clip.", "model.projector."
NAMES = (
    ("neck.conv1.", "neck.0."),
    ("neck.layer_norm1.", "neck.1."),
    ("neck.conv2.", "neck.2."),
    ("neck.layer_norm2.", "neck.3."),
    ("layers.", "blocks."),
    (".layer_norm1.", ".norm1."),
    (".layer_norm2.", ".norm2."),
    ("patch_embed.projection.", "patch_embed.proj."),
)
"""The library's names in its encoder, and ours, in the order in which they are replaced."""


class Transformers:
    """Its own modules with its default attention, called as its users call them."""

    name = "transformers"

    def missing(self) -> str:
        return ""  # vary itself needs it

    def measures(self, precision: str) -> bool:
        return precision in DTYPES

    def refusal(self, config: VaryConfig, precision: str, device: str) -> str:
        return ""

    def label(self, precision: str) -> str:
        return f"transformers {precision}"

    def encoding(self, order: Order) -> Encoding | None:
        if not same_network(order.config.vision_vocabulary_config):
            return None
        return _Encoder(order)

    def decoding(self, order: Order) -> Decoding | None:
        return _Decoder(order)

    def versions(self) -> dict[str, str]:
        return package_versions("transformers", "torch")


def same_network(vision: VisionVocabularyConfig) -> bool:
    """Whether the library's encoder can be this network: a plain, square one with positions."""
    return (
        vision.stem == "patch"
        and vision.use_absolute_position
        and not vision.variable_width
        and not vision.ctc_frames
        and vision.height == vision.width
    )


class _Encoder:
    """GOT-OCR2's encoder, the merging convolutions as its projector has them, CLIP, and linear layers."""

    def __init__(self, order: Order) -> None:
        config, dtype = order.config, DTYPES[order.precision]
        vision = config.vision_vocabulary_config
        settings = GotOcr2VisionConfig(
            image_size=vision.height,
            patch_size=vision.patch_size,
            num_channels=vision.num_channels,
            hidden_size=vision.hidden_size,
            num_hidden_layers=vision.num_hidden_layers,
            num_attention_heads=vision.num_attention_heads,
            window_size=vision.window_size,
            global_attn_indexes=list(vision.global_attention_layers),
            output_channels=vision.neck_channels,
            mlp_dim=int(vision.hidden_size * vision.mlp_ratio),
            hidden_act=vision.hidden_act,
            layer_norm_eps=vision.layer_norm_eps,
        )
        with torch.device("meta"):
            names = list(GotOcr2VisionEncoder(settings).state_dict())
        with quiet_library():
            self._vocabulary = GotOcr2VisionEncoder.from_pretrained(
                None,
                config=settings,
                state_dict={name: order.weights.tensor(VISION + _ours(name)).to(dtype) for name in names},
                dtype=dtype,
            ).to(order.device)
        convolutions = [
            order.weights.tensor(f"{VISION}merge.{index}.weight")
            for index in range(len(vision.merge_channels))
        ]
        self._merge = [tensor.to(order.device, dtype) for tensor in convolutions]
        self._strides = [tuple(stride) for stride in vision.merge_strides]
        self._clip = _clip(order)
        self._layer = config.vision_select_layer
        self._linear = {
            branch: _linear(order, f"{PROJECTOR}{branch}")
            for branch in ("vision_vocabulary", *(() if self._clip is None else ("clip",)))
        }
        self._dtype = dtype

    def encode(self, pixels: Mapping[str, Tensor]) -> Tensor:
        features = self._vocabulary(pixels["pixel_values"].to(self._dtype)).last_hidden_state
        for weight, stride in zip(self._merge, self._strides, strict=True):
            features = F.conv2d(features, weight, stride=stride, padding=1)
        tokens = self._linear["vision_vocabulary"](features.flatten(2).transpose(1, 2))
        if self._clip is None:
            return tokens
        output = self._clip(pixels["pixel_values_clip"].to(self._dtype), output_hidden_states=True)
        clip = self._linear["clip"](output.hidden_states[self._layer][:, 1:])
        return torch.cat([clip, tokens], dim=-1)


def _ours(name: str) -> str:
    """Our name of a tensor of the library's encoder."""
    for theirs, ours in NAMES:
        name = name.replace(theirs, ours)
    return name


def _clip(order: Order) -> CLIPVisionModel | None:
    if order.config.clip_config is None:
        return None
    with torch.device("meta"):
        names = list(CLIPVisionModel(order.config.clip_config).state_dict())
    dtype = DTYPES[order.precision]
    with quiet_library():
        model = CLIPVisionModel.from_pretrained(
            None,
            config=order.config.clip_config,
            state_dict={name: order.weights.tensor(CLIP + name).to(dtype) for name in names},
            dtype=dtype,
        )
    return model.eval().to(order.device)


def _linear(order: Order, name: str) -> nn.Linear:
    weight = order.weights.tensor(f"{name}.weight")
    with torch.device("meta"):
        layer = nn.Linear(weight.shape[1], weight.shape[0])
    state = {"weight": weight, "bias": order.weights.tensor(f"{name}.bias")}
    layer.load_state_dict(state, assign=True)
    return layer.to(order.device, DTYPES[order.precision])


class _Decoder:
    """The library's causal language model with its growing cache."""

    def __init__(self, order: Order) -> None:
        self._dtype, self._device = DTYPES[order.precision], order.device
        with torch.device("meta"), quiet_library():
            names = list(AutoModelForCausalLM.from_config(order.config.text_config).state_dict())
        tied = order.config.tie_word_embeddings
        state = {
            name: _language_tensor(order.weights, name).to(self._dtype)
            for name in names
            if not (tied and name == HEAD)
        }
        kind = MODEL_FOR_CAUSAL_LM_MAPPING[type(order.config.text_config)]
        with quiet_library():
            self._model = kind.from_pretrained(
                None, config=order.config.text_config, state_dict=state, dtype=self._dtype
            ).to(order.device)
        self._model.eval()
        self.weight_bytes = order.size.read_per_token * self._dtype.itemsize
        self.start(1, 0)

    def start(self, sequences: int, room: int) -> None:
        self._cache = DynamicCache(config=self._model.config)

    def read(self, rows: Tensor, scored: int) -> Tensor:
        output = self._model(
            inputs_embeds=rows.to(self._device, self._dtype),
            past_key_values=self._cache,
            use_cache=True,
            logits_to_keep=scored,
        )
        return output.logits.float()

    def run(self, steps: int) -> bool:
        return False

    def cut(self, length: int) -> None:
        if (removed := self._cache.get_seq_length() - length) > 0:
            self._cache.crop(-removed)


def _language_tensor(weights: Weights, name: str) -> Tensor:
    """A tensor of the library's causal model under our name for it."""
    if name == HEAD:
        return weights.tensor(HEAD)
    return weights.tensor(LANGUAGE + name.removeprefix("model."))
