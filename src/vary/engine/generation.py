"""Decoding: prompts and pixels in, token ids and log-probabilities out.  Knows ids and tensors, no text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor

from vary.engine.decoders.interface import Decoder
from vary.engine.decoders.library import LibraryDecoder, context_length
from vary.engine.decoding import Decoded, DraftUse, OnIds, Prompt, RowGuard, decode
from vary.engine.drafts import Draft
from vary.engine.guards import LoopFinding
from vary.engine.library_generation import Order, Row, Stream, by_the_library, search_on, step_on
from vary.engine.prompt_cache import PromptCache
from vary.engine.sampling import Sampling
from vary.errors import VaryError
from vary.model.modeling import PIXEL_INPUTS, VaryForConditionalGeneration, VaryImageFeatures

__all__ = [
    "FinishReason",
    "Generation",
    "Sampling",
    "context_length",
    "end_ids",
    "finished",
    "generate",
    "runs_here",
]

FinishReason = Literal["stop", "length", "loop"]

UNUSUAL = (
    *("bad_words_ids", "begin_suppress_tokens", "diversity_penalty", "encoder_repetition_penalty"),
    *("epsilon_cutoff", "eta_cutoff", "exponential_decay_length_penalty", "forced_bos_token_id"),
    *("forced_eos_token_id", "guidance_scale", "min_length", "min_new_tokens", "min_p", "sequence_bias"),
    *("stop_strings", "top_h", "typical_p", "watermarking_config"),
)
"""Settings of a generation configuration that only the library's own loop knows."""


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
    drafts: Sequence[Draft | None] | None = None,
    decoder: Decoder | None = None,
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
        drafts: a guess of each row's answer, or None.  They change how fast it is decoded and nothing else;
            with several beams they have no effect.
        decoder: what reads the tokens instead of the library's modules; several beams are the library's.
            A cache has its own.

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
    eos_ids = end_ids(model)
    order = Order(
        ids,
        inputs["attention_mask"],
        {name: value for name, value in inputs.items() if name not in ("input_ids", "attention_mask")},
        [max_new_tokens] * rows if isinstance(max_new_tokens, int) else list(max_new_tokens),
        sampling,
        eos_ids,
        guards,
        None if on_ids is None else Stream(on_ids, answer_header, eos_ids),
    )
    if cache is not None and int(ids[0, -1]) == model.config.image_token_id:
        cache.clear()  # the end of an image does not say alone which image it is
        cache = None
    if cache is not None:
        found = [_go_on(model, order, cache, drafts[0] if drafts else None)]
    elif runs_here(model, sampling, decoder):
        found = _decode_rows(model, order, drafts, decoder)
    elif decoder is not None and decoder.alone:
        raise VaryError(
            f"{decoder.name} follows no beams and none of the library's further settings of generation; "
            "leave them out, or the quantization"
        )
    else:
        found = by_the_library(model, order)
    return [_cut(row, eos_ids, answer_header) for row in found]


def end_ids(model: VaryForConditionalGeneration) -> frozenset[int]:
    """The ids that end an answer."""
    eos = model.generation_config.eos_token_id
    return frozenset([eos] if isinstance(eos, int) else eos or [])


def finished(answer: Decoded, eos_ids: frozenset[int]) -> Generation:
    """What counts of an answer of the loop."""
    return _cut(Row(answer.ids, answer.logprobs, answer.finding, answer.use), eos_ids, ())


def runs_here(model: VaryForConditionalGeneration, sampling: Sampling, decoder: Decoder | None) -> bool:
    """Whether our own loop decodes; else the library's does, which knows beams and every kind of cache."""
    settings = model.generation_config
    asked = [getattr(settings, name, None) for name in UNUSUAL]
    return (
        sampling.num_beams == 1
        and settings.use_cache is not False
        and all(value in (None, 0, 1, [], {}) for value in asked)
        and (decoder is not None or LibraryDecoder.supports(model))
    )


def _decode_rows(
    model: VaryForConditionalGeneration,
    order: Order,
    drafts: Sequence[Draft | None] | None,
    decoder: Decoder | None,
) -> list[Row]:
    """Decodes a batch in our own loop."""
    decoder = decoder or LibraryDecoder(model)
    features: VaryImageFeatures | None = (order.images.get("mm_encoder_outputs") or {}).get("image")
    pixels = {name: order.images[name] for name in PIXEL_INPUTS if order.images.get(name) is not None}
    if pixels:
        features = model.get_image_features(**pixels)
    if features is None:
        model.model.check_no_placeholders(order.ids)
    embeddings = model.model.embed(order.ids, features)
    prompts = []
    for row, mask in enumerate(order.mask.bool()):
        ids = order.ids[row][mask].tolist()
        draft = None if drafts is None else drafts[row]
        prompts.append(_prompt(order, row, embeddings[row][mask], ids, decoder.context, draft))
    return _run(model, order, decoder, prompts)


def _go_on(model: VaryForConditionalGeneration, order: Order, cache: PromptCache, draft: Draft | None) -> Row:
    """Decodes one prompt behind what the cache holds of it."""
    features: VaryImageFeatures | None = (order.images.get("mm_encoder_outputs") or {}).get("image")
    ids = order.ids[0].tolist()
    beams, decoder = order.sampling.num_beams, cache.decoder
    ours = decoder is not None and runs_here(model, order.sampling, decoder)
    if not (ours or (cache.for_library if beams > 1 else decoder is None)):
        cache.clear()
        [row] = by_the_library(model, order)
        return row
    cache.read(ids[cache.keep(ids, features) : -1])
    order.images = {}
    if not ours:
        return step_on(model, order, cache) if beams == 1 else search_on(model, order, cache)
    assert decoder is not None
    prompt = _prompt(order, 0, cache.embed(ids[-1:]), ids, decoder.context, draft)
    prompt.sequence = cache.sequence
    [row] = _run(model, order, decoder, [prompt])
    cache.ids += [ids[-1], *row.ids][: decoder.length(cache.sequence) - len(cache.ids)]
    return row


def _prompt(
    order: Order,
    row: int,
    embeddings: Tensor,
    ids: list[int],
    context: int | None,
    draft: Draft | None,
) -> Prompt:
    """A row of the batch for the loop; its answer does not go beyond the model's positions."""
    limit = order.limits[row] if context is None else min(order.limits[row], max(1, context - len(ids)))
    guard = None if order.guards is None else order.guards[row]
    hear = None if order.streamer is None else order.streamer.hear
    return Prompt(embeddings, limit, ids, guard, hear, draft)


def _run(
    model: VaryForConditionalGeneration, order: Order, decoder: Decoder, prompts: list[Prompt]
) -> list[Row]:
    suppressed = model.generation_config.suppress_tokens or ()
    answers = decode(
        decoder,
        prompts,
        order.eos_ids,
        order.sampling,
        max_rows=len(prompts),
        suppressed=suppressed,
        draft_cost=decoder.token_cost,
    )
    by_number = dict(answers)
    found = [by_number[number] for number in range(len(prompts))]
    return [Row(answer.ids, answer.logprobs, answer.finding, answer.use) for answer in found]


def _cut(row: Row, eos_ids: frozenset[int], header: Sequence[int]) -> Generation:
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
