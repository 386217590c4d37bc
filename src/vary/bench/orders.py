"""What a worker is told about a contestant, as JSON, and what it makes of that."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from vary.bench.contestants.protocol import Order
from vary.bench.shapes import shape_config
from vary.bench.weights import RandomWeights, StoredWeights, Weights
from vary.errors import CheckpointError
from vary.model.configuration import VaryConfig
from vary.model.loading import LIBRARY_ERRORS, why

__all__ = ["Subject", "model_config", "order_of"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Subject:
    """The model and machine that all contestants share.

    Attributes:
        shape: of a model with random weights, or "" where there is a checkpoint.
        checkpoint: a folder in our format, or "".
        seed: of random weights.
        device, threads: where and with how many threads.
    """

    shape: str
    checkpoint: str
    seed: int
    device: str
    threads: int

    def request(self) -> dict[str, Any]:
        """What `order_of` reads, as JSON values."""
        return asdict(self)

    @property
    def name(self) -> str:
        return f"random weights of {self.shape}" if self.shape else Path(self.checkpoint).name


def model_config(shape: str, checkpoint: str) -> VaryConfig:
    """The configuration of a shape, or of a checkpoint's folder.

    Raises:
        CheckpointError: if there is none.
    """
    if shape:
        return shape_config(shape)
    folder = Path(checkpoint)
    if not (folder / "config.json").is_file():
        raise CheckpointError(
            f"{folder}: no checkpoint here (there is no config.json); give the folder of a vary checkpoint, "
            "or a --shape"
        )
    try:
        return VaryConfig.from_pretrained(folder, local_files_only=True)
    except LIBRARY_ERRORS as error:
        raise CheckpointError(f"{folder}: not a checkpoint that vary can load ({why(error)})") from error


def order_of(request: dict[str, Any], precision: str, folder: Path) -> Order:
    """The order that a request stands for in a precision; `folder` is for the contestant's files."""
    config = model_config(request["shape"], request["checkpoint"])
    weights: Weights
    if request["shape"]:
        weights = RandomWeights(config, request["seed"])
    else:
        weights = StoredWeights(Path(request["checkpoint"]), config)
    return Order(
        config=config,
        weights=weights,
        precision=precision,
        threads=request["threads"],
        device=torch.device(request["device"]),
        folder=folder,
    )
