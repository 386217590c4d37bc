"""Names that the command line and the benchmark share; nothing heavy is imported here."""

from __future__ import annotations

__all__ = ["INTEGERS", "PEERS", "PHASES", "SHAPES", "VISIONS", "VISIONS_OF_A_CPU"]

SHAPES = ("vary-toy", "vary-tiny", "vary-nano", "tiny")
"""Models that can be made in place with random weights; `tiny` is Vary-toy in miniature, for tests."""
PEERS = ("transformers", "onnxruntime", "openvino", "llamacpp", "tesseract")
"""Who can be measured beside vary."""
PHASES = ("encode", "prefill", "decode", "page", "pages", "memory")
INTEGERS = ("int4", "int8", *(f"{kind}-g{group}" for kind in ("int4", "int8") for group in (32, 64, 128)))
"""Precisions of weights in groups; without a size everyone takes their own."""
VISIONS = ("float32", "int16", "int8", "bfloat16")
"""Precisions of vary's own kernels for the vision vocabulary network."""
VISIONS_OF_A_CPU = ("bfloat16", "int16", "float32")
"""Those measured on a CPU unless others are wanted, the fastest first; the first needs AMX."""
