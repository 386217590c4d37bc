"""What a process of a training run holds in a GPU's memory, part by part, from the configuration alone."""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import dataclass
from importlib import resources

from transformers.modeling_layers import GradientCheckpointingLayer

from vary.model.configuration import VaryConfig
from vary.model.modeling import VaryForConditionalGeneration
from vary.training.cost.activations import FLOAT32, Activations
from vary.training.cost.shapes import PARTS, DecoderShape, check_parts, layers_used, meta_model
from vary.training.settings import Parallel, Precision

__all__ = ["Memory", "ModelSize", "PartSize", "static_memory"]

ADAM_STATES = 2
"""Averages that AdamW keeps of every weight's gradient: the mean and the mean square, as float32."""


@dataclass(frozen=True, slots=True)
class PartSize:
    """How large a part of a model is.

    Attributes:
        parameters, tensors: of its weights, adapters among them.
        trained, trained_tensors: of those that get gradients.
        buffers: bytes of what it holds besides weights.
    """

    parameters: int = 0
    tensors: int = 0
    trained: int = 0
    trained_tensors: int = 0
    buffers: int = 0


@dataclass(frozen=True, slots=True)
class ModelSize:
    """How large a model is, by part, and how FSDP2 cuts it.

    Attributes:
        parts: by the names of `PARTS`.
        layer, trained_layer: weights of the largest layer, and of the largest that is trained.
        rest, trained_rest: weights outside of layers.
    """

    parts: dict[str, PartSize]
    layer: int
    trained_layer: int
    rest: int
    trained_rest: int

    @classmethod
    def of(
        cls,
        config: VaryConfig,
        trained: Collection[str],
        lora_rank: int = 0,
        model: VaryForConditionalGeneration | None = None,
    ) -> ModelSize:
        """The sizes of a model of which `trained` is trained, with adapters of a rank on the decoder.

        `model`, if it is there already, spares building one.

        CLIP's layers after the state that is used are computed, but never get a gradient.

        Raises:
            TrainingError: for a part that does not exist.
        """
        check_parts(trained)
        model = model or meta_model(config)
        counts = {part: dict.fromkeys(PartSize.__slots__, 0) for part in PARTS}
        adapted = "decoder" in trained and lora_rank > 0
        whole = set(trained) - ({"decoder"} if adapted else set())
        learns = {}
        for name, parameter in model.named_parameters():
            part = _part(name)
            learns[name] = part in whole and not _idle(name, config)
            _count(counts[part], parameter.numel(), learns[name])
        for name, buffer in model.named_buffers():
            counts[_part(name)]["buffers"] += buffer.numel() * buffer.element_size()
        layers = {
            name: sum(p.numel() for p in module.parameters())
            for name, module in model.named_modules()
            if isinstance(module, GradientCheckpointingLayer)
        }
        trained_layers = {
            name: sum(
                p.numel()
                for part, p in model.get_submodule(name).named_parameters()
                if learns[f"{name}.{part}"]
            )
            for name in layers
        }
        if adapted:
            for layer in DecoderShape.of(config, model).layers:
                for matrix in layer.matrices:
                    for size in (matrix.inputs, matrix.outputs):
                        _count(counts["decoder"], lora_rank * size, True)
        parts = {part: PartSize(**values) for part, values in counts.items()}
        return cls(
            parts=parts,
            layer=max(layers.values()),
            trained_layer=max(trained_layers.values()),
            rest=sum(size.parameters for size in parts.values()) - sum(layers.values()),
            trained_rest=sum(size.trained for size in parts.values()) - sum(trained_layers.values()),
        )

    @property
    def parameters(self) -> int:
        return sum(part.parameters for part in self.parts.values())

    @property
    def trained(self) -> int:
        return sum(part.trained for part in self.parts.values())

    @property
    def trained_tensors(self) -> int:
        return sum(part.trained_tensors for part in self.parts.values())

    @property
    def buffers(self) -> int:
        return sum(part.buffers for part in self.parts.values())


def _part(name: str) -> str:
    """The part that a parameter's or buffer's name belongs to."""
    return next((part for part in PARTS if name.startswith(f"model.{part}.")), "decoder")


