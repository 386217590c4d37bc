"""Tokenizers made from `.tiktoken` files: Qwen's vocabulary for Vary-toy, characters for vary-nano.

Both come out as the library's own fast tokenizer, so that what `save_pretrained` writes (`tokenizer.json`,
`tokenizer_config.json`) is read by `AutoTokenizer` without this package, and their ids equal those of the
`tiktoken` package on the same file.
"""

from __future__ import annotations

import base64
import binascii
import threading
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path

from tokenizers import AddedToken, Regex, Tokenizer, decoders, normalizers, pre_tokenizers
from tokenizers.models import BPE
from transformers import PreTrainedTokenizerFast

from vary.errors import CheckpointError
from vary.model.special_tokens import (
    IMAGE_END_TOKEN,
    IMAGE_START_TOKEN,
    IMAGE_TOKEN,
    NANO_SPECIAL_TOKENS,
    QWEN_SPECIAL_TOKENS,
    byte_letters,
)

__all__ = [
    "ENCODING",
    "IMAGE_END_TOKEN",
    "IMAGE_START_TOKEN",
    "IMAGE_TOKEN",
    "NANO_SPECIAL_TOKENS",
    "QWEN_PATTERN",
    "QWEN_SPECIAL_TOKENS",
    "encode_text",
    "load_character_tokenizer",
    "load_qwen_tokenizer",
    "read_tiktoken",
    "tokenizer_from_ranks",
    "wrap_tokenizer",
    "write_tiktoken",
]

QWEN_PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"
    r"|\s+(?!\S)|\s+"
)
"""How Qwen cuts text into pre-tokens before merging bytes."""

_ANY_CHARACTER = r"[\s\S]"

ENCODING = threading.RLock()
"""Held while texts are encoded: a call sets how the tokenizer takes special tokens and how it pads, for calls
of other threads too.
"""


def read_tiktoken(path: str | Path) -> dict[bytes, int]:
    """Read a `.tiktoken` file (a line each: token in base64, blank, rank) into token -> rank.

    Raises `CheckpointError` when the file is missing, a line has another form, or a rank stands twice.
    """
    try:
        lines = Path(path).read_bytes().splitlines()
    except OSError as error:
        raise CheckpointError(f"cannot read the vocabulary {path}: {error.strerror}") from error
    ranks: dict[bytes, int] = {}
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            token, rank = line.split()
            ranks[base64.b64decode(token, validate=True)] = int(rank)
        except (ValueError, binascii.Error) as error:
            found = line[:40].decode("ascii", "backslashreplace")
            raise CheckpointError(
                f"{path}, line {number}: expected a base64 token and its rank, found {found!r}"
            ) from error
    if not ranks or len(set(ranks.values())) != len(ranks):
        raise CheckpointError(
            f"{path}: expected distinct tokens with distinct ranks; is it a .tiktoken file?"
        )
    return ranks


def write_tiktoken(tokens: Iterable[bytes], path: str | Path, *, first_rank: int = 0) -> None:
    """Write tokens in tiktoken's form; the ranks (which are the ids) count up from `first_rank`."""
    lines = (
        f"{base64.b64encode(token).decode()} {rank}\n" for rank, token in enumerate(tokens, start=first_rank)
    )
    Path(path).write_text("".join(lines), encoding="ascii", newline="\n")


def load_qwen_tokenizer(path: str | Path) -> PreTrainedTokenizerFast:
    """Make the tokenizer of Vary-toy and Vary-base from Qwen's `qwen.tiktoken` (151643 ranks).

    Text is NFC-normalised first, as Qwen's own tokenizer does.  It pads on the left, for generation, with
    `<|endoftext|>`; an answer ends with `<|im_end|>`.
    """
    ranks = read_tiktoken(path)
    tokenizer = tokenizer_from_ranks(
        ranks, special_tokens=_following(ranks, QWEN_SPECIAL_TOKENS), pattern=QWEN_PATTERN, nfc=True
    )
    return wrap_tokenizer(tokenizer, pad_token="<|endoftext|>", eos_token="<|im_end|>")


