"""Names of other checkpoints' parameters and of ours, as data, readable in both directions.

Sources: the state dicts of `varyQwenForCausalLM` (Vary-toy, Vary-base with Qwen) and `varyOPTForCausalLM`
(Vary-tiny) in the authors' repositories, `VaryOPT` in that of Vary-tiny-600k, the conversion of MindOCR, and
Transformers' `GotOcr2ForConditionalGeneration`, whose vision vocabulary network is Vary's.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache

__all__ = [
    "GOT_HUB_NAMES",
    "GOT_NAMES",
    "MINDOCR_NAMES",
    "OPT_600K_NAMES",
    "OPT_NAMES",
    "QWEN_NAMES",
    "NameMap",
    "Place",
    "Rule",
]


@dataclass(frozen=True, slots=True)
class Rule:
    """One kind of parameter: its name there and its name here.

    `{n}` stands for a number and `{rest}` for the rest of a name; both sides hold the same ones.  Where we
    have several names, the other side keeps the parameters in one tensor, equal parts along its first axis.
    """

    theirs: str
    ours: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Place:
    """Where one of our parameters lies over there: part `part` of `parts` equal ones of the tensor `name`."""

    name: str
    part: int
    parts: int


@dataclass(frozen=True, slots=True)
class NameMap:
    """A total, reversible map between the names of another layout and ours.

    Attributes:
        rules: the first one that fits a name decides.
        computed: tensors over there that are computed, not learned; they have no place here and need none.
    """

    rules: tuple[Rule, ...]
    computed: tuple[str, ...] = ()

    def ours(self, theirs: str) -> tuple[str, ...] | None:
        """Our name (names, where the tensor is cut) of one of their parameters; None without a rule."""
        for rule in self.rules:
            if (fields := _match(rule.theirs, theirs)) is not None:
                return tuple(name.format(**fields) for name in rule.ours)
        return None

    def theirs(self, ours: str) -> Place | None:
        """The place over there of one of our parameters; None where there is no rule."""
        for rule in self.rules:
            for part, template in enumerate(rule.ours):
                if (fields := _match(template, ours)) is not None:
                    return Place(rule.theirs.format(**fields), part, len(rule.ours))
        return None

    def is_computed(self, theirs: str) -> bool:
        """Whether one of their tensors is a table that the model computes itself."""
        return any(_match(template, theirs) is not None for template in self.computed)


def _match(template: str, name: str) -> dict[str, str] | None:
    found = _pattern(template).fullmatch(name)
    return None if found is None else found.groupdict()


@cache
def _pattern(template: str) -> re.Pattern[str]:
    escaped = re.escape(template)
    return re.compile(
        escaped.replace(r"\{n\}", r"(?P<n>\d+)").replace(r"\{rest\}", r"(?P<rest>[A-Za-z0-9_.]+)")
    )


def _one_to_one(pairs: Iterable[tuple[str, str]]) -> tuple[Rule, ...]:
    return tuple(Rule(theirs, (ours,)) for theirs, ours in pairs)


def _vision_vocabulary(theirs: str) -> tuple[Rule, ...]:
    """The vision vocabulary network under a prefix of theirs; only the merging has another name here."""
    ours = "model.vision_vocabulary"
    same = ("pos_embed", "patch_embed.proj.{rest}", "blocks.{n}.{rest}", "neck.{n}.{rest}")
    merging = (("net_2.weight", "merge.0.weight"), ("net_3.weight", "merge.1.weight"))
    return _one_to_one(
        [(f"{theirs}.{name}", f"{ours}.{name}") for name in same]
        + [(f"{theirs}.{there}", f"{ours}.{here}") for there, here in merging]
    )


_QWEN_LAYER = (
    ("ln_1.weight", "input_layernorm.weight"),
    ("ln_2.weight", "post_attention_layernorm.weight"),
    ("attn.c_proj.weight", "self_attn.o_proj.weight"),
    ("mlp.w2.weight", "mlp.gate_proj.weight"),
    ("mlp.w1.weight", "mlp.up_proj.weight"),
    ("mlp.c_proj.weight", "mlp.down_proj.weight"),
)

QWEN_NAMES = NameMap(
    rules=(
        *_one_to_one(
            [
                ("transformer.wte.weight", "model.language_model.embed_tokens.weight"),
                ("transformer.ln_f.weight", "model.language_model.norm.weight"),
                ("lm_head.weight", "lm_head.weight"),
                ("transformer.mm_projector.{rest}", "model.projector.clip.{rest}"),
                ("transformer.mm_projector_vary.{rest}", "model.projector.vision_vocabulary.{rest}"),
                ("transformer.vision_tower.vision_model.{rest}", "model.clip.{rest}"),
            ]
        ),
        *_one_to_one(
            (f"transformer.h.{{n}}.{there}", f"model.language_model.layers.{{n}}.{here}")
            for there, here in _QWEN_LAYER
        ),
        *(
            Rule(
                f"transformer.h.{{n}}.attn.c_attn.{kind}",
                tuple(f"model.language_model.layers.{{n}}.self_attn.{part}_proj.{kind}" for part in "qkv"),
            )
            for kind in ("weight", "bias")
        ),
        *_vision_vocabulary("transformer.vision_tower_high"),
    ),
    computed=(
        "transformer.vision_tower.vision_model.embeddings.position_ids",
        "transformer.rotary_emb.inv_freq",
        "transformer.h.{n}.attn.rotary_emb.inv_freq",
        "transformer.h.{n}.attn.bias",
        "transformer.h.{n}.attn.masked_bias",
    ),
)

OPT_NAMES = NameMap(
    rules=(
        *_one_to_one(
            [
                ("model.decoder.{rest}", "model.language_model.decoder.{rest}"),
                ("model.mm_projector.{rest}", "model.projector.vision_vocabulary.{rest}"),
                ("lm_head.weight", "lm_head.weight"),
            ]
        ),
        *_vision_vocabulary("model.vision_tower"),
    ),
)

OPT_600K_NAMES = NameMap(
    rules=(
        *_one_to_one(
            [
                ("opt_model.model.decoder.{rest}", "model.language_model.decoder.{rest}"),
                ("opt_model.lm_head.weight", "lm_head.weight"),
                ("opt_proj.{rest}", "model.projector.vision_vocabulary.{rest}"),
            ]
        ),
        *_vision_vocabulary("visual_encoder"),
    ),
)


def _normalisation(theirs: str, ours: str) -> tuple[tuple[str, str], ...]:
    """A layer normalisation, whose scale and shift MindSpore calls gamma and beta."""
    return (f"{theirs}.gamma", f"{ours}.weight"), (f"{theirs}.beta", f"{ours}.bias")


_MINDOCR_CLIP = (
    ("class_embedding", "embeddings.class_embedding"),
    ("positional_embedding", "embeddings.position_embedding.weight"),
    ("conv1.{rest}", "embeddings.patch_embedding.{rest}"),
    *_normalisation("ln_pre", "pre_layrnorm"),
    *_normalisation("transformer.resblocks.{n}.ln_1", "encoder.layers.{n}.layer_norm1"),
    *_normalisation("transformer.resblocks.{n}.ln_2", "encoder.layers.{n}.layer_norm2"),
    ("transformer.resblocks.{n}.attn.{rest}", "encoder.layers.{n}.self_attn.{rest}"),
    ("transformer.resblocks.{n}.mlp.c_fc.{rest}", "encoder.layers.{n}.mlp.fc1.{rest}"),
    ("transformer.resblocks.{n}.mlp.c_proj.{rest}", "encoder.layers.{n}.mlp.fc2.{rest}"),
    ("vision_model.post_layernorm.{rest}", "post_layernorm.{rest}"),
)

_MINDOCR_LAYER = (
    ("attention_norm.weight", "input_layernorm.weight"),
    ("ffn_norm.weight", "post_attention_layernorm.weight"),
    *((f"attention.w{part}.{{rest}}", f"self_attn.{part}_proj.{{rest}}") for part in "qkv"),
    ("attention.wo.weight", "self_attn.o_proj.weight"),
    ("feed_forward.w3.weight", "mlp.gate_proj.weight"),
    ("feed_forward.w1.weight", "mlp.up_proj.weight"),
    ("feed_forward.w2.weight", "mlp.down_proj.weight"),
)

MINDOCR_NAMES = NameMap(
    rules=(
        *_one_to_one(
            [
                ("transformer.wte.embedding_weight", "model.language_model.embed_tokens.weight"),
                ("transformer.ln_f.weight", "model.language_model.norm.weight"),
                ("lm_head.weight", "lm_head.weight"),
                ("transformer.mm_projector.{rest}", "model.projector.clip.{rest}"),
                ("transformer.mm_projector_vary.{rest}", "model.projector.vision_vocabulary.{rest}"),
            ]
        ),
        *_one_to_one(
            (f"transformer.layers.{{n}}.{there}", f"model.language_model.layers.{{n}}.{here}")
            for there, here in _MINDOCR_LAYER
        ),
        *_one_to_one(
            (f"transformer.vision_tower.{there}", f"model.clip.{here}") for there, here in _MINDOCR_CLIP
        ),
        *_one_to_one(
            (f"transformer.vision_tower_high.{there}", f"model.vision_vocabulary.{here}")
            for norm in ("norm1", "norm2")
            for there, here in _normalisation(f"blocks.{{n}}.{norm}", f"blocks.{{n}}.{norm}")
        ),
        *_vision_vocabulary("transformer.vision_tower_high"),
    ),
    computed=(
        "transformer.vision_tower.position_ids",
        "transformer.rotary_emb.inv_freq",
        "transformer.layers.{n}.attention.rotary_emb.inv_freq",
    ),
)

_GOT_VISION = (
    ("vision_tower.pos_embed", "pos_embed"),
    ("vision_tower.patch_embed.projection.{rest}", "patch_embed.proj.{rest}"),
    ("vision_tower.layers.{n}.layer_norm1.{rest}", "blocks.{n}.norm1.{rest}"),
    ("vision_tower.layers.{n}.layer_norm2.{rest}", "blocks.{n}.norm2.{rest}"),
    ("vision_tower.layers.{n}.{rest}", "blocks.{n}.{rest}"),
    ("vision_tower.neck.conv1.{rest}", "neck.0.{rest}"),
    ("vision_tower.neck.layer_norm1.{rest}", "neck.1.{rest}"),
    ("vision_tower.neck.conv2.{rest}", "neck.2.{rest}"),
    ("vision_tower.neck.layer_norm2.{rest}", "neck.3.{rest}"),
    ("multi_modal_projector.conv_upsampler1.{rest}", "merge.0.{rest}"),
    ("multi_modal_projector.conv_upsampler2.{rest}", "merge.1.{rest}"),
)


def _got(prefix: str, decoder: str, head: str) -> NameMap:
    """GOT-OCR2.0 in Transformers: its decoder is a Qwen2, as ours, so what is in it has the same names."""
    return NameMap(
        rules=_one_to_one(
            [
                (head, "lm_head.weight"),
                (f"{decoder}.{{rest}}", "model.language_model.{rest}"),
                (
                    f"{prefix}multi_modal_projector.multimodal_projector.{{rest}}",
                    "model.projector.vision_vocabulary.{rest}",
                ),
                *((f"{prefix}{there}", f"model.vision_vocabulary.{here}") for there, here in _GOT_VISION),
            ]
        )
    )


GOT_NAMES = _got("model.", "model.language_model", "lm_head.weight")
"""As Transformers writes it since version 4.52."""
GOT_HUB_NAMES = _got("", "language_model.model", "language_model.lm_head.weight")
"""As it was written before."""
