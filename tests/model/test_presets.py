"""Every preset builds without memory and has the number of parameters that it states."""

from __future__ import annotations

import pytest
import torch

from vary.errors import CheckpointError
from vary.model.modeling import VaryForConditionalGeneration
from vary.model.presets import PRESETS, preset_config


@pytest.mark.parametrize("name", PRESETS)
def test_preset_builds_on_the_meta_device_with_its_parameter_count(name: str) -> None:
    with torch.device("meta"):
        model = VaryForConditionalGeneration(preset_config(name))
    assert all(parameter.is_meta for parameter in model.parameters())
    assert sum(parameter.numel() for parameter in model.parameters()) == PRESETS[name].parameters


def test_the_vision_vocabulary_of_the_papers_has_95m_parameters() -> None:
    with torch.device("meta"):
        model = VaryForConditionalGeneration(preset_config("vary-toy"))
    assert sum(p.numel() for p in model.model.vision_vocabulary.parameters()) == pytest.approx(95e6, rel=0.01)
    assert model.config.image_seq_length == 256


def test_an_unknown_preset_lists_those_that_there_are() -> None:
    with pytest.raises(CheckpointError, match=r"no preset 'vary-huge'; there are .*vary-toy.*vary-nano"):
        preset_config("vary-huge")


def test_a_preset_goes_by_its_short_name_too() -> None:
    assert preset_config("nano").to_dict() == preset_config("vary-nano").to_dict()
