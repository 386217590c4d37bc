"""A checkpoint of any format, opened: its layout, its configuration in our terms, its tensors."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vary.errors import CheckpointError
from vary.model.checkpoint_files import checkpoint_files, read_json
from vary.model.configuration import VaryConfig, VisionVocabularyConfig
from vary.model.loading import LIBRARY_ERRORS, why
from vary.model.modeling import VaryForConditionalGeneration
from vary.weights.files import TensorFiles, TensorInfo
from vary.weights.formats.layouts import OURS, Layout, find_layout
from vary.weights.formats.names import Place
from vary.weights.formats.sizes import Sizes

__all__ = ["CONFIG", "EMBEDDINGS", "HEAD", "ORIGIN", "Source", "is_ours", "open_source", "our_shapes"]

HEAD, EMBEDDINGS = "lm_head.weight", "embed_tokens.weight"
CONFIG = "config.json"
ORIGIN = "conversion.json"
"""What a checkpoint of ours was made from: the layout and the `config.json`, for the way back."""
WEIGHT_TYPES = (torch.float32, torch.bfloat16, torch.float16, torch.float64)
COUNTER = ".num_batches_tracked"
"""The only parameters that are whole numbers: a batch normalisation's counters."""


def is_ours(path: str | PathLike[str]) -> bool:
    """Whether a folder holds a checkpoint of ours, by its `config.json` alone.

    The authors' configuration and ours share the model type `vary`; only ours describes the text model apart.
    """
    try:
        settings = read_json(Path(path) / CONFIG)
    except CheckpointError:
        return False
    return settings.get("model_type") == VaryConfig.model_type and isinstance(
        settings.get("text_config"), dict
    )


