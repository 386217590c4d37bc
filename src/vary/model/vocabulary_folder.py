"""Vision vocabularies on their own: written to a folder, and loaded strictly from one or out of a checkpoint.

Such a folder holds `config.json`, `model.safetensors` with the network's own names, and
`preprocessor_config.json` with what the network wants to be shown.
"""

from __future__ import annotations

from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor
from transformers import AutoImageProcessor

from vary.errors import CheckpointError
from vary.model.checkpoint_files import checkpoint_files, read_json
from vary.model.configuration import VaryConfig, VisionVocabularyConfig
from vary.model.image_processing import PUBLISHED_IMAGE_SETTINGS, VaryImageProcessor
from vary.model.loading import LIBRARY_ERRORS, check_loaded, quiet_library, why
from vary.model.vision_vocabulary import VisionVocabulary

__all__ = [
    "CHECKPOINT_PREFIX",
    "fitted_image_processor",
    "load_image_processor",
    "load_vision_vocabulary",
    "network_from_tensors",
    "read_config",
    "read_subset",
    "save_vision_vocabulary",
    "vision_vocabulary_config",
]

CHECKPOINT_PREFIX = "model.vision_vocabulary."
"""In front of the network's own names in a whole checkpoint of ours."""


def load_vision_vocabulary(
    folder: str | PathLike[str], *, dtype: torch.dtype | None = None
) -> VisionVocabulary:
    """The vision vocabulary network of a folder of its own, or of a whole checkpoint of ours.

    Only the network's tensors are read, and every one of them must be there.  It is in evaluation mode; a
    batch of images (B, 3, 1024, 1024) becomes (B, 256, 1024) at Vary's size.

    Args:
        folder: what `save_vision_vocabulary` or `VaryForConditionalGeneration.save_pretrained` wrote.
        dtype: of the weights; None takes the stored one.

    Raises:
        CheckpointError: if there is no such folder, a file is missing or broken, or the tensors are not those
            of the configuration (all that are wrong are listed).
    """
    folder = Path(folder)
    settings = read_config(folder)
    config = vision_vocabulary_config(folder, settings)
    alone = settings.get("model_type") == VisionVocabularyConfig.model_type
    return network_from_tensors(
        config, read_subset(folder, "" if alone else CHECKPOINT_PREFIX), folder, dtype
    )


def save_vision_vocabulary(
    network: VisionVocabulary, image_processor: VaryImageProcessor, folder: str | PathLike[str]
) -> None:
    """Writes the network, in its type, and the preprocessing of its images without any CLIP branch."""
    with quiet_library():
        network.save_pretrained(folder)
    fitted_image_processor(network.config, image_processor).save_pretrained(folder)


def load_image_processor(folder: str | PathLike[str]) -> VaryImageProcessor | None:
    """The preprocessing that a folder records, alone or within a processor; None where it records none.

    Raises:
        CheckpointError: if it is recorded, but cannot be read.
    """
    folder = Path(folder)
    if not any((folder / name).is_file() for name in ("preprocessor_config.json", "processor_config.json")):
        return None
    try:
        return VaryImageProcessor.from_pretrained(folder, local_files_only=True)
    except LIBRARY_ERRORS as error:
        raise CheckpointError(f"{folder}: the image processor cannot be loaded ({why(error)})") from error


def fitted_image_processor(
    config: VisionVocabularyConfig, image_processor: VaryImageProcessor | None
) -> VaryImageProcessor:
    """The preprocessing of the vocabulary branch alone, checked against its network.

    None takes what the authors' demo of Vary-toy feeds the network, or vary-nano's lines, at its size.

    Raises:
        CheckpointError: if the processor makes images of another size than the network's.
    """
    if image_processor is None:
        published = PUBLISHED_IMAGE_SETTINGS["vary_nano" if config.variable_width else "vary_toy"]
        settings = {name: value for name, value in published.items() if not name.startswith("clip_")}
        size = (
            {"line_height": config.height, "width_multiple": config.patch_size}
            if config.variable_width
            else {"size": {"height": config.height, "width": config.width}}
        )
        return VaryImageProcessor(**{**settings, **size})
    settings = _without_clip(image_processor.to_dict())
    found: Any
    if config.variable_width != (image_processor.mode == "line"):
        found, expected = f"mode {image_processor.mode!r}", "line" if config.variable_width else "square"
        raise CheckpointError(f"the image processor has {found}, but the network needs mode {expected!r}")
    if config.variable_width:
        found = (image_processor.line_height, image_processor.width_multiple)
        wanted = (config.height, config.patch_size)
    else:
        found = (image_processor.size["height"], image_processor.size["width"])
        wanted = (config.height, config.width)
    if found != wanted:
        what = "lines of height and width multiple" if config.variable_width else "images of height and width"
        raise CheckpointError(
            f"the image processor makes {what} {found}, but the network was built for {wanted}; "
            "use the processor that belongs to the network"
        )
    return VaryImageProcessor(**settings)


