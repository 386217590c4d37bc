"""Why training on a CPU writes its attention out: forward and backward of fused and written-out attention.

Both in one run, one thread, on the shapes of a batch of text lines; prints milliseconds and their ratio.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

SHAPES = ((32, 3, 32, 83), (8, 3, 128, 131), (32, 3, 43, 64))
"""Batch, heads, tokens, width: lines of 256 and of 1024 pixels in the encoder, and the decoder's."""


def fused(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    return F.scaled_dot_product_attention(query, key, value, scale=1.0)


def written_out(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    return (query @ key.transpose(-2, -1)).softmax(-1, dtype=torch.float32).to(value.dtype) @ value


def milliseconds(attend: Callable[[Tensor, Tensor, Tensor], Tensor], shape: tuple[int, ...]) -> float:
    """The best of ten of forward plus backward, in bfloat16."""
    parts = [torch.randn(shape, dtype=torch.bfloat16, requires_grad=True) for _ in range(3)]
    times = []
    for _ in range(10):
        started = time.perf_counter()
        attend(*parts).sum().backward()
        times.append(time.perf_counter() - started)
    return 1000 * min(times)


def main() -> None:
    argparse.ArgumentParser(description=__doc__).parse_args()
    torch.set_num_threads(1)
    for shape in SHAPES:
        slow, fast = milliseconds(fused, shape), milliseconds(written_out, shape)
        print(f"{shape}: fused {slow:.2f} ms, written out {fast:.2f} ms, ratio {slow / fast:.1f}")


if __name__ == "__main__":
    main()
