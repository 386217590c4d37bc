"""A language model's weights as the native kernels read them: packed once, stored in a file, mapped from it.

The file (see `vary.engine.stored_tensors`) has of every matrix its `values` (bytes) and, for integers,
`scales` (float16), in the layout of engine/native/matrix.hpp; biases, norms and the embedding as they are.
The metadata say for which model, precision and version of the layout it was made.
"""

from __future__ import annotations

import ctypes
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from torch import Tensor
from transformers import PreTrainedConfig

from vary.engine.grouping import TRIES
from vary.engine.native import VERSION, check, load_library
from vary.engine.native.shapes import BLOCK_ROWS, MatrixPlan, TextShape, matrix_of
from vary.engine.precisions import Precision, precision
from vary.engine.stored_tensors import PRIVATE, check_sum, map_tensors, write_tensors
from vary.errors import NativeError

__all__ = [
    "MatrixPlan",
    "PackedModel",
    "TextShape",
    "matrix_of",
    "pack_matrix",
    "pack_model",
    "unpack_matrix",
    "write_packed",
]

Bytes = NDArray[np.uint8]


def pack_matrix(
    weights: Tensor,
    kind: Precision,
    *,
    importance: Tensor | None = None,
    tries: int | None = None,
    threads: int | None = None,
) -> tuple[Bytes, NDArray[np.float16]]:
    """Values and scales of a matrix (rows, columns).

    Args:
        weights: of any float type.
        kind: what to round them to.
        importance: (columns,), the weight of each column's squared error; all alike by default.
        tries: how many scales are tried on either side of the plain one; `TRIES` by default.
        threads: PyTorch's number by default.
    """
    table = weights.detach().to(torch.float32).contiguous()
    rows, columns = table.shape
    plan = MatrixPlan(rows, columns, kind)
    # PyTorch's memory begins at a multiple of 64 bytes, as the kernels like it.
    # PyTorch's memory begins at 64 bytes, for the kernels.
    values: Bytes = torch.zeros(plan.value_bytes, dtype=torch.uint8).numpy()
    scales = np.zeros(plan.scale_count, np.float16)
    weigh = None if importance is None else importance.detach().float().contiguous()
    matrix = matrix_of(plan, 0, 0)
    status = load_library().vary_pack(
        ctypes.byref(matrix),
        table.data_ptr(),
        None if weigh is None else weigh.data_ptr(),
        TRIES.get(kind.kind, 0) if tries is None else tries,
        threads or torch.get_num_threads(),
        values.ctypes.data,
        scales.ctypes.data,
    )
    check(status, "pack a matrix")
    return values, scales


def unpack_matrix(plan: MatrixPlan, values: Bytes, scales: NDArray[np.float16]) -> Tensor:
    """The weights (rows, columns) in float32 that packed values stand for."""
    table = torch.empty(plan.rows, plan.columns)
    matrix = matrix_of(plan, values.ctypes.data, scales.ctypes.data)
    load_library().vary_unpack(ctypes.byref(matrix), 0, plan.rows, table.data_ptr())
    return table


def write_packed(
    file: Path,
    config: PreTrainedConfig,
    weight: Callable[[str], Tensor],
    kind: Precision,
    source: str,
    *,
    mode: int = PRIVATE,
    begun: Callable[[], None] = lambda: None,
) -> None:
    """Packs a language model into a file; of its packed matrices one is in memory at a time.

    Args:
        file, mode, begun: as in `vary.engine.stored_tensors.write_tensors`.
        config: the language model's.
        weight: a tensor by its name in the library's model (`layers.0.self_attn.q_proj.weight`, ...); the
            head is `lm_head.weight`.
        kind: of the matrices.
        source: says which weights these are; `PackedModel.open` wants the same.

    Raises:
        NativeError: for a model that the kernels do not compute.
        OSError: if the file cannot be written.
    """
    shape = TextShape.of(config)
    plain = _plain_tensors(shape, weight)
    plans = shape.matrices(kind)
    sizes = {f"{name}.values": (plan.value_bytes, torch.uint8) for name, plan in plans.items()}
    sizes |= {
        f"{name}.scales": (plan.scale_count, torch.float16) for name, plan in plans.items() if plan.groups
    }
    sizes |= {name: (tensor.numel(), tensor.dtype) for name, tensor in plain.items()}
    planned = {name: torch.empty(count, dtype=kept, device="meta") for name, (count, kept) in sizes.items()}
    metadata = {
        "format": "vary packed decoder",
        "version": str(VERSION),
        "precision": kind.name,
        "shape": json.dumps(asdict(shape)),
        "source": source,
    }
    write_tensors(file, planned, _packed(shape, kind, weight, plain), metadata, mode=mode, begun=begun)


def pack_model(config: PreTrainedConfig, weight: Callable[[str], Tensor], kind: Precision) -> PackedModel:
    """Packs a language model in memory; arguments and NativeError as in `write_packed`."""
    shape = TextShape.of(config)
    # Copies, because the checkpoint's file may change while it is mapped.
    plain = {name: tensor.clone() for name, tensor in _plain_tensors(shape, weight).items()}
    return PackedModel(shape, kind, dict(_packed(shape, kind, weight, plain)))


def _packed(
    shape: TextShape, kind: Precision, weight: Callable[[str], Tensor], plain: Mapping[str, Tensor]
) -> Iterator[tuple[str, Tensor]]:
    """All tensors of a packed model, one-dimensional, in the order of its file."""
    scales = {}
    for name, plan in shape.matrices(kind).items():
        values, scale = pack_matrix(_matrix(name, shape, weight), kind)
        yield f"{name}.values", torch.from_numpy(values)
        if plan.groups:
            scales[f"{name}.scales"] = torch.from_numpy(scale)
    yield from scales.items()
    yield from plain.items()


