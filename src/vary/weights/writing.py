"""Files of weights written from an opened checkpoint: safetensors, PyTorch's, MindSpore's."""

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
from vary.weights.formats.layouts import OURS, Layout
from vary.weights.mindspore.files import write_mindspore
from vary.weights.sources import EMBEDDINGS, HEAD, Source

__all__ = [
    "Cast",
    "write_mindspore_file",
    "write_pytorch_files",
    "write_safetensors_files",
    "write_training_file",
]

GROUP_BYTES = 2**28
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


def write_safetensors_files(
    folder: Path, source: Source, cast: Cast, shard_bytes: int, advance: Advance, *, layout: Layout = OURS
) -> None:
    """`model.safetensors`, or where that would be larger than `shard_bytes`, several and their index.

    Raises:
        CheckpointError: if a file cannot be written.
    """
    tensors = _Tensors(source, layout, cast)
    _write_files(folder, tensors, shard_bytes, advance, ("model", "safetensors"), _save_safetensors)


def write_pytorch_files(
    folder: Path,
    source: Source,
    layout: Layout,
    cast: Cast,
    shard_bytes: int,
    advance: Advance,
    *,
    tied_head: bool = True,
) -> None:
    """`pytorch_model.bin`, as the authors publish it, or several and their index, as Transformers has them.

    A head that shares the embeddings is written beside them where `tied_head` says so, as PyTorch does.

    Raises:
        CheckpointError: if a file cannot be written.
    """
    tensors = _Tensors(source, layout, cast, tied_head=tied_head)
    _write_files(folder, tensors, shard_bytes, advance, ("pytorch_model", "bin"), _save_pytorch)


def write_training_file(
    path: Path, source: Source, layout: Layout, cast: Cast, advance: Advance, *, tied_head: bool = True
) -> None:
    """One file of PyTorch with the state dict under `model`, as training writes it.

    Raises:
        CheckpointError: if the file cannot be written.
    """
    tensors = _Tensors(source, layout, cast, tied_head=tied_head)
    state = tensors.read(tensors.parts)
    _save_pytorch({"model": state}, path)
    advance(sum(tensors.sizes.values()))


def write_mindspore_file(path: Path, source: Source, layout: Layout, cast: Cast, advance: Advance) -> None:
    """One `.ckpt` of MindSpore, a few tensors at a time."""
    tensors = _Tensors(source, layout, cast)

    def one_by_one() -> Iterator[tuple[str, Tensor]]:
        for names in _shards(tensors.sizes, GROUP_BYTES):
            for name, tensor in tensors.read(names).items():
                yield name, tensor
                advance(tensor.nbytes)

    write_mindspore(path, one_by_one())


class _Tensors:
    """The parameters of a checkpoint under a layout's names, joined where it keeps several in one tensor.

    Attributes:
        parts: of each of its tensors, the names of ours that it consists of, in order.
        sizes: of each, in bytes.
    """

    def __init__(self, source: Source, layout: Layout, cast: Cast, *, tied_head: bool = False) -> None:
        self._source, self._cast = source, cast
        places: dict[str, dict[int, str]] = {}
        for ours in source.places:
            place = layout.names.theirs(ours)
            assert place is not None, f"no rule for {ours} in {layout.name}"
            places.setdefault(place.name, {})[place.part] = ours
        self.parts = {name: [found[part] for part in sorted(found)] for name, found in places.items()}
        self.sizes = {
            name: sum(cast.nbytes(source.info(ours)) for ours in parts) for name, parts in self.parts.items()
        }
        head = layout.names.theirs(HEAD)
        # What shares its memory with another tensor, by the name of that: the head, with the embeddings.
        self._twins: dict[str, str] = {}
        if tied_head and head is not None and head.name not in self.parts:
            embeddings = next(name for name, [ours, *_] in self.parts.items() if ours.endswith(EMBEDDINGS))
            self._twins[embeddings] = head.name

    def read(self, names: Iterable[str]) -> dict[str, Tensor]:
        """Some of the tensors, each in memory of its own: a view would be written with all that it views."""
        wanted = list(names)
        read = self._source.read(ours for name in wanted for ours in self.parts[name])
        state: dict[str, Tensor] = {}
        for name in wanted:
            pieces = [self._cast(name, read[ours]) for ours in self.parts[name]]
            alone = len(pieces) == 1
            state[name] = (
                pieces[0].clone(memory_format=torch.contiguous_format) if alone else torch.cat(pieces)
            )
            if (twin := self._twins.get(name)) is not None:
                state[twin] = state[name]
        return state


Save = Callable[[dict[str, Tensor], Path], None]


def _write_files(
    folder: Path, tensors: _Tensors, limit: int, advance: Advance, name: tuple[str, str], save: Save
) -> None:
    """One file, or several of at most `limit` bytes with their index; a larger tensor is alone in one."""
    stem, ending = name
    shards = _shards(tensors.sizes, limit)
    weight_map: dict[str, str] = {}
    for number, names in enumerate(shards, start=1):
        part = f"-{number:05d}-of-{len(shards):05d}" if len(shards) > 1 else ""
        state = tensors.read(names)
        save(state, folder / f"{stem}{part}.{ending}")
        weight_map |= dict.fromkeys(state, f"{stem}{part}.{ending}")
        del state
        advance(sum(tensors.sizes[name] for name in names))
    if len(shards) > 1:
        index = {"metadata": {"total_size": sum(tensors.sizes.values())}, "weight_map": weight_map}
        (folder / f"{stem}.{ending}.index.json").write_text(json.dumps(index, indent=2) + "\n", "utf-8")


def _save_safetensors(state: dict[str, Tensor], path: Path) -> None:
    try:
        save_file(state, path, metadata={"format": "pt"})
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path} cannot be written ({error})") from error


def _save_pytorch(state: Mapping[str, object], path: Path) -> None:
    try:
        torch.save(dict(state), path)
    except (
        RuntimeError,
        OSError,
    ) as error:  # the library's writer says both of a full disk, in its own words
        reason = f"{str(error).splitlines()[0]}; is the disk full?"
        raise CheckpointError(f"{path} cannot be written ({reason})") from error


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
