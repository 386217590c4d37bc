"""The native decoder: packed weights of 4 to 32 bits, decoded by the C++ of `vary.engine.native` on a CPU."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from vary.engine.decoders.interface import Entry
from vary.engine.decoders.sequences import NativeSequences
from vary.engine.native import Layer, Matrix
from vary.engine.native.shapes import matrix_of
from vary.engine.packing import PackedModel

__all__ = ["NativeDecoder"]


class NativeDecoder(NativeSequences):
    """A `Decoder` of the Qwen2 kind with packed weights; see `vary.engine.decoders.interface`.

    Its arithmetic: integer weights times activations that are rounded to 8 bits for each token and group,
    summed exactly; everything else in float32.  Keys and values are kept in float16 beside integers, else
    in float32.
    """

    def __init__(self, model: PackedModel, *, threads: int | None = None, kernels: str = "") -> None:
        """A decoder over packed weights.

        Args:
            model: keeps its file mapped as long as the decoder lives.
            threads: PyTorch's number by default.
            kernels: by name, such as "AVX2"; "" for the best that this processor runs.

        Raises:
            NativeError: if the kernels are not there or do not run here.
        """
        self._model = model
        shape = model.shape
        plans = shape.matrices(model.precision)

        def matrix(name: str) -> Matrix:
            scales = model.tensors.get(f"{name}.scales")
            values = model.tensors[f"{name}.values"].data_ptr()
            return matrix_of(plans[name], values, 0 if scales is None else scales.data_ptr())

        def address(name: str) -> int:
            return model.tensors[name].data_ptr()

        layers = (Layer * shape.layers)(
            *(
                Layer(
                    *(matrix(f"layers.{number}.{part}") for part in ("qkv", "out", "gate_up", "down")),
                    *(address(f"layers.{number}.{part}") for part in ("qkv_bias", "input_norm", "post_norm")),
                )
                for number in range(shape.layers)
            )
        )
        super().__init__(
            shape,
            layers,
            address("norm"),
            matrix("head"),
            precision=model.precision.name,
            threads=threads or torch.get_num_threads(),
            kernels=kernels,
            wide=not model.precision.group,
        )

    @property
    def weights(self) -> int:
        """How many numbers its matrices and the embedding are, about: as they are filled up."""
        shape = self._model.shape
        plans = shape.matrices(self._model.precision).values()
        return sum(plan.rows * plan.columns for plan in plans) + shape.vocabulary * shape.hidden

    @property
    def weight_bytes(self) -> int:
        """That decoding one token reads."""
        return self._model.weight_bytes

    def embed(self, ids: Sequence[int]) -> Tensor:
        return self._model.embed(torch.tensor(list(ids), dtype=torch.long))

    def read(self, entries: Sequence[Entry]) -> Tensor:
        self.check(entries)
        states = torch.cat([entry.embeddings for entry in entries]).to("cpu", torch.float32).contiguous()
        scores = torch.empty(sum(entry.scored for entry in entries), self.vocabulary_size)
        self.read_into(entries, states.data_ptr(), scores.data_ptr())
        return scores
