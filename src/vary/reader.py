"""The corridor: pages in, windows of them to the model, what it wrote into a document.

>>> Reader.load().read("page.png").text
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import torch

from vary import __version__
from vary.assembly import answer_blocks, build_page, line_blocks
from vary.assets import default_checkpoint
from vary.engine.decoders.interface import Decoder
from vary.engine.devices import resolve_device
from vary.engine.drafts import TextDraft
from vary.engine.fast_parts import use_fast_parts
from vary.engine.generation import Sampling, context_length, generate
from vary.engine.guards import LoopFinding
from vary.engine.lines import LineReading, read_lines
from vary.engine.streaming import text_guard
from vary.errors import ContextError, DeviceError, TaskError, VaryError
from vary.inputs.page_image import DEFAULT_LIMITS, InputLimits, PageFailure, PageImage
from vary.inputs.page_range import parse_page_range
from vary.inputs.pages import DEFAULT_DPI, Source, open_pages, page_count, source_name
from vary.inputs.tasks import LANGUAGES, ResolvedTask, resolve_task
from vary.inputs.windows import PageWindows, Window, line_windows, whole_window
from vary.model.modeling import VaryForConditionalGeneration
from vary.model.processing import VaryProcessor
from vary.model.tokenization import encode_text
from vary.outputs.document import Document, Page, PageStatus, Provenance
from vary.page_drafts import DraftChoice, PageDrafts, choose_drafts
from vary.quantized import check_memory, load_quantized
from vary.weights.loading import as_dtype, load_checkpoint, resolve_checkpoint

__all__ = ["Reader", "read"]

DEFAULT_NAME = "vary-nano"
PIXELS_PER_TOKEN = 2.5
"""Of a line window: no character is narrower, so a line's width bounds its text."""
SPARE_TOKENS = 8
PAGE_TOKENS = 4096
"""New tokens for a whole page, unless the language model's positions end before."""
GROUP_WINDOWS = 96
"""Windows of so many are collected, from one page or several, before they are sorted by width and read."""
GROUP_PAGES, GROUP_PIXELS = 8, 40_000_000
LINE_BATCH, PAGE_BATCH, GPU_PAGE_BATCH = 32, 1, 8
"""Windows that are read at once, by default.  A CPU gains nothing from several pages at a time."""
REMEMBERED_IDS, REMEMBERED_TEXTS = 2, 1 << 16
"""Texts of at most so many ids are remembered, and how many of them."""
Progress = Callable[[int, int | None], None]


@dataclass(slots=True)
class _PageJob:
    """A page on its way: its windows, what was read in them so far, and the time that this took."""

    page: PageImage
    windows: PageWindows
    seconds: float
    draft: str = ""
    readings: dict[int, LineReading] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Order:
    """What a caller of `read` asked for."""

    task: ResolvedTask
    sampling: Sampling
    batch_size: int
    max_new_tokens: int | None
    layout: str | None
    drafts: PageDrafts


