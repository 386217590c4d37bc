"""Files of weights written from an opened checkpoint: safetensors shards, one PyTorch file, MindSpore's."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from vary.errors import CheckpointError
from vary.weights.files import TensorInfo
from vary.weights.layouts import OURS, Layout
from vary.weights.mindspore_files import write_mindspore
from vary.weights.sources import HEAD, Source

__all__ = ["Cast", "write_mindspore_file", "write_pytorch_file", "write_shards"]

Advance = Callable[[int], None]
"""Is called with the bytes that were written."""


@dataclass(slots=True)
class Cast:
    """Numbers of floating point into another type, or left as they are; never silently.

    Attributes:
        dtype: the type, None to leave them.
        rounded: how many numbers the type could not hold exactly.
    """

    dtype: torch.dtype | None
    rounded: int = 0

    def nbytes(self, info: TensorInfo) -> int:
        """The size of such a tensor afterwards."""
        if self.dtype is None or not info.dtype.is_floating_point:
            return info.nbytes
        return TensorInfo(info.shape, self.dtype).nbytes

    def __call__(self, name: str, tensor: Tensor) -> Tensor:
        """The tensor in the type.

        Raises:
            CheckpointError: if a number is too large for it.
        """
        if self.dtype in (None, tensor.dtype) or not tensor.is_floating_point():
            return tensor
        assert self.dtype is not None
        result = tensor.to(self.dtype)
        if torch.promote_types(tensor.dtype, self.dtype) == self.dtype:
            return result
        if bool((result.isinf() & ~tensor.isinf()).any()):
            largest = tensor.abs().max().item()
            raise CheckpointError(
                f"{name} holds {largest:g}, which is too large for {str(self.dtype).removeprefix('torch.')}; "
                "choose bfloat16 or float32"
            )
        self.rounded += int((result.to(tensor.dtype) != tensor).sum()) - int(tensor.isnan().sum())
        return result


def write_shards(
    folder: Path, source: Source, cast: Cast, shard_bytes: int, advance: Advance, *, layout: Layout = OURS
) -> None:
    """`model.safetensors`, or where that would be larger than `shard_bytes`, several and their index.

    Raises:
        CheckpointError: if a file cannot be written.
    """
    shards = _shards({name: cast.nbytes(source.info(name)) for name in source.places}, shard_bytes)
    weight_map: dict[str, str] = {}
    total = 0
    for number, names in enumerate(shards, start=1):
        file = "model.safetensors"
        if len(shards) > 1:
            file = f"model-{number:05d}-of-{len(shards):05d}.safetensors"
        tensors = {name: _own(tensor) for name, tensor in _theirs(source, layout, cast, names)}
        size = sum(tensor.nbytes for tensor in tensors.values())
        try:
            save_file(tensors, folder / file, metadata={"format": "pt"})
        except (SafetensorError, OSError) as error:
            raise CheckpointError(f"{folder / file} cannot be written ({error})") from error
        weight_map |= dict.fromkeys(tensors, file)
        total += size
        del tensors
        advance(size)
    if len(shards) > 1:
        index = {"metadata": {"total_size": total}, "weight_map": weight_map}
        (folder / "model.safetensors.index.json").write_text(json.dumps(index, indent=2) + "\n", "utf-8")


def write_pytorch_file(
    path: Path,
    source: Source,
    layout: Layout,
    cast: Cast,
    advance: Advance,
    *,
    nested: bool = False,
    tied_head: bool = True,
) -> None:
    """One file of PyTorch, as the authors publish them; what can stay mapped from the source takes no memory.

    Args:
        nested: the state dict stands under `model`, as training writes it.
        tied_head: a head that shares the embeddings is written too, as PyTorch does.
    """
    state: dict[str, Tensor] = {}
    for name, tensor in _theirs(source, layout, cast, source.places):
        shares = tensor.untyped_storage().nbytes() != tensor.nbytes  # else all that it is a part of is saved
        state[name] = tensor.clone() if shares else tensor
        advance(tensor.nbytes)
    head = layout.names.theirs(HEAD)
    if tied_head and head is not None and head.name not in state:
        embeddings = next(name for name in state if name.endswith(("embed_tokens.weight", "wte.weight")))
        state[head.name] = state[embeddings]
    try:
        torch.save({"model": state} if nested else state, path)
    except (RuntimeError, OSError) as error:  # the library's writer says both of a full disk
        raise CheckpointError(f"{path} cannot be written ({str(error).splitlines()[0]})") from error


def write_mindspore_file(path: Path, source: Source, layout: Layout, cast: Cast, advance: Advance) -> None:
    """One `.ckpt` of MindSpore, a tensor at a time."""

    def tensors() -> Iterator[tuple[str, Tensor]]:
        for name, tensor in _theirs(source, layout, cast, source.places):
            yield name, tensor
            advance(tensor.nbytes)

    write_mindspore(path, tensors())


def _theirs(source: Source, layout: Layout, cast: Cast, names: Iterable[str]) -> Iterator[tuple[str, Tensor]]:
    """Our parameters under the layout's names, joined where it keeps several in one tensor."""
    parts: dict[str, dict[int, str]] = {}
    for ours in names:
        place = layout.names.theirs(ours)
        assert place is not None, f"no rule for {ours} in {layout.name}"
        parts.setdefault(place.name, {})[place.part] = ours
    for theirs, members in parts.items():
        ordered = [members[part] for part in sorted(members)]
        read: Mapping[str, Tensor] = source.read(ordered)
        pieces = [cast(theirs, read[ours]) for ours in ordered]
        yield theirs, pieces[0] if len(pieces) == 1 else torch.cat(pieces)


def _own(tensor: Tensor) -> Tensor:
    """The tensor in memory of its own: safetensors writes no views that share theirs."""
    return tensor.clone(memory_format=torch.contiguous_format)


def _shards(sizes: Mapping[str, int], limit: int) -> list[list[str]]:
    """Names in order, in groups of at most `limit` bytes; a larger tensor is alone."""
    groups: list[list[str]] = []
    filled = limit
    for name, size in sizes.items():
        if filled + size > limit:
            groups.append([])
            filled = 0
        groups[-1].append(name)
        filled += size
    return groups
