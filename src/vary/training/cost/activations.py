"""What a forward pass keeps in memory for the backward pass, estimated from the configuration alone.

Every operation of the networks is looked at: which of its inputs or outputs PyTorch saves for gradients.
What two operations save together counts once.  Tests compare the sums with what real models save.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from vary.model.configuration import VaryConfig, VisionVocabularyConfig
from vary.training.cost.shapes import DecoderShape, LayerShape, check_parts, layers_used, written_out
from vary.training.settings import Precision

__all__ = ["LOGIT_BYTES", "Activations", "Arithmetic", "saved_activations"]

FLOAT32 = 4
SAVED_LOGIT_BYTES = FLOAT32
"""Of a token's score: its logarithm of the softmax stays until the backward pass."""
LOGIT_BYTES = 3 * FLOAT32
"""Of a token's score at the peak: that, the gradient of it, and the gradient of the score; in float32."""


@dataclass(frozen=True, slots=True)
class Arithmetic:
    """How wide numbers are.

    Attributes:
        precision: as in `RunSettings`; weights are float32 in any case.
        device: whose rules of automatic casting hold: a GPU normalises layers in float32, a CPU as they come.
    """

    precision: Precision = "bf16"
    device: Literal["cuda", "cpu"] = "cuda"

    @property
    def mixed(self) -> bool:
        return self.precision != "no"

    @property
    def compute(self) -> int:
        """Bytes of what products read and write."""
        return 2 if self.mixed else FLOAT32

    @property
    def normed(self) -> int:
        """Bytes of what a layer normalisation keeps of a half-precision stream."""
        return FLOAT32 if self.device == "cuda" else self.compute

    def read(self, times: int) -> int:
        """Bytes that `times` matrices keep of what they all read: each a copy of its own where it is cast."""
        return times * self.compute if self.mixed else FLOAT32

    def scores(self, pairs: float) -> float:
        """Bytes that written-out attention keeps of its weights: as float32, and as they are multiplied."""
        return pairs * (FLOAT32 + (self.compute if self.mixed else 0))


@dataclass(frozen=True, slots=True)
class Activations:
    """Bytes of a micro-batch.

    Attributes:
        inputs: the pixels.
        vision_vocabulary, clip, projector, decoder: what these parts keep.
        weight_copies: half-precision copies of the weights that are multiplied.
        logits: the scores of every token of the vocabulary at their peak, in the backward pass.
        recomputed: of the layer that keeps most, which gradient checkpointing computes again; 0 without.
        saved_logits: of the scores, what stays between the passes; a part of `logits`.
        saved_copies: of the copies, those that the graph holds; the others are there in the forward pass.
    """

    inputs: float
    vision_vocabulary: float
    clip: float
    projector: float
    decoder: float
    weight_copies: float
    logits: float
    recomputed: float
    saved_logits: float
    saved_copies: float

    @property
    def kept(self) -> float:
        """What the layers keep between the passes, without logits and copies of weights."""
        return self.vision_vocabulary + self.clip + self.projector + self.decoder

    @property
    def saved(self) -> float:
        """Everything that the graph holds between the passes."""
        return self.kept + self.saved_copies + self.saved_logits

    @property
    def peak(self) -> float:
        """The most at once; with checkpointing an upper bound, as not all of it is there together."""
        return self.inputs + self.kept + self.weight_copies + self.logits + self.recomputed


