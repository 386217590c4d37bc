"""The formats of other checkpoints in terms of ours: their names, their configurations, their families.

What a `config.json` says wins; what it does not say is read off the shapes of the tensors.  The sizes of the
vision networks may stand in it as `clip_config` and `vision_vocabulary_config`, where shapes do not tell.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

from vary.errors import CheckpointError
from vary.model.configuration import VaryConfig
from vary.model.presets import ALL_TASKS, QWEN_TOKENS
from vary.weights.formats.names import (
    GOT_HUB_NAMES,
    GOT_NAMES,
    MINDOCR_NAMES,
    OPT_600K_NAMES,
    OPT_NAMES,
    QWEN_NAMES,
    NameMap,
    Rule,
)
from vary.weights.formats.sizes import Sizes, clip_sizes, vision_vocabulary_sizes

__all__ = ["LAYOUTS", "OURS", "Family", "Layout", "find_family", "find_layout"]

Settings = Mapping[str, Any]

QWEN_HEAD_SIZE, OPT_HEAD_SIZE = 128, 64  # of every published size of these decoders
QWEN_VOCABULARY = 151860
QWEN_STOP = {"eos_token_id": 151645, "pad_token_id": 151643}
OPT_VOCABULARY = 50265
"""Tokens of OPT's tokenizer; its models have a few rows more, which stand for nothing."""
OPT_NEWLINE = 50118
"""The token of a line break, with which an answer of Vary-tiny-600k ends."""


@dataclass(frozen=True, slots=True)
class Family:
    """What the checkpoints of a layout are read with.

    Attributes:
        templates: the key of its chat templates in `vary.model.chat_templates`.
        images: the key of its preprocessing in `vary.model.image_processing`.
        tokenizer: `qwen` for a `.tiktoken` file, `opt` for OPT's own files.
        stops: ids that end an answer beside the text model's end of text.
    """

    templates: str
    images: str
    tokenizer: str
    stops: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Layout:
    """One format of checkpoints.

    Attributes:
        name: how commands call it.
        title: what it is, for messages.
        landmark: a parameter that only this layout has.
        names: the name map.
        config: our configuration from `config.json` and the sizes; may raise CheckpointError.
        family: what its checkpoints are read with; ours say it themselves.
        architecture: the class that `config.json` names, where there is such a file.
        tied: whether the head shares the embeddings unless `config.json` says otherwise.
    """

    name: str
    title: str
    landmark: str
    names: NameMap
    config: Callable[[Settings, Sizes], VaryConfig]
    family: Family | None = None
    architecture: str | None = None
    tied: bool = False


def _is_tied(settings: Settings, otherwise: bool) -> bool:
    return bool(settings.get("tie_word_embeddings", otherwise))


