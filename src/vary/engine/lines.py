"""Reading a batch of text lines: encoded once, spelled by the CTC branch, verified or decoded by the decoder.

The CTC branch reads all lines in one pass.  The decoder checks these drafts in one more: where it would have
written the very same ids, the draft is what greedy decoding gives, and is taken.  The other lines are decoded
step by step, and of draft and decoding the one is kept that both branches together find likelier.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from vary.engine.ctc import align, greedy_reading
from vary.engine.generation import Generation, RowGuard, Sampling, generate
from vary.model.modeling import VaryForConditionalGeneration, VaryImageFeatures

__all__ = ["LineReading", "read_lines"]


@dataclass(frozen=True, slots=True)
class LineReading:
    """What was read on a line.

    Attributes:
        generation: the ids and how reading ended.
        probabilities: how sure the model is of each id, 0 to 1: the decoder's probability and, where the CTC
            branch could align the text, the geometric mean of both.
        spans: for each id the first and last CTC frame (inclusive) where it stands; None without alignment.
        frames: valid CTC frames of the line; 0 without a CTC branch.
        drafted: whether the ids are the CTC branch's.
    """

    generation: Generation
    probabilities: list[float]
    spans: list[tuple[int, int]] | None
    frames: int
    drafted: bool = False


@dataclass(frozen=True, slots=True)
class _Batch:
    """The lines to read: their prompts and features, and how to decode them."""

    text: dict[str, Tensor]
    features: VaryImageFeatures
    limits: Sequence[int]
    sampling: Sampling | None
    guards: Sequence[RowGuard] | None

    @property
    def greedy(self) -> bool:
        return self.sampling is None or self.sampling.greedy


def read_lines(
    model: VaryForConditionalGeneration,
    inputs: Mapping[str, Any],
    max_new_tokens: Sequence[int],
    *,
    sampling: Sampling | None = None,
    guards: Sequence[RowGuard] | None = None,
    drafts: bool = True,
) -> list[LineReading]:
    """Reads one line per prompt.

    Args:
        model: in evaluation mode, on the device of the inputs.
        inputs: the processor's: input_ids and attention_mask (B, T), padded on the left; pixels and widths.
        max_new_tokens: a limit for each row.
        sampling: greedy by default; where tokens are drawn there are no drafts.
        guards: one per row; they see what is decoded step by step.
        drafts: whether to let the CTC branch, if there is one, read first.
    """
    with torch.inference_mode():
        features = model.get_image_features(inputs["pixel_values"], pixel_widths=inputs["pixel_widths"])
        text = {name: inputs[name] for name in ("input_ids", "attention_mask")}
        batch = _Batch(text, features, max_new_tokens, sampling, guards)
        if features.ctc_frames is None:
            read = _decode(model, batch, range(len(max_new_tokens)))
            return [LineReading(line, [math.exp(p) for p in line.logprobs], None, 0) for line in read]
        return _read_with_ctc(model, batch, drafts=drafts and batch.greedy)


def _read_with_ctc(model: VaryForConditionalGeneration, batch: _Batch, *, drafts: bool) -> list[LineReading]:
    features, limits = batch.features, batch.limits
    assert features.ctc_lengths is not None
    config = model.config
    logits = model.ctc_logits(features).float()
    marks = [config.image_token_id, config.image_start_token_id, config.image_end_token_id]
    logits[
        ..., [*marks, config.text_config.eos_token_id]
    ] = -torch.inf  # they share the table, and are no text
    scores = logits.log_softmax(-1).cpu()
    tables = [table[:length] for table, length in zip(scores, features.ctc_lengths.tolist(), strict=True)]
    blank = config.text_config.pad_token_id
    drafted: dict[int, Generation] = {}
    accepted: set[int] = set()
    if drafts:
        spelled = [greedy_reading(table, len(table), blank).ids for table in tables]
        checked = _verify(model, batch, spelled)
        drafted = {
            row: reading for row, (reading, _) in enumerate(checked) if len(reading.ids) <= limits[row]
        }
        accepted = {row for row, (_, same) in enumerate(checked) if same and row in drafted}
    left = [row for row in range(len(tables)) if row not in accepted]
    decoded = dict(zip(left, _decode(model, batch, left), strict=True))
    readings = []
    for row, table in enumerate(tables):
        answer, draft = decoded.get(row), drafted.get(row)
        if draft is not None and (
            answer is None or _score(draft, table, blank) > _score(answer, table, blank)
        ):
            readings.append(_aligned(draft, table, blank, drafted=True))
        else:
            assert answer is not None
            readings.append(_aligned(answer, table, blank, drafted=False))
    return readings


def _decode(model: VaryForConditionalGeneration, batch: _Batch, rows: Sequence[int]) -> list[Generation]:
    """Decodes some rows of the batch step by step."""
    if not rows:
        return []
    images = batch.features.pooler_output
    assert images is not None
    some = VaryImageFeatures(pooler_output=[images[row] for row in rows])
    text = {name: value[torch.tensor(rows, device=value.device)] for name, value in batch.text.items()}
    return generate(
        model,
        {**text, "mm_encoder_outputs": {"image": some}},
        [batch.limits[row] for row in rows],
        sampling=batch.sampling,
        guards=None if batch.guards is None else [batch.guards[row] for row in rows],
    )


def _verify(
    model: VaryForConditionalGeneration, batch: _Batch, drafts: Sequence[list[int]]
) -> list[tuple[Generation, bool]]:
    """Each draft with the decoder's log-probabilities, and whether greedy decoding would have written it."""
    end = model.config.text_config.eos_token_id
    pad = model.config.text_config.pad_token_id
    prompts = batch.text["input_ids"]
    longest = max(map(len, drafts)) + 1
    answers = [[*draft, end] for draft in drafts]
    padded = torch.tensor([row + [pad] * (longest - len(row)) for row in answers], device=prompts.device)
    mask = torch.cat([batch.text["attention_mask"], (padded != pad).long()], dim=1)
    output = model(
        input_ids=torch.cat([prompts, padded], dim=1),
        attention_mask=mask,
        position_ids=(mask.cumsum(-1) - 1).clamp(min=0),
        mm_encoder_outputs={"image": batch.features},
        use_cache=False,
        logits_to_keep=longest + 1,
    )
    table = output.logits[:, :-1].float().log_softmax(-1)
    values = table.gather(2, padded[..., None])[..., 0].tolist()
    same = (table.argmax(-1) == padded).tolist()
    checked = []
    for draft, chances, equal in zip(drafts, values, same, strict=True):
        size = len(draft)
        reading = Generation(draft, chances[:size], "stop", end_logprob=chances[size])
        checked.append((reading, all(equal[: size + 1])))
    return checked


