"""Whole pages read by a model in PyTorch: they join one by one, or where the library decodes in groups."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

import torch
from transformers import BatchFeature

from vary.backends import PageReader, Request
from vary.engine.continuous import ContinuousBatch
from vary.engine.decoders.interface import Decoder
from vary.engine.decoders.library import LibraryDecoder
from vary.engine.decoding import DecodingLoop, Prompt, RowGuard
from vary.engine.drafts import TextDraft
from vary.engine.generation import Generation, end_ids, finished, generate, prompts_of, runs_here
from vary.engine.lines import LineReading
from vary.engine.sampling import Sampling
from vary.errors import DeviceError
from vary.inputs.windows import Window
from vary.model.modeling import VaryForConditionalGeneration
from vary.model.processing import VaryProcessor

__all__ = ["GroupedPages", "JoiningPages", "PageModel", "in_halves", "page_reader"]

Item = TypeVar("Item")
Page = tuple[Window, str]
"""A page and its draft."""


class PageModel(Protocol):
    """What the readers of pages ask of the backend; see `vary.backends.pytorch.PyTorchBackend`."""

    processor: VaryProcessor

    def computing(self, sampling: Sampling) -> tuple[VaryForConditionalGeneration, Decoder | None]: ...

    def encode(self, text: str) -> list[int]: ...

    def decode(self, ids: Sequence[int]) -> str: ...

    def page_inputs(
        self, windows: Sequence[Window], request: Request
    ) -> tuple[BatchFeature, list[int], list[RowGuard]]: ...

    def too_small(self, error: torch.OutOfMemoryError) -> DeviceError: ...


def page_reader(backend: PageModel, request: Request, batch_size: int) -> PageReader:
    """Reads pages one by one where our own loop decodes, else in groups."""
    model, decoder = backend.computing(request.sampling)
    kind = JoiningPages if runs_here(model, request.sampling, decoder) else GroupedPages
    return kind(backend, model, decoder, request, batch_size)


class JoiningPages:
    """A `vary.backends.PageReader` of our own loop, which a page joins when another one ends."""

    def __init__(
        self,
        backend: PageModel,
        model: VaryForConditionalGeneration,
        decoder: Decoder | None,
        request: Request,
        batch_size: int,
    ) -> None:
        self._backend, self._model, self._request = backend, model, request
        self._decoder = decoder or LibraryDecoder(model)
        self._header = backend.processor.answer_header(request.layout)
        self._eos_ids = end_ids(model)
        loop = DecodingLoop(
            self._decoder,
            self._eos_ids,
            request.sampling,
            suppressed=model.generation_config.suppress_tokens or (),
            draft_cost=self._decoder.token_cost,
        )
        self._batch: ContinuousBatch[Page] = ContinuousBatch(loop, self._prompts, batch_size)

    @property
    def wanted(self) -> int:
        return self._batch.wanted

    def add(self, window: Window, draft: str) -> int:
        return self._batch.add((window, draft))

    def step(self) -> list[tuple[int, LineReading]]:
        try:
            ended = self._batch.step()
        except torch.OutOfMemoryError as error:
            raise self._backend.too_small(error) from error
        return [(number, _reading(finished(answer, self._eos_ids, self._header))) for number, answer in ended]

    def close(self) -> None:
        self._batch.close()

    def _prompts(self, pages: Sequence[Page]) -> list[Prompt]:
        backend = self._backend
        inputs, limits, guards = backend.page_inputs([window for window, _ in pages], self._request)
        drafts = [TextDraft(text, backend.encode, backend.decode) if text else None for _, text in pages]
        return prompts_of(
            self._model, inputs, limits, guards=guards, drafts=drafts, context=self._decoder.context
        )


class GroupedPages:
    """A `vary.backends.PageReader` for what the library decodes: beams, and caches of other kinds.

    A group is read when it is complete, or no page is added any more.  Drafts have no effect here.
    """

    def __init__(
        self,
        backend: PageModel,
        model: VaryForConditionalGeneration,
        decoder: Decoder | None,
        request: Request,
        batch_size: int,
    ) -> None:
        self._backend, self._model, self._decoder = backend, model, decoder
        self._request, self._size = request, batch_size
        self._waiting: list[Window] = []
        self._done = 0

    @property
    def wanted(self) -> int:
        return self._size - len(self._waiting)

    def add(self, window: Window, draft: str) -> int:
        self._waiting.append(window)
        return self._done + len(self._waiting) - 1

    def step(self) -> list[tuple[int, LineReading]]:
        group, first = self._waiting, self._done
        self._waiting, self._done = [], first + len(group)
        return list(enumerate(in_halves(self._read, group, self._backend.too_small), first))

    def close(self) -> None:
        self._waiting = []

    def _read(self, windows: Sequence[Window]) -> list[LineReading]:
        backend = self._backend
        inputs, limits, guards = backend.page_inputs(windows, self._request)
        answers = generate(
            self._model,
            inputs,
            limits,
            sampling=self._request.sampling,
            guards=guards,
            answer_header=backend.processor.answer_header(self._request.layout),
            decoder=self._decoder,
        )
        return [_reading(answer) for answer in answers]


def _reading(answer: Generation) -> LineReading:
    return LineReading(answer, [math.exp(min(0.0, p)) for p in answer.logprobs], None, 0)


def in_halves(
    read: Callable[[Sequence[Item]], list[LineReading]],
    items: Sequence[Item],
    too_small: Callable[[torch.OutOfMemoryError], DeviceError],
) -> list[LineReading]:
    """Reads items at once; where an accelerator's memory does not suffice, half of them at a time.

    Raises:
        DeviceError: what `too_small` makes of the error where memory does not suffice for one.
    """
    try:
        return read(items)
    except torch.OutOfMemoryError as error:
        if len(items) == 1:
            raise too_small(error) from error
    half = len(items) // 2  # read outside of the handler, which keeps what did not fit
    return [reading for part in (items[:half], items[half:]) for reading in in_halves(read, part, too_small)]