class PackedModel:
    """The packed weights of a language model, mapped from their file or in memory.

    Attributes:
        shape, precision: of the model.
        tensors: everything in the file, one-dimensional, by name.
    """

    def __init__(self, shape: TextShape, kind: Precision, tensors: Mapping[str, Tensor]) -> None:
        self.shape, self.precision, self.tensors = shape, kind, tensors

    @classmethod
    def open(cls, file: Path, source: str | None = None, shape: TextShape | None = None) -> PackedModel:
        """Maps a file, and reads it once for its checksum.

        Args:
            file: that `write_packed` wrote.
            source: what it must have been made of; None takes any.
            shape: of the model that it must have been made for; None takes any.

        Raises:
            NativeError: if it is no such file, broken, damaged, of another version, or made of other weights
                or for another model.
        """
        try:
            metadata, tensors = map_tensors(file)
            _check_metadata(file, metadata, source)
            packed = cls(TextShape.from_json(metadata["shape"]), precision(metadata["precision"]), tensors)
        except (OSError, SafetensorError, KeyError, ValueError, TypeError) as error:
            raise NativeError(f"{file}: no packed decoder ({error})") from error
        if shape is not None and packed.shape != shape:
            raise NativeError(
                f"{file}: packed for another configuration of the model; delete it to have it packed again"
            )
        packed._check_sizes(file)
        try:
            check_sum(metadata, tensors)
        except ValueError as error:
            raise NativeError(f"{file}: {error}; delete it to have it packed again") from error
        return packed

    def _check_sizes(self, file: Path) -> None:
        """Nothing that C++ will read may lie beyond what the file holds."""
        expected = {
            "embedding": self.shape.vocabulary * self.shape.hidden,
            "norm": self.shape.hidden,
        }
        for name, plan in self.shape.matrices(self.precision).items():
            expected[f"{name}.values"] = plan.value_bytes
            if plan.groups:
                expected[f"{name}.scales"] = plan.scale_count
        for layer in range(self.shape.layers):
            expected[f"layers.{layer}.input_norm"] = expected[f"layers.{layer}.post_norm"] = self.shape.hidden
            expected[f"layers.{layer}.qkv_bias"] = (
                self.shape.heads + 2 * self.shape.kv_heads
            ) * self.shape.head_dim
        found = {name: tensor.numel() for name, tensor in self.tensors.items()}
        if found != expected:
            wrong = sorted(
                name for name in found.keys() | expected.keys() if found.get(name) != expected.get(name)
            )
            raise NativeError(
                f"{file}: tensors are missing or of another size than the model's ({', '.join(wrong[:4])}); "
                "delete the file to have it packed again"
            )

    @property
    def weight_bytes(self) -> int:
        """Bytes that decoding one token reads: all matrices with their scales."""
        return sum(
            tensor.nbytes for name, tensor in self.tensors.items() if name.endswith((".values", ".scales"))
        )

    def embed(self, ids: Tensor) -> Tensor:
        """The embeddings (T, hidden) of ids (T,), float32."""
        table = self.tensors["embedding"].view(self.shape.vocabulary, self.shape.hidden)
        return table[ids].float()


def _check_metadata(file: Path, metadata: Mapping[str, str], source: str | None) -> None:
    if metadata.get("format") != "vary packed decoder":
        raise NativeError(f"{file}: no packed decoder; expected a file that vary packed")
    if metadata.get("version") != str(VERSION):
        raise NativeError(
            f"{file}: packed for version {metadata.get('version')} of the kernels, expected {VERSION}; "
            "delete it to have it packed again"
        )
    if source is not None and metadata.get("source") != source:
        raise NativeError(f"{file}: packed from other weights; delete it to have it packed again")


def _plain_tensors(shape: TextShape, weight: Callable[[str], Tensor]) -> dict[str, Tensor]:
    """What is stored as it is: the embedding in its own type, norms and biases in float32."""
    plain = {"embedding": weight("embed_tokens.weight"), "norm": weight("norm.weight").float()}
    for layer in range(shape.layers):
        prefix = f"layers.{layer}"
        plain[f"{prefix}.input_norm"] = weight(f"{prefix}.input_layernorm.weight").float()
        plain[f"{prefix}.post_norm"] = weight(f"{prefix}.post_attention_layernorm.weight").float()
        biases = [weight(f"{prefix}.self_attn.{part}_proj.bias").float() for part in "qkv"]
        plain[f"{prefix}.qkv_bias"] = torch.cat(biases)
    return {name: tensor.detach().cpu().flatten() for name, tensor in plain.items()}


def _matrix(name: str, shape: TextShape, weight: Callable[[str], Tensor]) -> Tensor:
    """The weights (rows, columns) of a packed matrix, in the order in which it is stored."""
    if name == "head":
        return weight("lm_head.weight")
    prefix, part = name.rsplit(".", 1)
    if part == "qkv":
        return torch.cat([weight(f"{prefix}.self_attn.{one}_proj.weight") for one in "qkv"])
    if part == "out":
        return weight(f"{prefix}.self_attn.o_proj.weight")
    if part == "down":
        return weight(f"{prefix}.mlp.down_proj.weight")
    return torch.cat(
        list(_by_turns(weight(f"{prefix}.mlp.gate_proj.weight"), weight(f"{prefix}.mlp.up_proj.weight")))
    )


def _by_turns(gate: Tensor, up: Tensor) -> Iterator[Tensor]:
    """Blocks of 16 rows of both, one after the other; the last ones filled up with zeros."""
    for start in range(0, len(gate), BLOCK_ROWS):
        for table in (gate, up):
            block = table[start : start + BLOCK_ROWS]
            yield torch.nn.functional.pad(block, (0, 0, 0, BLOCK_ROWS - len(block)))
