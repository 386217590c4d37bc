"""Batches of examples by number: the same for any number of workers and processes.

Samples follow each other as the mixture has them.  A *pool* is the samples of a few steps; it is sorted by
length, cut into micro-batches of like length, and these are put in random order.  So a micro-batch depends on
the seed and its number alone, and a run can go on at any step.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from vary.errors import DataError
from vary.inputs.tasks import LANGUAGES, TASKS
from vary.training.data.examples import IGNORED, Example, ExampleBuilder
from vary.training.data.sources import Mixture

__all__ = ["BadSample", "Batch", "BatchPlan", "ConversationBatch", "MicroBatches", "collate_examples"]


@dataclass(frozen=True, slots=True)
class BadSample:
    """A sample that could not be learned from, and why."""

    name: str
    reason: str


class Batch(Protocol):
    """What a step computes at once."""

    name: str
    counts: dict[str, int]
    bad: tuple[BadSample, ...]

    def to(self, device: torch.device) -> Any: ...


@dataclass(slots=True)
class ConversationBatch:
    """A batch of conversations, images and text alone mixed.

    Attributes:
        input_ids, labels, attention_mask: (B, T), padded on the right; labels are `IGNORED` there and
            wherever nothing is learned.
        pixels: the pixel tensors of all images in order, (images, ...); empty without any.
        names: of the samples.
        bad: samples that should have been here.
        cut: how many were cut to fit.
    """

    input_ids: Tensor
    labels: Tensor
    attention_mask: Tensor
    pixels: dict[str, Tensor]
    names: tuple[str, ...]
    bad: tuple[BadSample, ...] = ()
    name: str = ""
    counts: dict[str, int] = field(default_factory=dict)

    def to(self, device: torch.device) -> ConversationBatch:
        return replace(
            self,
            input_ids=self.input_ids.to(device, non_blocking=True),
            labels=self.labels.to(device, non_blocking=True),
            attention_mask=self.attention_mask.to(device, non_blocking=True),
            pixels={name: value.to(device, non_blocking=True) for name, value in self.pixels.items()},
        )


def collate_examples(
    examples: Sequence[Example], *, pad_id: int, name: str, bad: Sequence[BadSample] = ()
) -> ConversationBatch:
    """Pads examples into one batch; without examples it has no rows."""
    longest = max((len(example.input_ids) for example in examples), default=0)
    input_ids = torch.full((len(examples), longest), pad_id)
    labels = torch.full((len(examples), longest), IGNORED)
    mask = torch.zeros((len(examples), longest), dtype=torch.long)
    for row, example in enumerate(examples):
        size = len(example.input_ids)
        input_ids[row, :size] = torch.tensor(example.input_ids)
        labels[row, :size] = torch.tensor(example.labels)
        mask[row, :size] = 1
    return ConversationBatch(
        input_ids=input_ids,
        labels=labels,
        attention_mask=mask,
        pixels=_stack_pixels([example.pixels for example in examples if example.pixels]),
        names=tuple(example.name for example in examples),
        bad=tuple(bad),
        name=name,
        counts={
            "answer": sum(example.learned for example in examples),
            "samples": len(examples),
            "tokens": sum(len(example.input_ids) for example in examples),
            "images": sum(bool(example.pixels) for example in examples),
            "cut": sum(example.cut for example in examples),
            **_tally("task", TASKS, [example.task for example in examples]),
            **_tally("language", LANGUAGES, [language for e in examples for language in e.languages]),
        },
    )


def _tally(kind: str, known: Iterable[str], found: Sequence[str]) -> dict[str, int]:
    """How often each of the known names was found: every batch of every process counts the same names."""
    return {f"{kind} {name}": found.count(name) for name in known}


def _stack_pixels(pixels: Sequence[dict[str, Tensor]]) -> dict[str, Tensor]:
    """The images' tensors in a row."""
    return {name: torch.cat([part[name] for part in pixels]) for name in pixels[0]} if pixels else {}


