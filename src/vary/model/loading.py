"""Loading a checkpoint folder strictly: every tensor in its place, or an error that lists what is wrong."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError
from transformers import GenerationConfig
from transformers.utils import logging as library_logging

from vary.errors import CheckpointError
from vary.model.modeling import VaryForConditionalGeneration

__all__ = ["LIBRARY_ERRORS", "check_loaded", "load_model", "quiet_library", "why"]

LISTED = 8
LIBRARY_ERRORS = (
    *(OSError, ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RuntimeError),
    *(SafetensorError, StrictDataclassError),
)
"""What the library and its networks raise for files and values that they cannot use."""


def load_model(
    folder: Path, *, dtype: torch.dtype | None = None, attention: str | None = None
) -> VaryForConditionalGeneration:
    """The model of a folder that `save_pretrained` wrote; nothing is looked for on the network.

    Args:
        folder: with config.json and safetensors files.
        dtype: of the weights; None takes the checkpoint's.
        attention: the library's name of an attention implementation; None takes its default.

    Raises:
        CheckpointError: if the folder holds no checkpoint, a damaged one, or one whose tensors are not those
            of its configuration.
    """
    if not (folder / "config.json").is_file():
        raise CheckpointError(
            f"{folder}: no checkpoint here (there is no config.json); give the folder of a vary checkpoint"
        )
    # Tensors of another shape are let through here to be listed below with the others.
    options: dict[str, Any] = {"output_loading_info": True, "ignore_mismatched_sizes": True}
    if attention is not None:
        options["attn_implementation"] = attention
    try:
        with quiet_library():
            model, info = VaryForConditionalGeneration.from_pretrained(
                folder, dtype=dtype or "auto", local_files_only=True, **options
            )
            if (folder / "generation_config.json").is_file():  # the library passes over one that is broken
                model.generation_config = GenerationConfig.from_pretrained(folder, local_files_only=True)
    except LIBRARY_ERRORS as error:
        raise CheckpointError(f"{folder}: not a checkpoint that vary can load ({why(error)})") from error
    check_loaded(folder, info)
    return model


@contextmanager
def quiet_library() -> Iterator[None]:
    """Keeps the library's bars and warnings away while it loads: whoever calls says what is wrong."""
    bars = library_logging.is_progress_bar_enabled()
    verbosity = library_logging.get_verbosity()
    library_logging.disable_progress_bar()
    library_logging.set_verbosity_error()
    try:
        yield
    finally:
        library_logging.set_verbosity(verbosity)
        if bars:
            library_logging.enable_progress_bar()


def why(error: Exception) -> str:
    """What the library says of something that it did not load, but for its advice to run foreign code."""
    if "trust_remote_code" in str(error):
        return "it brings code of its own, which is never run"
    says = isinstance(error, OSError | ValueError | TypeError | SafetensorError | StrictDataclassError)
    return str(error) if says else f"{type(error).__name__}: {error}"


def check_loaded(source: Path | str, info: Mapping[str, Any]) -> None:
    """Raises CheckpointError with the tensors that the library found missing, unexpected or misshapen."""
    wrong = {
        kind: sorted(map(str, info.get(f"{kind}_keys", ())))
        for kind in ("missing", "unexpected", "mismatched")
    }
    if any(wrong.values()):
        parts = "; ".join(f"{kind}: {_listed(names)}" for kind, names in wrong.items() if names)
        raise CheckpointError(
            f"{source}: the weights do not belong to the configuration ({parts}); copy the checkpoint again"
        )


def _listed(names: list[str]) -> str:
    rest = f" and {len(names) - LISTED} more" if len(names) > LISTED else ""
    return f"{len(names)} tensors, {', '.join(names[:LISTED])}{rest}"
