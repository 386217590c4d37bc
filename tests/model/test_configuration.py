"""What a configuration refuses, and that it survives being written and read."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from transformers import AutoConfig

from factories import tiny_nano_config, tiny_opt_config, tiny_text, tiny_toy_config, tiny_vision_vocabulary
from vary.model.configuration import VaryConfig, VisionVocabularyConfig
from vary.model.presets import PRESETS, preset_config

TINY = [tiny_toy_config, tiny_opt_config, tiny_nano_config]


def with_text(text: dict[str, object]) -> VaryConfig:
    return VaryConfig(vision_vocabulary_config=tiny_vision_vocabulary(), text_config=text, projector_dim=24)


@pytest.mark.parametrize("make", [*TINY, *(lambda name=name: preset_config(name) for name in PRESETS)])
def test_config_survives_being_saved(make: Callable[[], VaryConfig], tmp_path: Path) -> None:
    config = make()
    config.save_pretrained(tmp_path)
    loaded = AutoConfig.from_pretrained(tmp_path)
    assert isinstance(loaded, VaryConfig)
    ours, theirs = config.to_dict(), loaded.to_dict()
    differing = {name for name in ours.keys() | theirs.keys() if as_json(ours, name) != as_json(theirs, name)}
    assert differing <= {"transformers_version", "_name_or_path"}


def as_json(values: dict[str, object], name: str) -> object:
    """A value as JSON would give it back: tuples are lists."""
    value = values.get(name)
    if isinstance(value, dict):
        return {key: as_json(value, key) for key in value if key != "transformers_version"}
    return (
        [list(v) if isinstance(v, tuple) else v for v in value] if isinstance(value, tuple | list) else value
    )


def test_the_default_configuration_is_whole() -> None:
    assert VaryConfig().text_config.hidden_size == VaryConfig().projector_dim


@pytest.mark.parametrize(
    ("text", "named"),
    [
        (
            {"model_type": "gemma2", "hidden_size": 24, "final_logit_softcapping": 30.0},
            "gemma2.*softcapping=30",
        ),
        ({"model_type": "granite", "hidden_size": 24, "logits_scaling": 8.0}, "granite.*logits_scaling=8"),
        ({"model_type": "cohere", "hidden_size": 24}, "cohere.*logit_scale=0.0625"),
        ({"model_type": "phimoe", "hidden_size": 24, "lm_head_bias": True}, "phimoe.*lm_head_bias=True"),
        ({"model_type": "phi", "hidden_size": 24}, "phi.*a bias"),
        ({"model_type": "opt", "hidden_size": 24, "word_embed_proj_dim": 12}, "opt.*word_embed_proj_dim=12"),
    ],
)
def test_a_head_that_is_more_than_a_matrix_is_refused_by_name(text: dict[str, object], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        with_text(text)


@pytest.mark.parametrize("kind", ["qwen2", "qwen3", "llama", "opt"])
def test_a_plain_head_is_taken(kind: str) -> None:
    text = {"model_type": kind, "hidden_size": 24, "num_attention_heads": 4, "word_embed_proj_dim": 24}
    assert with_text(text).text_config.model_type == kind


def test_branches_must_fill_the_language_model() -> None:
    with pytest.raises(ValueError, match=r"1 branches of projector_dim 10 make 10 channels.*24 wide"):
        VaryConfig(
            vision_vocabulary_config=tiny_vision_vocabulary(), text_config=tiny_text(), projector_dim=10
        )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_attention_heads": 5}, "no multiple of 5 heads"),
        ({"merge_channels": (16,)}, "1 merge_channels but 2 merge_strides"),
        ({"stem": "conv", "stem_channels": (4,)}, "patches of 4 pixels, not 16"),
        ({"variable_width": True}, "window_size=0"),
        ({"variable_width": True, "window_size": 0, "use_absolute_position": False}, "strides must be 1"),
        ({"ctc_frames": 4}, "ctc_hidden_size"),
    ],
)
def test_contradicting_sizes_are_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        VisionVocabularyConfig(**tiny_vision_vocabulary(**changes))


def test_the_selected_layer_of_clip_must_be_there() -> None:
    config = tiny_toy_config()
    with pytest.raises(ValueError, match=r"vision_select_layer=-9, but it must lie in range\(-4, 4\)"):
        VaryConfig(
            clip_config=config.clip_config,
            text_config=config.text_config,
            projector_dim=12,
            vision_select_layer=-9,
        )


def test_image_tokens_follow_grid_and_strides() -> None:
    assert VisionVocabularyConfig().num_image_tokens == 256
    assert tiny_toy_config().image_seq_length == 4
    assert tiny_nano_config().image_seq_length == 16


def test_a_checkpoints_own_prompts_are_kept_exactly(tmp_path: Path) -> None:
    settings = {**tiny_toy_config().to_dict(), "tasks": ["ocr", "markdown"]}
    prompts = {"ocr": "OCR: ", "markdown": ""}
    VaryConfig(**settings | {"prompts": prompts}).save_pretrained(tmp_path)
    loaded = AutoConfig.from_pretrained(tmp_path)
    assert loaded.prompts == prompts
    assert tiny_toy_config().prompts == {}


@pytest.mark.parametrize(
    ("prompts", "message"),
    [
        ({"chart": "x"}, "prompts are given for chart, but the tasks are ocr"),
        ({"ocr": 3}, "expected an object of task and text"),
        (["ocr"], "expected an object of task and text"),
    ],
)
def test_prompts_that_no_task_sends_are_refused(prompts: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        VaryConfig(**{**tiny_toy_config().to_dict(), "prompts": prompts})


def test_the_width_of_lines_is_the_checkpoint_s_or_the_network_s() -> None:
    config = preset_config("vary-nano")
    assert config.line_size == (32, 2048)
    assert VaryConfig(**{**config.to_dict(), "line_width": 1024}).line_size == (32, 1024)
    assert tiny_toy_config().line_size is None


@pytest.mark.parametrize("width", [16, 4096, 100.5, "1024", True])
def test_widths_of_lines_that_the_network_does_not_take_are_refused(width: object) -> None:
    with pytest.raises(ValueError, match=r"line_width is .* expected pixels from the lines' height 32"):
        VaryConfig(**{**preset_config("vary-nano").to_dict(), "line_width": width})
