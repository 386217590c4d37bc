"""A checkpoint's fingerprint: what the model makes of one fixed page, compared within a tolerance.

The page is made by a rule from whole numbers, without fonts, so that it is the same everywhere.  A
fingerprint holds the likeliest next tokens after the prompt with their logits, and figures of the image
features.  Hashes tell whether files are the same bytes; a fingerprint tells whether the model still computes
the same, after a conversion, on another device or with another version of a library.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vary import __version__
from vary.errors import CheckpointError
from vary.model.checkpoint_files import JSON_ERRORS, write_json
from vary.model.modeling import VaryForConditionalGeneration
from vary.model.processing import VaryProcessor

__all__ = [
    "TOLERANCES",
    "Fingerprint",
    "compare",
    "fixed_line",
    "fixed_page",
    "read_fingerprint",
    "take_fingerprint",
    "write_fingerprint",
]

FORMAT = 1
TOP, PROBES = 16, 32
TOLERANCES = {"float32": 1e-3, "float16": 1e-2, "bfloat16": 1e-1}
"""By the type of the weights: how far a figure may be off, as a part of the spread (standard deviation) of
the logits, or of the image features.  The half types are as wide as their rounding through all layers is."""

PAGE_HEIGHT, PAGE_WIDTH = 960, 720
LINE_WIDTH = 480
MARGIN, LINE_PITCH, LETTER_HEIGHT = 60, 30, 18


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """What a model made of the fixed page.

    Attributes:
        dtype, device: of the weights and of the computation.
        query: the prompt's text.
        image: SHA-256 of the fixed page's or line's bytes.
        prompt: SHA-256 of the token ids.
        pixels: mean and standard deviation of the pixel tensor.
        features: mean and standard deviation of the image features that the language model sees.
        probes: some of them, evenly spaced, since mean and deviation hide much.
        features_sha256: of their bytes in float32; equal only where everything is equal bit for bit.
        features_shape: tokens and width.
        top: the likeliest tokens after the prompt and their logits, the likeliest first.
        logits: mean and standard deviation of all logits of the last position.
    """

    dtype: str
    device: str
    query: str
    image: str
    prompt: str
    pixels: tuple[float, float]
    features: tuple[float, float]
    probes: tuple[float, ...]
    features_sha256: str
    features_shape: tuple[int, ...]
    top: tuple[tuple[int, float], ...]
    logits: tuple[float, float]


def fixed_page(height: int = PAGE_HEIGHT, width: int = PAGE_WIDTH) -> NDArray[np.uint8]:
    """The page: (height, width, 3), uint8, dark strokes on white, in lines and words as those of a text."""
    page = np.full((height, width), 255, dtype=np.uint8)
    state = 2023
    for top in range(MARGIN, height - MARGIN - LETTER_HEIGHT, LINE_PITCH):
        state = _write_line(page[top : top + LETTER_HEIGHT, MARGIN : width - MARGIN], state)
    return np.repeat(page[..., None], 3, axis=2)


def fixed_line(height: int, width: int = LINE_WIDTH) -> NDArray[np.uint8]:
    """One line of the page's kind: (height, width, 3), for models that read lines of this height."""
    line = np.full((height, width), 255, dtype=np.uint8)
    edge = height // 6
    _write_line(line[edge : height - edge, edge : width - edge], 2023)
    return np.repeat(line[..., None], 3, axis=2)