@dataclass(frozen=True, slots=True)
class BatchPlan:
    """How samples are put into steps.

    Attributes:
        micro_batch: samples a micro-batch, what one process computes at once.
        per_step: micro-batches a step, over all processes and accumulations.
        steps: of the whole run.
        samples: where the data ends, counted with repetitions; the last step may have fewer samples then.
            None: it goes on, so that a longer run begins as a shorter one.
        pool_steps: steps whose samples are sorted by length together.
        seed: of the order of micro-batches.
    """

    micro_batch: int
    per_step: int
    steps: int
    samples: int | None = None
    pool_steps: int = 16
    seed: int = 0

    @property
    def step_samples(self) -> int:
        """Samples a step."""
        return self.micro_batch * self.per_step


class MicroBatches(Dataset[ConversationBatch]):
    """Micro-batches by number: step s has the numbers s * per_step and following."""

    def __init__(
        self,
        mixture: Mixture,
        builder: ExampleBuilder,
        plan: BatchPlan,
        *,
        pad_id: int,
        keep_examples: bool = False,
    ) -> None:
        self.mixture, self.builder, self.plan, self.pad_id = mixture, builder, plan, pad_id
        self._kept: dict[tuple[int, int], Example] | None = {} if keep_examples else None
        self._pool: tuple[int, list[list[tuple[int, int]]]] | None = None

    def __len__(self) -> int:
        return self.plan.steps * self.plan.per_step

    def __getitem__(self, number: int) -> ConversationBatch:
        step, part = divmod(number, self.plan.per_step)
        examples, bad = [], []
        for place in self.places(number):
            name = self.mixture.name(place)
            try:
                examples.append(self._example(place, name))
            except DataError as error:
                bad.append(BadSample(name, str(error)))
        name = f"step {step + 1}, micro-batch {part} ({', '.join(e.name for e in examples) or 'empty'})"
        batch = collate_examples(examples or [self._filler()], pad_id=self.pad_id, name=name, bad=bad)
        return batch if examples else replace(batch, names=(), counts=dict.fromkeys(batch.counts, 0))

    def _example(self, place: tuple[int, int], name: str) -> Example:
        """A sample's example, built anew or kept from the last time."""
        if self._kept is not None and place in self._kept:
            return self._kept[place]
        example = self.builder.build(self.mixture.sources[place[0]].load(place[1]), name)
        if self._kept is not None:
            self._kept[place] = example
        return example

    def _filler(self) -> Example:
        """A row on which nothing is learned: every process has to compute something in every step."""
        return Example([self.pad_id] * 2, [IGNORED] * 2, {}, "filler")

    def places(self, number: int) -> list[tuple[int, int]]:
        """The (source, sample) pairs of a micro-batch."""
        in_pool = self.plan.pool_steps * self.plan.per_step
        pool, offset = divmod(number, in_pool)
        if self._pool is None or self._pool[0] != pool:
            self._pool = pool, self._make_pool(pool)
        return self._pool[1][offset]

    def _make_pool(self, pool: int) -> list[list[tuple[int, int]]]:
        """The micro-batches of a pool: like lengths together, the order of micro-batches random."""
        plan = self.plan
        size = plan.pool_steps * plan.step_samples
        last = (pool + 1) * size
        places = self.mixture.places(pool * size, last if plan.samples is None else min(last, plan.samples))
        steps = -(-len(places) // plan.step_samples)
        rng = np.random.default_rng([plan.seed, pool])
        sources = self.mixture.sources
        places.sort(
            key=lambda place: sources[place[0]].length(place[1])
        )  # stable: the seed's order among equals
        parts = [part.tolist() for part in np.array_split(np.array(places), steps * plan.per_step)]
        return [[(int(a), int(b)) for a, b in parts[which]] for which in rng.permutation(len(parts))]

    def iterate(self, first_step: int, rank: int, world: int, workers: int) -> Iterator[ConversationBatch]:
        """One process' micro-batches from a step on: of each step those whose number is `rank` modulo
        `world`."""
        numbers = [
            step * self.plan.per_step + part
            for step in range(first_step, self.plan.steps)
            for part in range(rank, self.plan.per_step, world)
        ]
        yield from DataLoader(
            self,
            sampler=numbers,
            batch_size=None,
            num_workers=workers,
            worker_init_fn=_one_thread,
            prefetch_factor=4 if workers else None,
            persistent_workers=False,
            # Not forked: OpenCV's threads do not survive a fork, and the child then waits for them for ever.
            multiprocessing_context="spawn" if workers else None,
        )


def _one_thread(_: int) -> None:
    torch.set_num_threads(1)
