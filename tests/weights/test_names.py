"""The name maps: every parameter of ours has a place over there, and the way back leads to it."""

from __future__ import annotations

import pytest
import torch

from vary.model.modeling import VaryForConditionalGeneration
from vary.model.presets import preset_config
from vary.weights.formats.names import OPT_NAMES, QWEN_NAMES, NameMap, Place

MAPS = {"vary-toy": QWEN_NAMES, "vary-base-qwen": QWEN_NAMES, "vary-tiny": OPT_NAMES}


def our_names(preset: str) -> list[str]:
    with torch.device("meta"):
        return list(VaryForConditionalGeneration(preset_config(preset)).state_dict())


@pytest.mark.parametrize("preset", MAPS)
def test_the_map_is_total_and_reversible(preset: str) -> None:
    names = MAPS[preset]
    places: dict[str, Place] = {}
    for ours in our_names(preset):
        place = names.theirs(ours)
        assert place is not None, f"no place for {ours}"
        back = names.ours(place.name)
        assert back is not None
        assert len(back) == place.parts
        assert back[place.part] == ours
        places[ours] = place
    assert len(set(places.values())) == len(places), "two parameters share a place"


@pytest.mark.parametrize("names", [QWEN_NAMES, OPT_NAMES])
def test_unknown_names_have_no_place(names: NameMap) -> None:
    for name in ("model.layers.0.mlp.up_proj.weight", "transformer.h.x.ln_1.weight", "lm_head.bias", ""):
        assert names.ours(name) is None
    assert names.theirs("model.vision_vocabulary.ctc.proj.weight") is None


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("transformer.h.3.mlp.w2.weight", ("model.language_model.layers.3.mlp.gate_proj.weight",)),
        ("transformer.h.3.mlp.w1.weight", ("model.language_model.layers.3.mlp.up_proj.weight",)),
        (
            "transformer.h.10.attn.c_attn.bias",
            tuple(f"model.language_model.layers.10.self_attn.{part}_proj.bias" for part in "qkv"),
        ),
        ("transformer.vision_tower_high.net_3.weight", ("model.vision_vocabulary.merge.1.weight",)),
        ("transformer.mm_projector.bias", ("model.projector.clip.bias",)),
        ("transformer.mm_projector_vary.bias", ("model.projector.vision_vocabulary.bias",)),
    ],
)
def test_the_facts_of_the_authors_layout(theirs: str, ours: tuple[str, ...]) -> None:
    assert QWEN_NAMES.ours(theirs) == ours
    assert [QWEN_NAMES.theirs(name) for name in ours] == [
        Place(theirs, part, len(ours)) for part in range(len(ours))
    ]


def test_computed_tables_need_no_place() -> None:
    table = "transformer.vision_tower.vision_model.embeddings.position_ids"
    assert QWEN_NAMES.is_computed(table)
    assert not QWEN_NAMES.is_computed("transformer.h.0.attn.c_attn.bias")
