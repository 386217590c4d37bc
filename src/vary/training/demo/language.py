"""The demonstration's tokenizer, and a language model that has read text alone."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM

from vary.datagen.prompts import wordings
from vary.datagen.scene.config import NEGATIVE_ANSWERS
from vary.model.tokenization import (
    IMAGE_END_TOKEN,
    IMAGE_START_TOKEN,
    IMAGE_TOKEN,
    QWEN_PATTERN,
    encode_text,
    tokenizer_from_ranks,
    wrap_tokenizer,
)
from vary.training.demo.fitting import Progress, fit
from vary.training.demo.pages import COLOURS, SHAPES

__all__ = ["POSITIONS", "decoder_config", "make_tokenizer", "train_language_model"]

TASKS = ("ocr", "caption", "detect")
PAD, EOS, TURN = "<|endoftext|>", "<|end|>", "<|start|>"
SPECIAL = (PAD, TURN, EOS, IMAGE_START_TOKEN, IMAGE_END_TOKEN, IMAGE_TOKEN)
POSITIONS = 256
RATE = 2e-3
_WORD = re.compile(r"[^\r\n\w]?[A-Za-z]+")


def make_tokenizer() -> PreTrainedTokenizerFast:
    """Qwen's kind of tokenizer for the demonstration: bytes, and each of its words as one token."""
    texts = [wording for task in TASKS for wording in wordings(task, "en")]
    texts += [f"a {colour} {shape} and" for colour in COLOURS for shape in SHAPES]
    texts += [f"{colour} a" for colour in COLOURS] + [NEGATIVE_ANSWERS["en"], ": [", ", ", "]; "]
    words = sorted({word for text in texts for word in _WORD.findall(text) if len(word) > 1})
    ranks = {bytes([value]): value for value in range(256)}
    ranks |= {word.encode(): 256 + place for place, word in enumerate([*words, ": [", " [", ", ", "];"])}
    special = {token: len(ranks) + place for place, token in enumerate(SPECIAL)}
    tokenizer = tokenizer_from_ranks(ranks, special_tokens=special, pattern=QWEN_PATTERN, nfc=True)
    return wrap_tokenizer(tokenizer, pad_token=PAD, eos_token=EOS)


def decoder_config(tokenizer: PreTrainedTokenizerFast, width: int = 64) -> Qwen2Config:
    """A decoder of Qwen2's kind.  So narrow a network learns nothing from the usual small random weights."""
    return Qwen2Config(
        vocab_size=len(tokenizer),
        hidden_size=width,
        intermediate_size=2 * width,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=4,
        max_position_embeddings=POSITIONS,
        rope_parameters={"rope_type": "default", "rope_theta": 1000.0},
        initializer_range=0.1,
        tie_word_embeddings=False,
        bos_token_id=None,
        eos_token_id=tokenizer.convert_tokens_to_ids(EOS),
        pad_token_id=tokenizer.convert_tokens_to_ids(PAD),
    )


def train_language_model(
    texts: Sequence[str],
    folder: Path,
    *,
    steps: int,
    batch: int,
    seed: int,
    progress: Progress,
) -> None:
    """A language model of some texts, which has never seen an image.

    `folder/model` has the model and its tokenizer in the end.
    """
    torch.manual_seed(seed)
    tokenizer = make_tokenizer()
    model = Qwen2ForCausalLM(decoder_config(tokenizer))
    model.set_attn_implementation("eager")

    def loss_of(step: int) -> Tensor:
        chosen = np.random.default_rng([seed, step]).integers(len(texts), size=batch)
        ids, mask = _batch([texts[number] for number in chosen], tokenizer)
        loss: Tensor = model(input_ids=ids, attention_mask=mask, labels=ids.masked_fill(mask == 0, -100)).loss
        return loss

    fit(model, loss_of, steps=steps, rate=RATE, log=folder / "log.csv", progress=progress)
    partial = folder / "model.partial"
    model.save_pretrained(partial)
    tokenizer.save_pretrained(partial)
    partial.rename(folder / "model")


def _batch(texts: Sequence[str], tokenizer: PreTrainedTokenizerFast) -> tuple[Tensor, Tensor]:
    """Texts with their end tokens as ids, and the mask, (B, T) each, padded on the right."""
    end, pad = tokenizer.eos_token_id, tokenizer.pad_token_id
    rows = [[*encode_text(tokenizer, text), end] for text in texts]
    longest = max(map(len, rows))
    ids = torch.tensor([row + [pad] * (longest - len(row)) for row in rows])
    mask = torch.tensor([[1] * len(row) + [0] * (longest - len(row)) for row in rows])
    return ids, mask