def _without_clip(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Image settings, and those of the variants among them, without the CLIP branch."""
    kept: dict[str, Any] = {}
    for name, value in settings.items():
        if name == "variants" and isinstance(value, Mapping):
            kept[name] = {variant: _without_clip(fields) for variant, fields in value.items()}
        elif not name.startswith("clip_") and name != "image_processor_type":
            kept[name] = value
    return kept


def read_config(folder: Path, name: str = "config.json") -> dict[str, Any]:
    """The `config.json` of a folder, or another file of settings.

    Raises:
        CheckpointError: if there is no such folder or file, or it holds no JSON object.
    """
    if not folder.is_dir():
        raise CheckpointError(
            f"{folder}: no such folder; parts are read from local folders only, download it first"
        )
    return read_json(folder / name)


def vision_vocabulary_config(folder: Path, settings: Mapping[str, Any]) -> VisionVocabularyConfig:
    """The network's configuration from the `config.json` of a folder of its own or of a whole checkpoint.

    Raises:
        CheckpointError: if it is another model's, or its values make no network.
    """
    kind = settings.get("model_type")
    try:
        if kind == VisionVocabularyConfig.model_type:
            return VisionVocabularyConfig.from_dict(dict(settings))
        if kind == VaryConfig.model_type and "text_config" in settings:
            return VaryConfig.from_dict(dict(settings)).vision_vocabulary_config
    except LIBRARY_ERRORS as error:
        raise CheckpointError(f"{folder}: config.json makes no vision vocabulary ({why(error)})") from error
    raise CheckpointError(
        f"{folder}: its model_type is {kind!r}, and no vision vocabulary is stored there in our format; "
        "take it out of a checkpoint of another format with `vary vocabulary extract`"
    )


def read_subset(folder: Path, prefix: str) -> dict[str, Tensor]:
    """The tensors of a folder's safetensors files whose names begin with `prefix`, without it.

    No other tensor is read.

    Raises:
        CheckpointError: if files are missing or broken, or there is no such tensor.
    """
    files = checkpoint_files(folder)
    if other := [file.name for file in files if file.suffix != ".safetensors"]:
        raise CheckpointError(
            f"{folder} holds {', '.join(other)}, but safetensors are expected here; convert the checkpoint "
            "with `vary weights convert`, or take its vocabulary out with `vary vocabulary extract`"
        )
    tensors: dict[str, Tensor] = {}
    try:
        for file in files:
            with safe_open(file, framework="pt") as stored:
                names = [name for name in stored.keys() if name.startswith(prefix)]  # noqa: SIM118 - no dict
                tensors |= {name.removeprefix(prefix): stored.get_tensor(name) for name in names}
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"{folder}: its safetensors files cannot be read ({error})") from error
    if not tensors:
        raise CheckpointError(f"{folder}: its safetensors files hold no tensor that begins with {prefix!r}")
    return tensors


def network_from_tensors(
    config: VisionVocabularyConfig,
    tensors: Mapping[str, Tensor],
    source: Path | str,
    dtype: torch.dtype | None = None,
) -> VisionVocabulary:
    """The network with these tensors by its own names, in `dtype` or theirs; `source` is for messages.

    Raises:
        CheckpointError: with the names of all tensors that are missing, unknown or misshapen.
    """
    with torch.device("meta"):
        wanted = {name: tensor.shape for name, tensor in VisionVocabulary(config).state_dict().items()}
    check_loaded(
        source,
        {
            "missing_keys": wanted.keys() - tensors.keys(),
            "unexpected_keys": tensors.keys() - wanted.keys(),
            "mismatched_keys": [
                f"{name} is {tuple(tensors[name].shape)}, expected {tuple(shape)}"
                for name, shape in wanted.items()
                if name in tensors and tensors[name].shape != shape
            ],
        },
    )
    kind = dtype or next(tensor.dtype for tensor in tensors.values() if tensor.is_floating_point())
    state = {name: t.to(kind) if t.is_floating_point() else t for name, t in tensors.items()}
    with quiet_library():
        network: VisionVocabulary = VisionVocabulary.from_pretrained(
            None, config=config, state_dict=state, dtype=kind
        )
    return network


AutoImageProcessor.register(
    VisionVocabularyConfig, image_processor_classes={"pil": VaryImageProcessor}, exist_ok=True
)
