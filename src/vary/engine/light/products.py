"""Matrices and convolutions of the native kernels over NumPy's arrays, in float32."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vary.engine.native import check
from vary.engine.native.vision import PANEL, Convolution, Norm, VisionMatrix, vision_library

__all__ = ["Convolve", "Floats", "Head", "PackedMatrix", "Widths", "panels"]

FAR = -1e30
"""The score of what does not count; minus infinity less itself would be no number."""

Floats = NDArray[np.float32]
Widths = NDArray[np.int32]


def panels(weights: Floats) -> Floats:
    """A matrix (outputs, inputs) as the kernels read it: (panels, inputs, 16), filled up with zeros."""
    outputs, inputs = weights.shape
    packed = np.zeros((-(-outputs // PANEL), inputs, PANEL), np.float32)
    whole = outputs // PANEL
    packed[:whole] = weights[: whole * PANEL].reshape(whole, PANEL, inputs).transpose(0, 2, 1)
    if rest := outputs % PANEL:
        packed[whole, :, :rest] = weights[whole * PANEL :].T
    return packed


@dataclass(frozen=True, slots=True)
class PackedMatrix:
    """A matrix with its bias.

    Attributes:
        outputs, inputs: its sizes.
        packed: (panels, inputs, 16).
        bias: (16 * panels,), zeros behind the outputs.
    """

    outputs: int
    inputs: int
    packed: Floats
    bias: Floats

    @classmethod
    def of(cls, weights: Floats, bias: Floats | None = None) -> PackedMatrix:
        """Packs weights (outputs, inputs), with a bias (outputs,) or none."""
        outputs, inputs = weights.shape
        filled = np.zeros(-(-outputs // PANEL) * PANEL, np.float32)
        if bias is not None:
            filled[:outputs] = bias
        return cls(outputs, inputs, panels(weights), filled)

    def structure(self) -> VisionMatrix:
        """What the kernels are given; this has to outlive it."""
        return VisionMatrix(self.outputs, self.inputs, self.packed.ctypes.data, self.bias.ctypes.data)


class Convolve:
    """A convolution, perhaps with the positive part of it or a norm behind it.

    Args:
        weights: (outputs, channels, k, k) with k 1 or 3, or a matrix (outputs, channels).
        bias: (outputs,) or None.
        stride: down and across.
        relu: whether negative outputs become zero.
        norm: weight and bias of a layer norm over each of their size of outputs, and its epsilon.
    """

    def __init__(
        self,
        weights: Floats,
        bias: Floats | None = None,
        *,
        stride: tuple[int, int] = (1, 1),
        relu: bool = False,
        norm: tuple[Floats, Floats, float] | None = None,
    ) -> None:
        self._kernel = weights.shape[-1] if weights.ndim == 4 else 1
        places = weights.transpose(0, 2, 3, 1) if weights.ndim == 4 else weights
        self.matrix = PackedMatrix.of(np.ascontiguousarray(places.reshape(len(weights), -1)), bias)
        self._channels = weights.shape[1]
        self._stride, self._relu, self._norm = stride, relu, norm

    def __call__(self, x: Floats, widths: Widths | None, threads: int) -> tuple[Floats, Widths | None]:
        """x (B, h, w, channels), contiguous, to (B, h', w', outputs), both with their own columns (B,).

        Columns that are no image's own count as zeros, and come out as zeros.

        Raises:
            NativeError: if memory does not suffice.
        """
        images, rows, columns, channels = x.shape
        assert channels == self._channels
        assert x.flags.c_contiguous
        down, across = self._stride
        outputs = self.matrix.outputs
        y = np.empty((images, -(-rows // down), -(-columns // across), outputs), np.float32)
        weight, bias, epsilon = self._norm or (None, None, 0.0)
        convolution = Convolution(
            *(self._kernel, down, across, images, rows, columns, channels),
            *(self._relu, 0 if weight is None else len(weight), epsilon, self.matrix.structure()),
            Norm(*(None if part is None else part.ctypes.data for part in (weight, bias))),
            None if widths is None else widths.ctypes.data,
        )
        status = vision_library().vary_vision_convolve(
            ctypes.byref(convolution), x.ctypes.data, y.ctypes.data, threads
        )
        check(status, "compute a convolution")
        return y, None if widths is None else -(-widths // across)


class Head:
    """The scores of states over a vocabulary, of which only some are ever written out.

    Args:
        matrix: the head's weights (vocabulary, hidden).
    """

    def __init__(self, matrix: PackedMatrix, threads: int) -> None:
        self.matrix, self._threads = matrix, threads
        self._biases: dict[tuple[int, ...], Floats] = {}

    def rows(self, ids: Sequence[int]) -> Floats:
        """The weights (N, hidden) of some ids."""
        numbers = np.asarray(ids, np.int64)
        return self.matrix.packed[numbers // PANEL, :, numbers % PANEL]

    def survey(self, states: Floats, never: Sequence[int]) -> tuple[NDArray[np.int32], Floats]:
        """Of states (N, hidden) the likeliest id (N,) and the logarithm of the sum of exponentials (N,).

        Raises:
            NativeError: if memory does not suffice.
        """
        assert states.flags.c_contiguous
        best, totals = np.empty(len(states), np.int32), np.empty(len(states), np.float32)
        bias = self._bias(tuple(never))
        matrix = VisionMatrix(len(bias), self.matrix.inputs, self.matrix.packed.ctypes.data, bias.ctypes.data)
        status = vision_library().vary_vision_survey(
            *(ctypes.byref(matrix), states.ctypes.data, len(states)),
            *(best.ctypes.data, totals.ctypes.data, self._threads),
        )
        check(status, "look through the scores")
        return best, totals

    def scores(self, states: Floats, ids: Sequence[int]) -> Floats:
        """The scores (N, len(ids)) of some ids."""
        chosen = Convolve(self.rows(ids))
        found, _ = chosen(states[None, None], None, 1)  # too little for several threads
        return found[0, 0]

    def _bias(self, never: tuple[int, ...]) -> Floats:
        if never not in self._biases:
            bias = np.zeros(len(self.matrix.bias), np.float32)
            bias[self.matrix.outputs :] = FAR
            bias[list(never)] = FAR
            self._biases[never] = bias
        return self._biases[never]
