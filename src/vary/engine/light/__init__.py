"""A line model in NumPy and native kernels: what reads on a CPU without PyTorch and Transformers."""

from __future__ import annotations

from vary.engine.light.model import LightModel
from vary.engine.light.settings import LightSettings

__all__ = ["LightModel", "LightSettings"]
