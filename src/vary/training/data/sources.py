"""Where samples come from: shards and annotation files, any sample by its number, mixed by weight.

The way of the data::

    sources.py    SampleSource: a folder of shards, a LLaVA file; Mixture: which sample stands at which place
      -> examples.py   a sample as token ids and labels, built as the reader builds its prompts
      -> batches.py    batches of like length, by number: the same for any number of workers and processes
      -> loop.py       steps
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from vary.datagen.readers import LlavaConfig, LlavaReader
from vary.datagen.sample import Record, Sample
from vary.datagen.shards import MANIFEST, ShardIndex
from vary.errors import DataError

__all__ = ["DataSource", "LlavaSamples", "Mixture", "SampleSource", "SourceError", "open_source"]


class SourceError(DataError):
    """A sample that cannot be learned from; the message names it and says why."""


class SampleSource(Protocol):
    """Samples by number."""

    def __len__(self) -> int: ...

    def name(self, number: int) -> str:
        """What messages call a sample: a file with a key or a record's number."""
        ...

    def length(self, number: int) -> int:
        """About how long a sample's text is, in characters or bytes, without loading its image."""
        ...

    def load(self, number: int) -> Sample:
        """The sample.

        Raises:
            DataError: if it is broken, with the reason.
        """
        ...

    def describe(self) -> Record:
        """What the samples come from, as JSON values."""
        ...


@dataclass(frozen=True, slots=True)
class DataSource:
    """One source of a mixture.

    Attributes:
        path: a folder that `vary synth` wrote, or a LLaVA JSON file.
        weight: how often an epoch shows each sample: 2 twice, 0.5 every other one, drawn anew each epoch.
        images: the folder that a JSON file's image names are relative to; None for the file's own.
    """

    path: Path
    weight: float = 1.0
    images: Path | None = None

    @classmethod
    def parse(cls, text: str) -> DataSource:
        """From `PATH` or `PATH:WEIGHT`, as the command line has it.

        Raises:
            DataError: for a weight that is not above 0.
        """
        path, colon, weight = text.rpartition(":")
        if not colon or not _is_number(weight):
            return cls(Path(text))
        if not float(weight) > 0 or not math.isfinite(float(weight)):
            raise DataError(f"{text}: the weight is {weight}; expected a number above 0")
        return cls(Path(path), float(weight))


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


