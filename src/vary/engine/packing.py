"""A language model's weights as the native kernels read them: packed once, stored in a file, mapped from it.

The file is a safetensors file: of every matrix its `values` (bytes) and, for integers, `scales` (float16), in
the layout of engine/native/matrix.hpp; biases, norms and the embedding as they are.  Its data begin at a
multiple of 64 bytes.  The metadata say for which model, precision and version of the layout it was made.
"""

from __future__ import annotations

import ctypes
import json
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from torch import Tensor
from transformers import PreTrainedConfig

from vary.engine.grouping import TRIES
from vary.engine.native import VERSION, check, load_library
from vary.engine.native.shapes import BLOCK_ROWS, MatrixPlan, TextShape, matrix_of
from vary.engine.precisions import Precision, precision
from vary.errors import NativeError

__all__ = [
    "MatrixPlan",
    "PackedModel",
    "TextShape",
    "matrix_of",
    "pack_matrix",
    "unpack_matrix",
    "write_packed",
]

ALIGNMENT = 64

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
    values = np.zeros(plan.value_bytes, np.uint8)
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
    file: Path, config: PreTrainedConfig, weight: Callable[[str], Tensor], kind: Precision, source: str
) -> None:
    """Packs a language model into a file, one matrix in memory at a time.

    Args:
        file: written beside its place and moved there when it is whole.
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
    plans = shape.matrices(kind)
    plain = _plain_tensors(shape, weight)
    header: dict[str, Any] = {
        "__metadata__": {
            "format": "vary packed decoder",
            "version": str(VERSION),
            "precision": kind.name,
            "shape": json.dumps(asdict(shape)),
            "source": source,
        }
    }
    end = 0
    sizes = [(f"{name}.values", "U8", plan.value_bytes, 1) for name, plan in plans.items()]
    sizes += [(f"{name}.scales", "F16", plan.scale_count, 2) for name, plan in plans.items() if plan.groups]
    sizes += [
        (name, _type_name(tensor), tensor.numel(), tensor.element_size()) for name, tensor in plain.items()
    ]
    for name, kind_name, count, width in sizes:
        header[name] = {"dtype": kind_name, "shape": [count], "data_offsets": [end, end + count * width]}
        end += count * width
    partial = file.with_name(f"{file.name}.{os.getpid()}.partial")
    try:
        with open(partial, "wb") as stream:
            text = json.dumps(header).encode()
            text += b" " * (-(len(text) + 8) % ALIGNMENT)
            stream.write(len(text).to_bytes(8, "little") + text)
            scales = []
            for name, plan in plans.items():
                values, scale = pack_matrix(_matrix(name, shape, weight), plan.precision)
                stream.write(values.data)
                scales.append(scale)
            for scale in scales:
                stream.write(scale.data)
            for tensor in plain.values():
                stream.write(tensor.contiguous().view(torch.uint8).numpy().data)
        partial.replace(file)
    finally:
        partial.unlink(missing_ok=True)


class PackedModel:
    """The packed weights of a language model, mapped from their file.

    Attributes:
        shape, precision: of the model.
        tensors: everything in the file, one-dimensional, by name.
    """

    def __init__(self, shape: TextShape, kind: Precision, tensors: Mapping[str, Tensor]) -> None:
        self.shape, self.precision, self.tensors = shape, kind, tensors

    @classmethod
    def open(cls, file: Path, source: str | None = None) -> PackedModel:
        """Maps a file.

        Args:
            file: that `write_packed` wrote.
            source: what it must have been made of; None takes any.

        Raises:
            NativeError: if it is no such file, broken, of another version or made of other weights.
        """
        try:
            with safe_open(file, framework="pt") as stream:
                metadata = stream.metadata() or {}
                _check_metadata(file, metadata, source)
                tensors = {name: stream.get_tensor(name) for name in stream.keys()}  # noqa: SIM118
            shape = TextShape.from_json(metadata["shape"])
        except (OSError, SafetensorError, ValueError, TypeError) as error:
            raise NativeError(f"{file}: no packed decoder ({error})") from error
        packed = cls(shape, precision(metadata["precision"]), tensors)
        packed._check_sizes(file)
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


def _type_name(tensor: Tensor) -> str:
    return {torch.float32: "F32", torch.bfloat16: "BF16", torch.float16: "F16"}[tensor.dtype]


def _plain_tensors(shape: TextShape, weight: Callable[[str], Tensor]) -> dict[str, Tensor]:
    """What is stored as it is: the embedding in its own type, norms and biases in float32."""
    plain = {"embedding": weight("embed_tokens.weight"), "norm": weight("norm.weight").float()}
    for layer in range(shape.layers):
        prefix = f"layers.{layer}"
        plain[f"{prefix}.input_norm"] = weight(f"{prefix}.input_layernorm.weight").float()
        plain[f"{prefix}.post_norm"] = weight(f"{prefix}.post_attention_layernorm.weight").float()
        biases = [weight(f"{prefix}.self_attn.{part}_proj.bias").float() for part in "qkv"]
        plain[f"{prefix}.qkv_bias"] = torch.cat(biases)
    return {name: tensor.detach().cpu() for name, tensor in plain.items()}


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