def _qwen_config(settings: Settings, sizes: Sizes) -> VaryConfig:
    """Vary-toy and Vary-base; Qwen-1 writes twice the width of its MLP as `intermediate_size`."""
    for name, expected in (("no_bias", True), ("rotary_pct", 1.0), ("scale_attn_weights", True)):
        if (found := settings.get(name, expected)) != expected:
            raise CheckpointError(f"config.json says {name}={found}, but only {expected} is supported")
    hidden, heads = _integer(settings, "hidden_size"), _integer(settings, "num_attention_heads")
    if (channels := settings.get("kv_channels", hidden // heads)) * heads != hidden:
        raise CheckpointError(
            f"config.json: {heads} heads of kv_channels {channels} are not hidden_size {hidden}"
        )
    tied = _is_tied(settings, False)
    text = {
        "model_type": "qwen2",
        "vocab_size": _integer(settings, "vocab_size"),
        "hidden_size": hidden,
        "intermediate_size": _integer(settings, "intermediate_size") // 2,
        "num_hidden_layers": _integer(settings, "num_hidden_layers"),
        "num_attention_heads": heads,
        "num_key_value_heads": heads,
        # Beyond seq_length Qwen-1 changes its attention (dynamic NTK, log n), which Qwen2 does not.
        "max_position_embeddings": settings.get("seq_length", 8192),
        "rms_norm_eps": settings.get("layer_norm_epsilon", 1e-6),
        "rope_parameters": {
            "rope_type": "default",
            "rope_theta": float(settings.get("rotary_emb_base", 10000)),
        },
        "initializer_range": settings.get("initializer_range", 0.02),
        "tie_word_embeddings": tied,
        **_special_tokens(settings, {}),
        # A turn ends with <|im_end|>, whatever a base model's configuration says.
        **(QWEN_STOP if settings["vocab_size"] == QWEN_VOCABULARY else {}),
    }
    return VaryConfig(
        vision_vocabulary_config=vision_vocabulary_sizes(sizes, settings.get("vision_vocabulary_config")),
        clip_config=clip_sizes(sizes, settings.get("clip_config")),
        text_config=text,
        vision_select_layer=settings.get("vision_select_layer", -2),
        projector_dim=sizes.shape("model.projector.vision_vocabulary.weight", 2)[0],
        tasks=ALL_TASKS,
        languages=("en", "zh"),
        **_image_tokens(settings, QWEN_TOKENS),
        tie_word_embeddings=tied,
    )


def _mindocr_config(settings: Settings, sizes: Sizes) -> VaryConfig:
    """MindOCR's Vary-toy: a file of tensors alone, so what no configuration says is that of Qwen."""
    vocabulary, hidden = sizes.shape("model.language_model.embed_tokens.weight", 2)
    decoder = "model.language_model.layers."
    told = {
        "vocab_size": vocabulary,
        "hidden_size": hidden,
        "num_attention_heads": max(1, hidden // QWEN_HEAD_SIZE),
        "num_hidden_layers": sizes.layers(decoder),
        "intermediate_size": 2 * sizes.shape(f"{decoder}0.mlp.gate_proj.weight", 2)[0],
    }
    return _qwen_config({**told, **settings}, sizes)


def _opt_config(settings: Settings, sizes: Sizes) -> VaryConfig:
    """Vary-tiny; the positions are those of the stretched table, less OPT's offset of two."""
    hidden = _integer(settings, "hidden_size")
    vocabulary = _integer(settings, "vocab_size")
    tied = _is_tied(settings, True)
    positions = sizes.shape("model.language_model.decoder.embed_positions.weight", 2)[0]
    text = {
        "model_type": "opt",
        "vocab_size": vocabulary,
        "hidden_size": hidden,
        "ffn_dim": _integer(settings, "ffn_dim"),
        "num_hidden_layers": _integer(settings, "num_hidden_layers"),
        "num_attention_heads": _integer(settings, "num_attention_heads"),
        "max_position_embeddings": positions - 2,
        "word_embed_proj_dim": settings.get("word_embed_proj_dim", hidden),
        "do_layer_norm_before": settings.get("do_layer_norm_before", True),
        "activation_function": settings.get("activation_function", "relu"),
        "enable_bias": settings.get("enable_bias", True),
        "layer_norm_elementwise_affine": settings.get("layer_norm_elementwise_affine", True),
        "dropout": settings.get("dropout", 0.1),
        "init_std": settings.get("init_std", 0.02),
        "tie_word_embeddings": tied,
        **_special_tokens(settings, {"bos_token_id": 2, "eos_token_id": 2, "pad_token_id": 1}),
    }
    last = {
        "image_token_id": vocabulary - 3,
        "image_start_token_id": vocabulary - 2,
        "image_end_token_id": vocabulary - 1,
    }
    return VaryConfig(
        vision_vocabulary_config=vision_vocabulary_sizes(sizes, settings.get("vision_vocabulary_config")),
        text_config=text,
        projector_dim=sizes.shape("model.projector.vision_vocabulary.weight", 2)[0],
        tasks=("ocr", "chart"),
        prompts={"ocr": "", "chart": ""},  # it is shown the image and nothing else
        languages=("en", "zh"),
        **_image_tokens(settings, last),
        tie_word_embeddings=tied,
    )


def _opt_600k_config(settings: Settings, sizes: Sizes) -> VaryConfig:
    """Vary-tiny-600k: a training file, which says nothing of OPT's sizes.

    Its image tokens are none of the tokenizer's; three of the rows that stand for nothing take their place.
    """
    vocabulary, hidden = sizes.shape("model.language_model.decoder.embed_tokens.weight", 2)
    layers = "model.language_model.decoder.layers."
    first = OPT_VOCABULARY if vocabulary >= OPT_VOCABULARY + 3 else vocabulary - 3
    told = {
        "vocab_size": vocabulary,
        "hidden_size": hidden,
        "ffn_dim": sizes.shape(f"{layers}0.fc1.weight", 2)[0],
        "num_hidden_layers": sizes.layers(layers),
        "num_attention_heads": max(1, hidden // OPT_HEAD_SIZE),
        "im_patch_token": first,
        "im_start_token": first + 1,
        "im_end_token": first + 2,
    }
    config = _opt_config({**told, **settings}, sizes)
    config.tasks, config.prompts = ("ocr",), {"ocr": "OCR: "}
    return config


def _got_config(settings: Settings, sizes: Sizes) -> VaryConfig:
    """GOT-OCR2.0: Vary's vocabulary network alone before a Qwen2, whose configuration is taken over."""
    from transformers import GotOcr2Config

    theirs = GotOcr2Config(**{key: value for key, value in settings.items() if key != "model_type"})
    text = theirs.text_config.to_dict()
    tied = bool(theirs.tie_word_embeddings or theirs.text_config.tie_word_embeddings)
    if text["vocab_size"] == QWEN_VOCABULARY:
        text |= {name: stop for name, stop in QWEN_STOP.items() if text.get(name) is None}
    return VaryConfig(
        vision_vocabulary_config=vision_vocabulary_sizes(sizes, settings.get("vision_vocabulary_config")),
        text_config={**text, "tie_word_embeddings": tied},
        projector_dim=sizes.shape("model.projector.vision_vocabulary.weight", 2)[0],
        tasks=("ocr", "markdown"),
        prompts={"ocr": "OCR: ", "markdown": "OCR with format: "},
        languages=("en", "zh"),
        # The three stand in a row, as in every vocabulary of the family.
        image_token_id=theirs.image_token_id,
        image_start_token_id=theirs.image_token_id - 2,
        image_end_token_id=theirs.image_token_id - 1,
        tie_word_embeddings=tied,
    )


_QWEN_FAMILY = Family("vary_qwen", "vary_toy", "qwen", stops=(151643,))
_GOT_FAMILY = Family("got_ocr2", "got_ocr2", "qwen", stops=(151643,))

OURS = Layout(
    "vary",
    "a checkpoint of vary",
    "model.projector.vision_vocabulary.weight",
    NameMap(rules=(Rule("{rest}", ("{rest}",)),)),
    lambda settings, _: VaryConfig.from_dict(dict(settings)),
)

LAYOUTS = (
    Layout(
        "vary-qwen",
        "the authors' Vary-toy or Vary-base",
        "transformer.wte.weight",
        QWEN_NAMES,
        _qwen_config,
        _QWEN_FAMILY,
        architecture="varyQwenForCausalLM",
    ),
    Layout(
        "vary-opt",
        "the authors' Vary-tiny",
        "model.decoder.embed_tokens.weight",
        OPT_NAMES,
        _opt_config,
        Family("vary_tiny", "vary_tiny", "opt"),
        architecture="varyOPTForCausalLM",
        tied=True,
    ),
    Layout(
        "vary-tiny-600k",
        "the authors' Vary-tiny-600k",
        "opt_model.model.decoder.embed_tokens.weight",
        OPT_600K_NAMES,
        _opt_600k_config,
        Family("vary_tiny_600k", "vary_tiny_600k", "opt", stops=(OPT_NEWLINE,)),
        tied=True,
    ),
    Layout(
        "mindocr",
        "MindOCR's Vary-toy",
        "transformer.wte.embedding_weight",
        MINDOCR_NAMES,
        _mindocr_config,
        _QWEN_FAMILY,
    ),
    Layout(
        "got-ocr2",
        "GOT-OCR2.0 of Transformers",
        "model.multi_modal_projector.conv_upsampler1.weight",
        GOT_NAMES,
        _got_config,
        _GOT_FAMILY,
        architecture="GotOcr2ForConditionalGeneration",
        tied=True,
    ),
    Layout(
        "got-ocr2-hub",
        "GOT-OCR2.0 of Transformers before 4.52",
        "multi_modal_projector.conv_upsampler1.weight",
        GOT_HUB_NAMES,
        _got_config,
        _GOT_FAMILY,
        tied=True,
    ),
)


def find_layout(names: Collection[str]) -> Layout:
    """The layout that a checkpoint has, by the names of its parameters.

    Raises:
        CheckpointError: if it is none that is known.
    """
    for layout in LAYOUTS:
        if layout.landmark in names:
            return layout
    some = ", ".join(sorted(names)[:5]) or "no tensors at all"
    known = "; ".join(f"{layout.title}, with {layout.landmark}" for layout in LAYOUTS)
    raise CheckpointError(f"unknown parameter names ({some}, ...); expected {known}")


def find_family(name: object) -> Family | None:
    """What the checkpoints of a layout are read with, by its name; None for ours and for any other name."""
    return next((layout.family for layout in LAYOUTS if layout.name == name), None)


def _integer(settings: Settings, name: str) -> int:
    if not isinstance(value := settings.get(name), int) or isinstance(value, bool) or value < 1:
        raise CheckpointError(f"config.json has {name}={value!r}, but a positive number is needed")
    return value


def _image_tokens(settings: Settings, otherwise: Mapping[str, int]) -> dict[str, int]:
    theirs = {
        "image_token_id": "im_patch_token",
        "image_start_token_id": "im_start_token",
        "image_end_token_id": "im_end_token",
    }
    return {name: settings.get(there, otherwise[name]) for name, there in theirs.items()}


def _special_tokens(settings: Settings, otherwise: Mapping[str, int]) -> dict[str, int | None]:
    return {
        name: settings[name] if settings.get(name) is not None else otherwise.get(name)
        for name in ("bos_token_id", "eos_token_id", "pad_token_id")
    }
