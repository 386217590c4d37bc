"""The library's own `generate`: for the search with beams, and for text models with caches of other kinds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from transformers import LogitsProcessor, LogitsProcessorList, StoppingCriteria, StoppingCriteriaList
from transformers.generation import BaseStreamer

from vary.engine.answers import Row
from vary.engine.decoding import OnIds, RowGuard
from vary.engine.drawing import Chooser
from vary.engine.guards import LoopFinding
from vary.engine.prompt_cache import SCORED_AT_ONCE, PromptCache
from vary.engine.sampling import Sampling
from vary.model.modeling import PIXEL_INPUTS, VaryForConditionalGeneration

__all__ = ["LogProbRecorder", "Order", "Row", "Stream", "by_the_library", "search_on", "step_on"]


class LogProbRecorder(LogitsProcessor):
    """Keeps each step's log-probability of the token that was then chosen; one (B, V) table at a time.

    It stands before the processors of `Sampling`, so these are the model's own.
    """

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


class _OurChoice(LogitsProcessor):
    """Leaves the library, which takes the likeliest token, the one that our own loop would choose."""

    def __init__(self, order: Order, vocabulary: int) -> None:
        self._chooser = Chooser(order.sampling, vocabulary, order.ids.device)
        prompts = [row[mask].tolist() for row, mask in zip(order.ids, order.mask.bool(), strict=True)]
        self._pasts = [self._chooser.begin(prompt) for prompt in prompts]
        self._length = order.prompt_length

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        for past, ids in zip(self._pasts, input_ids[:, self._length :].tolist(), strict=True):
            past.follow(ids)
        self._length = input_ids.shape[1]
        chosen = self._chooser.choose(scores, [(past, []) for past in self._pasts])
        left = torch.full_like(scores, -torch.inf)
        left[range(len(chosen)), chosen] = 0.0
        return left


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


class Stream(BaseStreamer):
    """Hands on an answer's ids, without its header and the end of text."""

    def __init__(self, on_ids: OnIds, header: Sequence[int], eos_ids: frozenset[int]) -> None:
        self._on_ids, self._header, self._eos_ids = on_ids, list(header), eos_ids
        self._held: list[int] = []
        self._seen_prompt = False

    def put(self, value: Tensor) -> None:
        if not self._seen_prompt:
            self._seen_prompt = True
            return
        self.hear(value.flatten().tolist())

    def hear(self, ids: Sequence[int]) -> None:
        """Takes new ids of the answer."""
        for token in ids:
            if token in self._eos_ids:
                continue
            self._held.append(token)
            if self._held == self._header:
                self._header, self._held = [], []
            elif self._held != self._header[: len(self._held)]:
                self._header = []
        if self._held and not self._header:
            self._on_ids(self._held)
            self._held = []

    def end(self) -> None:
        """What is still held is a header that was begun, and no answer."""


@dataclass(slots=True)
class Order:
    """A batch to decode: ids and mask (B, T), the images, and what the caller asked for."""

    ids: Tensor
    mask: Tensor
    images: dict[str, Any]
    limits: list[int]
    sampling: Sampling
    eos_ids: frozenset[int]
    guards: Sequence[RowGuard] | None
    streamer: Stream | None

    @property
    def prompt_length(self) -> int:
        return self.ids.shape[1]


def by_the_library(model: VaryForConditionalGeneration, order: Order) -> list[Row]:
    """Decodes a batch as the library does; with several beams tokens are drawn by its own random numbers."""
    return _search(model, order) if order.sampling.num_beams > 1 else _step_by_step(model, order)


def _step_by_step(model: VaryForConditionalGeneration, order: Order, **options: Any) -> list[Row]:
    """Greedy decoding or drawing; log-probabilities are recorded on the way."""
    recorder = LogProbRecorder(order.prompt_length)
    stops = _RowStops(order.prompt_length, torch.tensor(order.limits), order.guards, order.eos_ids)
    sequences = _call(model, order, stops, recorder, streamer=order.streamer, **options)
    recorder.settle(sequences)
    rows = _new_ids(sequences, order)
    chances = torch.stack(recorder.chosen, 1).tolist() if recorder.chosen else [[] for _ in rows]
    return [
        Row(row, logprobs[: len(row)], stops.findings.get(number))
        for number, (row, logprobs) in enumerate(zip(rows, chances, strict=True))
    ]


def _search(model: VaryForConditionalGeneration, order: Order) -> list[Row]:
    """Beams.  Images are encoded once, and the chosen answers are read once more for their probabilities."""
    if order.images.get("pixel_values") is not None:
        pixels = {name: order.images[name] for name in PIXEL_INPUTS if name in order.images}
        order.images = {"mm_encoder_outputs": {"image": model.get_image_features(**pixels)}}
    stops = _RowStops(order.prompt_length, torch.tensor(order.limits), None, order.eos_ids)
    rows = _new_ids(_call(model, order, stops, None), order)
    return _judged(order, rows, _logprobs(model, order, rows))


def step_on(model: VaryForConditionalGeneration, order: Order, cache: PromptCache) -> Row:
    """Decodes one prompt behind what the library's cache holds: all of it but the last id."""
    last = int(order.ids[0, -1])
    [row] = _step_by_step(model, order, past_key_values=cache.cache)
    cache.ids += [last, *row.ids][: cache.cache.get_seq_length() - len(cache.ids)]
    return row


def search_on(model: VaryForConditionalGeneration, order: Order, cache: PromptCache) -> Row:
    """Beams for one prompt behind what the cache holds: all of it but the last id."""
    beams = cache.for_beams(order.sampling.num_beams)
    stops = _RowStops(order.prompt_length, torch.tensor(order.limits), None, order.eos_ids)
    [ids] = _new_ids(_call(model, order, stops, None, past_key_values=beams), order)
    [row] = _judged(order, [ids], [cache.read_answer(int(order.ids[0, -1]), ids)])
    return row


def _call(
    model: VaryForConditionalGeneration,
    order: Order,
    stops: _RowStops,
    recorder: LogProbRecorder | None,
    **options: Any,
) -> Tensor:
    """The library's `generate`: prompts and new ids (B, T)."""
    sampling = order.sampling
    if recorder is None:
        processors = sampling.processors(order.mask)
        if sampling.seed is not None:
            torch.manual_seed(sampling.seed)
    else:
        processors = LogitsProcessorList([recorder])
        if not sampling.likeliest:
            processors.append(_OurChoice(order, model.config.text_config.vocab_size))
    sequences: Tensor = model.generate(
        input_ids=order.ids,
        attention_mask=order.mask,
        max_new_tokens=max(order.limits),
        logits_processor=processors,
        stopping_criteria=StoppingCriteriaList([stops]),
        **order.images,
        **options,
        **sampling.library_options(),
    )
    return sequences


def _new_ids(sequences: Tensor, order: Order) -> list[list[int]]:
    """Each row's new ids up to its limit or its end of text, which is included."""
    rows = []
    for ids, limit in zip(sequences[:, order.prompt_length :].tolist(), order.limits, strict=True):
        end = next((place for place, token in enumerate(ids[:limit]) if token in order.eos_ids), limit)
        rows.append(ids[: min(limit, end + 1)])
    return rows


def _judged(order: Order, rows: list[list[int]], logprobs: list[list[float]]) -> list[Row]:
    """Finished answers of a search, shown to the guards and to whoever listens."""
    judged = []
    for number, (ids, chances) in enumerate(zip(rows, logprobs, strict=True)):
        row = Row(ids, chances)
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
    model: VaryForConditionalGeneration, order: Order, answers: Sequence[Sequence[int]]
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
