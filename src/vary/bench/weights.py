"""The weights that every contestant gets: random ones made in place, or those of a checkpoint's folder.

Tensors come one at a time, large ones in slices of rows, so that a contestant that quantises them never holds
the whole model in float32.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from vary.errors import CheckpointError
from vary.model.configuration import VaryConfig
from vary.model.loading import LIBRARY_ERRORS, quiet_library
from vary.model.modeling import VaryForConditionalGeneration

__all__ = [
    "HEAD",
    "LANGUAGE",
    "RandomWeights",
    "StoredWeights",
    "Weights",
    "build_model",
    "row_slices",
    "state_shapes",
]

LANGUAGE, HEAD = "model.language_model.", "lm_head.weight"
"""How the language model's tensors begin, and its head, in the names of our checkpoints."""
SPREAD = 0.02
POOL = 2**23 - 15
"""Random numbers are drawn once; tensors are cut out of them.  Odd, so that no two rows of a matrix agree."""
SLICE_BYTES = 128 * 2**20


class Weights(Protocol):
    """Tensors in float32 by the names of our checkpoints."""

    def shape(self, name: str) -> tuple[int, ...]:
        """Raises CheckpointError for a tensor that is not there."""

    def tensor(self, name: str) -> Tensor:
        """The whole tensor."""

    def rows(self, name: str, first: int, last: int) -> Tensor:
        """Rows `first` to before `last` of a matrix."""


def state_shapes(config: VaryConfig) -> dict[str, tuple[int, ...]]:
    """Every tensor of a model's checkpoint with its shape; takes no memory."""
    with torch.device("meta"), quiet_library():
        model = VaryForConditionalGeneration(config)
    return {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}


class RandomWeights:
    """Weights that follow from a seed and their names: matrices small around 0, norms around 1.

    The same name and shape give the same numbers in every process, whatever else a model consists of.
    """

    def __init__(self, config: VaryConfig, seed: int) -> None:
        self._shapes = state_shapes(config)
        self._tied = bool(config.tie_word_embeddings)
        self._pool = torch.empty(POOL).normal_(0.0, SPREAD, generator=torch.Generator().manual_seed(seed))

    def shape(self, name: str) -> tuple[int, ...]:
        if name not in self._shapes:
            raise CheckpointError(f"the model has no tensor '{name}'")
        return self._shapes[name]

    def tensor(self, name: str) -> Tensor:
        shape = self.shape(name)
        if not shape:  # what counts batches
            return torch.zeros((), dtype=torch.int64)
        count = int(torch.Size(shape).numel())
        values = self._cut(name, 0, count).view(shape)
        # Norms scale by about one, and a running variance is never negative.
        return values + 1 if len(shape) == 1 and name.endswith(("weight", "running_var")) else values

    def rows(self, name: str, first: int, last: int) -> Tensor:
        shape = self.shape(name)
        width = int(torch.Size(shape[1:]).numel())
        return self._cut(name, first * width, (last - first) * width).view(last - first, *shape[1:])

    def _cut(self, name: str, start: int, count: int) -> Tensor:
        """A copy of `count` numbers of the pool, which goes on from its beginning where it ends."""
        own = "embed_tokens.weight" if self._tied and name == HEAD else name
        place = (zlib.crc32(own.rsplit("model.", 1)[-1].encode()) + start) % POOL
        made = torch.empty(count)
        done = 0
        while done < count:
            length = min(count - done, POOL - place)
            made[done : done + length] = self._pool[place : place + length]
            done, place = done + length, 0
        return made


class StoredWeights:
    """The weights of a folder that `save_pretrained` wrote, read tensor by tensor."""

    def __init__(self, folder: Path, config: VaryConfig) -> None:
        self._folder = folder
        self._files: dict[str, Path] = {}
        for file in sorted(folder.glob("*.safetensors")):
            try:
                with safe_open(file, framework="pt") as stored:
                    self._files.update(dict.fromkeys(stored.keys(), file))
            except (OSError, SafetensorError) as error:
                raise CheckpointError(f"{file}: is no safetensors file ({error}); copy it again") from error
        embedding = f"{LANGUAGE}embed_tokens.weight"
        self._alias = {HEAD: embedding} if config.tie_word_embeddings else {}
        wanted = state_shapes(config)
        missing = [name for name in wanted if self._alias.get(name, name) not in self._files]
        if missing:
            raise CheckpointError(
                f"{folder}: {len(missing)} tensors of the configuration are missing, such as {missing[0]}; "
                "bench takes folders in our format: convert others with `vary weights convert`"
            )

    def shape(self, name: str) -> tuple[int, ...]:
        with safe_open(self._file(name), framework="pt") as stored:
            return tuple(stored.get_slice(self._alias.get(name, name)).get_shape())

    def tensor(self, name: str) -> Tensor:
        with safe_open(self._file(name), framework="pt") as stored:
            found: Tensor = stored.get_tensor(self._alias.get(name, name))
        return found.float() if found.is_floating_point() else found

    def rows(self, name: str, first: int, last: int) -> Tensor:
        with safe_open(self._file(name), framework="pt") as stored:
            found: Tensor = stored.get_slice(self._alias.get(name, name))[first:last]
        return found.float()

    def _file(self, name: str) -> Path:
        try:
            return self._files[self._alias.get(name, name)]
        except KeyError:
            raise CheckpointError(f"{self._folder}: holds no tensor '{name}'; copy it again") from None


def row_slices(weights: Weights, name: str) -> Iterator[tuple[int, Tensor]]:
    """A matrix (N, K) in slices of whole rows with the number of their first row; none is large."""
    rows, width = weights.shape(name)
    step = max(1, SLICE_BYTES // (4 * width))
    for first in range(0, rows, step):
        yield first, weights.rows(name, first, min(rows, first + step))


def build_model(config: VaryConfig, weights: Weights, dtype: torch.dtype) -> VaryForConditionalGeneration:
    """The model with these weights in evaluation mode; every tensor is made once, in its own type.

    Parts that `shapes.encoder_only` and `shapes.decoder_only` have cut down get weights of their own.
    """
    filler = RandomWeights(config, seed=0)
    state = {}
    for name, shape in state_shapes(config).items():
        if config.tie_word_embeddings and name == HEAD:
            continue
        tensor = _given(weights, filler, name, shape)
        state[name] = tensor.to(dtype) if tensor.is_floating_point() else tensor
    del filler
    try:
        with quiet_library():
            model = VaryForConditionalGeneration.from_pretrained(
                None, config=config, state_dict=state, dtype=dtype
            )
    except LIBRARY_ERRORS as error:
        raise CheckpointError(f"the model of this configuration cannot be built: {error}") from error
    return model.eval()


def _given(weights: Weights, filler: Weights, name: str, shape: tuple[int, ...]) -> Tensor:
    """The tensor of that name and shape, or the filler's where the model has none such."""
    try:
        found = weights.shape(name)
    except CheckpointError:
        found = ()
    return (weights if found == shape else filler).tensor(name)
