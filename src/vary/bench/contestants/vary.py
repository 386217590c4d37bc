"""vary itself: its own vision branches, and its decoders by way of their common interface."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import cast

import torch
from torch import Tensor

from vary.bench.contestants.protocol import DTYPES, Decoding, Encoding, Order
from vary.bench.contestants.vary_decoders import build_decoder, native_absence
from vary.bench.machine import package_versions
from vary.bench.shapes import encoder_only
from vary.bench.weights import build_model
from vary.engine.cuda.branches import use_gpu_vision
from vary.engine.decoders.interface import Decoder, Entry, RunsAhead
from vary.engine.vision import VisionPrecision, use_native_blocks, use_native_vision
from vary.errors import NativeError
from vary.model.configuration import VaryConfig
from vary.model.vision_vocabulary import VisionVocabulary

__all__ = ["NATIVE", "DecoderOfOurs", "Vary"]

NATIVE = "native "
"""How precisions of our kernels for the vision vocabulary network begin."""


class Vary:
    """What `vary read` runs: the native kernels on a CPU, recorded graphs or torch's modules elsewhere."""

    name = "vary"

    def missing(self) -> str:
        return ""

    def measures(self, precision: str) -> bool:
        return True

    def refusal(self, config: VaryConfig, precision: str, device: str) -> str:
        if precision.startswith(NATIVE):
            return native_vision_absence(config, precision, device)
        return "" if precision in DTYPES else native_absence(config, device)

    def label(self, precision: str) -> str:
        return f"vary {precision}"

    def encoding(self, order: Order) -> Encoding | None:
        own = order.precision in DTYPES or order.precision.startswith(NATIVE)
        return _Encoder(order) if own else None

    def decoding(self, order: Order) -> Decoding | None:
        return DecoderOfOurs(build_decoder(order), order)

    def versions(self) -> dict[str, str]:
        return package_versions("vary-toy", "torch", "transformers")


def native_vision_absence(config: VaryConfig, precision: str, device: str) -> str:
    """Why our kernels cannot compute this vision vocabulary; empty where they can."""
    if device != "cpu":
        return f"the native kernels run on CPUs, not on {device}"
    one_layer = copy.deepcopy(config.vision_vocabulary_config)
    one_layer.num_hidden_layers = 1
    try:
        use_native_blocks(VisionVocabulary(one_layer), _vision_precision(precision))
    except NativeError as error:
        return str(error)
    return ""


def _vision_precision(name: str) -> VisionPrecision:
    """`int16` of `native int16`."""
    return cast(VisionPrecision, name.removeprefix(NATIVE))


class _Encoder:
    """The model's own vision branches, by torch or with the vocabulary network's blocks by our kernels."""

    def __init__(self, order: Order) -> None:
        dtype = DTYPES.get(order.precision, torch.float32)
        self._model = build_model(encoder_only(order.config), order.weights, dtype).to(order.device)
        if order.precision not in DTYPES:
            use_native_vision(self._model.model, _vision_precision(order.precision))
        elif order.device.type == "cuda":
            use_gpu_vision(self._model)

    def encode(self, pixels: Mapping[str, Tensor]) -> Tensor:
        tokens = self._model.get_image_features(**pixels).pooler_output
        return tokens if isinstance(tokens, Tensor) else torch.stack(list(tokens))


class DecoderOfOurs:
    """Several sequences of one length on a decoder that follows the common interface."""

    def __init__(self, decoder: Decoder, order: Order) -> None:
        self.decoder = decoder
        self.weight_bytes = _bytes_per_token(decoder, order)
        self._like = decoder.embed([0])
        self._sequences: list[int] = []

    def start(self, sequences: int, room: int) -> None:
        for sequence in self._sequences:
            self.decoder.close(sequence)
        self._sequences = [self.decoder.open() for _ in range(sequences)]

    def read(self, rows: Tensor, scored: int) -> Tensor:
        new = rows.to(self._like)
        entries = [Entry(number, own, scored) for number, own in zip(self._sequences, new, strict=True)]
        return self.decoder.read(entries).unflatten(0, (len(entries), scored))

    def run(self, steps: int) -> bool:
        if not isinstance(self.decoder, RunsAhead):
            return False
        ids = [0] * len(self._sequences)
        while steps > 0:
            count = min(steps, self.decoder.ahead)
            chosen, _ = self.decoder.run(self._sequences, ids, count)
            ids = [row[-1] for row in chosen]
            steps -= count
        return True

    def cut(self, length: int) -> None:
        for sequence in self._sequences:
            self.decoder.cut(sequence, length)


def _bytes_per_token(decoder: Decoder, order: Order) -> int:
    """What a decoder says that it reads per token, or what its type of weights makes of their number."""
    told = getattr(decoder, "weight_bytes", None)
    if told is not None:
        return int(told)
    return order.size.read_per_token * DTYPES[order.precision].itemsize
