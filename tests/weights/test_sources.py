"""Directories of the authors: every form of file, sizes from shapes, errors that list what does not fit."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from authors_files import authors_settings, authors_state
from factories import page_batch, random_model, tiny_opt_config, tiny_toy_config
from vary.errors import CheckpointError
from vary.model.configuration import VaryConfig
from vary.model.modeling import VaryForConditionalGeneration
from vary.model.presets import preset_config
from vary.weights.formats.layouts import find_layout
from vary.weights.formats.names import MINDOCR_NAMES, OPT_NAMES, QWEN_NAMES
from vary.weights.formats.sizes import Sizes
from vary.weights.loading import load_foreign
from vary.weights.sources import is_ours, open_source

FAMILIES = {"toy": (tiny_toy_config, QWEN_NAMES), "tiny": (tiny_opt_config, OPT_NAMES)}
WQ = "transformer.h.0.attn.c_attn.weight"


@pytest.fixture(params=FAMILIES)
def model(request: pytest.FixtureRequest) -> VaryForConditionalGeneration:
    config = FAMILIES[request.param][0]()
    if config.text_config.model_type == "opt":
        config.text_config.update({"bos_token_id": 2, "eos_token_id": 2, "pad_token_id": 1})  # as every OPT
    return random_model(config)


def state_of(model: VaryForConditionalGeneration) -> dict[str, Tensor]:
    return authors_state(
        model.state_dict(), OPT_NAMES if model.config.text_config.model_type == "opt" else QWEN_NAMES
    )


def write(folder: Path, config: VaryConfig, state: dict[str, Tensor], **settings: Any) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(
        json.dumps({**authors_settings(config), **settings}), encoding="utf-8"
    )
    torch.save(state, folder / "pytorch_model.bin")
    return folder


def write_index(folder: Path, name: str, files: dict[str, list[str]]) -> None:
    weight_map = {tensor: file for file, tensors in files.items() for tensor in tensors}
    (folder / name).write_text(json.dumps({"metadata": {}, "weight_map": weight_map}), encoding="utf-8")


def assert_same(found: VaryForConditionalGeneration, expected: VaryForConditionalGeneration) -> None:
    ours, theirs = expected.state_dict(), found.state_dict()
    assert ours.keys() == theirs.keys()
    assert [name for name in ours if not torch.equal(ours[name], theirs[name])] == []
    assert not any(tensor.is_meta for tensor in (*found.parameters(), *found.buffers()))


def test_one_file(model: VaryForConditionalGeneration, tmp_path: Path) -> None:
    found = load_foreign(write(tmp_path / "a.b c" / "模型", model.config, state_of(model)))
    assert_same(found, model)
    assert not found.training
    ours, theirs = (plain(m.config.to_dict()) for m in (model, found))
    assert {name for name in ours if ours[name] != theirs[name]} <= {"languages", "tasks", "prompts"}
    batch = page_batch(model.config, [2, 1])
    with torch.no_grad():
        assert torch.equal(found(**batch).logits, model(**batch).logits)


def test_a_file_of_old_pytorch(tmp_path: Path) -> None:
    model = random_model(tiny_toy_config())
    folder = write(tmp_path, model.config, {})
    torch.save(state_of(model), folder / "pytorch_model.bin", _use_new_zipfile_serialization=False)
    assert_same(load_foreign(folder), model)


@pytest.mark.parametrize("safe", [False, True])
def test_shards(model: VaryForConditionalGeneration, tmp_path: Path, safe: bool) -> None:
    state = state_of(model)
    folder = write(tmp_path, model.config, {})
    (folder / "pytorch_model.bin").unlink()
    suffix = "safetensors" if safe else "bin"
    stem = "model" if safe else "pytorch_model"
    names = sorted(state)
    files = {f"{stem}-0000{i}-of-00003.{suffix}": names[i::3] for i in range(3)}
    for file, tensors in files.items():
        part = {name: state[name].clone() for name in tensors}
        (save_file if safe else torch.save)(part, folder / file)
    write_index(folder, f"{stem}.{suffix}.index.json", files)
    assert_same(load_foreign(folder), model)


def test_one_safetensors_file_without_the_tied_head(tmp_path: Path) -> None:
    model = random_model(tiny_opt_config())
    state = state_of(model)
    del state["lm_head.weight"]
    folder = write(tmp_path, model.config, {})
    (folder / "pytorch_model.bin").unlink()
    save_file({name: tensor.clone() for name, tensor in state.items()}, folder / "model.safetensors")
    found = load_foreign(folder)
    assert_same(found, model)
    assert found.lm_head.weight is found.get_input_embeddings().weight


@pytest.mark.parametrize("dtype", [torch.bfloat16, "float16"])
def test_another_type(tmp_path: Path, dtype: torch.dtype | str) -> None:
    model = random_model(tiny_toy_config())
    folder = write(tmp_path, model.config, state_of(model))
    found = load_foreign(folder, dtype=dtype)
    wanted = dtype if isinstance(dtype, torch.dtype) else getattr(torch, dtype)
    assert {parameter.dtype for parameter in found.parameters()} == {wanted}
    assert torch.equal(found.lm_head.weight, model.lm_head.weight.to(wanted))
    assert torch.equal(
        found.model.language_model.rotary_emb.inv_freq, model.model.language_model.rotary_emb.inv_freq
    ), "computed tables stay in float32"
    with pytest.raises(CheckpointError, match="no type 'float5'"):
        load_foreign(folder, dtype="float5")


def test_the_type_of_the_checkpoint_is_kept(tmp_path: Path) -> None:
    model = random_model(tiny_toy_config()).to(torch.bfloat16)
    found = load_foreign(write(tmp_path, model.config, state_of(model)))
    assert found.dtype == torch.bfloat16


def test_the_model_may_be_saved_in_our_format(model: VaryForConditionalGeneration, tmp_path: Path) -> None:
    """Parts of `c_attn` are views of one mapped tensor; the library has to write them all the same."""
    found = load_foreign(write(tmp_path / "theirs", model.config, state_of(model)))
    found.save_pretrained(tmp_path / "ours")
    assert is_ours(tmp_path / "ours")
    assert_same(VaryForConditionalGeneration.from_pretrained(tmp_path / "ours"), model)


def test_loading_draws_nothing(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    model = random_model(tiny_toy_config())
    folder = write(tmp_path, model.config, state_of(model))
    capfd.readouterr()
    load_foreign(folder)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("preset", ["vary-toy", "vary-base-qwen", "vary-tiny"])
def test_sizes_of_the_published_models_follow_from_shapes(preset: str) -> None:
    """What the authors hard-wired in code is found again, at full size, on the meta device."""
    config = preset_config(preset)
    with torch.device("meta"):
        ours = VaryForConditionalGeneration(config).state_dict()
    names = OPT_NAMES if config.text_config.model_type == "opt" else QWEN_NAMES
    shapes = {name: tuple(tensor.shape) for name, tensor in authors_state(ours, names).items()}
    settings = authors_settings(config, vision=False)
    found = find_layout(shapes).config(settings, Sizes(names, shapes))
    assert plain(found.to_dict()) == plain(config.to_dict())


def test_the_published_configuration_of_vary_toy() -> None:
    """It names a class and a model type of before the code was public, and a folder that nobody has."""
    settings = {
        "architectures": ["MMGPTQwenForCausalLM"],
        "model_type": "mmgpt",
        "hidden_size": 2048,
        "intermediate_size": 11008,
        "kv_channels": 128,
        "num_attention_heads": 16,
        "num_hidden_layers": 24,
        "layer_norm_epsilon": 1e-06,
        "rotary_emb_base": 10000,
        "rotary_pct": 1.0,
        "no_bias": True,
        "scale_attn_weights": True,
        "seq_length": 8192,
        "use_dynamic_ntk": True,
        "use_logn_attn": True,
        "use_flash_attn": "auto",
        "tie_word_embeddings": False,
        "torch_dtype": "bfloat16",
        "vision_select_layer": -2,
        "vision_tower": "/mnt/host0/vit-large-patch14",
        "im_start_token": 151857,
        "im_end_token": 151858,
        "im_patch_token": 151859,
        "vocab_size": 151860,
    }
    config = preset_config("vary-toy")
    with torch.device("meta"):
        ours = VaryForConditionalGeneration(config).state_dict()
    shapes = {name: tuple(t.shape) for name, t in authors_state(ours, QWEN_NAMES).items()}
    found = find_layout(shapes).config(settings, Sizes(QWEN_NAMES, shapes))
    assert plain(found.to_dict()) == plain(config.to_dict())


def plain(value: Any) -> Any:
    """A configuration's values as JSON has them, without what loading adds."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items() if key not in ("dtype", "_name_or_path")}
    return [plain(item) for item in value] if isinstance(value, list | tuple) else value