def saved_activations(
    config: VaryConfig,
    *,
    sequences: int,
    length: int,
    images: int,
    trained: Collection[str],
    arithmetic: Arithmetic | None = None,
    gradient_checkpointing: bool = False,
    lora_rank: int = 0,
    decoder: DecoderShape | None = None,
) -> Activations:
    """What is kept of a micro-batch.

    Args:
        config: the model's.
        sequences, length: of the micro-batch, padding included; the images' tokens are among `length`.
        images: of the micro-batch.
        trained: parts that are trained, of `PARTS`.
        arithmetic: bfloat16 on a GPU, unless given.
        gradient_checkpointing: keeps the inputs of layers alone.
        lora_rank: of adapters on the decoder; 0 trains it whole.
        decoder: spares reading it off the configuration again.

    Raises:
        TrainingError: for a part that does not exist, or a decoder whose layers cannot be read off.
    """
    parts = set(check_parts(trained))
    numbers = arithmetic or Arithmetic()
    decoder = decoder or DecoderShape.of(config)
    vision, clip = config.vision_vocabulary_config, config.clip_config
    adapted = "decoder" in parts and lora_rank > 0
    whole = "decoder" in parts and not adapted
    learns = bool(parts) and ("decoder" in parts or images > 0)
    none = _Tower(0.0, 0.0, 0, 0)
    towers = [
        _vision_vocabulary(vision, numbers) if "vision_vocabulary" in parts and images else none,
        _clip(config, numbers) if clip is not None and "clip" in parts and images else none,
    ]
    text = _Text(decoder, numbers, sequences, length, whole=whole, rank=lora_rank if adapted else 0)
    layers = [text.layer(layer) for layer in decoder.layers] if learns else []
    inner, outer = text.weights(learns)
    kept = sum(layers) + text.ends(learns)
    largest = 0.0
    if gradient_checkpointing and learns:
        states = FLOAT32 * decoder.width * text.tokens
        kept = len(layers) * states + text.ends(learns) + sequences * length**2
        largest = max([*(images * tower.layer for tower in towers), *layers])
    pixels = vision.num_channels * vision.height * vision.width
    pixels += 0 if clip is None else clip.num_channels * clip.image_size**2
    scores = float(text.tokens) * decoder.vocabulary
    copied = numbers.compute if numbers.mixed else 0
    inner += sum(tower.inner for tower in towers)
    outer += sum(tower.outer for tower in towers)
    # Copies of trained weights are shared in the whole forward pass; frozen ones are made anew each time.
    alive = inner if whole or not gradient_checkpointing else max(text.largest(), *(t.inner for t in towers))
    return Activations(
        inputs=FLOAT32 * images * pixels,
        vision_vocabulary=images * towers[0].kept(gradient_checkpointing),
        clip=images * towers[1].kept(gradient_checkpointing),
        projector=images * _projector(config, parts, numbers),
        decoder=kept,
        weight_copies=float(copied * (alive + outer)) if learns else 0.0,
        logits=scores * (LOGIT_BYTES if learns else numbers.compute + FLOAT32),
        recomputed=largest,
        saved_logits=scores * SAVED_LOGIT_BYTES if learns else 0.0,
        saved_copies=float(copied * (outer if gradient_checkpointing else inner + outer)),
    )


@dataclass(frozen=True, slots=True)
class _Tower:
    """A vision network that is trained.

    Attributes:
        ends: bytes of an image before and after the layers.
        states: bytes of an image's states between layers.
        inner, outer: weights in the layers and outside of them.
        layers: bytes of each layer.
    """

    ends: float
    states: float
    inner: int
    outer: int
    layers: tuple[float, ...] = ()

    @property
    def layer(self) -> float:
        """Of the layer that keeps most."""
        return max(self.layers, default=0.0)

    def kept(self, checkpointed: bool) -> float:
        return self.ends + (len(self.layers) * self.states if checkpointed else sum(self.layers))