def _write_line(area: NDArray[np.uint8], state: int) -> int:
    """Fill an area with strokes from left to right; returns the state of the sequence of numbers."""
    height, width = area.shape
    left = 0
    while True:
        state, letters = _next(state, 2, 9)
        for _ in range(letters):
            state, stroke = _next(state, 2, 5)
            state, gap = _next(state, 2, 4)
            state, cut = _next(state, 0, height // 2)
            if left + stroke > width:
                return state
            state, dark = _next(state, 0, 80)
            area[cut:, left : left + stroke] = dark
            area[height // 2, left : left + stroke + gap] = dark
            left += stroke + gap
        left += height // 2


def _next(state: int, low: int, high: int) -> tuple[int, int]:
    """The next number of a linear congruential sequence, brought between two bounds (both included)."""
    state = (1103515245 * state + 12345) % 2**31
    return state, low + (state >> 16) % (high - low + 1)


def take_fingerprint(
    model: VaryForConditionalGeneration, processor: VaryProcessor, query: str
) -> Fingerprint:
    """Run the model over the fixed page, or line, with the checkpoint's default prompt layout."""
    config = model.config
    lines = config.window == "lines"
    image = fixed_line(config.vision_vocabulary_config.height) if lines else fixed_page()
    inputs = processor.build_inputs([image], query).to(model.device)
    pixels = {name: value for name, value in inputs.items() if name.startswith("pixel_")}
    with torch.inference_mode():
        features = model.model.get_image_features(**pixels)
        output = model(
            input_ids=inputs["input_ids"],
            attention_mask=inputs["attention_mask"],
            mm_encoder_outputs={"image": features},
            use_cache=False,
            logits_to_keep=1,
        )
    logits = output.logits[0, -1].float().cpu()
    seen = torch.cat([row.float().cpu() for row in features.pooler_output])
    best = logits.topk(min(TOP, len(logits)))
    return Fingerprint(
        dtype=str(model.dtype).removeprefix("torch."),
        device=model.device.type,
        query=query,
        image=hashlib.sha256(image.tobytes()).hexdigest(),
        prompt=hashlib.sha256(json.dumps(inputs["input_ids"][0].tolist()).encode()).hexdigest(),
        pixels=_figures(inputs["pixel_values"].float().cpu()),
        features=_figures(seen),
        probes=_probes(seen),
        features_sha256=hashlib.sha256(seen.numpy().tobytes()).hexdigest(),
        features_shape=tuple(seen.shape),
        top=tuple(zip(best.indices.tolist(), map(_rounded, best.values.tolist()), strict=True)),
        logits=_figures(logits),
    )


def _figures(values: Tensor) -> tuple[float, float]:
    """Mean and standard deviation, in float64."""
    values = values.double()
    return _rounded(float(values.mean())), _rounded(float(values.std()))


def _probes(values: Tensor) -> tuple[float, ...]:
    """Numbers at evenly spaced places, the first and the last among them."""
    flat = values.flatten()
    places = torch.linspace(0, len(flat) - 1, PROBES, dtype=torch.float64).round().long()
    return tuple(map(_rounded, flat[places].tolist()))


def _rounded(value: float) -> float:
    """Seven digits: what float32 holds."""
    return float(f"{value:.7g}")


def compare(found: Fingerprint, recorded: Fingerprint) -> list[str]:
    """What differs by more than the tolerance of the recorded type; an empty list where nothing does.

    The order of tokens that are as good as equally likely may change, so it is their logits that count.
    """
    if found.dtype != recorded.dtype:
        return [f"computed in {found.dtype}, recorded in {recorded.dtype}: not comparable"]
    differences = [
        f"{what} differs"
        for what, same in (
            ("the fixed image (another version of vary made it)", found.image == recorded.image),
            ("the prompt's token ids (tokenizer, prompt layout or task)", found.prompt == recorded.prompt),
            ("the number of image tokens or their width", found.features_shape == recorded.features_shape),
        )
        if not same
    ]
    tolerance = TOLERANCES[recorded.dtype]
    pairs = (
        ("pixels", found.pixels, recorded.pixels, TOLERANCES["float32"]),
        ("image features", found.features, recorded.features, tolerance),
        ("logits", found.logits, recorded.logits, tolerance),
    )
    for what, (mean, spread), (mean_then, spread_then), allowed in pairs:
        off = max(abs(mean - mean_then), abs(spread - spread_then))
        if not off <= allowed * max(spread_then, 1e-6):
            differences.append(
                f"{what}: mean {mean:g} and standard deviation {spread:g}, recorded {mean_then:g} and "
                f"{spread_then:g}"
            )
    offs = [abs(now - then) for now, then in zip(found.probes, recorded.probes, strict=True)]
    if not all(off <= tolerance * max(recorded.features[1], 1e-6) for off in offs):
        differences.append(f"image features: single ones are off by up to {max(offs):g}")
    return differences + _compare_top(found, recorded, tolerance * max(recorded.logits[1], 1e-6))


def _compare_top(found: Fingerprint, recorded: Fingerprint, allowed: float) -> list[str]:
    """Tokens whose logit is off, or that are in one list alone although they lie above the other's end."""
    now, then = dict(found.top), dict(recorded.top)
    lowest_now, lowest_then = min(now.values(), default=0.0), min(then.values(), default=0.0)
    wrong = []
    for token in dict.fromkeys((*then, *now)):
        value, before = now.get(token), then.get(token)
        # A token that is not in a list lies below its lowest one, nobody knows how far.
        off = (lowest_now if value is None else value) - (lowest_then if before is None else before)
        if (value is None and off > 0) or (before is None and off < 0):
            continue
        if not abs(off) <= allowed:
            shown = f"below {lowest_now:g}" if value is None else f"{value:g}"
            shown_then = f"below {lowest_then:g}" if before is None else f"{before:g}"
            wrong.append(f"token {token} has {shown}, recorded {shown_then}")
    return [f"logits off by more than {allowed:.2g}: {'; '.join(wrong[:4])}"] if wrong else []


def write_fingerprint(path: Path, fingerprint: Fingerprint) -> None:
    """Store a fingerprint as JSON.

    Raises:
        CheckpointError: if it cannot be written.
    """
    content = {"format": FORMAT, "vary": __version__, **asdict(fingerprint)}
    draft = path.with_name(f".{path.name}.new")
    try:
        write_json(draft, content)
        draft.replace(path)
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be written ({error.strerror})") from error


def read_fingerprint(path: Path) -> Fingerprint:
    """A stored fingerprint.

    Raises:
        CheckpointError: if the file cannot be read or is none.
    """
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        if content.pop("format") != FORMAT:
            raise CheckpointError(f"{path}: is of another format than {FORMAT}; update vary")
        content.pop("vary")
        if content["dtype"] not in TOLERANCES:
            raise ValueError(f"no type {content['dtype']}")
        for name in ("pixels", "features", "logits"):
            mean, spread = map(float, content[name])
            content[name] = (mean, spread)
        content["probes"] = tuple(map(float, content["probes"]))
        if len(content["probes"]) != PROBES:
            raise ValueError(f"{len(content['probes'])} probes")
        content["features_shape"] = tuple(map(int, content["features_shape"]))
        content["top"] = tuple((int(token), float(logit)) for token, logit in content["top"])
        return Fingerprint(**content)
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror})") from error
    except JSON_ERRORS as error:
        raise CheckpointError(f"{path}: is no fingerprint ({type(error).__name__}: {error})") from error