def test_sizes_in_config_json_win(tmp_path: Path) -> None:
    """16 channels are no whole number of heads of 64; and nothing in a tensor says which epsilon was used."""
    model = random_model(tiny_toy_config())
    folder = write(tmp_path, model.config, state_of(model), vision_vocabulary_config={"layer_norm_eps": 1e-5})
    assert load_foreign(folder).config.vision_vocabulary_config.layer_norm_eps == 1e-5
    folder = write(tmp_path, model.config, state_of(model), clip_config=None)
    with pytest.raises(CheckpointError, match=r"CLIP branch 16 wide.*num_attention_heads into clip_config"):
        load_foreign(folder)


def test_a_network_with_global_attention_only(tmp_path: Path) -> None:
    config = tiny_toy_config()
    config.vision_vocabulary_config.global_attention_layers = (0, 1, 2, 3)
    model = random_model(config)
    found = load_foreign(write(tmp_path, config, state_of(model)))
    assert_same(found, model)
    assert found.config.vision_vocabulary_config.window_size == 0


def test_every_parameter_that_does_not_fit_is_listed(tmp_path: Path) -> None:
    model = random_model(tiny_toy_config())
    state = state_of(model)
    state["transformer.h.0.attn.c_attn.lora_A"] = torch.zeros(1)
    state["transformer.h.7.ln_1.weight"] = torch.zeros(24)
    del state["transformer.h.1.ln_2.weight"], state["transformer.vision_tower_high.neck.1.bias"]
    state["transformer.h.0.mlp.w1.weight"] = torch.zeros(88, 24)
    state[WQ] = state[WQ][:-1]
    with pytest.raises(CheckpointError) as caught:
        load_foreign(write(tmp_path, model.config, state))
    assert str(caught.value) == (
        f"{tmp_path}: the parameters do not fit the model; "
        "2 unknown: transformer.h.0.attn.c_attn.lora_A, transformer.h.7.ln_1.weight; "
        "2 missing: transformer.h.1.ln_2.weight, transformer.vision_tower_high.neck.1.bias; "
        f"2 misshapen: {WQ} is 71x24, expected 72x24, transformer.h.0.mlp.w1.weight is 88x24, expected 40x24"
    )