def _idle(name: str, config: VaryConfig) -> bool:
    """Whether nothing that is used depends on a parameter."""
    if not name.startswith("model.clip."):
        return False
    pieces = name.split(".")
    if "layers" in pieces:
        return int(pieces[pieces.index("layers") + 1]) >= layers_used(config)
    return "post_layernorm" in pieces


def _count(counts: dict[str, int], size: int, learns: bool) -> None:
    counts["parameters"] += size
    counts["tensors"] += 1
    counts["trained"] += size if learns else 0
    counts["trained_tensors"] += 1 if learns else 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """Bytes in one GPU.

    Attributes:
        weights: all of them, trained and frozen.
        gradients: of the trained ones.
        optimizer: AdamW's two averages, with its counters.
        master: float32 weights beside half-precision ones, where `weights` are that.
        average: the moving average of weights.
        exchange: buffers through which processes exchange gradients.
        gathered: weights and gradients that FSDP2 puts together while it computes.
        inputs: pixels.
        activations: what layers keep for the backward pass.
        weight_copies: half-precision copies of float32 weights.
        recomputed: of the layer that gradient checkpointing computes again.
        logits: scores of the vocabulary.
    """

    weights: float
    gradients: float
    optimizer: float
    master: float = 0.0
    average: float = 0.0
    exchange: float = 0.0
    gathered: float = 0.0
    inputs: float = 0.0
    activations: float = 0.0
    weight_copies: float = 0.0
    recomputed: float = 0.0
    logits: float = 0.0

    def lines(self) -> dict[str, float]:
        return {name: getattr(self, name) for name in self.__slots__}

    @property
    def total(self) -> float:
        return sum(self.lines().values())


def static_memory(
    size: ModelSize,
    *,
    gpus: int,
    parallel: Parallel,
    precision: Precision,
    average: bool = False,
    activations: Activations | None = None,
) -> Memory:
    """What one GPU holds; without `activations`, what does not depend on the batch.

    As vary trains: float32 weights in any precision, mixed arithmetic by automatic casting, which copies
    weights (`ddp`); FSDP2 shares out everything and gathers a layer at a time; DeepSpeed's ZeRO-2 holds
    half-precision weights whole and shares out gradients and the optimizer's float32 state.
    """
    half = 2 if precision != "no" else FLOAT32
    buffers = size.buffers
    states = ADAM_STATES * FLOAT32 * size.trained
    kept = (
        {}
        if activations is None
        else {
            "inputs": activations.inputs,
            "activations": activations.kept,
            "weight_copies": activations.weight_copies if parallel == "ddp" else 0.0,
            "recomputed": activations.recomputed,
            "logits": activations.logits,
        }
    )
    kept["average"] = float(FLOAT32 * size.trained if average else 0)
    if parallel == "fsdp2":
        return Memory(
            weights=FLOAT32 * size.parameters / gpus + buffers,
            gradients=FLOAT32 * size.trained / gpus,
            optimizer=states / gpus,
            # The rest stays gathered between the passes; of layers, one computes while the next one comes.
            gathered=half * (size.rest + 2 * size.layer + size.trained_rest + size.trained_layer),
            **kept,
        )
    if parallel == "zero2":
        bucket = min(size.trained, _zero2_bucket())
        return Memory(
            weights=half * size.parameters + buffers,
            # Half-precision gradients of the share, and the same as float32 for the step.
            gradients=(half + FLOAT32) * size.trained / gpus,
            optimizer=states / gpus,
            master=FLOAT32 * size.trained / gpus if half < FLOAT32 else 0.0,
            exchange=2 * half * bucket,
            **kept,
        )
    return Memory(
        weights=FLOAT32 * size.parameters + buffers,
        gradients=FLOAT32 * size.trained,
        optimizer=states + FLOAT32 * size.trained_tensors,
        exchange=FLOAT32 * size.trained if gpus > 1 else 0.0,
        **kept,
    )


def _zero2_bucket() -> int:
    """Numbers that DeepSpeed reduces at once, as the shipped settings have it."""
    text = (resources.files("vary.configs") / "zero2.json").read_text(encoding="utf-8")
    return int(json.loads(text)["zero_optimization"]["reduce_bucket_size"])
