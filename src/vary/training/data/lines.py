"""Training batches of text lines.

The data is a numbered sequence of *pools*.  A pool is a few hundred samples, sorted into batches of like
width and shuffled; it depends on the seed and its number alone, so a run can be resumed at any batch, with
any number of workers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from transformers import PreTrainedTokenizerFast

from vary.model.character_vocabulary import LATIN_VOCABULARY_SIZE
from vary.model.image_processing import PUBLISHED_IMAGE_SETTINGS
from vary.model.modeling import VaryForConditionalGeneration
from vary.model.tokenization import encode_text, load_character_tokenizer
from vary.training.data.batches import BadSample
from vary.training.data.examples import IGNORED
from vary.training.data.line_sources import Line, LineSource

__all__ = [
    "LineBatch",
    "LineFormat",
    "Pool",
    "PoolLoader",
    "Stage",
    "line_format",
    "make_batches",
    "sample_rows",
]


@dataclass(frozen=True, slots=True)
class Stage:
    """A stretch of the curriculum: until this share of the run, lines of at most so many characters."""

    until: float
    max_chars: int


@dataclass(frozen=True, slots=True)
class LineFormat:
    """How a line becomes tensors; everything here comes from the checkpoint's configuration.

    Attributes:
        vocabulary: the `.tiktoken` file.
        vocab_size: rows of the embedding table; a sample with a token beyond it is dropped and counted.
        patch_size: pixels per image token.
        mean, std: normalisation of pixel / 255.
        image_ids: ids of `<imgpad>`, `<img>`, `</img>`.
        eos_id, pad_id: the end of text, and padding (the CTC blank too).
        ctc_frames: frames per patch column; a text that needs more frames than there are is dropped.
        sampled_rows: rows of the table drawn for a batch, for its loss to compare with; 0: it takes all.
    """

    vocabulary: Path
    vocab_size: int
    patch_size: int
    mean: float
    std: float
    image_ids: tuple[int, int, int]
    eos_id: int
    pad_id: int
    ctc_frames: int
    sampled_rows: int = 0

    def encode(self, text: str) -> list[int]:
        return encode_text(_tokenizer(self.vocabulary), text)

    def prompt(self, columns: int) -> list[int]:
        """The ids in front of the answer: the image's slots between its marks, as the processor has them."""
        image, start, end = self.image_ids
        return [start, *[image] * columns, end]


def line_format(model: VaryForConditionalGeneration, vocabulary: Path, sampled_rows: int = 0) -> LineFormat:
    """How lines become tensors for this model; the pixel normalisation is the line processor's."""
    config = model.config
    settings: dict[str, Any] = PUBLISHED_IMAGE_SETTINGS["vary_nano"]
    return LineFormat(
        vocabulary=vocabulary,
        vocab_size=config.text_config.vocab_size,
        patch_size=config.vision_vocabulary_config.patch_size,
        mean=settings["image_mean"][0],
        std=settings["image_std"][0],
        image_ids=(config.image_token_id, config.image_start_token_id, config.image_end_token_id),
        eos_id=config.text_config.eos_token_id,
        pad_id=config.text_config.pad_token_id,
        ctc_frames=config.vision_vocabulary_config.ctc_frames,
        sampled_rows=sampled_rows,
    )


@lru_cache(maxsize=2)
def _tokenizer(path: Path) -> PreTrainedTokenizerFast:
    return load_character_tokenizer(path)