def test_computed_tables_of_old_versions_are_left_out(tmp_path: Path) -> None:
    model = random_model(tiny_toy_config())
    state = state_of(model)
    state["transformer.vision_tower.vision_model.embeddings.position_ids"] = torch.arange(5)[None]
    state["transformer.rotary_emb.inv_freq"] = torch.ones(3)
    assert_same(load_foreign(write(tmp_path, model.config, state)), model)


def test_a_head_that_is_said_to_be_tied_but_is_not(tmp_path: Path) -> None:
    model = random_model(tiny_opt_config())
    state = state_of(model)
    state["lm_head.weight"] = state["lm_head.weight"] + 1
    folder = write(tmp_path, model.config, state)
    with pytest.raises(CheckpointError, match=r"lm_head.weight differs .* tie_word_embeddings: false"):
        load_foreign(folder)
    untied = load_foreign(write(tmp_path, model.config, state, tie_word_embeddings=False))
    assert torch.equal(untied.lm_head.weight, state["lm_head.weight"])
    assert torch.equal(untied.get_input_embeddings().weight, model.get_input_embeddings().weight)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"no_bias": False}, "no_bias=False, but only True"),
        ({"rotary_pct": 0.5}, "rotary_pct=0.5, but only 1.0"),
        ({"kv_channels": 5}, "4 heads of kv_channels 5 are not hidden_size 24"),
        ({"hidden_size": None}, "hidden_size=None, but a positive number"),
        ({"vocab_size": "many"}, "vocab_size='many', but a positive number"),
        ({"vision_select_layer": "last"}, "make no model.*vision_select_layer=last"),
        ({"vision_select_layer": -5}, r"make no model.*vision_select_layer=-5.*range\(-4, 4\)"),
        ({"rotary_emb_base": "x"}, "make no model"),
        ({"rotary_emb_base": 10**400}, "make no model: OverflowError"),
        ({"vocab_size": 2**62}, "make no model: RuntimeError.*overflow"),
        ({"clip_config": {"num_attention_heads": 0}}, "make no model: ZeroDivisionError"),
        (
            {"clip_config": {"num_attention_heads": 2, "hidden_act": "nope"}},
            "make no model: KeyError: 'nope'",
        ),
        ({"num_hidden_layers": 10**9}, "says 1000000000 layers, but there are 145 tensors in all"),
        ({"im_patch_token": -1}, "says image_token_id -1, but the vocabulary has 96 tokens"),
        ({"im_end_token": 96}, "says image_end_token_id 96, but the vocabulary has 96 tokens"),
        ({"vision_vocabulary_config": {"window_size": 2}}, r"rel_pos_h is 5x6, expected 3x6"),
    ],
)
def test_settings_that_make_no_model(tmp_path: Path, settings: dict[str, Any], message: str) -> None:
    model = random_model(tiny_toy_config())
    with pytest.raises(CheckpointError, match=f"(?s){message}"):
        load_foreign(write(tmp_path, model.config, state_of(model), **settings))


def test_a_number_of_layers_that_cannot_be(tmp_path: Path) -> None:
    """It would be built, on the meta device, to be compared."""
    model = random_model(tiny_toy_config())
    name = "transformer.vision_tower.vision_model.encoder.layers.9999999999.mlp.fc1.weight"
    with pytest.raises(CheckpointError, match="numbered 9999999999, but there are"):
        load_foreign(write(tmp_path, model.config, {**state_of(model), name: torch.zeros(1, 1)}))


