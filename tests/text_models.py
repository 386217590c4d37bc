"""Tiny causal language models of Transformers with tokenizers of their own, as modules and as folders."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from tokenizers import AddedToken, Tokenizer, decoders, pre_tokenizers, processors
from tokenizers.models import BPE
from torch import Tensor
from transformers import CONFIG_MAPPING, AutoModelForCausalLM, PreTrainedTokenizerFast

from factories import random_model, randomise, tiny_toy_config
from vary.model.configuration import VaryConfig
from vary.model.modeling import VaryForConditionalGeneration

ROWS = 320
"""Rows of every model: the 256 bytes, a few special tokens, and more that no token uses."""
COMMON: dict[str, Any] = {
    "vocab_size": ROWS,
    "hidden_size": 24,
    "intermediate_size": 40,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": 256,
    "bos_token_id": None,
    "eos_token_id": None,
    "pad_token_id": None,
}
KINDS: dict[str, dict[str, Any]] = {
    "qwen2": {"num_key_value_heads": 2},
    "qwen3": {"num_key_value_heads": 2, "head_dim": 8},
    "llama": {"num_key_value_heads": 2},
    "opt": {"ffn_dim": 40, "word_embed_proj_dim": 24, "pad_token_id": 1},
}
"""The architectures that are tested throughout; the defaults of the others' fields are huge."""
OTHERS: dict[str, dict[str, Any]] = {
    "gpt2": {},
    "bloom": {"n_head": 4, "n_layer": 2},
    "mpt": {"d_model": 24, "n_heads": 4, "n_layers": 2},
    "gpt_neox": {},
    "phi3": {"num_key_value_heads": 2},
    "mistral": {"num_key_value_heads": 2, "head_dim": 6, "sliding_window": 6},
    "gemma3_text": {"num_key_value_heads": 2, "head_dim": 8, "sliding_window": 6},
    "gpt_oss": {
        "num_key_value_heads": 2,
        "head_dim": 8,
        "num_local_experts": 4,
        "num_experts_per_tok": 2,
        "sliding_window": 6,
    },
}
"""Further ones, each with something of its own: learned positions, ALiBi, windows, scales, experts."""


def text_model(kind: str, *, tied: bool = False, seed: int = 0, **changes: Any) -> Any:
    """A random causal language model in evaluation mode."""
    config = CONFIG_MAPPING[kind](
        **{**COMMON, **{**KINDS, **OTHERS}.get(kind, {}), "tie_word_embeddings": tied, **changes}
    )
    model = AutoModelForCausalLM.from_config(config).eval()
    randomise(model, seed)
    model.tie_weights()
    assert (model.get_output_embeddings().weight is model.get_input_embeddings().weight) == tied
    return model


def byte_tokenizer(
    specials: Sequence[str], *, first: str | None = None, **settings: Any
) -> PreTrainedTokenizerFast:
    """A tokenizer of single bytes, special tokens behind them; `first` is put in front of every text."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(BPE(vocab={letter: place for place, letter in enumerate(letters)}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in specials])
    if first is not None:
        tokenizer.post_processor = processors.TemplateProcessing(
            single=f"{first} $A", special_tokens=[(first, tokenizer.token_to_id(first))]
        )
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, **settings)


def chatml_tokenizer() -> PreTrainedTokenizerFast:
    """As Qwen's: turns in ChatML, and a chat template that writes a line break after each."""
    tokenizer = byte_tokenizer(
        ["<|endoftext|>", "<|im_start|>", "<|im_end|>"], pad_token="<|endoftext|>", eos_token="<|im_end|>"
    )
    tokenizer.chat_template = (
        "{%- for message in messages %}"
        "{{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>\\n' }}"
        "{%- endfor %}{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}"
    )
    return tokenizer


def llama_tokenizer() -> PreTrainedTokenizerFast:
    """As Llama's: `<s>` in front of every text, no padding token, and a chat template of its own."""
    tokenizer = byte_tokenizer(["<s>", "</s>"], first="<s>", bos_token="<s>", eos_token="</s>")
    tokenizer.chat_template = (
        "{{- bos_token }}{%- if messages[0]['role'] == 'system' %}"
        "{%- set system = messages[0]['content'] %}{%- set messages = messages[1:] %}"
        "{{- '<<' + system + '>>' }}{%- endif %}"
        "{%- for message in messages %}"
        "{%- if message['role'] == 'user' %}{{- '[INST] ' + message['content'] + ' [/INST]' }}"
        "{%- else %}{{- message['content'] + eos_token }}{%- endif %}{%- endfor %}"
    )
    return tokenizer


def opt_tokenizer() -> PreTrainedTokenizerFast:
    """As OPT's: `</s>` in front of every text, and no chat template."""
    return byte_tokenizer(
        ["<s>", "<pad>", "</s>"], first="</s>", bos_token="</s>", eos_token="</s>", pad_token="<pad>"
    )


def tokenizer_of(kind: str) -> PreTrainedTokenizerFast:
    """The tokenizer that goes with a kind of model."""
    return {"llama": llama_tokenizer, "opt": opt_tokenizer}.get(kind, chatml_tokenizer)()


def text_folder(folder: Path, kind: str, *, tokenizer: bool = True, **options: Any) -> Path:
    """A folder as Transformers writes it."""
    text_model(kind, **options).save_pretrained(folder)
    if tokenizer:
        tokenizer_of(kind).save_pretrained(folder)
    return folder


def some_ids(count: int = 9, *, rows: int = 2, below: int = 250, seed: int = 5) -> torch.Tensor:
    """Ids (rows, count) of bytes."""
    return torch.randint(1, below, (rows, count), generator=torch.Generator().manual_seed(seed))


def model_of(kind: str, **changes: Any) -> VaryForConditionalGeneration:
    """A random model over a text model of a kind."""
    text = {**COMMON, **{**KINDS, **OTHERS}.get(kind, {}), "model_type": kind, **changes}
    if kind == "mistral":
        text["sliding_window"] = changes.get("sliding_window")
    settings = tiny_toy_config().to_dict()
    marks = {"image_token_id": 310, "image_start_token_id": 311, "image_end_token_id": 312}
    settings |= {"text_config": text, "projector_dim": text["hidden_size"] // 2, **marks}
    return random_model(VaryConfig(**settings))


def anew(model: VaryForConditionalGeneration, ids: list[int]) -> Tensor:
    """The scores behind every id, without a cache."""
    with torch.no_grad():
        scores: Tensor = model(input_ids=torch.tensor([ids], device=model.device), use_cache=False).logits
    return scores[0].float()
