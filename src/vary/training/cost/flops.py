"""Floating point operations of a training step, computed from the configuration alone.

A product of an (m, k) and a (k, n) matrix counts 2mkn; everything else (norms, activations, softmax,
embeddings) is small beside the products and counts nothing, as is usual.  Attention counts all pairs of
tokens, masked ones too, since the kernels' speed is stated so.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Protocol

from torch import Tensor

from vary.model.configuration import VaryConfig, VisionVocabularyConfig
from vary.training.cost.shapes import DecoderShape, LayerShape, check_parts, layers_used, written_out

__all__ = ["Flops", "StepFlops", "batch_cost", "step_breakdown"]


@dataclass(frozen=True, slots=True)
class Flops:
    """Floating point operations of a part of the model.

    Attributes:
        forward: of the forward pass.
        weights: of the gradients of weights.
        activations: of the gradients of what went in, which earlier parts need.
        recomputed: of what gradient checkpointing computes a second time.
    """

    forward: float = 0.0
    weights: float = 0.0
    activations: float = 0.0
    recomputed: float = 0.0

    @property
    def backward(self) -> float:
        """Of both gradients, without what is computed a second time."""
        return self.weights + self.activations

    @property
    def total(self) -> float:
        return self.forward + self.weights + self.activations + self.recomputed

    def __add__(self, other: Flops) -> Flops:
        return Flops(
            self.forward + other.forward,
            self.weights + other.weights,
            self.activations + other.activations,
            self.recomputed + other.recomputed,
        )

    def __rmul__(self, times: float) -> Flops:
        return Flops(
            times * self.forward, times * self.weights, times * self.activations, times * self.recomputed
        )


NOTHING = Flops()


class CostedBatch(Protocol):
    """What the cost of a batch depends on: ids (B, T) and the pixel tensors by name."""

    @property
    def input_ids(self) -> Tensor: ...

    @property
    def pixels(self) -> Mapping[str, Tensor]: ...


@dataclass(frozen=True, slots=True)
class StepFlops:
    """Floating point operations of a step, by part.

    Attributes:
        vision_vocabulary: the vocabulary network, with the frames of a CTC branch.
        clip: CLIP's tower up to the state that is used.
        projector: the input embedding layers.
        decoder: the layers of the language model.
        head: the scores of every token of the vocabulary, a CTC branch's too.
    """

    vision_vocabulary: Flops = NOTHING
    clip: Flops = NOTHING
    projector: Flops = NOTHING
    decoder: Flops = NOTHING
    head: Flops = NOTHING

    def by_part(self) -> dict[str, Flops]:
        return {name: getattr(self, name) for name in self.__slots__}

    @property
    def sum(self) -> Flops:
        """All parts together."""
        return sum(self.by_part().values(), NOTHING)

    @property
    def total(self) -> float:
        return self.sum.total


def step_breakdown(
    config: VaryConfig,
    *,
    sequences: int,
    length: int,
    images: int,
    trained: Collection[str],
    gradient_checkpointing: bool = False,
    lora_rank: int = 0,
    image_size: tuple[int, int] | None = None,
    decoder: DecoderShape | None = None,
    scored: int | None = None,
) -> StepFlops:
    """Floating point operations of a forward and a backward pass, by part.

    Args:
        config: the model's.
        sequences, length: of the batch, padding included; the images' tokens are among `length`.
        images: of the whole batch.
        trained: parts that are trained, of `PARTS`; the others are frozen.  With none it is a forward pass.
        gradient_checkpointing: counts what is computed a second time too.
        lora_rank: of adapters on the decoder, which is frozen then; 0 trains it whole.
        image_size: (height, width) in pixels of the vocabulary branch; None for the configuration's.
        decoder: spares reading it off the configuration again.
        scored: tokens that get scores of the vocabulary; None for all.

    Raises:
        TrainingError: for a part that does not exist, or a decoder whose layers cannot be counted.
    """
    parts = set(check_parts(trained))
    decoder = decoder or DecoderShape.of(config)
    vision = config.vision_vocabulary_config
    size = image_size or (vision.height, vision.width)
    adapted = "decoder" in parts and lora_rank > 0
    whole = "decoder" in parts and not adapted
    flows = whole or bool(images and parts - {"decoder"})
    layers = NOTHING
    for index, layer in enumerate(decoder.layers):
        layers += _decoder_layer(
            decoder,
            layer,
            sequences,
            length,
            trained=whole,
            flows=flows or (adapted and index > 0),
            checkpointed=gradient_checkpointing,
            rank=lora_rank if adapted else 0,
        )
    scored = scored or decoder.vocabulary
    head = _linear(sequences * length, decoder.width, scored, trained=whole, flows=flows or adapted)
    if vision.ctc_frames:
        frames = size[1] // vision.patch_size * vision.ctc_frames
        learned = "vision_vocabulary" in parts  # the branch's loss is only there where the network is trained
        head += _linear(images * frames, decoder.width, scored, trained=whole and learned, flows=learned)
    return StepFlops(
        vision_vocabulary=images * _vision_vocabulary(vision, size, parts, gradient_checkpointing),
        clip=images * _clip(config, parts, gradient_checkpointing),
        projector=images * _projector(config, size, parts),
        decoder=layers,
        head=head,
    )


def batch_cost(
    config: VaryConfig,
    trained: Collection[str],
    gradient_checkpointing: bool = False,
    *,
    lora_rank: int = 0,
) -> Callable[[CostedBatch], float]:
    """A function that gives the floating point operations of a batch, forward and backward, for the log.

    A batch's `rows`, where it has them, are the tokens of the vocabulary that get scores.

    With `gradient_checkpointing` what is computed a second time counts: the share of the device's speed that
    follows is its utilisation.  Leave it out for the model's own share (MFU, arXiv 2204.02311, appendix B).

    Raises:
        TrainingError: as `step_breakdown`.
    """
    decoder = DecoderShape.of(config)
    check_parts(trained)

    def cost(batch: CostedBatch) -> float:
        sequences, length = batch.input_ids.shape
        rows: Tensor | None = getattr(batch, "rows", None)
        pixels = batch.pixels.get("pixel_values")
        return step_breakdown(
            config,
            sequences=sequences,
            length=length,
            images=0 if pixels is None else len(pixels),
            trained=trained,
            gradient_checkpointing=gradient_checkpointing,
            lora_rank=lora_rank,
            image_size=None if pixels is None else (pixels.shape[-2], pixels.shape[-1]),
            decoder=decoder,
            scored=None if rows is None else len(rows),
        ).total

    return cost


def _linear(rows: float, inputs: int, outputs: int, *, trained: bool, flows: bool) -> Flops:
    """A matrix applied to `rows` vectors; `flows` says whether gradients go on to what came in.

    A convolution is one too: its rows are output positions, its inputs kernel positions times channels.
    """
    cost = 2.0 * rows * inputs * outputs
    return Flops(cost, cost if trained else 0.0, cost if flows else 0.0)


def _attention(pairs: float, score_width: int, value_width: int, *, flows: bool, eager: bool) -> Flops:
    """Scores of all pairs of query and key, and the values they weigh.

    Fused kernels keep no scores and compute them again in the backward pass.
    """
    scores, values = 2.0 * pairs * score_width, 2.0 * pairs * value_width
    backward = 2 * (scores + values) + (0.0 if eager else scores)
    return Flops(scores + values, 0.0, backward if flows else 0.0)


def _layer(ops: list[Flops], *, learns: bool, checkpointed: bool, dropout: bool = False) -> Flops:
    """A layer's products in order; checkpointing computes them a second time.

    The last one's result is not needed again, unless dropout follows: the backward pass begins with what it
    read.
    """
    total = sum(ops, NOTHING)
    if not (learns and checkpointed):
        return total
    return replace(total, recomputed=total.forward - (0.0 if dropout else ops[-1].forward))


def _vision_vocabulary(
    vision: VisionVocabularyConfig, size: tuple[int, int], parts: Collection[str], checkpointed: bool
) -> Flops:
    """An image of `size` pixels: patches, windowed and global layers, neck, merging, CTC frames."""
    trained = "vision_vocabulary" in parts
    rows, columns = size[0] // vision.patch_size, size[1] // vision.patch_size
    total = _stem(vision, size, trained=trained)
    for layer in range(vision.num_hidden_layers):
        window = 0 if layer in vision.global_attention_layers else vision.window_size
        total += _vision_layer(vision, rows, columns, window, trained=trained, checkpointed=checkpointed)
    neck = vision.neck_channels
    total += _linear(rows * columns, vision.hidden_size, neck, trained=trained, flows=trained)
    total += _linear(rows * columns, 9 * neck, neck, trained=trained, flows=trained)
    if vision.ctc_frames:
        width = vision.ctc_frames * (vision.ctc_hidden_size or 0)
        total += _linear(columns, neck * vision.grid[0], width, trained=trained, flows=trained)
    for (a, b), stride in zip(pairwise((neck, *vision.merge_channels)), vision.merge_strides, strict=True):
        rows, columns = -(-rows // stride[0]), -(-columns // stride[1])
        total += _linear(rows * columns, 9 * a, b, trained=trained, flows=trained)
    return total


def _stem(vision: VisionVocabularyConfig, size: tuple[int, int], *, trained: bool) -> Flops:
    """Pixels to patches; pixels need no gradient."""
    rows, columns = size
    if vision.stem == "patch":
        patch = vision.patch_size
        inputs = vision.num_channels * patch**2
        patches = (rows // patch) * (columns // patch)
        return _linear(patches, inputs, vision.hidden_size, trained=trained, flows=False)
    total = NOTHING
    widths = (vision.num_channels, *vision.stem_channels, vision.hidden_size)
    for index, (a, b) in enumerate(pairwise(widths)):
        rows, columns = -(-rows // 2), -(-columns // 2)
        total += _linear(rows * columns, 9 * a, b, trained=trained, flows=trained and index > 0)
    return total


def _vision_layer(
    vision: VisionVocabularyConfig, rows: int, columns: int, window: int, *, trained: bool, checkpointed: bool
) -> Flops:
    """A layer over the grid: attention within windows sees the padding at the grid's edge too."""
    width, heads, patches = vision.hidden_size, vision.num_attention_heads, rows * columns
    down, across = window or rows, window or columns
    windows = -(-rows // down) * -(-columns // across)
    seen = windows * down * across
    head_width = width // heads
    # The relative positions are folded into query and key, see `RelativeAttention`.
    folded = head_width + down + across
    eager = written_out(vision)
    inner = int(width * vision.mlp_ratio)
    ops = [
        _linear(seen, width, 3 * width, trained=trained, flows=trained),
        _linear(seen * heads, head_width, down, trained=trained, flows=trained),
        _linear(seen * heads, head_width, across, trained=trained, flows=trained),
        _attention(
            windows * heads * (down * across) ** 2,
            folded,
            head_width if eager else folded,
            flows=trained,
            eager=eager,
        ),
        _linear(seen, width, width, trained=trained, flows=trained),
        _linear(patches, width, inner, trained=trained, flows=trained),
        _linear(patches, inner, width, trained=trained, flows=trained),
    ]
    return _layer(ops, learns=trained, checkpointed=checkpointed)


def _clip(config: VaryConfig, parts: Collection[str], checkpointed: bool) -> Flops:
    """CLIP on an image: its layers up to the selected state."""
    clip = config.clip_config
    if clip is None:
        return NOTHING
    trained = "clip" in parts
    patches, width = (clip.image_size // clip.patch_size) ** 2, clip.hidden_size
    tokens = patches + 1
    total = _linear(patches, clip.num_channels * clip.patch_size**2, width, trained=trained, flows=False)
    ops = [
        _linear(tokens, width, 3 * width, trained=trained, flows=trained),
        _attention(tokens**2, width, width, flows=trained, eager=written_out(clip)),
        _linear(tokens, width, width, trained=trained, flows=trained),
        _linear(tokens, width, clip.intermediate_size, trained=trained, flows=trained),
        _linear(tokens, clip.intermediate_size, width, trained=trained, flows=trained),
    ]
    return total + layers_used(config) * _layer(ops, learns=trained, checkpointed=checkpointed)


def _projector(config: VaryConfig, size: tuple[int, int], parts: Collection[str]) -> Flops:
    """The input embedding layers of one image."""
    vision, width, trained = config.vision_vocabulary_config, config.projector_dim, "projector" in parts
    rows, columns = size[0] // vision.patch_size, size[1] // vision.patch_size
    for vertical, horizontal in vision.merge_strides:
        rows, columns = -(-rows // vertical), -(-columns // horizontal)
    total = _linear(
        rows * columns, vision.output_channels, width, trained=trained, flows="vision_vocabulary" in parts
    )
    if (clip := config.clip_config) is not None:
        patches = (clip.image_size // clip.patch_size) ** 2
        total += _linear(patches, clip.hidden_size, width, trained=trained, flows="clip" in parts)
    return total


def _decoder_layer(
    decoder: DecoderShape,
    layer: LayerShape,
    sequences: int,
    length: int,
    *,
    trained: bool,
    flows: bool,
    checkpointed: bool,
    rank: int,
) -> Flops:
    """A layer of the language model; `flows` says whether what comes into it needs a gradient."""
    tokens = sequences * length
    learns = trained or flows or rank > 0
    width = decoder.head_width
    attention = _attention(
        float(sequences * decoder.heads) * length**2, width, width, flows=learns, eager=decoder.eager
    )
    ops = [attention]
    for matrix in layer.matrices:
        needed = flows if matrix.first else learns
        ops.append(_linear(tokens, matrix.inputs, matrix.outputs, trained=trained, flows=needed))
        if rank:
            ops.append(_linear(tokens, matrix.inputs, rank, trained=True, flows=needed))
            ops.append(_linear(tokens, rank, matrix.outputs, trained=True, flows=True))
    return _layer(ops, learns=learns, checkpointed=checkpointed, dropout=decoder.dropout > 0)
