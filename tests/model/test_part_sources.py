"""Parts that cannot be taken are refused by name, with what was found and what was expected."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import CLIPVisionConfig, CLIPVisionModel, LlamaForCausalLM, LlamaModel

from factories import random_model, randomise, tiny_nano_config, tiny_opt_config, tiny_vision_vocabulary
from text_models import text_model, tokenizer_of
from vary.errors import CheckpointError
from vary.model.configuration import VisionVocabularyConfig
from vary.model.modeling import VaryForConditionalGeneration
from vary.model.vision_vocabulary import VisionVocabulary


def vocabulary(**changes: Any) -> VisionVocabulary:
    network = VisionVocabulary(VisionVocabularyConfig(**tiny_vision_vocabulary(**changes))).eval()
    randomise(network, 1)
    return network


def refused(match: str, **parts: Any) -> str:
    given = {"vision_vocabulary": vocabulary(), "text": None, **parts}
    if given["text"] is None:
        given["text"] = text_model("llama")
    with pytest.raises(CheckpointError, match=match) as caught:
        VaryForConditionalGeneration.from_parts(**given)
    return str(caught.value)


@pytest.mark.parametrize(
    ("kind", "changes", "match"),
    [
        ("phi", {}, "head of the text model 'phi' has a bias"),
        ("gptj", {"n_embd": 24, "n_head": 4, "n_layer": 2, "rotary_dim": 4}, "'gptj' has a bias"),
        ("bert", {"is_decoder": True}, "'bert' has a bias"),
        ("gemma2", {"num_key_value_heads": 2, "head_dim": 8}, "'gemma2' has final_logit_softcapping=30.0"),
        ("granite", {"num_key_value_heads": 2, "logits_scaling": 2.0}, "'granite' has logits_scaling=2.0"),
        ("cohere", {"num_key_value_heads": 2}, "'cohere' has logit_scale=0.0625"),
        ("mamba", {"state_size": 4}, "'mamba' cannot be called as Vary calls it"),
    ],
)
def test_heads_and_models_that_do_more_are_named(kind: str, changes: dict[str, Any], match: str) -> None:
    refused(match, text=text_model(kind, tied=kind in ("bert", "gemma2", "cohere", "mamba"), **changes))


def test_a_model_that_does_more_than_it_says_is_found_out() -> None:
    """No field of the configuration tells of it: only the scores do."""

    class Scaled(LlamaForCausalLM):
        def forward(self, *args: Any, **kwargs: Any) -> Any:
            output = super().forward(*args, **kwargs)
            output.logits = output.logits * 0.9
            return output

    plain = text_model("llama")
    scaled = Scaled(plain.config).eval()
    scaled.load_state_dict(plain.state_dict())
    refused("'llama' scores the same tokens differently without its own head", text=scaled)


def test_modules_that_are_no_causal_language_model() -> None:
    config = text_model("llama").config
    refused("text is a LlamaModel; expected a causal language model with its head", text=LlamaModel(config))
    refused("text is a VaryForConditionalGeneration", text=random_model(tiny_opt_config()))
    refused("text is a Linear; expected a folder", text=nn.Linear(2, 2))
    refused("text is a CLIPVisionConfig, which makes no causal language model", text=CLIPVisionConfig())
    with torch.device("meta"):
        refused("on the meta device, without weights", text=LlamaForCausalLM(config))


def test_a_head_of_another_size() -> None:
    causal = text_model("llama")
    causal.lm_head = nn.Linear(24, 7, bias=False)
    refused(r"head of the text model 'llama' is \(7, 24\), but its embeddings are \(320, 24\)", text=causal)


def test_folders_that_are_not_there_are_not_looked_for_elsewhere(tmp_path: Path) -> None:
    for part in ("text", "vision_vocabulary", "clip"):
        refused("Qwen/Qwen2-0.5B: no such folder; parts are read from local", **{part: "Qwen/Qwen2-0.5B"})
        refused(r"config.json cannot be read", **{part: tmp_path})


def test_folders_of_another_kind(tmp_path: Path) -> None:
    text_model("llama").save_pretrained(tmp_path / "text")
    CLIPVisionModel(
        CLIPVisionConfig(
            hidden_size=16, intermediate_size=16, num_hidden_layers=2, num_attention_heads=2, image_size=28
        )
    ).save_pretrained(tmp_path / "clip")
    vocabulary().save_pretrained(tmp_path / "vocabulary")
    random_model(tiny_opt_config()).save_pretrained(tmp_path / "whole")
    refused("its model_type is 'llama', and no vision vocabulary", vision_vocabulary=tmp_path / "text")
    refused("its model_type is 'llama'; expected CLIP", clip=tmp_path / "text")
    refused("this checkpoint has no CLIP branch", clip=tmp_path / "whole")
    refused("a 'clip_vision_model' is no causal language model", text=tmp_path / "clip")
    refused("a 'vary_vision_vocabulary' is no causal language model", text=tmp_path / "vocabulary")
    refused("a 'vary' is no causal language model", text=tmp_path / "whole")
    refused("vision_vocabulary is a LlamaForCausalLM", vision_vocabulary=text_model("llama"))
    refused("clip is a LlamaForCausalLM without CLIP's vision model", clip=text_model("llama"))
    refused("clip is a VaryForConditionalGeneration without CLIP", clip=random_model(tiny_opt_config()))


def test_a_folder_that_needs_code_of_its_own(tmp_path: Path) -> None:
    """It is refused, not run, and nobody is asked whether to run it."""
    ran = tmp_path / "ran"
    (tmp_path / "config.json").write_text(
        json.dumps(
            {
                "model_type": "qwen",
                "auto_map": {
                    "AutoConfig": "theirs.Config",
                    "AutoModelForCausalLM": "theirs.Model",
                },
            }
        )
    )
    (tmp_path / "theirs.py").write_text(f"open({str(ran)!r}, 'w').close()\n")
    refused("Transformers cannot read its config.json", text=tmp_path)
    assert not ran.exists()


def test_a_quantized_folder(tmp_path: Path) -> None:
    text_model("llama").save_pretrained(tmp_path)
    settings = json.loads((tmp_path / "config.json").read_text())
    settings["quantization_config"] = {"quant_method": "gptq", "bits": 4}
    (tmp_path / "config.json").write_text(json.dumps(settings))
    refused("its weights are quantized", text=tmp_path)


@pytest.mark.parametrize(
    ("part", "lost", "kind"),
    [
        ("text", "model.layers.1.mlp.up_proj.weight", "llama"),
        ("vision_vocabulary", "blocks.2.attn.rel_pos_h", ""),
        ("clip", "encoder.layers.1.mlp.fc1.bias", ""),
    ],
)
def test_weights_that_do_not_belong_are_listed(part: str, lost: str, kind: str, tmp_path: Path) -> None:
    network = {
        "text": lambda: text_model("llama"),
        "vision_vocabulary": vocabulary,
        "clip": lambda: CLIPVisionModel(
            CLIPVisionConfig(
                hidden_size=16,
                intermediate_size=24,
                num_hidden_layers=3,
                num_attention_heads=2,
                image_size=28,
                patch_size=14,
            )
        ),
    }[part]()
    network.save_pretrained(tmp_path)
    file = tmp_path / "model.safetensors"
    tensors = load_file(file)
    [stored] = [name for name in tensors if name.endswith(lost)]
    whole = tensors.pop(stored)
    save_file({**tensors, "surplus": torch.zeros(2)}, file, {"format": "pt"})
    message = refused("missing: 1 tensors", **{part: tmp_path})
    assert lost in message
    assert "unexpected: 1 tensors, surplus" in message
    save_file({**tensors, stored: whole[:-1].clone()}, file, {"format": "pt"})
    assert lost in refused("mismatched: 1 tensors", **{part: tmp_path})
    file.write_bytes(b"nothing")
    refused(str(tmp_path), **{part: tmp_path})


def clip_of(**changes: Any) -> CLIPVisionConfig:
    return CLIPVisionConfig(
        hidden_size=16,
        intermediate_size=24,
        num_hidden_layers=3,
        num_attention_heads=2,
        **{"image_size": 28, "patch_size": 14, **changes},
    )


def test_parts_that_do_not_fit_each_other() -> None:
    refused("CLIP makes 9 tokens of an image, but the vision vocabulary 4", clip=clip_of(image_size=42))
    odd = text_model("gpt2", hidden_size=25, num_attention_heads=5)
    refused("the language model is 25 wide, which 2 branches cannot share equally", text=odd, clip=clip_of())
    refused("vision_select_layer=-9, but it must lie in", clip=clip_of(), vision_select_layer=-9)
    nano = tiny_nano_config().vision_vocabulary_config
    nano.ctc_hidden_size = 20
    refused("ctc_hidden_size is 20, but the language model is 24 wide", vision_vocabulary=nano)


def test_image_tokens_that_cannot_be() -> None:
    refused("three different ids", image_token_id=5, image_start_token_id=5)
    refused("three different ids", image_token_id=-1)
    refused("leave the ids out", tokenizer=tokenizer_of("llama"), image_token_id=5)


def test_options_that_do_not_exist() -> None:
    for options, hint in (
        ({"taks": ("ocr",)}, "did you mean 'tasks'"),
        ({"attn_implementation": "eager"}, "there are image_token_id"),
        ({"text_config": {}}, "no option 'text_config'"),
    ):
        with pytest.raises(TypeError, match=hint):
            VaryForConditionalGeneration.from_parts(
                vision_vocabulary=vocabulary(), text=text_model("llama"), **options
            )
