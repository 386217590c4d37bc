"""What was decoded for a prompt: its ids as they came, and what counts of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from vary.engine.decoding import Decoded, DraftUse
from vary.engine.guards import LoopFinding

__all__ = ["FinishReason", "Generation", "Row", "cut_row", "finished"]

FinishReason = Literal["stop", "length", "loop"]


@dataclass(slots=True)
class Generation:
    """What was decoded for one prompt.

    Attributes:
        ids: the new tokens, without the end-of-text token, without an answer's header and without what a loop
            repeated.
        logprobs: the model's log-probability of each of them (before temperature, penalties and the like).
        finish_reason: `stop` at the end of text, `length` at the limit, `loop` where the guard stepped in.
        end_logprob: the log-probability of the end-of-text token, if it was reached.
        finding: what the guard saw.
        draft: what a draft was worth; None where nothing was decoded by our own loop.
    """

    ids: list[int]
    logprobs: list[float]
    finish_reason: FinishReason
    end_logprob: float | None = None
    finding: LoopFinding | None = None
    draft: DraftUse | None = field(default=None, compare=False)


@dataclass(slots=True)
class Row:
    """The new ids of a prompt as they came, up to the end of text or the row's limit, and what is known."""

    ids: list[int]
    logprobs: list[float]
    finding: LoopFinding | None = None
    draft: DraftUse | None = None


def finished(answer: Decoded, eos_ids: frozenset[int], header: Sequence[int] = ()) -> Generation:
    """What counts of an answer of the loop."""
    return cut_row(Row(answer.ids, answer.logprobs, answer.finding, answer.use), eos_ids, header)


def cut_row(row: Row, eos_ids: frozenset[int], header: Sequence[int]) -> Generation:
    """What counts of a row: not its end of text, nor what a loop repeated, nor an answer's header."""
    ids, logprobs = row.ids, row.logprobs
    end_logprob: float | None = None
    reason: FinishReason = "length"
    if row.finding is not None:
        kept = len(ids) if row.finding.keep_tokens is None else row.finding.keep_tokens
        ids, logprobs, reason = ids[:kept], logprobs[:kept], "loop"
    elif ids and ids[-1] in eos_ids:
        ids, logprobs, end_logprob, reason = ids[:-1], logprobs[:-1], logprobs[-1], "stop"
    begun = min(len(ids), len(header))
    if ids[:begun] == list(header[:begun]):  # a header that the limit cut off is no answer either
        ids, logprobs = ids[begun:], logprobs[begun:]
    return Generation(ids, logprobs, reason, end_logprob, row.finding, row.draft)
