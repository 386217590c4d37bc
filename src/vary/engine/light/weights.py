"""A line checkpoint's tensors: all of them in their sizes, or an error that lists what is wrong."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from itertools import pairwise
from pathlib import Path

from vary.engine.light.products import Floats
from vary.engine.light.settings import LightSettings
from vary.engine.light.tensors import TensorFile
from vary.errors import CheckpointError, NativeError
from vary.model.checkpoint_files import checkpoint_files

__all__ = ["Weight", "check_shapes", "count_weights", "expected_shapes", "weights_file"]

Weight = Callable[[str], Floats]
"""A tensor by its name."""
Shapes = dict[str, tuple[int, ...]]

LISTED = 8
COUNTER = "num_batches_tracked"
"""The end of a name: of normalised batches in training, which nobody reads."""
VISION, TEXT = "model.vision_vocabulary", "model.language_model"


def weights_file(folder: Path) -> Path:
    """The only file of weights in a folder.

    Raises:
        CheckpointError: if there is none.
        NativeError: if there are several, or it is no safetensors file.
    """
    files = checkpoint_files(folder)
    if len(files) != 1 or files[0].suffix != ".safetensors":
        raise NativeError(f"{folder}: without PyTorch only a single safetensors file is read")
    return files[0]


def expected_shapes(settings: LightSettings) -> Shapes:
    """The shape of every tensor of a checkpoint, by name."""
    shapes = _vision_shapes(settings) | _text_shapes(settings)
    hidden = settings.text.hidden
    projector = "model.projector.vision_vocabulary"
    channels = (settings.vision.merge_channels or (settings.vision.neck_channels,))[-1]
    shapes |= {f"{projector}.weight": (hidden, channels), f"{projector}.bias": (hidden,)}
    if not settings.tied:
        shapes["lm_head.weight"] = (settings.text.vocabulary, hidden)
    return shapes


def check_shapes(file: TensorFile, expected: Shapes) -> None:
    """Raises CheckpointError with the tensors that are missing, unexpected or misshapen."""
    found = {name: shape for name, shape in file.shapes.items() if not name.endswith(COUNTER)}
    wrong = {
        "missing": sorted(expected.keys() - found.keys()),
        "unexpected": sorted(found.keys() - expected.keys()),
        "mismatched": sorted(
            name for name in expected.keys() & found.keys() if expected[name] != found[name]
        ),
    }
    if any(wrong.values()):
        parts = "; ".join(f"{kind}: {_listed(names)}" for kind, names in wrong.items() if names)
        raise CheckpointError(
            f"{file.path}: the weights do not belong to the configuration ({parts}); copy the "
            "checkpoint again"
        )


def count_weights(shapes: Shapes) -> int:
    """How many numbers are learned; running statistics are not."""
    return sum(math.prod(shape) for name, shape in shapes.items() if ".running_" not in name)


def _vision_shapes(settings: LightSettings) -> Shapes:
    vision = settings.vision
    shapes: Shapes = {}
    widths = [1, *vision.stem_channels]
    for number, (inside, outside) in enumerate(pairwise(widths)):
        shapes[f"{VISION}.patch_embed.convs.{number}.weight"] = (outside, inside, 3, 3)
        for name in ("weight", "bias", "running_mean", "running_var"):
            shapes[f"{VISION}.patch_embed.norms.{number}.{name}"] = (outside,)
    width, head = vision.hidden_size, vision.hidden_size // vision.num_attention_heads
    shapes |= _linear(f"{VISION}.patch_embed.proj", (width, widths[-1], 3, 3))
    for number in range(vision.num_hidden_layers):
        block = f"{VISION}.blocks.{number}"
        for part, outputs, inputs in (
            ("attn.qkv", 3 * width, width),
            ("attn.proj", width, width),
            ("mlp.lin1", vision.inner, width),
            ("mlp.lin2", width, vision.inner),
        ):
            shapes |= _linear(f"{block}.{part}", (outputs, inputs))
        shapes |= _linear(f"{block}.norm1", (width,)) | _linear(f"{block}.norm2", (width,))
        shapes[f"{block}.attn.rel_pos_h"] = (2 * vision.rows - 1, head)
        shapes[f"{block}.attn.rel_pos_w"] = (2 * vision.columns - 1, head)
    neck = vision.neck_channels
    shapes |= {f"{VISION}.neck.0.weight": (neck, width, 1, 1), f"{VISION}.neck.2.weight": (neck, neck, 3, 3)}
    shapes |= _linear(f"{VISION}.neck.1", (neck,)) | _linear(f"{VISION}.neck.3", (neck,))
    for number, (inside, outside) in enumerate(pairwise([neck, *vision.merge_channels])):
        shapes[f"{VISION}.merge.{number}.weight"] = (outside, inside, 3, 3)
    if vision.ctc_frames:
        hidden = settings.text.hidden
        shapes |= _linear(f"{VISION}.ctc.proj", (vision.ctc_frames * hidden, neck * vision.rows))
        shapes |= _linear(f"{VISION}.ctc.norm", (hidden,))
    return shapes


def _text_shapes(settings: LightSettings) -> Shapes:
    text = settings.text
    query, key = text.heads * text.head_dim, text.kv_heads * text.head_dim
    shapes: Shapes = {
        f"{TEXT}.embed_tokens.weight": (text.vocabulary, text.hidden),
        f"{TEXT}.norm.weight": (text.hidden,),
    }
    for number in range(text.layers):
        layer = f"{TEXT}.layers.{number}"
        for part, outputs in (("q", query), ("k", key), ("v", key)):
            shapes |= _linear(f"{layer}.self_attn.{part}_proj", (outputs, text.hidden))
        shapes |= {
            f"{layer}.self_attn.o_proj.weight": (text.hidden, query),
            f"{layer}.mlp.gate_proj.weight": (text.inner, text.hidden),
            f"{layer}.mlp.up_proj.weight": (text.inner, text.hidden),
            f"{layer}.mlp.down_proj.weight": (text.hidden, text.inner),
            f"{layer}.input_layernorm.weight": (text.hidden,),
            f"{layer}.post_attention_layernorm.weight": (text.hidden,),
        }
    return shapes


def _linear(name: str, shape: tuple[int, ...]) -> Shapes:
    return {f"{name}.weight": shape, f"{name}.bias": shape[:1]}


def _listed(names: Iterable[str]) -> str:
    names = list(names)
    rest = f" and {len(names) - LISTED} more" if len(names) > LISTED else ""
    return f"{len(names)} tensors, {', '.join(names[:LISTED])}{rest}"
