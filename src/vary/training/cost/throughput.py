"""What a device can do at most: the speed of a large matrix product, measured."""

from __future__ import annotations

import time
from functools import lru_cache

import torch

__all__ = ["matrix_product_speed"]


@lru_cache(maxsize=8)
def matrix_product_speed(device: torch.device, dtype: torch.dtype | None = None) -> float:
    """Floating point operations a second of a large matrix product, the best of a few.

    Args:
        device: where.
        dtype: bfloat16 on a GPU and float32 on a CPU, unless given.
    """
    cuda = device.type == "cuda"
    dtype = dtype or (torch.bfloat16 if cuda else torch.float32)
    size = 8192 if cuda else 1024
    left = torch.ones(size, size, dtype=dtype, device=device)
    best = float("inf")
    for _ in range(5):
        started = time.perf_counter()
        left @ left
        if cuda:
            torch.cuda.synchronize(device)
        best = min(best, time.perf_counter() - started)
    return 2 * size**3 / best
