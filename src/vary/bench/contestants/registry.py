"""All contestants that hold the model, by the name that `--against` has; Tesseract reads pages only."""

from __future__ import annotations

from collections.abc import Mapping

from vary.bench.contestants.llamacpp import LlamaCpp
from vary.bench.contestants.onnxruntime import OnnxRuntime
from vary.bench.contestants.openvino import OpenVino
from vary.bench.contestants.protocol import Contestant
from vary.bench.contestants.transformers import Transformers
from vary.bench.contestants.vary import Vary

__all__ = ["CONTESTANTS"]

CONTESTANTS: Mapping[str, Contestant] = {
    one.name: one for one in (Vary(), Transformers(), OnnxRuntime(), OpenVino(), LlamaCpp())
}
