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
from typing import TYPE_CHECKING, Any, Protocol

from vary.engine.answers import Generation, finished
from vary.engine.arrays import Array
from vary.engine.ctc import CTCFrames, FrameScores, Place, spell
from vary.engine.decoders.interface import Decoder
from vary.engine.decoding import Decoded, Prompt, RowGuard, decode
from vary.engine.drafts import IdDraft
from vary.engine.guards import LoopFinding
from vary.engine.sampling import Sampling

if TYPE_CHECKING:
    from vary.model.modeling import VaryForConditionalGeneration

__all__ = ["LineBatch", "LineReading", "read_batch", "read_lines"]


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


class LineBatch(Protocol):
    """Lines that a model has encoded, and how it goes on with them.

    Attributes:
        limits: the most ids of each line.
        guards: one per line, or None.
        eos_ids: any of them ends a line.
        suppressed: ids that are never chosen.
        end, blank: the ids of the end of a line and of no character at all.
        drafts: whether the branch reads first.
    """

    limits: Sequence[int]
    guards: Sequence[RowGuard] | None
    eos_ids: frozenset[int]
    suppressed: Sequence[int]
    end: int
    blank: int
    drafts: bool

    @property
    def frames(self) -> FrameScores | None:
        """The scores of the CTC branch; None without one."""

    @property
    def decoder(self) -> Decoder:
        """What reads the tokens."""

    def prompts(self) -> list[Array]:
        """The embeddings (T, C) of each line's prompt, its image included."""

    def decode(self) -> list[Generation]:
        """Decodes the lines from nothing."""


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
    """Reads one line per prompt, by a model of PyTorch.

    Args:
        model: in evaluation mode, on the device of the inputs.
        inputs: the processor's: input_ids and attention_mask (B, T), padded on the left; pixels and widths.
        max_new_tokens: a limit for each row.
        sampling: greedy by default; where tokens are drawn there are no drafts.
        guards: one per row; they see what is decoded step by step.
        drafts: whether to let the CTC branch, if there is one, read first.
        decoder: what reads the tokens instead of the library's modules.
    """
    import torch

    from vary.engine.model_lines import ModelLines

    with torch.inference_mode():
        return read_batch(
            ModelLines(
                model,
                inputs,
                max_new_tokens,
                sampling=sampling,
                guards=guards,
                drafts=drafts,
                decoder=decoder,
            )
        )


def read_batch(batch: LineBatch) -> list[LineReading]:
    """Reads lines that were encoded."""
    if batch.frames is None:
        return [LineReading(line, [math.exp(p) for p in line.logprobs], None, 0) for line in batch.decode()]
    frames = CTCFrames(batch.frames, batch.blank)
    spelled = [spell(path, batch.blank) for path in frames.paths]
    if batch.drafts:
        both = _decode_with_drafts(batch, spelled)
    else:
        both = [(answer, None) for answer in batch.decode()]
    better = _better_drafts(both, frames)
    chosen, drafted = [], []
    for row, (answer, draft) in enumerate(both):
        chosen.append(draft if draft is not None and row in better else answer)
        drafted.append(row in better or (draft is None and batch.drafts and answer.ids == spelled[row]))
    places = frames.places(range(len(chosen)), [line.ids for line in chosen])
    return [
        _aligned(line, found, len(path), drafted=taken)
        for line, found, path, taken in zip(chosen, places, frames.paths, drafted, strict=True)
    ]


def _decode_with_drafts(
    batch: LineBatch, drafts: Sequence[list[int]]
) -> list[tuple[Generation, Generation | None]]:
    """Decodes the lines with drafts, which are read whole with the prompts.

    Returns each line's answer, and the draft with the decoder's log-probabilities where it is another one.
    """
    prompts = []
    for row, (draft, embeddings) in enumerate(zip(drafts, batch.prompts(), strict=True)):
        limit = batch.limits[row]
        fits = len(draft) <= limit  # its end may come behind the limit
        guard = None if batch.guards is None else batch.guards[row]
        prompts.append(
            Prompt(
                embeddings,
                limit + 1 if len(draft) == limit else limit,
                guard=_after_the_draft(guard, draft) if guard and fits else guard,
                draft=IdDraft(draft),
                check=[*draft, batch.end] if fits else None,
            )
        )
    found = decode(batch.decoder, prompts, batch.eos_ids, max_rows=len(prompts), suppressed=batch.suppressed)
    answers = dict(found)
    return [
        _with_draft(answers[row], draft, batch.eos_ids, batch.limits[row]) for row, draft in enumerate(drafts)
    ]


def _better_drafts(both: Sequence[tuple[Generation, Generation | None]], frames: CTCFrames) -> set[int]:
    """The rows whose draft is likelier under both branches than what was decoded.

    What did not end by itself is least likely.
    """
    pairs = [
        (row, line)
        for row, (answer, draft) in enumerate(both)
        if draft is not None
        for line in (answer, draft)
    ]
    ended = [(row, line) for row, line in pairs if line.finish_reason == "stop"]
    by_frames = frames.logprobs([row for row, _ in ended], [line.ids for _, line in ended])
    found = iter(by_frames)
    scores = [
        next(found) + sum(line.logprobs) + (line.end_logprob or 0.0)
        if line.finish_reason == "stop"
        else -math.inf
        for _, line in pairs
    ]
    return {
        row
        for (row, _), answer, draft in zip(pairs[::2], scores[::2], scores[1::2], strict=True)
        if draft > answer
    }


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


def _aligned(line: Generation, places: list[Place] | None, frames: int, *, drafted: bool) -> LineReading:
    """The line with the place and the joint probability of each of its ids."""
    if places is None:
        return LineReading(line, [math.exp(p) for p in line.logprobs], None, frames, drafted)
    joint = [math.exp((a + b) / 2) for a, (_, _, b) in zip(line.logprobs, places, strict=True)]
    return LineReading(line, joint, [place[:2] for place in places], frames, drafted)