class Reader:
    """Reads documents with one checkpoint on one device.

    Build it with `Reader.load`; a reader holds no state between documents.
    """

    def __init__(
        self,
        model: VaryForConditionalGeneration,
        processor: VaryProcessor,
        name: str,
        device: torch.device,
        decoder: Decoder | None = None,
    ) -> None:
        self.model = model.eval().to(device)
        self.processor = processor
        self.name = name
        self.device = device
        self.decoder = decoder
        self._nano: Reader | None = None
        self._vision = "PyTorch"
        # Single tokens and pairs are asked for again and again, and the library takes its time with each.
        self._short_text = lru_cache(maxsize=REMEMBERED_TEXTS)(partial(_text_of, processor.tokenizer))

    @classmethod
    def load(
        cls,
        checkpoint: str | Path | None = None,
        *,
        device: str | torch.device = "auto",
        dtype: torch.dtype | str | None = None,
        tokenizer: str | Path | None = None,
        quantize: str | None = None,
    ) -> Reader:
        """Loads a checkpoint; None or `vary-nano` is the one that the package ships.

        Args:
            checkpoint: a folder with configuration, weights, tokenizer and processor; a folder or file of
                another format, such as the authors' or MindOCR's; or the name of a fetched checkpoint.
            device: `auto`, a kind (`cpu`, `cuda`, `mps`, `npu`, `xpu`), or one with an index.
            dtype: of the weights, such as "bfloat16"; None takes float32 on a CPU and on others what the
                checkpoint has.
            tokenizer: the tokenizer's file (`qwen.tiktoken`), where it does not lie beside the weights.
            quantize: the precision of the language model's weights, such as `int4` or `int8`, decoded by the
                native kernels on a CPU; see `vary.quantized`.

        Raises:
            CheckpointError: if the checkpoint is missing, incomplete or of an unknown kind.
            DeviceError: if the device is not there (another is never taken instead), or has not the memory.
            NativeError: if the native kernels are not there, or do not compute this model.
        """
        place = resolve_device(device)
        named = None if checkpoint in (None, DEFAULT_NAME) else checkpoint
        folder = default_checkpoint() if named is None else resolve_checkpoint(named)
        kind = as_dtype(dtype) or (torch.float32 if place.type == "cpu" else None)
        name = DEFAULT_NAME if folder == default_checkpoint() else folder.name
        check_memory(folder, name, place, kind, quantize)
        if quantize is None:
            model, processor = load_checkpoint(folder, dtype=kind, tokenizer=tokenizer)
            return cls(model, processor, name, place).with_fast_parts()
        parts = load_quantized(folder, quantize=quantize, dtype=kind or torch.float32, tokenizer=tokenizer)
        return cls(parts[0], parts[1], name, place, parts[2]).with_fast_parts()

    def with_fast_parts(self) -> Reader:
        """Takes the fastest implementations that run on its device, see `vary.engine.fast_parts`."""
        self._vision, self.decoder = use_fast_parts(self.model, self.decoder)
        return self

    @property
    def tasks(self) -> tuple[str, ...]:
        """The tasks that the checkpoint was trained for."""
        return tuple(self.model.config.tasks)

    def read(self, source: Source, *, progress: Progress | None = None, **options: Any) -> Document:
        """Reads all pages of a source; options and errors as in `iter_pages`.

        `progress` is called with the number of pages done and, where it is known, of all.
        """
        task = self.resolve_task(options.get("task"), options.get("prompt"), options.get("language"))
        provenance = self._provenance(task, options)
        drafts = self._page_drafts(options.get("draft"), task, options.get("num_beams", 1))
        options["draft"] = drafts
        total = None if progress is None else self._count(source, options)
        pages: list[Page] = []
        for page in self.iter_pages(source, **options):
            pages.append(page)
            if progress is not None:
                progress(len(pages), total)
        provenance = replace(provenance, settings=provenance.settings | drafts.settings())
        return Document(source_name(source), tuple(pages), provenance)

    def iter_pages(
        self,
        source: Source,
        *,
        pages: str | None = None,
        dpi: float = DEFAULT_DPI,
        task: str | None = None,
        prompt: str | None = None,
        language: str | None = None,
        batch_size: int | None = None,
        max_new_tokens: int | None = None,
        temperature: float = 0.0,
        top_k: int = 0,
        top_p: float = 1.0,
        repetition_penalty: float = 1.0,
        seed: int | None = None,
        num_beams: int = 1,
        no_repeat_ngram_size: int = 0,
        layout: str | None = None,
        draft: DraftChoice | PageDrafts = None,
        password: str | None = None,
        limits: InputLimits = DEFAULT_LIMITS,
    ) -> Iterator[Page]:
        """Reads page after page; at most a few pages are in memory at a time.

        Args:
            source: a file's path, its bytes, a PIL image or an array.
            pages: which of them, such as `1-3,7`; all by default.
            dpi: at which PDF pages are painted.
            task, prompt: what to ask; by default the checkpoint's first task.
            language: of the task's prompt, `en` or `zh`, where the papers have it in both; by default the
                checkpoint's first.
            batch_size: windows that are read at once; by default 32 lines, or a page on a CPU and 8 on a GPU.
                Where memory does not suffice for so many, they are read in halves.
            max_new_tokens: the longest answer per window; by default what can stand in it, and never more
                than the language model's positions leave.
            temperature, top_k, top_p, repetition_penalty, seed, num_beams, no_repeat_ngram_size: see
                `engine.sampling.Sampling`.
            layout: one of the processor's layouts; by default the checkpoint's own.
            draft: a guess of the pages' text, with which they are read faster and not otherwise: `pdf`, a PDF
                page's own text layer; `nano`, what vary-nano reads; a text file, pages with form feeds
                between them; a list of the pages' texts; `off`; or by default `auto`: where the task is to
                read text, the text layer, else vary-nano if this model is ten times larger.
            password: of an encrypted PDF.
            limits: on bytes, pixels and pages.

        Raises:
            InputError: if the source as a whole cannot be read; one bad page has the status `failed`.
            VaryError: for a draft where it has no effect: with several beams, or for vary-nano itself.
            TaskError: for a task or language that the checkpoint does not know.
            ContextError: for a prompt that leaves no room for an answer.
        """
        for name, value in (("batch_size", batch_size), ("max_new_tokens", max_new_tokens)):
            if value is not None and value < 1:
                raise VaryError(f"{name} is {value}, expected at least 1")
        page_batch = GPU_PAGE_BATCH if self.device.type == "cuda" else PAGE_BATCH
        default_batch = LINE_BATCH if self._reads_lines else page_batch
        resolved = self.resolve_task(task, prompt, language)
        drafts = draft if isinstance(draft, PageDrafts) else self._page_drafts(draft, resolved, num_beams)
        order = _Order(
            resolved,
            Sampling(temperature, top_k, top_p, repetition_penalty, seed, num_beams, no_repeat_ngram_size),
            batch_size or default_batch,
            max_new_tokens,
            self.processor.check_layout(layout),
            drafts,
        )
        images = open_pages(source, pages=pages, dpi=dpi, limits=limits, password=password, text=drafts.layer)
        return self._run(images, order)

    @staticmethod
    def _count(source: Source, options: dict[str, Any]) -> int:
        """How many pages will be read."""
        known = {name: options[name] for name in ("limits", "password") if name in options}
        return len(
            parse_page_range(options.get("pages")).indices(page_count(source, **known), source_name(source))
        )

    @property
    def _reads_lines(self) -> bool:
        return bool(self.model.config.window == "lines")

    def resolve_task(
        self, task: str | None = None, prompt: str | None = None, language: str | None = None
    ) -> ResolvedTask:
        """What a task asks this checkpoint; arguments as in `iter_pages`.

        Raises:
            TaskError: for a task, subject or language that the checkpoint does not know.
        """
        language = self.prompt_language(language)
        return resolve_task(task, self.tasks, language, prompt, self.model.config.prompts)

    def prompt_language(self, language: str | None = None) -> str:
        """The language of prompts that is meant: the one asked for, or the checkpoint's first.

        Raises:
            TaskError: for one that the checkpoint was not trained for.
        """
        known = tuple(self.model.config.languages)
        if language is not None and language not in known:
            raise TaskError(
                f"this checkpoint was not trained for language '{language}'; it knows {', '.join(known)}"
            )
        language = language or known[0]
        return language if language in LANGUAGES else LANGUAGES[0]

    def _run(self, images: Any, order: _Order) -> Iterator[Page]:
        with closing(images):
            most_windows = GROUP_WINDOWS if self._reads_lines else order.batch_size
            for group in _groups(self._jobs(images, order), most_windows):
                self._read_group([job for job in group if isinstance(job, _PageJob)], order)
                for job in group:
                    yield job if isinstance(job, Page) else self._page(job, order.task)

    def _jobs(self, images: Iterable[PageImage | PageFailure], order: _Order) -> Iterator[_PageJob | Page]:
        """Each page with its windows, or the page that could not be opened."""
        for page in images:
            started = time.monotonic()
            if isinstance(page, PageFailure):
                yield Page(page.index + 1, 0, 0, page.source, PageStatus.FAILED, page.message)
                continue
            windows = self._windows(page, order.task)
            draft = "" if windows.blank else order.drafts.text(page)
            yield _PageJob(page, windows, time.monotonic() - started, draft)

    def _windows(self, page: PageImage, task: ResolvedTask) -> PageWindows:
        if not self._reads_lines:
            return whole_window(page.image, text=task.about_text)
        vision = self.model.config.vision_vocabulary_config
        return line_windows(page.image, line_height=vision.height, max_width=vision.width)

    def _read_group(self, jobs: Sequence[_PageJob], order: _Order) -> None:
        """Reads the windows of some pages, batched by width, and files what was read with their pages."""
        work = [(job, number) for job in jobs for number in range(len(job.windows.windows))]
        work.sort(key=lambda item: item[0].windows.windows[item[1]].image.shape[1])
        for first in range(0, len(work), order.batch_size):
            batch = work[first : first + order.batch_size]
            windows = [job.windows.windows[number] for job, number in batch]
            started = time.monotonic()
            readings = self._read_fitting(windows, order, [job.draft for job, _ in batch])
            share = (time.monotonic() - started) / len(batch)
            for (job, number), reading in zip(batch, readings, strict=True):
                job.readings[number] = reading
                job.seconds += share

    def _read_fitting(
        self, windows: Sequence[Window], order: _Order, drafts: Sequence[str]
    ) -> list[LineReading]:
        """Reads windows at once, or where an accelerator's memory does not suffice half of them at a time."""
        try:
            return self._read_windows(windows, order, drafts)
        except torch.OutOfMemoryError as error:
            if len(windows) == 1:
                raise DeviceError(
                    f"{self.device} has not enough memory for a single window of {self.name} "
                    f"({str(error).splitlines()[0]}); free some, or load it with --dtype bfloat16"
                ) from error
        half = len(windows) // 2  # read outside of the handler, which keeps what did not fit
        return [
            reading
            for part in (slice(half), slice(half, None))
            for reading in self._read_fitting(windows[part], order, drafts[part])
        ]

    def _read_windows(
        self, windows: Sequence[Window], order: _Order, drafts: Sequence[str]
    ) -> list[LineReading]:
        query = "" if self._reads_lines else order.task.prompt
        images = [window.image for window in windows]
        inputs = self.processor.build_inputs(images, query, layout=order.layout).to(self.device)
        room = self._room(inputs["input_ids"].shape[1])
        limits = [min(room, order.max_new_tokens or self._limit(window)) for window in windows]
        guards = [self._guard(window) for window in windows]
        if self._reads_lines:
            return read_lines(
                self.model, inputs, limits, sampling=order.sampling, guards=guards, decoder=self.decoder
            )
        header = self.processor.answer_header(order.layout)
        answers = generate(
            self.model,
            inputs,
            limits,
            sampling=order.sampling,
            guards=guards,
            answer_header=header,
            decoder=self.decoder,
            drafts=[TextDraft(text, self._encode, self._decode) if text else None for text in drafts],
        )
        for answer, text in zip(answers, drafts, strict=True):
            if text and answer.draft is not None:
                order.drafts.use += answer.draft
        return [
            LineReading(answer, [math.exp(min(0.0, p)) for p in answer.logprobs], None, 0)
            for answer in answers
        ]

    def _limit(self, window: Window) -> int:
        """The most tokens that can stand in a window."""
        if self._reads_lines:
            return math.ceil(window.image.shape[1] / PIXELS_PER_TOKEN) + SPARE_TOKENS
        return PAGE_TOKENS

    def _room(self, prompt_length: int) -> int:
        """How many tokens an answer may have by the language model's positions."""
        whole = context_length(self.model)
        if whole is None:
            return sys.maxsize
        if whole <= prompt_length:
            raise ContextError(
                f"the prompt has {prompt_length} tokens with the image, and {self.name} holds {whole} with "
                "the answer; give a shorter one"
            )
        return whole - prompt_length

    def _guard(self, window: Window) -> Callable[[Sequence[int]], LoopFinding | None]:
        """A loop guard over the ids and the text of one window."""
        expected = window.image.shape[1] // 4 if self._reads_lines else None
        return text_guard(self._decode, expected)

    def _page(self, job: _PageJob, task: ResolvedTask) -> Page:
        windows, readings = job.windows, [job.readings[n] for n in range(len(job.windows.windows))]
        if self._reads_lines:
            blocks = line_blocks(windows.windows, readings, self._decode)
        else:
            blocks = answer_blocks(windows.windows, readings, task, self._decode)
        return build_page(job.page, windows, blocks, seconds=job.seconds)

    def _page_drafts(self, choice: DraftChoice | PageDrafts, task: ResolvedTask, beams: int) -> PageDrafts:
        """Where the drafts of a document's pages come from; see `iter_pages`."""
        if isinstance(choice, PageDrafts):
            return choice
        hindrance = f"{self.name}, which drafts its lines itself" if self._reads_lines else ""
        if beams > 1:
            hindrance = "several beams"
        weights = sum(weight.numel() for weight in self.model.parameters())
        return choose_drafts(
            choice, self._read_with_nano, weights, reads_text=task.about_text, hindrance=hindrance
        )

    def _read_with_nano(self, page: PageImage) -> str:
        """A page's text by vary-nano, on the same device."""
        if self._nano is None:
            self._nano = Reader.load(device=self.device)
        return self._nano.read(page.image).text

    def _encode(self, text: str) -> list[int]:
        return encode_text(self.processor.tokenizer, text)

    def _decode(self, ids: Sequence[int]) -> str:
        short = len(ids) <= REMEMBERED_IDS
        return self._short_text(*ids) if short else _text_of(self.processor.tokenizer, *ids)

    def _provenance(self, task: ResolvedTask, options: dict[str, Any]) -> Provenance:
        shown = {
            name: value
            for name, value in options.items()
            if name not in ("password", "limits", "task", "prompt", "draft")
        }
        return Provenance(
            name=self.name,
            version=self.model.config.checkpoint_version,
            vary_version=__version__,
            task=task.name,
            prompt="" if self._reads_lines else task.prompt,
            settings={
                "device": str(self.device),
                "dtype": str(self.model.dtype).removeprefix("torch."),
                "vision": self._vision,
                "decoder": "PyTorch" if self.decoder is None else self.decoder.name,
                **shown,
            },
        )


def read(
    source: Source,
    *,
    model: str | Path | None = None,
    device: str = "auto",
    dtype: torch.dtype | str | None = None,
    **options: Any,
) -> Document:
    """Reads one document with the shipped vary-nano, or with the checkpoint `model`.

    Options as in `Reader.iter_pages`.  To read many documents, keep a `Reader`: it loads the model once.
    """
    return Reader.load(model, device=device, dtype=dtype).read(source, **options)


def _text_of(tokenizer: Any, *ids: int) -> str:
    return str(tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False))


def _groups(jobs: Iterable[_PageJob | Page], most_windows: int) -> Iterator[list[_PageJob | Page]]:
    """Consecutive pages whose windows are worth reading together, and whose images fit into memory."""
    group: list[_PageJob | Page] = []
    windows = pixels = 0
    for job in jobs:
        group.append(job)
        if isinstance(job, _PageJob):
            windows += len(job.windows.windows)
            pixels += job.page.width * job.page.height
        if windows >= most_windows or len(group) >= GROUP_PAGES or pixels >= GROUP_PIXELS:
            yield group
            group, windows, pixels = [], 0, 0
    if group:
        yield group
