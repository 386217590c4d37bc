"""Processors for checkpoints of other formats: tokenizer files, preprocessing and prompts of their family."""

from __future__ import annotations

from collections.abc import Callable
from os import PathLike
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Tokenizer, decoders, pre_tokenizers
from tokenizers.models import BPE
from transformers import PreTrainedTokenizerFast

from vary.errors import CheckpointError
from vary.model.chat_templates import CHAT_TEMPLATES
from vary.model.checkpoint_files import read_json
from vary.model.configuration import VaryConfig
from vary.model.image_processing import PUBLISHED_IMAGE_SETTINGS, VaryImageProcessor
from vary.model.processing import VaryProcessor
from vary.model.tokenization import (
    IMAGE_END_TOKEN,
    IMAGE_START_TOKEN,
    IMAGE_TOKEN,
    load_qwen_tokenizer,
    wrap_tokenizer,
)
from vary.weights.folders import copy_file
from vary.weights.formats.layouts import Family

__all__ = [
    "FAST",
    "TIKTOKEN",
    "VOCABULARY",
    "build_processor",
    "copy_tokenizer",
    "find_tokenizer",
    "tokenizer_files",
]

TIKTOKEN = "qwen.tiktoken"
FAST, VOCABULARY, MERGES, ADDED = "tokenizer.json", "vocab.json", "merges.txt", "added_tokens.json"
OPT_SPECIAL_TOKENS = ("<s>", "<pad>", "</s>", "<unk>")


def build_processor(
    family: Family, config: VaryConfig, folder: Path, tokenizer: str | PathLike[str] | None = None
) -> VaryProcessor:
    """The processor of a checkpoint of a family.

    Args:
        family: whose preprocessing and prompts to take.
        config: the checkpoint's configuration in our terms: image sizes and the ids of the image tokens.
        folder: where the tokenizer's files lie, unless `tokenizer` names another folder or the file.

    Raises:
        CheckpointError: if there is no tokenizer, or one whose ids are not the configuration's.
    """
    file = find_tokenizer(family, folder, tokenizer)
    if file is None:
        raise _no_tokenizer(family, folder)
    loaded = _load(family, config, file)
    _check_ids(loaded, config, file)
    return VaryProcessor(
        VaryImageProcessor(**_image_settings(family, config)),
        loaded,
        image_seq_length=config.image_seq_length,
        chat_template=CHAT_TEMPLATES[family.templates],
    )


def find_tokenizer(family: Family, folder: Path, tokenizer: str | PathLike[str] | None = None) -> Path | None:
    """The file that a tokenizer is made from, or None: `.tiktoken`, `tokenizer.json` or `vocab.json`.

    Raises:
        CheckpointError: if there is none where `tokenizer` says.
    """
    place = folder if tokenizer is None else Path(tokenizer)
    if place.is_file():
        return place
    tiktoken = [place / TIKTOKEN, *sorted(place.glob("*.tiktoken"))] if family.tokenizer == "qwen" else []
    names = tiktoken + [place / FAST] + ([place / VOCABULARY] if family.tokenizer == "opt" else [])
    found = next((path for path in names if path.is_file()), None)
    if found is None and tokenizer is not None:
        raise _no_tokenizer(family, place)
    return found


def tokenizer_files(family: Family) -> str:
    """What a tokenizer of a family is made from, for messages."""
    return TIKTOKEN if family.tokenizer == "qwen" else f"{VOCABULARY} with {MERGES}"


def _no_tokenizer(family: Family, place: Path) -> CheckpointError:
    return CheckpointError(
        f"{place}: no tokenizer here; expected {tokenizer_files(family)}, or {FAST}: put it beside the "
        "weights, or name its place (--tokenizer)"
    )


def copy_tokenizer(file: Path, folder: Path) -> None:
    """Copies the file that `find_tokenizer` found, with those that belong to it, under their usual names.

    Raises:
        CheckpointError: if one cannot be read.
    """
    beside = (MERGES, ADDED) if file.name == VOCABULARY else ()
    names = {file: TIKTOKEN if file.suffix == ".tiktoken" else file.name}
    names |= {path: path.name for name in beside if (path := file.with_name(name)).is_file()}
    for path, name in names.items():
        copy_file(path, folder / name)


def _load(family: Family, config: VaryConfig, file: Path) -> PreTrainedTokenizerFast:
    if file.suffix == ".tiktoken":
        return load_qwen_tokenizer(file)
    ends: dict[str, Any] = (
        {"pad_token": "<|endoftext|>", "eos_token": "<|im_end|>"}
        if family.tokenizer == "qwen"
        else {"pad_token": "<pad>", "eos_token": "</s>", "bos_token": "</s>"}
    )
    tokenizer = (
        _opt_tokenizer(config, file)
        if file.name == VOCABULARY
        else _read(file, lambda: Tokenizer.from_file(str(file)))
    )
    return wrap_tokenizer(tokenizer, **ends)


def _read(file: Path, make: Callable[[], Tokenizer]) -> Tokenizer:
    """What the library makes of a file."""
    try:
        return make()
    except Exception as error:  # it raises bare exceptions for files that it cannot read
        raise CheckpointError(f"{file}: no tokenizer can be made of it ({error}); fetch it again") from error


def _opt_tokenizer(config: VaryConfig, vocabulary: Path) -> Tokenizer:
    """OPT's byte-level BPE with the image tokens behind it, as `GPT2Tokenizer` reads the same files."""
    merges = vocabulary.with_name(MERGES)
    tokenizer = _read(vocabulary, lambda: Tokenizer(BPE.from_file(str(vocabulary), str(merges))))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    added = {
        config.image_token_id: IMAGE_TOKEN,
        config.image_start_token_id: IMAGE_START_TOKEN,
        config.image_end_token_id: IMAGE_END_TOKEN,
    }
    if (listed := vocabulary.with_name(ADDED)).is_file():
        places = read_json(listed)
        if not all(type(place) is int for place in places.values()):
            raise CheckpointError(f"{listed}: expected tokens and their ids, whole numbers; fetch it again")
        added |= {place: token for token, place in places.items()}
    tokens = [*OPT_SPECIAL_TOKENS, *(added[place] for place in sorted(added))]
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in tokens])
    return tokenizer


def _check_ids(tokenizer: PreTrainedTokenizerFast, config: VaryConfig, file: Path) -> None:
    wanted = {
        IMAGE_TOKEN: config.image_token_id,
        IMAGE_START_TOKEN: config.image_start_token_id,
        IMAGE_END_TOKEN: config.image_end_token_id,
    }
    known = tokenizer.get_vocab()
    for token, expected in wanted.items():
        if (found := known.get(token)) != expected:
            raise CheckpointError(
                f"{file}: {token} has id {found}, but the checkpoint expects {expected}; "
                "this is another checkpoint's tokenizer"
            )


def _image_settings(family: Family, config: VaryConfig) -> dict[str, Any]:
    vision, clip = config.vision_vocabulary_config, config.clip_config
    settings: dict[str, Any] = dict(PUBLISHED_IMAGE_SETTINGS[family.images])
    settings["size"] = {"height": vision.height, "width": vision.width}
    return settings if clip is None else {**settings, "clip_size": clip.image_size}
