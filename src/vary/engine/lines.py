"""Reading a batch of text lines: encoded once, spelled by the CTC branch, verified or decoded by the decoder.

The CTC branch reads all lines in one pass.  The decoder reads these drafts with the prompts: where it would
have written the very same ids, the draft is what greedy decoding gives, and is taken.  The others are decoded
from the first difference on, still along their drafts, and of draft and decoding the one is kept that both
branches together find likelier.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from vary.engine.ctc import CTCFrames, Place, spell
from vary.engine.decoders.interface import Decoder
from vary.engine.decoders.library import LibraryDecoder
from vary.engine.decoding import Decoded, Prompt, RowGuard, decode
from vary.engine.drafts import IdDraft
from vary.engine.generation import Generation, end_ids, finished, generate, runs_here
from vary.engine.guards import LoopFinding
from vary.engine.sampling import Sampling
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
    decoder: Decoder | None

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
    decoder: Decoder | None = None,
) -> list[LineReading]:
    """Reads one line per prompt.

    Args:
        model: in evaluation mode, on the device of the inputs.
        inputs: the processor's: input_ids and attention_mask (B, T), padded on the left; pixels and widths.
        max_new_tokens: a limit for each row.
        sampling: greedy by default; where tokens are drawn there are no drafts.
        guards: one per row; they see what is decoded step by step.
        drafts: whether to let the CTC branch, if there is one, read first.
        decoder: what reads the tokens instead of the library's modules.
    """
    with torch.inference_mode():
        features = model.get_image_features(inputs["pixel_values"], pixel_widths=inputs["pixel_widths"])
        text = {name: inputs[name] for name in ("input_ids", "attention_mask")}
        batch = _Batch(text, features, max_new_tokens, sampling, guards, decoder)
        if features.ctc_frames is None:
            read = _decode(model, batch)
            return [LineReading(line, [math.exp(p) for p in line.logprobs], None, 0) for line in read]
        return _read_with_ctc(model, batch, drafts=drafts and batch.greedy)


def _read_with_ctc(model: VaryForConditionalGeneration, batch: _Batch, *, drafts: bool) -> list[LineReading]:
    config = model.config
    end, blank = config.text_config.eos_token_id, config.text_config.pad_token_id
    marks = [config.image_token_id, config.image_start_token_id, config.image_end_token_id]
    frames = CTCFrames(model, batch.features, blank, [*marks, end])
    spelled = [spell(path, blank) for path in frames.paths]
    if drafts and runs_here(model, Sampling(), batch.decoder):
        both = _decode_with_drafts(model, batch, spelled, end)
    else:
        both = [(answer, None) for answer in _decode(model, batch)]
    chosen, drafted = [], []
    for row, (answer, draft) in enumerate(both):
        better = draft is not None and _score(draft, frames, row) > _score(answer, frames, row)
        chosen.append(draft if draft is not None and better else answer)
        drafted.append(better or (draft is None and drafts and answer.ids == spelled[row]))
    places = frames.places(range(len(chosen)), [line.ids for line in chosen])
    return [
        _aligned(line, found, len(path), drafted=taken)
        for line, found, path, taken in zip(chosen, places, frames.paths, drafted, strict=True)
    ]


def _decode(model: VaryForConditionalGeneration, batch: _Batch) -> list[Generation]:
    """Decodes the lines from nothing."""
    inputs = {**batch.text, "mm_encoder_outputs": {"image": batch.features}}
    return generate(
        model, inputs, batch.limits, sampling=batch.sampling, guards=batch.guards, decoder=batch.decoder
    )


def _decode_with_drafts(
    model: VaryForConditionalGeneration, batch: _Batch, drafts: Sequence[list[int]], end: int
) -> list[tuple[Generation, Generation | None]]:
    """Decodes the lines with drafts, which are read whole with the prompts.

    Returns each line's answer, and the draft with the decoder's log-probabilities where it is another one.
    """
    decoder = batch.decoder or LibraryDecoder(model)
    embeddings = model.model.embed(batch.text["input_ids"], batch.features)
    prompts = []
    for row, (draft, mask) in enumerate(zip(drafts, batch.text["attention_mask"].bool(), strict=True)):
        limit = batch.limits[row]
        fits = len(draft) <= limit  # its end may come behind the limit
        guard = None if batch.guards is None else batch.guards[row]
        prompts.append(
            Prompt(
                embeddings[row][mask],
                limit + 1 if len(draft) == limit else limit,
                guard=_after_the_draft(guard, draft) if guard and fits else guard,
                draft=IdDraft(draft),
                check=[*draft, end] if fits else None,
            )
        )
    suppressed = model.generation_config.suppress_tokens or ()
    answers = dict(decode(decoder, prompts, end_ids(model), max_rows=len(prompts), suppressed=suppressed))
    return [
        _with_draft(answers[row], draft, end_ids(model), batch.limits[row])
        for row, draft in enumerate(drafts)
    ]


def _with_draft(
    answer: Decoded, draft: list[int], eos_ids: frozenset[int], limit: int
) -> tuple[Generation, Generation | None]:
    """An answer, and its draft unless it is the same."""
    line = finished(answer, eos_ids)
    if line.finish_reason == "length":
        del line.ids[limit:], line.logprobs[limit:]
    if answer.checked is None or (line.ids == draft and line.finish_reason == "stop"):
        return line, None
    return line, Generation(draft, answer.checked[:-1], "stop", answer.checked[-1])


def _after_the_draft(guard: RowGuard, draft: Sequence[int]) -> RowGuard:
    """A guard that does not judge an answer as long as it is the draft: what both branches see is there."""
    held: list[int] = []
    agrees = True

    def feed(ids: Sequence[int]) -> LoopFinding | None:
        nonlocal agrees
        if agrees:
            held.extend(ids)
            agrees = held == draft[: len(held)]
            return None if agrees else next((seen for token in held if (seen := guard([token]))), None)
        return guard(ids)

    return feed


def _score(line: Generation, frames: CTCFrames, row: int) -> float:
    """The log-probability of a reading under both branches; least where it did not end by itself."""
    if line.finish_reason != "stop":
        return -math.inf
    return frames.logprob(row, line.ids) + sum(line.logprobs) + (line.end_logprob or 0.0)


def _aligned(line: Generation, places: list[Place] | None, frames: int, *, drafted: bool) -> LineReading:
    """The line with the place and the joint probability of each of its ids."""
    if places is None:
        return LineReading(line, [math.exp(p) for p in line.logprobs], None, frames, drafted)
    joint = [math.exp((a + b) / 2) for a, (_, _, b) in zip(line.logprobs, places, strict=True)]
    return LineReading(line, joint, [place[:2] for place in places], frames, drafted)
