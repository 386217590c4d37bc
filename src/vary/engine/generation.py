"""Decoding: prompts and pixels in, token ids and log-probabilities out.  Knows ids and tensors, no text."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor
from transformers import LogitsProcessorList, StoppingCriteria, StoppingCriteriaList
from transformers.generation import BaseStreamer

from vary.engine.guards import LoopFinding
from vary.engine.prompt_cache import SCORED_AT_ONCE, PromptCache
from vary.engine.sampling import LogProbRecorder, Sampling
from vary.errors import VaryError
from vary.model.modeling import PIXEL_INPUTS, VaryForConditionalGeneration, VaryImageFeatures

__all__ = ["FinishReason", "Generation", "Sampling", "context_length", "generate"]

FinishReason = Literal["stop", "length", "loop"]

RowGuard = Callable[[Sequence[int]], LoopFinding | None]
"""Is fed the new ids of a row, a few at a time, and speaks when they have run into a loop."""

OnIds = Callable[[Sequence[int]], None]
"""Is called with the ids of an answer as they come."""


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
    """

    ids: list[int]
    logprobs: list[float]
    finish_reason: FinishReason
    end_logprob: float | None = None
    finding: LoopFinding | None = None


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
        # In a search every row stands here as often as it has candidates.
        done = (self.limits <= new).repeat_interleave(len(input_ids) // len(self.limits))
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


class _Stream(BaseStreamer):
    """Hands on an answer's ids, without its header and the end of text."""

    def __init__(self, on_ids: OnIds, header: Sequence[int], eos_ids: frozenset[int]) -> None:
        self._on_ids, self._header, self._eos_ids = on_ids, list(header), eos_ids
        self._held: list[int] = []
        self._seen_prompt = False

    def put(self, value: Tensor) -> None:
        if not self._seen_prompt:
            self._seen_prompt = True
            return
        self._held += [token for token in value.flatten().tolist() if token not in self._eos_ids]
        if self._header and self._held == self._header[: len(self._held)]:
            if len(self._held) == len(self._header):
                self._header, self._held = [], []
            return
        self._header = []
        if self._held:
            self._on_ids(self._held)
            self._held = []

    def end(self) -> None:
        """What is still held is a header that was begun, and no answer."""


@dataclass(slots=True)
class _Order:
    """A batch to decode: ids and mask (B, T), the images, and what the caller asked for."""

    ids: Tensor
    mask: Tensor
    images: dict[str, Any]
    limits: list[int]
    sampling: Sampling
    eos_ids: frozenset[int]
    guards: Sequence[RowGuard] | None
    streamer: _Stream | None

    @property
    def prompt_length(self) -> int:
        return self.ids.shape[1]


@dataclass(slots=True)
class _Row:
    """The new ids of a prompt as they came, up to the end of text or the row's limit, and what is known."""

    ids: list[int]
    logprobs: list[float]
    finding: LoopFinding | None = None


@torch.inference_mode()
def generate(
    model: VaryForConditionalGeneration,
    inputs: Mapping[str, Any],
    max_new_tokens: int | Sequence[int],
    *,
    sampling: Sampling | None = None,
    guards: Sequence[RowGuard] | None = None,
    answer_header: Sequence[int] = (),
    on_ids: OnIds | None = None,
    cache: PromptCache | None = None,
) -> list[Generation]:
    """Decodes a batch of prompts.

    Args:
        model: in evaluation mode, on the device of the inputs.
        inputs: what the processor returns: input_ids and attention_mask (B, T), padded on the left; pixels.
            Instead of pixels it may hold `mm_encoder_outputs`, images that were encoded before.
        max_new_tokens: the limit, one for all or one per row.
        sampling: how to choose tokens.
        guards: one per row.  With several beams they see the finished answer, and cut it.
        answer_header: ids that an answer may begin with and that are no part of it.
        on_ids: hears an answer's ids as they are chosen, or with several beams all at the end; for a single
            row.  It hears what a loop repeats too, until the guard speaks.
        cache: for a single prompt without padding: what it shares with the cache is not read again, and what
            was read stays there, also where decoding is interrupted.  Images come as `mm_encoder_outputs`.

    Raises:
        VaryError: for a cache or `on_ids` with several rows or with pixels.
    """
    sampling = sampling or Sampling()
    ids: Tensor = inputs["input_ids"]
    rows = len(ids)
    if (cache is not None or on_ids is not None) and rows != 1:
        raise VaryError(f"{rows} prompts were given; a cache or on_ids is for one at a time")
    if cache is not None and any(inputs.get(name) is not None for name in PIXEL_INPUTS):
        raise VaryError("a cache knows images by their features; encode them once, as mm_encoder_outputs")
    eos = model.generation_config.eos_token_id
    eos_ids = frozenset([eos] if isinstance(eos, int) else eos or [])
    order = _Order(
        ids,
        inputs["attention_mask"],
        {name: value for name, value in inputs.items() if name not in ("input_ids", "attention_mask")},
        [max_new_tokens] * rows if isinstance(max_new_tokens, int) else list(max_new_tokens),
        sampling,
        eos_ids,
        guards,
        None if on_ids is None else _Stream(on_ids, answer_header, eos_ids),
    )
    if sampling.seed is not None:
        torch.manual_seed(sampling.seed)
    if cache is not None and int(ids[0, -1]) == model.config.image_token_id:
        cache.clear()  # the end of an image does not say alone which image it is
        cache = None
    if cache is not None:
        found = [_go_on(model, order, cache)]
    elif sampling.num_beams > 1:
        found = _search(model, order)
    else:
        found = _step_by_step(model, order)
    return [_cut(row, eos_ids, answer_header) for row in found]


def context_length(model: VaryForConditionalGeneration) -> int | None:
    """How many tokens the language model's positions reach, prompt and answer together; None if unknown."""
    positions = getattr(model.config.text_config, "max_position_embeddings", None)
    return None if positions is None else int(positions)


def _step_by_step(model: VaryForConditionalGeneration, order: _Order, **options: Any) -> list[_Row]:
    """Greedy decoding or drawing; log-probabilities are recorded on the way."""
    recorder = LogProbRecorder(order.prompt_length)
    stops = _RowStops(order.prompt_length, torch.tensor(order.limits), order.guards, order.eos_ids)
    sequences = _call(model, order, stops, recorder, streamer=order.streamer, **options)
    recorder.settle(sequences)
    rows = _new_ids(sequences, order)
    chances = torch.stack(recorder.chosen, 1).tolist() if recorder.chosen else [[] for _ in rows]
    return [
        _Row(row, logprobs[: len(row)], stops.findings.get(number))
        for number, (row, logprobs) in enumerate(zip(rows, chances, strict=True))
    ]


def _search(model: VaryForConditionalGeneration, order: _Order) -> list[_Row]:
    """Beams.  Images are encoded once, and the chosen answers are read once more for their probabilities."""
    if order.images.get("pixel_values") is not None:
        pixels = {name: order.images[name] for name in PIXEL_INPUTS if name in order.images}
        order.images = {"mm_encoder_outputs": {"image": model.get_image_features(**pixels)}}
    stops = _RowStops(order.prompt_length, torch.tensor(order.limits), None, order.eos_ids)
    rows = _new_ids(_call(model, order, stops, None), order)
    return _judged(order, rows, _logprobs(model, order, rows))


def _go_on(model: VaryForConditionalGeneration, order: _Order, cache: PromptCache) -> _Row:
    """Decodes one prompt behind what the cache holds of it."""
    features: VaryImageFeatures | None = (order.images.get("mm_encoder_outputs") or {}).get("image")
    prompt = order.ids[0].tolist()
    order.images = {}
    cache.read(prompt[cache.keep(prompt, features) : -1])
    if order.sampling.num_beams == 1:
        [row] = _step_by_step(model, order, past_key_values=cache.cache)
        cache.ids += [prompt[-1], *row.ids][: cache.cache.get_seq_length() - len(cache.ids)]
        return row
    stops = _RowStops(order.prompt_length, torch.tensor(order.limits), None, order.eos_ids)
    beams = cache.for_beams(order.sampling.num_beams)
    [ids] = _new_ids(_call(model, order, stops, None, past_key_values=beams), order)
    [row] = _judged(order, [ids], [cache.read_answer(prompt[-1], ids)])
    return row


def _call(
    model: VaryForConditionalGeneration,
    order: _Order,
    stops: _RowStops,
    recorder: LogProbRecorder | None,
    **options: Any,
) -> Tensor:
    """The library's `generate`: prompts and new ids (B, T)."""
    processors = LogitsProcessorList([] if recorder is None else [recorder])
    processors += order.sampling.processors(order.mask)
    sequences: Tensor = model.generate(
        input_ids=order.ids,
        attention_mask=order.mask,
        max_new_tokens=max(order.limits),
        logits_processor=processors,
        stopping_criteria=StoppingCriteriaList([stops]),
        **order.images,
        **options,
        **order.sampling.library_options(),
    )
    return sequences


def _new_ids(sequences: Tensor, order: _Order) -> list[list[int]]:
    """Each row's new ids up to its limit or its end of text, which is included."""
    rows = []
    for ids, limit in zip(sequences[:, order.prompt_length :].tolist(), order.limits, strict=True):
        end = next((place for place, token in enumerate(ids[:limit]) if token in order.eos_ids), limit)
        rows.append(ids[: min(limit, end + 1)])
    return rows


def _judged(order: _Order, rows: list[list[int]], logprobs: list[list[float]]) -> list[_Row]:
    """Finished answers of a search, shown to the guards and to whoever listens."""
    judged = []
    for number, (ids, chances) in enumerate(zip(rows, logprobs, strict=True)):
        row = _Row(ids, chances)
        if order.guards is not None:
            guard = order.guards[number]
            shown = [token for token in ids if token not in order.eos_ids]
            row.finding = next((found for token in shown if (found := guard([token])) is not None), None)
        judged.append(row)
    if order.streamer is not None:
        order.streamer.put(order.ids)
        for token in rows[0]:
            order.streamer.put(torch.tensor([token]))
    return judged


def _logprobs(
    model: VaryForConditionalGeneration, order: _Order, answers: Sequence[Sequence[int]]
) -> list[list[float]]:
    """The model's log-probability of every id of finished answers, in one forward without a cache."""
    longest = max(map(len, answers))
    if longest == 0:
        return [[] for _ in answers]
    device = order.ids.device
    padded = torch.tensor([[*row, *[0] * (longest - len(row))] for row in answers], device=device)
    real = torch.tensor([[1] * len(row) + [0] * (longest - len(row)) for row in answers], device=device)
    mask = torch.cat([order.mask, real], dim=1)
    hidden = model.model(
        input_ids=torch.cat([order.ids, padded], dim=1)[:, :-1],
        attention_mask=mask[:, :-1],
        position_ids=(mask.cumsum(-1) - 1).clamp(min=0)[:, :-1],
        use_cache=False,
        **order.images,
    ).last_hidden_state[:, -longest:]
    chances = []
    for start in range(0, longest, SCORED_AT_ONCE):
        table = model.lm_head(hidden[:, start : start + SCORED_AT_ONCE]).float().log_softmax(-1)
        wanted = padded[:, start : start + SCORED_AT_ONCE, None]
        chances.append(table.gather(2, wanted)[..., 0])
    values: list[list[float]] = torch.cat(chances, dim=1).tolist()
    return [row[: len(ids)] for row, ids in zip(values, answers, strict=True)]


def _cut(row: _Row, eos_ids: frozenset[int], header: Sequence[int]) -> Generation:
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
    return Generation(ids, logprobs, reason, end_logprob, row.finding)