@dataclass(slots=True)
class LineBatch:
    """A batch of lines.

    Attributes:
        pixel_values: (B, 1, H, W) float, normalised, white on the right.
        pixel_widths: (B,) valid widths, multiples of the patch size.
        input_ids, labels: (B, T); prompts and padding are ignored in the labels.
        attention_mask: (B, T), padding on the right.
        targets: the texts' ids in a row, (sum of lengths,).
        target_lengths: (B,).
        name: where the batch comes from, for messages.
        counts: `samples`, `answer` (tokens learned), `tokens` (image columns too), `characters`, `left_out`
            (painted lines of the pool that cannot be learned from, with its first batch).
        rows: the ids that the loss compares with, (K,), sorted, those of the batch among them; None: all.
        bad: some of the pool's stored samples that cannot be learned from.
    """

    pixel_values: Tensor
    pixel_widths: Tensor
    input_ids: Tensor
    labels: Tensor
    attention_mask: Tensor
    targets: Tensor
    target_lengths: Tensor
    name: str
    counts: dict[str, int]
    rows: Tensor | None = None
    bad: tuple[BadSample, ...] = ()

    @property
    def pixels(self) -> dict[str, Tensor]:
        """The pixel tensors by name, as batches of pages have them."""
        return {"pixel_values": self.pixel_values, "pixel_widths": self.pixel_widths}

    def to(self, device: torch.device) -> LineBatch:
        return self._each(lambda tensor: tensor.to(device, non_blocking=True))

    def pin_memory(self) -> LineBatch:
        """In memory that a GPU can fetch from while the process goes on."""
        return self._each(Tensor.pin_memory)

    def _each(self, change: Callable[[Tensor], Tensor]) -> LineBatch:
        fields = {name: getattr(self, name) for name in self.__slots__}
        changed: dict[str, Any] = {n: change(v) for n, v in fields.items() if isinstance(v, Tensor)}
        return replace(self, **changed)


def required_frames(ids: Sequence[int]) -> int:
    """CTC frames that a text needs at least: one per token, and a blank between two equal ones."""
    return len(ids) + sum(a == b for a, b in pairwise(ids))


