"""Where text lines come from: painted while the model trains, or from shards."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from vary.datagen.lines.engine import LineEngine, LineEngineConfig
from vary.datagen.sample import Sample
from vary.datagen.shards import describe_engine, read_keyed, read_manifest
from vary.datagen.shards.reading import shard_paths
from vary.errors import DataError
from vary.model.image_processing import PUBLISHED_IMAGE_SETTINGS
from vary.training.data.batches import BadSample

__all__ = ["Line", "LineSource", "PaintedLines", "ShardLines"]

LINE_HEIGHT: int = PUBLISHED_IMAGE_SETTINGS["vary_nano"]["line_height"]


class Line(NamedTuple):
    """A line to learn from.

    Attributes:
        image: (32, W) uint8.
        text: what is written on it.
        name: of a stored sample, for messages; empty for a line that was painted on the fly.
    """

    image: NDArray[np.uint8]
    text: str
    name: str = ""


class LineSource(Protocol):
    """Where samples come from."""

    def describe(self) -> Any:
        """What the samples are made from, as JSON values, for the run's folder."""
        ...

    def prepare(self) -> None:
        """Does the slow part, once, before worker processes are forked from this one."""

    def pool(self, index: int, max_chars: int) -> Sequence[Line | BadSample]:
        """The lines of a pool, of at most so many characters, and the stored samples that are none."""
        ...


@dataclass(frozen=True)
class PaintedLines:
    """Lines painted on the fly; pool n holds the pages [n * pages, (n + 1) * pages) of the engine."""

    config: LineEngineConfig
    pages: int = 16

    def describe(self) -> Any:
        return describe_engine(_engine(self.config))

    def prepare(self) -> None:
        _engine(self.config)

    def pool(self, index: int, max_chars: int) -> list[Line | BadSample]:
        engine = _engine(self.config)
        if max_chars < self.config.max_chars:
            engine = engine.with_config(replace(self.config, max_chars=max_chars))
        first = index * self.pages
        return [
            Line(line.image, line.text)
            for page in range(first, first + self.pages)
            for line in engine.page(page)
        ]


@lru_cache(maxsize=4)
def _engine(config: LineEngineConfig) -> LineEngine:
    """One engine per process and configuration: finding its fonts and reading its corpus takes seconds."""
    return LineEngine(config)


@dataclass(frozen=True)
class ShardLines:
    """Lines from folders of shards, in pools of `size` in a new random order at each pass.

    `longest`: what the last stage of the curriculum has, in characters; longer lines, which no stage takes,
    are bad samples of the last.  None: they are left to later stages.
    """

    folders: tuple[Path, ...]
    size: int = 512
    seed: int = 0
    longest: int | None = None

    def describe(self) -> Any:
        return [read_manifest(folder) for folder in self.folders]

    def prepare(self) -> None:
        _shard_samples(self.folders)

    def pool(self, index: int, max_chars: int) -> list[Line | BadSample]:
        samples: list[Line | BadSample] = []
        for length, sample in _shard_samples(self.folders):
            if length <= max_chars:
                samples.append(sample)
            elif self.longest is not None and max_chars >= self.longest:
                samples.append(
                    BadSample(sample.name, f"{length} characters; the longest stage has {max_chars}")
                )
        if not samples:
            raise DataError(
                f"no line of at most {max_chars} characters in {', '.join(map(str, self.folders))}"
            )
        pools = -(-len(samples) // self.size)
        order = np.random.default_rng([self.seed, index // pools]).permutation(len(samples))
        first = index % pools * self.size
        return [samples[number] for number in order[first : first + self.size]]


@lru_cache(maxsize=2)
def _shard_samples(folders: tuple[Path, ...]) -> list[tuple[int, Line | BadSample]]:
    """All samples, each with the characters of its text."""
    return [
        (len(sample.answer), _stored_line(sample, f"{folder.name}/{path.name}, {key}"))
        for folder in folders
        for path in shard_paths(folder)
        for key, sample in read_keyed(path)
    ]


def _stored_line(sample: Sample, name: str) -> Line | BadSample:
    """A stored sample as a line, or why it is none."""
    if sample.image is None:
        return BadSample(name, "there is no image")
    if sample.image.ndim != 2 or sample.image.shape[0] != LINE_HEIGHT:
        size = " x ".join(map(str, sample.image.shape))
        return BadSample(name, f"an image of {size}; expected a gray line, {LINE_HEIGHT} pixels high")
    return Line(sample.image, sample.answer, name)
