"""Ids to text, as the library's tokenizer has it, from `tokenizer.json`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from vary.errors import CheckpointError, NativeError
from vary.model.checkpoint_files import read_json
from vary.model.special_tokens import byte_letters

__all__ = ["TokenTexts"]


class TokenTexts:
    """The bytes of every token of a byte-level tokenizer; of special ones and of ids that are none, nothing.

    Args:
        pieces: bytes by id.
    """

    def __init__(self, pieces: dict[int, bytes]) -> None:
        self._pieces = pieces

    @classmethod
    def read(cls, folder: Path) -> TokenTexts:
        """The tokens of a checkpoint.

        Raises:
            CheckpointError: if `tokenizer.json` is missing or broken.
            NativeError: for a tokenizer of another kind.
        """
        file = folder / "tokenizer.json"
        content = read_json(file)
        model, decoder, added = (content.get(name) for name in ("model", "decoder", "added_tokens"))
        kinds = [part.get("type") if isinstance(part, dict) else None for part in (model, decoder)]
        if kinds != ["BPE", "ByteLevel"]:
            raise NativeError(
                f"{file}: a tokenizer of the kind {kinds}; without PyTorch only byte-level ones are read"
            )
        assert isinstance(model, dict)
        vocabulary = model.get("vocab")
        if not isinstance(vocabulary, dict) or not all(type(id) is int for id in vocabulary.values()):
            raise CheckpointError(f"{file} has no vocabulary from tokens to ids; fetch it again")
        if not isinstance(added, list) or not all(_is_token(token) for token in added):
            raise CheckpointError(f"{file} has no list of added tokens; fetch it again")
        if not all(token["special"] for token in added):
            raise NativeError(
                f"{file} has added tokens that are no special ones; only the library writes them"
            )
        values = {letter: value for value, letter in enumerate(byte_letters())}
        pieces = {id: _bytes_of(token, values) for token, id in vocabulary.items()}
        return cls(pieces | {token["id"]: b"" for token in added})

    def __call__(self, ids: Sequence[int]) -> str:
        """The text; bytes that make no character are U+FFFD, one for each part that could begin one."""
        pieces = self._pieces
        return b"".join([pieces.get(id, b"") for id in ids]).decode("utf-8", "replace")


def _is_token(token: Any) -> bool:
    return isinstance(token, dict) and type(token.get("id")) is int and type(token.get("special")) is bool


def _bytes_of(token: str, values: dict[str, int]) -> bytes:
    """What a token's letters stand for; a token with any other letter stands for itself."""
    try:
        return bytes([values[letter] for letter in token])
    except KeyError:
        return token.encode("utf-8", "replace")