class ShardSamples:
    """The samples of a finished folder of shards."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.index = ShardIndex(folder)

    def __len__(self) -> int:
        return len(self.index)

    def name(self, number: int) -> str:
        return f"{self.folder.name}/{self.index.key(number)}"

    def length(self, number: int) -> int:
        record = self.index.record(number)
        later = sum(len(part) for turn in record.get("later", ()) for part in turn)
        return len(str(record.get("prompt", ""))) + len(str(record.get("answer", ""))) + later

    def load(self, number: int) -> Sample:
        return self.index.sample(number)

    def describe(self) -> Record:
        return self.index.manifest


class LlavaSamples:
    """The samples of a LLaVA file."""

    def __init__(self, engine: LlavaReader, path: Path) -> None:
        if not engine.length:
            raise DataError(f"{path}: there is no sample in it")
        self.engine, self.path = engine, path
        self._count = engine.length

    def __len__(self) -> int:
        return self._count

    def name(self, number: int) -> str:
        return f"{self.path.name}, record {number}"

    def length(self, number: int) -> int:
        return self.engine.size_of(number)

    def load(self, number: int) -> Sample:
        draw = self.engine.draw(number)
        if len(draw.samples) != 1:
            reasons = ", ".join(draw.dropped) or f"{len(draw.samples)} samples where one was expected"
            raise SourceError(reasons)
        return draw.samples[0]

    def describe(self) -> Record:
        return self.engine.describe()


def open_source(source: DataSource) -> SampleSource:
    """A source by what lies at its path.

    Raises:
        DataError: if nothing there can be learned from.
    """
    path = source.path
    if (path / MANIFEST).is_file():
        return ShardSamples(path)
    if path.is_file() and path.suffix in {".json", ".jsonl"}:
        images = None if source.images is None else str(source.images)
        return LlavaSamples(LlavaReader(LlavaConfig(file=str(path), image_folder=images)), path)
    found = "a folder without manifest.json" if path.is_dir() else "no file or folder"
    raise DataError(
        f"{path}: nothing to learn from ({'a file of another kind' if path.is_file() else found}); expected "
        "a folder that `vary synth` wrote, or a LLaVA file (.json, .jsonl)"
    )


class Mixture:
    """Samples of several sources, epoch after epoch in a new order; each place depends on the seed alone.

    Args:
        sources: opened sources.
        weights: how often an epoch shows each sample of them.
        seed: of the order.

    Raises:
        DataError: for a source of which an epoch would show no sample.
    """

    def __init__(self, sources: Sequence[SampleSource], weights: Sequence[float], *, seed: int) -> None:
        self.sources, self.weights, self.seed = tuple(sources), tuple(weights), seed
        self.counts = [
            round(weight * len(source)) for source, weight in zip(sources, self.weights, strict=True)
        ]
        for number, (count, weight) in enumerate(zip(self.counts, self.weights, strict=True)):
            if not count:
                held = len(sources[number])
                raise DataError(
                    f"source {number + 1} has {held} samples and the weight {weight:g}: none of them would "
                    "be shown in any epoch; give more data or a larger weight"
                )
        self._epoch: tuple[int, NDArray[np.int64]] | None = None
        self._fixed: NDArray[np.int64] | None = None

    @classmethod
    def open(cls, sources: Sequence[DataSource], *, seed: int) -> Mixture:
        """A mixture of what lies at some paths."""
        return cls([open_source(source) for source in sources], [s.weight for s in sources], seed=seed)

    def first(self, samples: int) -> Mixture:
        """The first samples of the first epoch alone, again and again; for a trial."""
        small = Mixture(self.sources, self.weights, seed=self.seed)
        pairs = self._order(0)[:samples]
        small._fixed = pairs
        return small

    @property
    def epoch_size(self) -> int:
        """How many samples an epoch shows."""
        return sum(self.counts) if self._fixed is None else len(self._fixed)

    def places(self, first: int, last: int) -> list[tuple[int, int]]:
        """The (source, sample) pairs at the places `first` to `last` (excluded), counted over all epochs."""
        found = []
        for place in range(first, last):
            epoch, offset = divmod(place, self.epoch_size)
            source, number = self._order(epoch)[offset].tolist()
            found.append((source, number))
        return found

    def _order(self, epoch: int) -> NDArray[np.int64]:
        """The pairs of an epoch, (samples, 2)."""
        if self._fixed is not None:
            return self._fixed[np.random.default_rng([self.seed, epoch]).permutation(len(self._fixed))]
        if self._epoch is None or self._epoch[0] != epoch:
            rng = np.random.default_rng([self.seed, epoch])
            parts = []
            for which, (source, count) in enumerate(zip(self.sources, self.counts, strict=True)):
                whole, rest = divmod(count, len(source)) if len(source) else (0, 0)
                numbers = np.concatenate(
                    [np.tile(np.arange(len(source)), whole), rng.permutation(len(source))[:rest]]
                )
                parts.append(np.stack([np.full(len(numbers), which), numbers], axis=1))
            pairs = np.concatenate(parts)
            self._epoch = epoch, pairs[rng.permutation(len(pairs))]
        return self._epoch[1]

    def name(self, place: tuple[int, int]) -> str:
        """What messages call a sample."""
        return self.sources[place[0]].name(place[1])

    def describe(self) -> list[Record]:
        """What the samples come from and how often they are shown."""
        return [
            {"weight": weight, "samples": len(source), **source.describe()}
            for source, weight in zip(self.sources, self.weights, strict=True)
        ]
