"""Whole checkpoints written from parts: a vision vocabulary, perhaps CLIP, and a language model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

import torch
from transformers import CLIPVisionModel

from vary import __version__
from vary.errors import CheckpointError
from vary.model.checkpoint_files import read_json, write_json
from vary.model.grafting import GraftLayout, choose_layout, graft_processor, load_text_tokenizer
from vary.model.loading import quiet_library
from vary.model.modeling import VaryForConditionalGeneration
from vary.model.part_sources import CLIP_PREFIX
from vary.model.parts import from_parts
from vary.weights.folders import check_new, new_folder
from vary.weights.loading import as_dtype, resolve_checkpoint
from vary.weights.manifest import write_manifest
from vary.weights.sources import CONFIG, is_ours, open_source
from vary.weights.vocabulary import ORIGIN, read_vocabulary

__all__ = ["Graft", "graft_checkpoint"]

SHARD_SIZE = "1GB"
CLIP_KINDS = ("clip", "clip_vision_model")


@dataclass(frozen=True, slots=True)
class Graft:
    """What was written.

    Attributes:
        files: their sizes in bytes by name.
        parameters: of each part, by its name.
        dtype: of the weights.
        text: what kind of language model it is.
        image_tokens: the ids of `<img>`, `</img>` and `<imgpad>`.
        layout: of the prompts; None if there is no processor, because the language model has no tokenizer.
        notes: what a user should know.
    """

    files: Mapping[str, int]
    parameters: Mapping[str, int]
    dtype: str
    text: str
    image_tokens: tuple[int, int, int]
    layout: str | None
    notes: tuple[str, ...]


def graft_checkpoint(
    vocabulary: str | PathLike[str],
    text: str | PathLike[str],
    out: str | PathLike[str],
    *,
    clip: str | PathLike[str] | None = None,
    dtype: torch.dtype | str | None = None,
    layout: GraftLayout = "auto",
    seed: int = 0,
) -> Graft:
    """Writes a checkpoint of ours: the vocabulary (and CLIP) in front of a language model, projector fresh.

    Args:
        vocabulary: a folder of `vary vocabulary extract`, or a checkpoint of any known format.
        text: the folder of a causal language model of Transformers.
        out: the folder to write, which must be new or empty; it is whole or not there.
        clip: a folder of CLIP, or a checkpoint of any known format that has a CLIP branch.
        dtype: of all weights; None takes the language model's.
        layout: of the prompts, see `vary.model.grafting.graft_processor`.
        seed: of the projector's weights.

    Raises:
        CheckpointError: if a part is not there, cannot be taken or does not fit, or `out` is not empty.
    """
    target = Path(out)
    check_new(target)
    kind = as_dtype(dtype)
    tokenizer = load_text_tokenizer(text)
    if tokenizer is None and layout != "auto":
        raise CheckpointError(f"{text} has no tokenizer, so the layout '{layout}' cannot be written")
    stored = read_vocabulary(vocabulary, dtype=kind)
    vision = None if clip is None else _clip(resolve_checkpoint(clip), kind)
    torch.manual_seed(seed)
    model = from_parts(
        vision_vocabulary=stored.network,
        text=text,
        clip=vision,
        tokenizer=tokenizer,
        dtype=kind,
    )
    notes, processor, used = list(stored.notes), None, None
    if tokenizer is None:
        notes.append(
            f"{text} has no tokenizer, so no processor was written and the checkpoint does not read yet; "
            "vary.model.grafting.graft_processor makes one of a tokenizer"
        )
    else:
        used = choose_layout(model.config, tokenizer, layout)
        processor = graft_processor(
            model.config,
            tokenizer,
            image_processor=stored.image_processor,
            clip=vision if isinstance(vision, Path) else None,
            layout=used,
        )
    origin = {
        "vary_version": __version__,
        "vision_vocabulary": dict(stored.origin),
        "text": Path(text).absolute().name,
        **({} if clip is None else {"clip": Path(clip).absolute().name}),
        "projector": {"trained": False, "seed": seed},
    }
    needed = sum(tensor.nbytes for tensor in model.state_dict().values())
    with new_folder(target, needed=needed) as folder:
        with quiet_library():
            model.save_pretrained(folder, max_shard_size=SHARD_SIZE)
        if processor is not None:
            processor.save_pretrained(folder)
        write_json(folder / ORIGIN, origin)
        write_manifest(folder)
        files = {file.name: file.stat().st_size for file in sorted(folder.iterdir()) if file.is_file()}
    config = model.config
    return Graft(
        files=files,
        parameters=_parameters(model),
        dtype=str(model.dtype).removeprefix("torch."),
        text=config.text_config.model_type,
        image_tokens=(config.image_start_token_id, config.image_end_token_id, config.image_token_id),
        layout=used,
        notes=tuple(notes),
    )


def _clip(place: Path, dtype: torch.dtype | None) -> Path | CLIPVisionModel:
    """CLIP where `from_parts` can take it from: the folder, or out of another format the network itself."""
    kind = read_json(place / CONFIG).get("model_type") if (place / CONFIG).is_file() else None
    if is_ours(place) or kind in CLIP_KINDS:
        return place
    source = open_source(place)
    if source.config.clip_config is None:
        raise CheckpointError(f"{place}: {source.layout.title} has no CLIP branch")
    names = [name for name in source.places if name.startswith(CLIP_PREFIX)]
    state = {name.removeprefix(CLIP_PREFIX): tensor for name, tensor in source.read(names).items()}
    with quiet_library():
        network: CLIPVisionModel = CLIPVisionModel.from_pretrained(
            None, config=source.config.clip_config, state_dict=state, dtype=dtype or source.dtype
        )
    return network


def _parameters(model: VaryForConditionalGeneration) -> dict[str, int]:
    """The learned numbers of each part; a head that shares the embeddings counts once."""
    parts: dict[str, Any] = {
        "vision vocabulary": model.model.vision_vocabulary,
        "CLIP": model.model.clip,
        "projector": model.model.projector,
        "language model": model.model.language_model,
    }
    counts = {
        name: sum(parameter.numel() for parameter in part.parameters())
        for name, part in parts.items()
        if part is not None
    }
    if not model.config.tie_word_embeddings:
        counts["language model"] += model.lm_head.weight.numel()
    return counts
