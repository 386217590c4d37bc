"""Vision vocabularies taken out of checkpoints of any format that is known, alone: a folder of their own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

import torch

from vary import __version__
from vary.errors import CheckpointError
from vary.model.checkpoint_files import checkpoint_files, read_json, write_json
from vary.model.configuration import VisionVocabularyConfig
from vary.model.image_processing import PUBLISHED_IMAGE_SETTINGS, VaryImageProcessor
from vary.model.vision_vocabulary import VisionVocabulary
from vary.model.vocabulary_folder import (
    CHECKPOINT_PREFIX,
    fitted_image_processor,
    load_image_processor,
    load_vision_vocabulary,
    network_from_tensors,
    save_vision_vocabulary,
)
from vary.weights.folders import new_folder
from vary.weights.formats.layouts import OURS
from vary.weights.loading import resolve_checkpoint
from vary.weights.manifest import write_manifest
from vary.weights.sources import CONFIG, Source, open_source

__all__ = ["ORIGIN", "Extraction", "StoredVocabulary", "extract_vocabulary", "read_vocabulary"]

ORIGIN = "origin.json"
"""What the vocabulary of a folder was taken from."""
ASSUMED = "the checkpoint records no preprocessing of images, so that of the authors' Vary-toy is assumed"


@dataclass(frozen=True, slots=True)
class StoredVocabulary:
    """A vision vocabulary as it lies in a checkpoint.

    Attributes:
        network: the network, in evaluation mode.
        image_processor: what it is to be shown, without any CLIP branch.
        origin: where it comes from.
        notes: what a user should know.
    """

    network: VisionVocabulary
    image_processor: VaryImageProcessor
    origin: Mapping[str, Any]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Extraction:
    """What was written: the folder's files with their sizes in bytes, and facts of the network.

    Attributes:
        files: by name.
        parameters: how many numbers the network learns.
        dtype: of its weights.
        image: height and width that it was built for, in pixels.
        tokens: image tokens and their width; of a network of variable width, of its widest image.
        origin: where it comes from.
        notes: what a user should know.
    """

    files: Mapping[str, int]
    parameters: int
    dtype: str
    image: tuple[int, int]
    tokens: tuple[int, int]
    origin: Mapping[str, Any]
    notes: tuple[str, ...]


def read_vocabulary(path: str | PathLike[str], *, dtype: torch.dtype | None = None) -> StoredVocabulary:
    """The vision vocabulary of a checkpoint of any known format, or of a folder of its own.

    Of the weights only the network's are read.

    Args:
        path: the folder or file, or the name of a fetched checkpoint.
        dtype: of the weights; None keeps the stored one.

    Raises:
        CheckpointError: if there is none, or any tensor of it is missing, unknown or misshapen.
    """
    place = resolve_checkpoint(path)
    if _is_alone(place):
        network = load_vision_vocabulary(place, dtype=dtype)
        stored = load_image_processor(place)
        before = place / ORIGIN
        origin = {**_origin(place, "vision vocabulary"), **(read_json(before) if before.is_file() else {})}
    else:
        source = open_source(place)
        names = [name for name in source.places if name.startswith(CHECKPOINT_PREFIX)]
        tensors = {
            name.removeprefix(CHECKPOINT_PREFIX): tensor for name, tensor in source.read(names).items()
        }
        config = source.config.vision_vocabulary_config
        network = network_from_tensors(config, tensors, place, dtype)
        stored = _image_processor(source)
        origin = _origin(place, source.layout.name, source.config.checkpoint_version)
    notes = (ASSUMED,) if stored is None and not network.config.variable_width else ()
    return StoredVocabulary(network, fitted_image_processor(network.config, stored), origin, notes)


def extract_vocabulary(path: str | PathLike[str], out: str | PathLike[str]) -> Extraction:
    """Writes the vision vocabulary of a checkpoint into a folder of its own, which is whole or not there.

    The weights keep their type and every bit.  The folder is read by `VisionVocabulary.from_folder`, by
    `from_parts`, and by Transformers' AutoModel and AutoImageProcessor once vary is imported.

    Args:
        path: as in `read_vocabulary`.
        out: the folder, which must be new or empty.

    Raises:
        CheckpointError: as `read_vocabulary`, and if `out` is not empty or cannot be written.
    """
    target = Path(out)
    vocabulary = read_vocabulary(path)
    network = vocabulary.network
    needed = sum(tensor.nbytes for tensor in network.state_dict().values())
    with new_folder(target, needed=needed) as folder:
        save_vision_vocabulary(network, vocabulary.image_processor, folder)
        write_json(folder / ORIGIN, vocabulary.origin)
        write_manifest(folder)
        files = {file.name: file.stat().st_size for file in sorted(folder.iterdir())}
    config = network.config
    return Extraction(
        files=files,
        parameters=sum(parameter.numel() for parameter in network.parameters()),
        dtype=str(network.dtype).removeprefix("torch."),
        image=(config.height, config.width),
        tokens=(config.num_image_tokens, config.output_channels),
        origin=vocabulary.origin,
        notes=vocabulary.notes,
    )


def _is_alone(place: Path) -> bool:
    """Whether a folder holds nothing but a vision vocabulary, by its `config.json`."""
    if not (place / CONFIG).is_file():
        return False
    return read_json(place / CONFIG).get("model_type") == VisionVocabularyConfig.model_type


def _image_processor(source: Source) -> VaryImageProcessor | None:
    """What a checkpoint shows its vocabulary: what it records, or what is published of its format."""
    if source.layout is OURS:
        return load_image_processor(source.folder)
    family = source.layout.family
    assert family is not None, "every format but ours has a family"
    config = source.config.vision_vocabulary_config
    size = {"height": config.height, "width": config.width}
    return VaryImageProcessor(**{**PUBLISHED_IMAGE_SETTINGS[family.images], "size": size})


def _origin(place: Path, layout: str, version: str = "") -> dict[str, Any]:
    """Where weights come from: names and sizes only, no paths of a machine."""
    try:
        files = {file.name: file.stat().st_size for file in checkpoint_files(place)}
    except OSError as error:
        raise CheckpointError(f"{place}: its files cannot be read ({error.strerror})") from error
    facts = {
        "vary_version": __version__,
        "checkpoint": place.absolute().name,
        "format": layout,
        "checkpoint_version": version,
        "files": files,
    }
    return {name: value for name, value in facts.items() if value}
