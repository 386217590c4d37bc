"""Native kernels for a head's scores of which only the likeliest id and the sum of all are wanted."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from vary.engine.native import check
from vary.engine.vision import PANEL, PackedLinear, vision_library
from vary.errors import NativeError
from vary.model.modeling import VaryForConditionalGeneration

__all__ = ["NativeSurvey", "use_native_survey"]

FAR = -1e30
"""The score of what does not count; minus infinity less itself would be no number."""


class NativeSurvey:
    """Looks through a head's scores, with the weights of the time of building, in float32.

    The scores of a state are never written out: of the thousands of each only two numbers are kept.

    Raises:
        NativeError: if the kernels are not there.
    """

    def __init__(self, head: torch.nn.Linear) -> None:
        self._linear = PackedLinear.of(head, 0)
        self._biases: dict[tuple[int, ...], Tensor] = {}

    def __call__(self, hidden: Tensor, never: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Of states (N, C) the likeliest id (N,) and the logarithm of the sum of the exponentials (N,).

        Args:
            hidden: float32 on a CPU.
            never: ids that do not count.

        Raises:
            NativeError: if memory does not suffice.
        """
        rows = hidden.to(torch.float32).contiguous()
        best, totals = torch.empty(len(rows), dtype=torch.int32), torch.empty(len(rows))
        bias = self._bias(tuple(never))
        matrix = self._linear.matrix(bias)
        status = vision_library().vary_vision_survey(
            *(ctypes.byref(matrix), rows.data_ptr(), len(rows)),
            *(best.data_ptr(), totals.data_ptr(), torch.get_num_threads()),
        )
        check(status, "look through the scores")
        return best.long(), totals

    def _bias(self, never: tuple[int, ...]) -> Tensor:
        """The head's, far below for what does not count, and filled up to whole panels."""
        if never not in self._biases:
            bias = F.pad(self._linear.bias, (0, -len(self._linear.bias) % PANEL), value=FAR)
            bias[list(never)] = FAR
            self._biases[never] = bias
        return self._biases[never]


def use_native_survey(model: VaryForConditionalGeneration) -> None:
    """Lets native kernels look through the scores of a line model's CTC branch.

    Weights that change later do not reach them: this is for models that only read.

    Raises:
        NativeError: if the model is not in float32 on a CPU, or as `NativeSurvey`.
    """
    weight = model.lm_head.weight
    if weight.device.type != "cpu" or weight.dtype != torch.float32:
        raise NativeError(
            f"the native survey of scores computes float32 on a CPU, and this head is {weight.dtype} on "
            f"{weight.device}"
        )
    model.survey = NativeSurvey(model.lm_head)
