"""An engine that costs nothing: small images, boxes, conversations; with or without an end, broken at will.

A module of its own, so that worker processes can import it.
"""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass

import numpy as np

from vary.datagen.sample import Box, Draw, Record, Sample
from vary.errors import DataError


@dataclass
class FakeEngine:
    """Index n gives n % 3 + 1 samples: a gray image, an RGB one, a text."""

    length: int | None = None
    seed: int = 0
    broken: tuple[int, ...] = ()
    seconds: float = 0.0
    jpeg_quality: int | None = None
    fruitless: bool = False
    samples_per_index: int = 2
    name: str = "fake"

    def draw(self, index: int) -> Draw:
        time.sleep(self.seconds)
        if index in self.broken:
            raise DataError(f"file-{index}.bin: it is broken, expected a whole one")
        if self.fruitless:
            return Draw((), dropped=Counter({"too small": 1}))
        samples = tuple(self._sample(index, part) for part in range(index % 3 + 1))
        return Draw(samples, Counter({"visits": 1, f"colours/{index % 2}": 1}), Counter({"odd": index % 2}))

    def _sample(self, index: int, part: int) -> Sample:
        rng = np.random.default_rng([self.seed, index, part])
        shape = [(9, 7), (8, 6, 3), None][part]
        return Sample(
            image=None if shape is None else rng.integers(0, 256, shape, dtype=np.uint8),
            task="chat" if shape is None else "ocr",
            prompt="Read.",
            answer=f"sample {index}.{part}",
            source=f"file-{index}.bin#{part}",
            licence="CC0-1.0",
            language=["en", "zh"][index % 2],
            boxes=(Box("word", 1, 2.5, 3, 4, "word"),) if part == 1 else (),
            later=(("And?", "No."),) if shape is None else (),
            system="Be brief." if shape is None else None,
            details={"number": index, "strength": 0.25},
        )

    def source_of(self, index: int) -> str:
        return f"file-{index}.bin"

    def describe(self) -> Record:
        return {"split": "train", "seed": self.seed, "config": {"broken": list(self.broken)}, "files": []}