def load_character_tokenizer(path: str | Path) -> PreTrainedTokenizerFast:
    """Make vary-nano's tokenizer from its file of single characters (see `vary.model.character_vocabulary`).

    A known character is one token, any other its UTF-8 bytes; nothing is normalised: ids and text are the
    same thing in two spellings.  Use `encode_text` for text that is not a prompt.
    """
    special_tokens = {token: index for index, token in enumerate(NANO_SPECIAL_TOKENS)}
    tokenizer = tokenizer_from_ranks(
        read_tiktoken(path), special_tokens=special_tokens, pattern=_ANY_CHARACTER, nfc=False
    )
    return wrap_tokenizer(tokenizer, pad_token="<pad>", eos_token="<eos>", bos_token="<bos>")


def encode_text(tokenizer: PreTrainedTokenizerFast, text: str) -> list[int]:
    """Encode text that is only text: a literal `<img>` or `<|im_end|>` in it is spelled out."""
    with ENCODING:
        ids: list[int] = tokenizer(text, add_special_tokens=False, split_special_tokens=True)["input_ids"]
    return ids


def tokenizer_from_ranks(
    ranks: Mapping[bytes, int], *, special_tokens: Mapping[str, int], pattern: str, nfc: bool
) -> Tokenizer:
    """Build a byte-level BPE tokenizer with the same ids as tiktoken's `Encoding` of the same parts.

    A pre-token (a match of `pattern`) that is in the vocabulary is taken whole; any other is merged from its
    bytes, lowest rank first.  Raises `CheckpointError` when ids collide or a single byte has no rank.
    """
    missing = [value for value in range(256) if bytes([value]) not in ranks]
    if missing:
        raise CheckpointError(
            f"the vocabulary lacks {len(missing)} of the 256 single bytes, the first is {missing[0]}"
        )
    if set(special_tokens.values()) & set(ranks.values()):
        raise CheckpointError("the ids of the special tokens collide with ranks of the vocabulary file")
    letters = byte_letters()
    vocabulary = {"".join(letters[value] for value in token): rank for token, rank in ranks.items()}
    merges = [
        ("".join(letters[value] for value in left), "".join(letters[value] for value in right))
        for left, right in _merges(ranks)
    ]
    tokenizer = Tokenizer(
        BPE(vocab={**special_tokens, **vocabulary}, merges=merges, ignore_merges=True, byte_fallback=False)
    )
    if nfc:
        tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(pattern), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    in_order = sorted(special_tokens, key=lambda token: special_tokens[token])
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in in_order])
    return tokenizer


def wrap_tokenizer(tokenizer: Tokenizer, **settings: str | int) -> PreTrainedTokenizerFast:
    """Make the library's fast tokenizer, with the image tokens as attributes; it pads on the left."""
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        padding_side="left",
        clean_up_tokenization_spaces=False,
        model_input_names=["input_ids", "attention_mask"],
        extra_special_tokens={
            "image_token": IMAGE_TOKEN,
            "image_start_token": IMAGE_START_TOKEN,
            "image_end_token": IMAGE_END_TOKEN,
        },
        **settings,
    )


def _following(ranks: Mapping[bytes, int], tokens: Sequence[str]) -> dict[str, int]:
    first = max(ranks.values()) + 1
    return {token: first + index for index, token in enumerate(tokens)}


def _merges(ranks: Mapping[bytes, int]) -> list[tuple[bytes, bytes]]:
    """List the merges by rank: for each token of several bytes the two pieces that it is last made of.

    The file gives ranks only.  A token's bytes, merged lowest rank first, reach it from two pieces, always
    the same two: merges across its ends would prevent it, and those within do not see what is around.  Tokens
    that merging never reaches (they are only taken as whole pre-tokens) have none.
    """
    merges = []
    for token in sorted((token for token in ranks if len(token) > 1), key=lambda token: ranks[token]):
        pieces = [bytes([value]) for value in token]
        while len(pieces) > 2:
            joined = [ranks.get(left + right) for left, right in pairwise(pieces)]
            known = [rank for rank in joined if rank is not None]
            if not known:
                break
            at = joined.index(min(known))
            pieces[at : at + 2] = [pieces[at] + pieces[at + 1]]
        if len(pieces) == 2:
            merges.append((pieces[0], pieces[1]))
    return merges