def collate(lines: Sequence[tuple[NDArray[np.uint8], list[int]]], form: LineFormat, name: str) -> LineBatch:
    """Pads lines, images (H, W) uint8 and token ids, into one batch."""
    patch = form.patch_size
    columns = [-(-image.shape[1] // patch) for image, _ in lines]
    sequences = [
        [*form.prompt(count), *ids, form.eos_id] for count, (_, ids) in zip(columns, lines, strict=True)
    ]
    longest = max(map(len, sequences))
    pixels = np.full((len(lines), 1, lines[0][0].shape[0], max(columns) * patch), 255, np.uint8)
    input_ids = torch.full((len(lines), longest), form.pad_id)
    labels = torch.full((len(lines), longest), IGNORED)
    mask = torch.zeros((len(lines), longest), dtype=torch.long)
    for row, ((image, ids), sequence) in enumerate(zip(lines, sequences, strict=True)):
        pixels[row, 0, :, : image.shape[1]] = image
        input_ids[row, : len(sequence)] = torch.tensor(sequence)
        labels[row, len(sequence) - len(ids) - 1 : len(sequence)] = torch.tensor([*ids, form.eos_id])
        mask[row, : len(sequence)] = 1
    return LineBatch(
        pixel_values=(torch.from_numpy(pixels).float() / 255 - form.mean) / form.std,
        pixel_widths=torch.tensor(columns) * patch,
        input_ids=input_ids,
        labels=labels,
        attention_mask=mask,
        targets=torch.tensor([token for _, ids in lines for token in ids]),
        target_lengths=torch.tensor([len(ids) for _, ids in lines]),
        name=name,
        counts={
            "samples": len(lines),
            "answer": sum(len(ids) + 1 for _, ids in lines),
            "characters": sum(len(ids) for _, ids in lines),
            "tokens": sum(map(len, sequences)),
            "left_out": 0,
        },
    )


def sample_rows(batch: LineBatch, form: LineFormat, rng: np.random.Generator) -> Tensor:
    """The ids that the loss compares this batch's characters with: sorted, each once.

    They are the batch's own, the padding's (the CTC blank), the end's, the first
    `LATIN_VOCABULARY_SIZE`, which are in every text, and `form.sampled_rows` drawn from the others, all with
    the same chance.
    """
    latin = min(LATIN_VOCABULARY_SIZE, form.vocab_size)
    drawn = latin + rng.permutation(form.vocab_size - latin)[: form.sampled_rows]
    own = torch.tensor([form.pad_id, form.eos_id])
    return torch.cat([torch.arange(latin), own, batch.targets, torch.from_numpy(drawn)]).unique()


class Pool(NamedTuple):
    """The batches of a pool, and what cannot be learned from.

    Attributes:
        batches: in the order in which they are learned from.
        left_out: how many lines without a name are not among them: painting makes such lines, and others.
        bad: the stored samples that are not among them; spread over the batches, where there are any.
    """

    batches: list[LineBatch]
    left_out: int = 0
    bad: tuple[BadSample, ...] = ()


def make_batches(
    samples: Sequence[Line | BadSample],
    form: LineFormat,
    *,
    batch_pixels: int,
    max_width: int,
    rng: np.random.Generator,
    name: str,
) -> Pool:
    """Sorts a pool into batches of like width, `batch_pixels` columns of pixels at most, in random order.

    Lines that are too wide, empty, with a character outside the vocabulary, or with more characters than the
    image has frames for, are left out: counted, and those with a name listed as bad samples.
    """
    kept, left_out, bad = [], 0, []
    for sample in samples:
        if isinstance(sample, BadSample):
            bad.append(sample)
            continue
        ids = form.encode(sample.text)
        reason = _why_not(sample, ids, form, max_width)
        if not reason:
            kept.append((sample.image, ids))
        elif sample.name:
            bad.append(BadSample(sample.name, reason))
        else:
            left_out += 1
    kept.sort(key=lambda line: line[0].shape[1])
    batches: list[LineBatch] = []
    first = 0
    for last in range(1, len(kept) + 1):
        if last == len(kept) or (last + 1 - first) * kept[last][0].shape[1] > batch_pixels:
            batches.append(collate(kept[first:last], form, f"{name}, batch {len(batches)}"))
            first = last
    rng.shuffle(batches)
    if form.sampled_rows:
        for batch in batches:
            batch.rows = sample_rows(batch, form, rng)
    _spread(bad, batches)
    return Pool(batches, left_out, tuple(bad))


def _spread(bad: Sequence[BadSample], batches: Sequence[LineBatch]) -> None:
    """Puts bad samples into batches, at no place more than their share of the samples so far.

    All at once they would be too many among the first few samples of a run, and stop it.
    """
    total, seen, placed = sum(batch.counts["samples"] for batch in batches), 0, 0
    for batch in batches:
        seen += batch.counts["samples"]
        due = len(bad) * seen // total
        batch.bad, placed = tuple(bad[placed:due]), due


def _why_not(line: Line, ids: Sequence[int], form: LineFormat, max_width: int) -> str:
    """Why a line cannot be learned from; empty if it can."""
    width = line.image.shape[1]
    if not 0 < width <= max_width:
        return f"{width} pixels wide; expected 1 to {max_width} (max_width)"
    if not ids:
        return "there is no text"
    if max(ids) >= form.vocab_size:
        strange = next(c for c in line.text if max(form.encode(c), default=0) >= form.vocab_size)
        return f"{strange!r} is beyond the first {form.vocab_size} ids, which are all that this model has"
    frames = -(-width // form.patch_size) * form.ctc_frames
    if form.ctc_frames and required_frames(ids) > frames:
        return f"{len(ids)} characters, which need {required_frames(ids)} frames, and the image has {frames}"
    return ""


@dataclass(frozen=True)
class PoolLoader(Dataset[Pool]):
    """Pools of batches by number; `stages` is the curriculum over `total` pools."""

    source: LineSource
    form: LineFormat
    batch_pixels: int
    max_width: int
    seed: int
    max_chars: int

    def __getitem__(self, index: int) -> Pool:
        return make_batches(
            self.source.pool(index, self.max_chars),
            self.form,
            batch_pixels=self.batch_pixels,
            max_width=self.max_width,
            rng=np.random.default_rng([self.seed, index]),
            name=f"pool {index}",
        )

    def iterate(
        self, first: int, step: int, workers: int, *, pin: bool = False
    ) -> Iterator[tuple[int, Pool]]:
        """Pools first, first + step, ... without end, each with its number; with `pin` in pinned memory."""
        if workers:
            # A forked worker would wait for OpenCV's threads, which stay in this process: end them first.
            cv2.setNumThreads(1)
        numbers = _Numbers(first, step)
        loader = DataLoader(
            self,
            sampler=numbers,
            batch_size=None,
            collate_fn=_as_it_is,  # the usual one makes lists of tuples
            num_workers=workers,
            worker_init_fn=_one_thread,
            prefetch_factor=2 if workers else None,
            persistent_workers=False,
            pin_memory=pin,
        )
        yield from zip(_Numbers(first, step), loader, strict=False)


def _as_it_is(pool: Any) -> Any:
    return pool


def _one_thread(_: int) -> None:
    torch.set_num_threads(1)


@dataclass(frozen=True)
class _Numbers:
    first: int
    step: int

    def __iter__(self) -> Iterator[int]:
        number = self.first
        while True:
            yield number
            number += self.step
