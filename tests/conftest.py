"""Fixtures that every test may use."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from vary.model.modeling import VaryForConditionalGeneration


@pytest.fixture(scope="session")
def shared_dir() -> Path:
    """The folder `shared` beside the checkout; the test is skipped where the project stands alone."""
    folder = Path(__file__).resolve().parent.parent.parent / "shared"
    if not folder.is_dir():
        pytest.skip(f"no folder {folder.name} beside the checkout")
    return folder


@pytest.fixture(scope="session")
def tiny_nano() -> VaryForConditionalGeneration:
    """A random vary-nano, two layers narrow; weights are large, so that its texts differ."""
    from transformers import set_seed

    from vary.model.configuration import VaryConfig
    from vary.model.modeling import VaryForConditionalGeneration
    from vary.model.presets import preset_config

    settings = preset_config("vary-nano").to_dict()
    width = 24
    settings["vision_vocabulary_config"] |= {
        "hidden_size": width,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "stem_channels": (4, 6, 8),
        "neck_channels": width,
        "merge_channels": (width,),
        "ctc_hidden_size": width,
        "initializer_range": 0.3,
    }
    settings["text_config"].pop("layer_types", None)
    settings["text_config"] |= {
        "hidden_size": width,
        "intermediate_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 2,
        "initializer_range": 0.3,
    }
    settings["projector_dim"] = width
    set_seed(0)
    return VaryForConditionalGeneration(VaryConfig(**settings)).eval()


@pytest.fixture(scope="session")
def tiny_nano_folder(
    tiny_nano: VaryForConditionalGeneration, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The tiny vary-nano as a checkpoint folder."""
    from vary.assets import nano_vocabulary
    from vary.model.presets import nano_processor

    folder = tmp_path_factory.mktemp("checkpoint") / "tiny nano"
    tiny_nano.save_pretrained(folder)
    nano_processor(nano_vocabulary()).save_pretrained(folder)
    return folder
