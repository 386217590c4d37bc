"""Decoding: prompts and pixels in, token ids and log-probabilities out.  Knows ids and tensors, no text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from vary.engine.answers import FinishReason, Generation, Row, cut_row, finished
from vary.engine.decoders.interface import Decoder
from vary.engine.decoders.library import LibraryDecoder, context_length
from vary.engine.decoding import OnIds, Prompt, RowGuard, decode
from vary.engine.drafts import Draft
from vary.engine.library_generation import Order, Stream, by_the_library, search_on, step_on
from vary.engine.prompt_cache import PromptCache
from vary.engine.sampling import UNUSUAL, Sampling
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
    "prompts_of",
    "runs_here",
]


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
        VaryError: for a cache or `on_ids` with several rows or with pixels, and for what a decoder without
            the library's modules does not follow, such as beams.
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
    decoder = decoder if cache is None else cache.decoder
    ours = runs_here(model, sampling, decoder)
    if decoder is not None and decoder.alone and not ours:
        raise VaryError(
            f"{decoder.name} follows no beams and none of the library's further settings of generation; "
            "leave them out, or the quantization"
        )
    if cache is not None and int(ids[0, -1]) == model.config.image_token_id:
        cache.clear()  # the end of an image does not say alone which image it is
        cache = None
    if cache is not None:
        found = [_go_on(model, order, cache, drafts[0] if drafts else None)]
    elif ours:
        found = _decode_rows(model, order, drafts, decoder)
    else:
        found = by_the_library(model, order)
    return [cut_row(row, eos_ids, answer_header) for row in found]


def end_ids(model: VaryForConditionalGeneration) -> frozenset[int]:
    """The ids that end an answer."""
    eos = model.generation_config.eos_token_id
    return frozenset([eos] if isinstance(eos, int) else eos or [])


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
    return _run(model, order, decoder, _prompts(model, order, drafts, decoder.context))


@torch.inference_mode()
def prompts_of(
    model: VaryForConditionalGeneration,
    inputs: Mapping[str, Any],
    limits: Sequence[int],
    *,
    guards: Sequence[RowGuard],
    drafts: Sequence[Draft | None],
    context: int | None,
) -> list[Prompt]:
    """Prompts for the decoding loop, their images encoded at once; arguments as in `generate`.

    `context` is the decoder's: no answer goes beyond it.
    """
    images = {name: inputs[name] for name in PIXEL_INPUTS if inputs.get(name) is not None}
    ids, mask = inputs["input_ids"], inputs["attention_mask"]
    order = Order(ids, mask, images, list(limits), Sampling(), end_ids(model), guards, None)
    return _prompts(model, order, drafts, context)


def _prompts(
    model: VaryForConditionalGeneration,
    order: Order,
    drafts: Sequence[Draft | None] | None,
    context: int | None,
) -> list[Prompt]:
    """The rows of a batch for the loop, with their images in their places."""
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
        prompts.append(_prompt(order, row, embeddings[row][mask], ids, context, draft))
    return prompts


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
