"""Which of vary's decoders stands for a precision, and how it is built out of a benchmark's weights."""

from __future__ import annotations

import torch
from torch import Tensor

from vary.bench.contestants.protocol import DTYPES, Order
from vary.bench.shapes import decoder_only
from vary.bench.weights import HEAD, LANGUAGE, build_model
from vary.engine.decoders.graphed import GraphDecoder
from vary.engine.decoders.interface import Decoder
from vary.engine.decoders.library import LibraryDecoder
from vary.engine.decoders.native import NativeDecoder
from vary.engine.native import load_library
from vary.engine.packing import PackedModel, TextShape, pack_model, write_packed
from vary.engine.precisions import precision
from vary.errors import NativeError
from vary.model.configuration import VaryConfig

__all__ = ["build_decoder", "native_absence"]

KEPT = ("float32", "bfloat16")
"""Float types that the native kernels decode on a CPU."""


def build_decoder(order: Order) -> Decoder:
    """The decoder of a precision with these weights, as a reader has it.

    Raises:
        NativeError: if the native kernels are wanted and not there.
    """
    if order.precision not in DTYPES or (
        order.precision in KEPT and not native_absence(order.config, order.device.type)
    ):
        return _native(order)
    model = build_model(decoder_only(order.config), order.weights, DTYPES[order.precision])
    model.to(order.device)
    recorded = order.device.type == "cuda" and GraphDecoder.supports(model)
    return GraphDecoder(model) if recorded else LibraryDecoder(model)


def native_absence(config: VaryConfig, device: str) -> str:
    """Why the native kernels cannot be measured; empty where they can."""
    if device != "cpu":
        return f"the native kernels run on CPUs, not on {device}"
    try:
        load_library()
        TextShape.of(config.text_config)
    except NativeError as error:
        return str(error)
    return ""


def _native(order: Order) -> NativeDecoder:
    """Packs the weights, integers into a file that is mapped; the embedding is in bfloat16, as in most."""

    def weight(name: str) -> Tensor:
        tensor = order.weights.tensor(name if name == HEAD else LANGUAGE + name)
        return tensor.to(torch.bfloat16) if name.startswith("embed_tokens") else tensor

    kind, text = precision(order.precision), order.config.text_config
    if not kind.group:
        return NativeDecoder(pack_model(text, weight, kind), threads=order.threads)
    file = order.folder / f"vary-{order.precision}.safetensors"
    write_packed(file, text, weight, kind, "benchmark")
    return NativeDecoder(PackedModel.open(file), threads=order.threads)