@dataclass(frozen=True, slots=True)
class Source:
    """A checkpoint whose every parameter has its place in our model, and every parameter of ours one in it.

    Attributes:
        path: the folder or file.
        layout: the format.
        settings: what its `config.json` says; empty where there is none.
        config: the same in our terms.
        tensors: its files.
        places: where each of our parameters lies, in the order of our state dict; without a tied head.
        left_out: tensors that the model computes itself, and a head that only repeats the embeddings.
    """

    path: Path
    layout: Layout
    settings: Mapping[str, Any]
    config: VaryConfig
    tensors: TensorFiles
    places: Mapping[str, Place]
    left_out: tuple[str, ...]

    @property
    def folder(self) -> Path:
        """Where the files beside the weights lie."""
        return self.path if self.path.is_dir() else self.path.parent

    @property
    def dtype(self) -> torch.dtype:
        """The type of the weights: of the first tensor of floating point numbers."""
        return next(info.dtype for info in self.tensors.info.values() if info.dtype.is_floating_point)

    def info(self, name: str) -> TensorInfo:
        """Shape and type of one of our parameters."""
        place = self.places[name]
        whole = self.tensors.info[place.name]
        if place.parts == 1:
            return whole
        return TensorInfo((whole.shape[0] // place.parts, *whole.shape[1:]), whole.dtype)

    def read(self, names: Iterable[str]) -> dict[str, Tensor]:
        """Some of our parameters, mapped from the files; those that share a tensor there are views of it."""
        wanted = list(names)
        theirs = self.tensors.read({self.places[name].name for name in wanted})
        return {
            name: theirs[place.name].chunk(place.parts)[place.part] if place.parts > 1 else theirs[place.name]
            for name in wanted
            for place in (self.places[name],)
        }


def open_source(path: str | PathLike[str], *, settings: Mapping[str, Any] | None = None) -> Source:
    """Opens a checkpoint of any format, ours among them: a folder, or a file of weights.

    Args:
        path: a folder with weights and, where the format has one, `config.json`; or the file of weights,
            whose `config.json` may stand beside it.
        settings: keys of such a `config.json`, which win over it.

    Raises:
        CheckpointError: if a file is missing or broken, the format is unknown, the configuration makes no
            model, or any parameter is unknown, missing or misshapen; the message lists all of them.
    """
    place = Path(path)
    files = checkpoint_files(place)
    folder = place if place.is_dir() else place.parent
    has_settings = (folder / CONFIG).is_file()
    told = {**(read_json(folder / CONFIG) if has_settings else {}), **(settings or {})}
    tensors = TensorFiles(files)
    shapes = {name: info.shape for name, info in tensors.info.items()}
    try:
        if told.get("model_type") == VisionVocabularyConfig.model_type:
            raise CheckpointError(
                "a vision vocabulary alone is no whole model; put a language model behind it with "
                "`vary vocabulary graft`"
            )
        ours = is_ours(folder) and (place.is_dir() or OURS.landmark in shapes)
        layout = OURS if ours else find_layout(shapes)
        if layout.architecture is not None and not told:
            raise CheckpointError(f"no {CONFIG} here, without which {layout.title} cannot be built; fetch it")
        _check_layers(told, len(shapes))
        config = layout.config(told, Sizes(layout.names, shapes))
        _check_image_tokens(config)
        places, left_out = _places(layout, config, shapes)
        _check_types(places, tensors)
    except CheckpointError as error:
        raise CheckpointError(f"{place}: {error}") from error
    except LIBRARY_ERRORS as error:
        raise CheckpointError(f"{place}: {CONFIG} and the weights make no model: {why(error)}") from error
    source = Source(place, layout, told, config, tensors, places, left_out)
    if config.tie_word_embeddings:
        _check_tied_head(source)
    return source


def our_shapes(config: VaryConfig) -> dict[str, tuple[int, ...]]:
    """Name and shape of every tensor of a model of this configuration, in the order of its state dict."""
    with torch.device("meta"):
        state = VaryForConditionalGeneration(config).state_dict()
    return {name: tuple(tensor.shape) for name, tensor in state.items()}


def _check_layers(settings: Mapping[str, Any], tensors: int) -> None:
    """Raises CheckpointError for more layers than tensors: building these could fill the memory."""
    for name, value in settings.items():
        if isinstance(value, Mapping):
            _check_layers(value, tensors)
        elif name == "num_hidden_layers" and isinstance(value, int) and value > tensors:
            raise CheckpointError(f"{CONFIG} says {value} layers, but there are {tensors} tensors in all")


def _check_image_tokens(config: VaryConfig) -> None:
    """Raises CheckpointError for image tokens that the embeddings have no rows for."""
    rows = config.text_config.vocab_size
    ids = {
        name: getattr(config, name)
        for name in ("image_token_id", "image_start_token_id", "image_end_token_id")
    }
    if outside := {name: number for name, number in ids.items() if not 0 <= number < rows}:
        told = ", ".join(f"{name} {number}" for name, number in outside.items())
        raise CheckpointError(f"{CONFIG} says {told}, but the vocabulary has {rows} tokens")


def _check_types(places: Mapping[str, Place], tensors: TensorFiles) -> None:
    """Raises CheckpointError for weights of a type that is no model's, such as those of a quantized one."""
    wrong = sorted(
        {
            f"{place.name} is {str(dtype).removeprefix('torch.')}"
            for ours, place in places.items()
            if (dtype := tensors.info[place.name].dtype) not in WEIGHT_TYPES and not ours.endswith(COUNTER)
        }
    )
    if wrong:
        known = ", ".join(str(dtype).removeprefix("torch.") for dtype in WEIGHT_TYPES)
        raise CheckpointError(f"weights of another type than {known} are not read: {', '.join(wrong)}")


def _places(
    layout: Layout, config: VaryConfig, shapes: Mapping[str, tuple[int, ...]]
) -> tuple[dict[str, Place], tuple[str, ...]]:
    """The place of every parameter of ours, and the tensors that have no use; total, or an error."""
    wanted = our_shapes(config)
    found: set[str] = set()
    left_out: list[str] = []
    unknown: list[str] = []
    misshapen: list[str] = []
    for name, shape in shapes.items():
        names = layout.names.ours(name)
        # The way back tells a name from another that merely fits the same rule.
        if names is None or not all(ours in wanted and _place(layout, ours).name == name for ours in names):
            (left_out if layout.names.is_computed(name) else unknown).append(name)
            continue
        found.update(names)
        expected = _whole_shape([wanted[ours] for ours in names])
        if shape != expected:
            misshapen.append(f"{name} is {_size(shape)}, expected {_size(expected)}")
    missing = [ours for ours in wanted if ours not in found]
    if config.tie_word_embeddings:
        missing = [ours for ours in missing if ours != HEAD]
        left_out += [_place(layout, HEAD).name] if HEAD in found else []
        del wanted[HEAD]
    _report(unknown, {_place(layout, ours).name for ours in missing}, misshapen)
    return {ours: _place(layout, ours) for ours in wanted}, tuple(left_out)


def _whole_shape(parts: list[tuple[int, ...]]) -> tuple[int, ...]:
    """The shape of equal parts joined along the first axis."""
    first = parts[0]
    return first if len(parts) == 1 else (len(parts) * first[0], *first[1:])


def _place(layout: Layout, ours: str) -> Place:
    place = layout.names.theirs(ours)
    assert place is not None, f"no rule for our own {ours}"
    return place


def _check_tied_head(source: Source) -> None:
    head = _place(source.layout, HEAD).name
    embeddings = next(place.name for ours, place in source.places.items() if ours.endswith(EMBEDDINGS))
    if head not in source.tensors.info:
        return
    found = source.tensors.read([head, embeddings])
    if not torch.equal(found[head], found[embeddings]):
        raise CheckpointError(
            f"{source.path}: {head} differs from {embeddings}, although config.json ties them; "
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
