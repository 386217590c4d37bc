"""Decoding: prompts and pixels in, token ids and log-probabilities out.  Knows ids and tensors, no text."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor
from transformers import LogitsProcessor, LogitsProcessorList, StoppingCriteria, StoppingCriteriaList

from vary.engine.guards import LoopFinding
from vary.errors import VaryError
from vary.model.modeling import VaryForConditionalGeneration

__all__ = ["FinishReason", "Generation", "Sampling", "generate"]

FinishReason = Literal["stop", "length", "loop"]

RowGuard = Callable[[Sequence[int]], LoopFinding | None]
"""Is fed the new ids of a row, a few at a time, and speaks when they have run into a loop."""


@dataclass(frozen=True, slots=True)
class Sampling:
    """How the next token is chosen; the default is greedy.

    Attributes:
        temperature: 0 for greedy decoding; above, tokens are drawn.
        top_k, top_p: keep only the k likeliest tokens, or the likeliest that make up p; 0 and 1 keep all.
        repetition_penalty: divides the scores of tokens that occurred; 1 for none.
        seed: of the draws; None takes torch's global state.
    """

    temperature: float = 0.0
    top_k: int = 0
    top_p: float = 1.0
    repetition_penalty: float = 1.0
    seed: int | None = None

    def __post_init__(self) -> None:
        if self.temperature < 0 or self.top_k < 0 or not 0 < self.top_p <= 1 or self.repetition_penalty <= 0:
            raise VaryError(
                f"{self}: expected temperature and top_k of at least 0, top_p above 0 and at most 1, "
                "repetition_penalty above 0"
            )

    def library_options(self) -> dict[str, Any]:
        """The same in the library's words."""
        options: dict[str, Any] = {"do_sample": self.temperature > 0, "num_beams": 1}
        if self.repetition_penalty != 1.0:
            options["repetition_penalty"] = self.repetition_penalty
        if self.temperature > 0:
            options |= {"temperature": self.temperature, "top_k": self.top_k, "top_p": self.top_p}
        return options


@dataclass(slots=True)
class Generation:
    """What was decoded for one prompt.

    Attributes:
        ids: the new tokens, without the end-of-text token and without what a loop repeated.
        logprobs: the model's log-probability of each of them (before temperature and the like).
        finish_reason: `stop` at the end of text, `length` at the limit, `loop` where the guard stepped in.
        end_logprob: the log-probability of the end-of-text token, if it was reached.
        finding: what the guard saw.
    """

    ids: list[int]
    logprobs: list[float]
    finish_reason: FinishReason
    end_logprob: float | None = None
    finding: LoopFinding | None = None


class _LogProbRecorder(LogitsProcessor):
    """Keeps each step's log-probability of the token that was then chosen; one (B, V) table at a time."""

    def __init__(self, prompt_length: int) -> None:
        self.prompt_length = prompt_length
        self.table: Tensor | None = None
        self.chosen: list[Tensor] = []

    def settle(self, sequences: Tensor) -> None:
        """Looks up the newest token of (B, T) in the table of the step that chose it."""
        if self.table is not None and sequences.shape[1] > self.prompt_length + len(self.chosen):
            self.chosen.append(self.table.gather(1, sequences[:, -1:])[:, 0])

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        self.settle(input_ids)
        self.table = scores.float().log_softmax(-1)
        return scores


@dataclass
class _RowStops(StoppingCriteria):
    """Stops each row at its own limit or where its guard speaks."""

    prompt_length: int
    limits: Tensor
    guards: Sequence[RowGuard] | None
    eos_ids: frozenset[int]
    findings: dict[int, LoopFinding] = field(default_factory=dict)
    ended: set[int] = field(default_factory=set)

    def __call__(self, input_ids: Tensor, scores: Any, **kwargs: Any) -> Tensor:
        new = input_ids.shape[1] - self.prompt_length
        done = self.limits <= new
        if self.guards is not None:
            newest = input_ids[:, -1].tolist()
            for row, guard in enumerate(self.guards):
                if row in self.ended:
                    continue
                if newest[row] in self.eos_ids:
                    self.ended.add(row)
                elif (finding := guard([newest[row]])) is not None:
                    self.findings[row] = finding
                    self.ended.add(row)
            if self.findings:
                done[list(self.findings)] = True
        return done.to(input_ids.device)


@torch.inference_mode()
def generate(
    model: VaryForConditionalGeneration,
    inputs: Mapping[str, Any],
    max_new_tokens: int | Sequence[int],
    *,
    sampling: Sampling | None = None,
    guards: Sequence[RowGuard] | None = None,
    streamer: Any = None,
) -> list[Generation]:
    """Decodes a batch of prompts.

    Args:
        model: in evaluation mode, on the device of the inputs.
        inputs: what the processor returns: input_ids and attention_mask (B, T), padded on the left; pixels.
            Instead of pixels it may hold `mm_encoder_outputs`, images that were encoded before.
        max_new_tokens: the limit, one for all or one per row.
        sampling: how to choose tokens.
        guards: one per row.
        streamer: the library's streamer, for a single row.
    """
    sampling = sampling or Sampling()
    input_ids: Tensor = inputs["input_ids"]
    rows, prompt_length = input_ids.shape
    limits = [max_new_tokens] * rows if isinstance(max_new_tokens, int) else list(max_new_tokens)
    eos = model.generation_config.eos_token_id
    eos_ids = frozenset([eos] if isinstance(eos, int) else eos or [])
    recorder = _LogProbRecorder(prompt_length)
    stops = _RowStops(prompt_length, torch.tensor(limits), guards, eos_ids)
    if sampling.seed is not None:
        torch.manual_seed(sampling.seed)
    sequences = model.generate(
        **inputs,
        max_new_tokens=max(limits),
        logits_processor=LogitsProcessorList([recorder]),
        stopping_criteria=StoppingCriteriaList([stops]),
        streamer=streamer,
        **sampling.library_options(),
    )
    recorder.settle(sequences)
    new_ids = sequences[:, prompt_length:].tolist()
    logprobs = torch.stack(recorder.chosen, 1).tolist() if recorder.chosen else [[] for _ in range(rows)]
    return [
        _cut(ids, chances, limit, eos_ids, stops.findings.get(row))
        for row, (ids, chances, limit) in enumerate(zip(new_ids, logprobs, limits, strict=True))
    ]


def _cut(
    ids: list[int],
    logprobs: list[float],
    limit: int,
    eos_ids: frozenset[int],
    finding: LoopFinding | None,
) -> Generation:
    """A row of the finished batch, without padding, end of text and repetitions."""
    if finding is not None:
        kept = len(ids) if finding.keep_tokens is None else finding.keep_tokens
        return Generation(ids[:kept], logprobs[:kept], "loop", finding=finding)
    end = next((place for place, token in enumerate(ids[:limit]) if token in eos_ids), None)
    if end is None:
        return Generation(ids[:limit], logprobs[:limit], "length")
    return Generation(ids[:end], logprobs[:end], "stop", end_logprob=logprobs[end])
