"""Which of several GPUs kernels are launched on."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch

__all__ = ["current"]


def current(device: torch.device) -> AbstractContextManager[object]:
    """Makes a GPU the current one: PyTorch follows its tensors, Triton and graphs do not."""
    return torch.cuda.device(device) if device.type == "cuda" else nullcontext()