def _vision_vocabulary(vision: VisionVocabularyConfig, numbers: Arithmetic) -> _Tower:
    """The stream of states is as wide as products are: patches come out of a convolution."""
    rows, columns = vision.grid
    patches, width, neck = rows * columns, vision.hidden_size, vision.neck_channels
    layers = tuple(
        _vision_layer(vision, numbers, 0 if layer in vision.global_attention_layers else vision.window_size)
        for layer in range(vision.num_hidden_layers)
    )
    states = float(numbers.compute * patches * width)
    ends, outer = _stem(vision, numbers)
    # The neck: a convolution reads the last state, two normalisations, two more read what these give.
    ends += states + patches * neck * (2 * numbers.normed + numbers.compute) + 2 * 8 * patches
    outer += width * neck + 9 * neck**2
    for (a, b), stride in zip(pairwise((neck, *vision.merge_channels)), vision.merge_strides, strict=True):
        ends += numbers.compute * rows * columns * a
        rows, columns = -(-rows // stride[0]), -(-columns // stride[1])
        outer += 9 * a * b
    inner = vision.num_hidden_layers * (4 * width**2 + 2 * width * int(width * vision.mlp_ratio))
    return _Tower(ends, states, inner, outer, layers)


def _stem(vision: VisionVocabularyConfig, numbers: Arithmetic) -> tuple[float, int]:
    """What the convolutions before the layers read, in bytes, and how many weights they have."""
    rows, columns = vision.height, vision.width
    if vision.stem == "patch":
        weights = vision.num_channels * vision.patch_size**2 * vision.hidden_size
        return float(numbers.compute * vision.num_channels * rows * columns), weights
    total, weights = 0.0, 0
    for a, b in pairwise((vision.num_channels, *vision.stem_channels, vision.hidden_size)):
        total += numbers.compute * a * rows * columns
        rows, columns = -(-rows // 2), -(-columns // 2)
        total += 2 * numbers.compute * b * rows * columns  # what the normalisation and ReLU keep
        weights += 9 * a * b
    return total, weights


def _vision_layer(vision: VisionVocabularyConfig, numbers: Arithmetic, window: int) -> float:
    """A layer's bytes for one image, see `vary.model.vision_vocabulary.Block`."""
    rows, columns = vision.grid
    width, heads, patches = vision.hidden_size, vision.num_attention_heads, rows * columns
    down, across = window or rows, window or columns
    windows = -(-rows // down) * -(-columns // across)
    seen = windows * down * across
    head_width, inner = width // heads, int(width * vision.mlp_ratio)
    folded = head_width + down + across
    norms = 2 * patches * (numbers.normed * width + 8)  # the states, mean and deviation
    attention = 2.0 * folded * heads  # query and key with relative positions
    if written_out(vision):
        attention += width
        kept = numbers.compute * seen * attention + numbers.scores(windows * heads * (down * across) ** 2)
    else:
        attention += 2 * folded * heads  # value, as wide, and result
        kept = numbers.compute * seen * attention + FLOAT32 * seen * heads
    # Read by the first matrix, twice rearranged for the relative positions, read by the last.
    kept += numbers.compute * seen * width * 4
    tables = numbers.compute * head_width * (down**2 + across**2)
    mlp = numbers.compute * patches * (width + 2 * inner)
    return norms + kept + tables + mlp


def _clip(config: VaryConfig, numbers: Arithmetic) -> _Tower:
    """CLIP's stream is float32, as its embeddings are; layers after the state that is used keep nothing."""
    clip = config.clip_config
    used, width, inner = layers_used(config), clip.hidden_size, clip.intermediate_size
    tokens, heads = (clip.image_size // clip.patch_size) ** 2 + 1, clip.num_attention_heads
    norms = 2 * (FLOAT32 * width + 8)
    attention = numbers.compute * 4 * width + FLOAT32 * heads
    reads = (numbers.read(3) + numbers.read(1)) * width
    mlp = numbers.compute * (3 if clip.hidden_act == "quick_gelu" else 2) * inner
    layer = float(tokens * (norms + attention + reads + mlp))
    if written_out(clip):
        layer += numbers.scores(heads * tokens**2)
    states = float(FLOAT32 * tokens * width)
    ends = numbers.compute * clip.num_channels * clip.image_size**2 + states
    outer = clip.num_channels * clip.patch_size**2 * width
    return _Tower(ends, states, used * (4 * width**2 + 2 * width * inner), outer, (layer,) * used)


def _projector(config: VaryConfig, parts: Collection[str], numbers: Arithmetic) -> float:
    """What the input embedding layers read of an image."""
    if "projector" not in parts:
        return 0.0
    channels = config.vision_vocabulary_config.output_channels
    channels += 0 if config.clip_config is None else config.clip_config.hidden_size
    return float(numbers.compute * config.image_seq_length * channels)


class _Text:
    """The decoder's bytes for a micro-batch; its stream is float32, as its embeddings are."""

    def __init__(
        self,
        decoder: DecoderShape,
        numbers: Arithmetic,
        sequences: int,
        length: int,
        *,
        whole: bool,
        rank: int,
    ) -> None:
        self.decoder, self.numbers, self.whole, self.rank = decoder, numbers, whole, rank
        self.sequences, self.length = sequences, length
        self.tokens = sequences * length
        # OPT's layer normalisation keeps what it reads; the others' root mean square what it scaled too.
        self.centred = decoder.kind == "opt"

    def _norm(self) -> int:
        """Of a normalisation, a token."""
        width = self.decoder.width
        if self.centred:
            return FLOAT32 * width + 8
        return FLOAT32 * width * (2 if self.whole else 1) + FLOAT32

    def _reads(self, layer: LayerShape) -> float:
        """What the matrices of a layer keep of what they read, but for those whose input is kept anyway."""
        numbers, width = self.numbers, self.decoder.width
        if not (self.whole or self.rank):
            return 0.0
        first = sum(matrix.first for matrix in layer.matrices)
        second = len(layer.matrices) - first - 2  # without attention's last and the MLP's last
        if self.rank and numbers.mixed:  # adapters read copies of their own
            inputs = sum(matrix.inputs for matrix in layer.matrices)
            return numbers.compute * float(inputs + self.rank * len(layer.matrices))
        adapters = numbers.compute * self.rank * len(layer.matrices)
        return (numbers.read(first) + numbers.read(second)) * width + adapters

    def layer(self, layer: LayerShape) -> float:
        """A layer's bytes."""
        decoder, numbers = self.decoder, self.numbers
        attended = decoder.heads * decoder.head_width
        per_token = 2 * self._norm() + self._reads(layer)
        per_token += numbers.compute * 4 * attended + FLOAT32 * decoder.heads
        if layer.gated:
            products = 4 if self.whole or (self.rank and not numbers.mixed) else 3
        else:
            products = 1 if self.centred else 2
        per_token += numbers.compute * products * layer.inner
        if decoder.dropout:
            per_token += 2 * decoder.width * (1 if numbers.device == "cuda" else numbers.compute)
        pairs = float(self.sequences) * self.length**2
        mask = numbers.compute * pairs  # each layer makes numbers of it
        if decoder.eager:
            mask = numbers.scores(pairs * decoder.heads)
        return self.tokens * per_token + mask

    def ends(self, learns: bool) -> float:
        """Around the layers: the angles of positions, the last norm, what the head reads."""
        if not learns:
            return 0.0
        decoder, numbers = self.decoder, self.numbers
        angles = 0 if self.centred else 2 * FLOAT32 * decoder.head_width
        read = numbers.compute * decoder.width if self.whole else 0
        return float(self.tokens * (self._norm() + angles + read)) + self.tokens * 8

    def weights(self, learns: bool) -> tuple[int, int]:
        """How many weights are multiplied in the layers, and outside of them."""
        if not learns:
            return 0, 0
        decoder = self.decoder
        return sum(map(self._layer_weights, decoder.layers)), decoder.width * decoder.vocabulary

    def largest(self) -> int:
        """The weights of the largest layer."""
        return max(map(self._layer_weights, self.decoder.layers))

    def _layer_weights(self, layer: LayerShape) -> int:
        adapters = sum(self.rank * (matrix.inputs + matrix.outputs) for matrix in layer.matrices)
        return adapters + sum(matrix.size for matrix in layer.matrices)
