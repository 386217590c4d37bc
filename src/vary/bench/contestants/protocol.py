"""What a contestant is: something that encodes pages, or that holds growing sequences of a language model."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from vary.bench.shapes import DecoderSize
from vary.bench.weights import Weights
from vary.errors import MissingDependencyError
from vary.model.configuration import VaryConfig

__all__ = ["DTYPES", "Contestant", "Decoding", "Encoding", "Order", "peer_module"]

DTYPES: Mapping[str, torch.dtype] = {
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Order:
    """What a contestant is to build.

    Attributes:
        config: the whole model's.
        weights: the same for every contestant.
        precision: a float type, or integers in groups: `int4`, `int8-g64`; of vision branches also those of
            vary's own kernels: `native int16`.
        threads: of the CPU.
        device: where torch contestants run.
        folder: for files that a contestant writes; gone when the run ends.
    """

    config: VaryConfig
    weights: Weights
    precision: str
    threads: int
    device: torch.device
    folder: Path

    @property
    def size(self) -> DecoderSize:
        return DecoderSize.of(self.config)


class Encoding(Protocol):
    """Vision branches with their projector."""

    def encode(self, pixels: Mapping[str, Tensor]) -> Tensor:
        """Pixels as the model's `get_image_features` takes them to image tokens (images, N, hidden)."""


class Decoding(Protocol):
    """A language model with several sequences of one length.

    Attributes:
        weight_bytes: what a step of one token reads of the weights.
    """

    weight_bytes: int

    def start(self, sequences: int, room: int) -> None:
        """Forgets everything and begins so many empty sequences, of at most `room` tokens each."""

    def read(self, rows: Tensor, scored: int) -> Tensor:
        """Embeddings (sequences, T, hidden), T new tokens each, to the last `scored` tokens' scores.

        Returns (sequences, scored, vocabulary) in float32.
        """

    def run(self, steps: int) -> bool:
        """Takes steps of the likeliest token of every sequence by itself; False if it has to be told each."""

    def cut(self, length: int) -> None:
        """Forgets all but the first `length` tokens of every sequence."""


class Contestant(Protocol):
    """One that may be installed or not.

    Attributes:
        name: as `--against` has it.
    """

    name: str

    def missing(self) -> str:
        """What to install, as a line for a shell; empty where it is there."""

    def measures(self, precision: str) -> bool:
        """Whether it has anything of such weights."""

    def refusal(self, config: VaryConfig, precision: str, device: str) -> str:
        """Why it cannot be measured on this model or device; empty where it can."""

    def label(self, precision: str) -> str:
        """The name of this precision in tables."""

    def encoding(self, order: Order) -> Encoding | None:
        """Its vision branches; None for one that only decodes."""

    def decoding(self, order: Order) -> Decoding | None:
        """Its language model; None for one that only encodes."""

    def versions(self) -> dict[str, str]:
        """Versions of the packages or programs that it consists of."""


def peer_module(name: str, install: str) -> Any:
    """A peer's module, imported when it is needed.

    Raises:
        MissingDependencyError: with the line that installs it.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise MissingDependencyError(f"{name} cannot be imported ({error}): {install}") from error
