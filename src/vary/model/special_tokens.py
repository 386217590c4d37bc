"""The special tokens of the family's tokenizers, and how byte-level tokenizers write bytes."""

from __future__ import annotations

__all__ = [
    "IMAGE_END_TOKEN",
    "IMAGE_START_TOKEN",
    "IMAGE_TOKEN",
    "NANO_SPECIAL_TOKENS",
    "QWEN_SPECIAL_TOKENS",
    "byte_letters",
]

IMAGE_START_TOKEN, IMAGE_END_TOKEN, IMAGE_TOKEN = "<img>", "</img>", "<imgpad>"

QWEN_SPECIAL_TOKENS = (
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    *(f"<|extra_{index}|>" for index in range(205)),
    *("<ref>", "</ref>", "<box>", "</box>", "<quad>", "</quad>"),
    *(IMAGE_START_TOKEN, IMAGE_END_TOKEN, IMAGE_TOKEN),
)
"""Vary's special tokens; their ids follow the 151643 ranks of the file, so that `<imgpad>` is 151859."""

NANO_SPECIAL_TOKENS = (
    *("<pad>", "<eos>", IMAGE_START_TOKEN, IMAGE_END_TOKEN, IMAGE_TOKEN, "<bos>"),
    *(f"<|reserved_{index}|>" for index in range(6, 16)),
)
"""vary-nano's special tokens, with ids 0 to 15; `<pad>` is the blank of the CTC head too."""


def byte_letters() -> list[str]:
    """For each byte the printable character by which byte-level tokenizers write it (GPT-2's table)."""
    printable = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    others = [value for value in range(256) if value not in printable]
    return [chr(value) if value in printable else chr(256 + others.index(value)) for value in range(256)]
