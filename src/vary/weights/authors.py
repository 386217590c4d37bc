"""The loader for the checkpoints of Vary's authors, as they are published."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from os import PathLike
from pathlib import Path

import torch
from huggingface_hub.errors import StrictDataclassError
from torch import Tensor
from transformers.utils import logging

from vary.errors import CheckpointError
from vary.model.configuration import VaryConfig
from vary.model.modeling import VaryForConditionalGeneration
from vary.weights.files import read_json, read_tensors
from vary.weights.layouts import LAYOUTS, Layout, find_layout

__all__ = ["is_authors_checkpoint", "load_authors_checkpoint"]

HEAD = "lm_head.weight"


def is_authors_checkpoint(path: str | PathLike[str]) -> bool:
    """Whether a directory holds a checkpoint in the authors' layout, by its `config.json` alone.

    Their configuration and ours share the model type `vary`; only ours describes the text model apart.
    """
    try:
        settings = read_json(Path(path) / "config.json")
    except CheckpointError:
        return False
    named = set(settings.get("architectures") or ())
    return bool(named & {layout.architecture for layout in LAYOUTS}) or (
        settings.get("model_type") == "vary" and "text_config" not in settings
    )


def load_authors_checkpoint(
    path: str | PathLike[str], *, dtype: torch.dtype | str | None = None
) -> VaryForConditionalGeneration:
    """The model in a directory of the authors: `config.json` with `pytorch_model.bin` or safetensors.

    The tensors stay mapped from their files where the type is unchanged.  No tokenizer is needed.

    Args:
        path: the directory.
        dtype: the weights' type, such as `torch.bfloat16` or "bfloat16"; None keeps the checkpoint's.

    Raises:
        CheckpointError: if a file is missing or broken, the configuration is not one of theirs, or any
            parameter is unknown, missing or misshapen; the message lists all of them.
    """
    folder = Path(path)
    settings = read_json(folder / "config.json")
    tensors = read_tensors(folder)
    shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    try:
        layout = find_layout(shapes)
        config = layout.config(settings, shapes)
        state = _our_state(layout, config, tensors)
    except CheckpointError as error:
        raise CheckpointError(f"{folder}: {error}") from error
    except (ValueError, StrictDataclassError) as error:  # what the configurations make of such values
        raise CheckpointError(f"{folder}: config.json and the weights make no model: {error}") from error
    kind = _as_dtype(dtype) or next(tensor.dtype for tensor in state.values() if tensor.is_floating_point())
    state = {name: tensor.to(kind) for name, tensor in state.items()}
    # Built on the meta device, then given these very tensors; the library fills in its computed tables.
    with _no_progress_bar():
        model: VaryForConditionalGeneration = VaryForConditionalGeneration.from_pretrained(
            None, config=config, state_dict=state, dtype=kind
        )
    return model


@contextmanager
def _no_progress_bar() -> Iterator[None]:
    """Keeps the library from drawing a progress bar, which is for the command line to decide."""
    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()


def _as_dtype(dtype: torch.dtype | str | None) -> torch.dtype | None:
    if not isinstance(dtype, str):
        return dtype
    found = getattr(torch, dtype, None)
    if not isinstance(found, torch.dtype):
        raise CheckpointError(f"no type '{dtype}'; expected float32, bfloat16 or float16")
    return found


def _our_state(layout: Layout, config: VaryConfig, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors under our names, cut where theirs hold several of ours; views, nothing is copied."""
    with torch.device("meta"):
        wanted = {
            name: tuple(p.shape) for name, p in VaryForConditionalGeneration(config).state_dict().items()
        }
    state: dict[str, Tensor] = {}
    unknown: list[str] = []
    misshapen: list[str] = []
    for name, tensor in tensors.items():
        names = layout.names.ours(name)
        if names is None or not all(ours in wanted for ours in names):
            if not layout.names.is_computed(name):
                unknown.append(name)
            continue
        expected = _whole_shape([wanted[ours] for ours in names])
        if tuple(tensor.shape) != expected:
            misshapen.append(f"{name} is {_size(tensor.shape)}, expected {_size(expected)}")
        else:
            state.update(zip(names, tensor.chunk(len(names)), strict=True))
    there = {ours for name in tensors for ours in layout.names.ours(name) or ()}  # if perhaps misshapen
    missing = {_their_name(layout, ours) for ours in wanted.keys() - there}
    if config.tie_word_embeddings:
        _check_tied_head(layout, tensors)
        missing.discard(HEAD)
    _report(unknown, missing, misshapen)
    return state


def _whole_shape(parts: list[tuple[int, ...]]) -> tuple[int, ...]:
    """The shape of equal parts joined along the first axis."""
    first = parts[0]
    return first if len(parts) == 1 else (len(parts) * first[0], *first[1:])


def _their_name(layout: Layout, ours: str) -> str:
    place = layout.names.theirs(ours)
    assert place is not None, f"no rule for our own {ours}"
    return place.name


def _check_tied_head(layout: Layout, tensors: Mapping[str, Tensor]) -> None:
    embeddings = tensors[layout.landmark]
    head = tensors.get(HEAD)
    if head is not None and head.shape == embeddings.shape and not torch.equal(head, embeddings):
        raise CheckpointError(
            f"{HEAD} differs from {layout.landmark}, although config.json ties them; "
            "write tie_word_embeddings: false into config.json to keep both"
        )


def _size(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape))


def _report(unknown: Collection[str], missing: Collection[str], misshapen: Collection[str]) -> None:
    found = [
        f"{len(names)} {kind}: {', '.join(sorted(names))}"
        for kind, names in (("unknown", unknown), ("missing", missing), ("misshapen", misshapen))
        if names
    ]
    if found:
        raise CheckpointError(f"the parameters do not fit the model; {'; '.join(found)}")
