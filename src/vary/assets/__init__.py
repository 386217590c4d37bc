"""What the package ships beside its code: the default checkpoint."""

from __future__ import annotations

from pathlib import Path

__all__ = ["default_checkpoint", "nano_vocabulary"]


def default_checkpoint() -> Path:
    """The folder of vary-nano's configuration, tokenizer, weights and model card."""
    return Path(__file__).parent / "nano"


def nano_vocabulary() -> Path:
    """vary-nano's vocabulary, one token for each character, as a `.tiktoken` file."""
    return default_checkpoint() / "nano.tiktoken"