def _score(line: Generation, scores: Tensor, blank: int) -> float:
    """The log-probability of a reading under both branches; least where it did not end by itself."""
    if line.finish_reason != "stop":
        return -math.inf
    if not line.ids:
        spelled = float(scores[:, blank].sum())
    else:
        target, frames = torch.tensor([line.ids]), torch.tensor([len(scores)])
        loss = F.ctc_loss(
            scores[:, None], target, frames, torch.tensor([len(line.ids)]), blank, reduction="sum"
        )
        spelled = -float(loss)
    return spelled + sum(line.logprobs) + (line.end_logprob or 0.0)


def _aligned(line: Generation, scores: Tensor, blank: int, *, drafted: bool) -> LineReading:
    """The line with the place and the joint probability of each of its ids; scores (frames, vocabulary)."""
    table = scores.numpy()
    spans = align(table, line.ids, blank)
    if spans is None:
        return LineReading(line, [math.exp(p) for p in line.logprobs], None, len(table), drafted)
    spelled = [
        float(table[first : last + 1, token].max())
        for token, (first, last) in zip(line.ids, spans, strict=True)
    ]
    joint = [math.exp((a + b) / 2) for a, b in zip(line.logprobs, spelled, strict=True)]
    return LineReading(line, joint, spans, len(table), drafted)
