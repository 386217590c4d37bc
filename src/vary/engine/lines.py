"""Reading a batch of text lines: encoded once, decoded, and aligned with the CTC branch."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from vary.engine.ctc import align
from vary.engine.generation import Generation, RowGuard, Sampling, generate
from vary.model.modeling import VaryForConditionalGeneration

__all__ = ["LineReading", "read_lines"]


@dataclass(frozen=True, slots=True)
class LineReading:
    """What was read on a line.

    Attributes:
        generation: the ids and how decoding ended.
        probabilities: how sure the model is of each id, 0 to 1: the decoder's probability and, where the CTC
            branch could align the text, the geometric mean of both.
        spans: for each id the first and last CTC frame (inclusive) where it stands; None without alignment.
        frames: valid CTC frames of the line; 0 without a CTC branch.
    """

    generation: Generation
    probabilities: list[float]
    spans: list[tuple[int, int]] | None
    frames: int


def read_lines(
    model: VaryForConditionalGeneration,
    inputs: Mapping[str, Any],
    max_new_tokens: int | Sequence[int],
    *,
    sampling: Sampling | None = None,
    guards: Sequence[RowGuard] | None = None,
) -> list[LineReading]:
    """Decodes one line per prompt; arguments as in `generate`, `inputs` with pixels and their widths."""
    text = {name: inputs[name] for name in ("input_ids", "attention_mask")}
    with torch.inference_mode():
        features = model.get_image_features(inputs["pixel_values"], pixel_widths=inputs["pixel_widths"])
        scores = (
            None if features.ctc_frames is None else model.ctc_logits(features).float().log_softmax(-1).cpu()
        )
    read = generate(
        model,
        {**text, "mm_encoder_outputs": {"image": features}},
        max_new_tokens,
        sampling=sampling,
        guards=guards,
    )
    if scores is None:
        return [LineReading(line, [math.exp(p) for p in line.logprobs], None, 0) for line in read]
    blank = model.config.text_config.pad_token_id
    assert features.ctc_lengths is not None
    lengths = features.ctc_lengths.tolist()
    return [_aligned(line, scores[row, : lengths[row]], blank) for row, line in enumerate(read)]


def _aligned(line: Generation, scores: Tensor, blank: int) -> LineReading:
    """The line with the place and the joint probability of each of its ids; scores (frames, vocabulary)."""
    table = scores.numpy()
    spans = align(table, line.ids, blank)
    if spans is None:
        return LineReading(line, [math.exp(p) for p in line.logprobs], None, len(table))
    spelled = [
        float(table[first : last + 1, token].max())
        for token, (first, last) in zip(line.ids, spans, strict=True)
    ]
    joint = [math.exp((a + b) / 2) for a, b in zip(line.logprobs, spelled, strict=True)]
    return LineReading(line, joint, spans, len(table))