def test_tables_of_no_width(tmp_path: Path) -> None:
    model = random_model(tiny_toy_config())
    tables = {name: t[:, :0].clone() for name, t in state_of(model).items() if "rel_pos" in name}
    with pytest.raises(CheckpointError, match="make no model: ZeroDivisionError"):
        load_foreign(write(tmp_path, model.config, {**state_of(model), **tables}))


@pytest.mark.parametrize(
    "dtype", [torch.int64, torch.uint8, torch.float8_e4m3fn, torch.complex64, torch.bool]
)
def test_weights_of_a_type_that_is_no_models(tmp_path: Path, dtype: torch.dtype) -> None:
    model = random_model(tiny_toy_config())
    state = state_of(model)
    state["transformer.ln_f.weight"] = state["transformer.ln_f.weight"].to(dtype)
    name = str(dtype).removeprefix("torch.")
    with pytest.raises(CheckpointError, match=f"are not read: transformer.ln_f.weight is {name}$"):
        load_foreign(write(tmp_path, model.config, state))
    everything = {name: tensor.to(dtype) for name, tensor in state.items()}
    with pytest.raises(CheckpointError, match=r"lm_head.weight is"):
        load_foreign(write(tmp_path, model.config, everything))


@pytest.mark.parametrize("instead", [True, False])
def test_a_name_that_merely_fits_a_rule_is_unknown(tmp_path: Path, instead: bool) -> None:
    """MindOCR's `norm1.gamma` has a rule of its own; `norm1.weight` fits that of the other tensors."""
    model = random_model(tiny_toy_config())
    state = authors_state(model.state_dict(), MINDOCR_NAMES)
    right = "transformer.vision_tower_high.blocks.0.norm1.gamma"
    other = right.replace("gamma", "weight")
    state[other] = state.pop(right) if instead else state[right] + 1
    folder = write(tmp_path, model.config, state)
    message = f"1 unknown: {other}" + (f"; 1 missing: {right}" if instead else "")
    with pytest.raises(CheckpointError, match=f"{message}$"):
        load_foreign(folder)


def test_a_vision_vocabulary_alone_says_what_it_is_for(tmp_path: Path) -> None:
    random_model(tiny_toy_config()).model.vision_vocabulary.save_pretrained(tmp_path)
    with pytest.raises(CheckpointError, match=r"alone is no whole model; .*vary vocabulary graft"):
        load_foreign(tmp_path)


def test_a_file_of_our_format(tmp_path: Path) -> None:
    model = random_model(tiny_toy_config())
    model.save_pretrained(tmp_path)
    source = open_source(tmp_path / "model.safetensors")
    assert source.layout.name == "vary"
    assert list(source.places) == list(model.state_dict())


def test_unknown_layouts_name_those_that_are_known(tmp_path: Path) -> None:
    folder = write(tmp_path, tiny_toy_config(), {"model.layers.0.self_attn.q_proj.weight": torch.zeros(2, 2)})
    with pytest.raises(
        CheckpointError, match=r"unknown parameter names \(model.layers.*transformer.wte.weight"
    ):
        load_foreign(folder)


def test_a_network_without_its_position_embedding_cannot_be_measured(tmp_path: Path) -> None:
    model = random_model(tiny_toy_config())
    state = state_of(model)
    del state["transformer.vision_tower_high.pos_embed"]
    with pytest.raises(CheckpointError, match=r"vision_tower_high.pos_embed is missing"):
        load_foreign(write(tmp_path, model.config, state))


def test_windows_of_two_sizes_are_refused(tmp_path: Path) -> None:
    model = random_model(tiny_toy_config())
    state = state_of(model)
    for axis in "hw":
        state[f"transformer.vision_tower_high.blocks.0.attn.rel_pos_{axis}"] = torch.zeros(3, 6)
    with pytest.raises(CheckpointError, match=r"for \[\(2, 2\), \(3, 3\)\] patches on a grid of 8 x 8"):
        load_foreign(write(tmp_path, model.config, state))


@pytest.mark.parametrize("make_config", [tiny_toy_config, tiny_opt_config])
def test_detection(make_config: Callable[[], VaryConfig], tmp_path: Path) -> None:
    config = make_config()
    theirs = write(tmp_path / "theirs", config, {})
    assert not is_ours(theirs)
    config.save_pretrained(tmp_path / "ours")
    assert is_ours(tmp_path / "ours")
    assert is_ours(str(tmp_path / "ours"))
    assert not is_ours(tmp_path)
    assert not is_ours(tmp_path / "nowhere")
    (tmp_path / "config.json").write_text("{broken", encoding="utf-8")
    assert not is_ours(tmp_path)
