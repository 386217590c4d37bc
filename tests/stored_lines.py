"""An engine of given lines, to be written into shards."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vary.datagen.sample import Draw, Record, Sample


@dataclass
class Stored:
    """Images and texts, one sample for each index."""

    lines: list[tuple[np.ndarray | None, str]]
    name: str = "lines"

    @property
    def length(self) -> int:
        return len(self.lines)

    def draw(self, index: int) -> Draw:
        image, text = self.lines[index]
        return Draw((Sample(image, "ocr", "Read.", text, source=f"s{index}", licence="CC0-1.0"),))

    def describe(self) -> Record:
        return {"split": "train", "seed": 0, "config": {}}
