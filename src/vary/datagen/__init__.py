"""The data engine: training samples made offline, from text and installed fonts.

An engine (`sample.Engine`) makes samples by number: `draw(index)` depends on its settings and the index
alone.  Each has a room of its own, with a frozen configuration; what they share lies beside the rooms::

    corpus.py, fonts.py, wording.py, prompts.py    texts, fonts that cover them, wordings of the tasks
      -> ENGINE/        index in, samples out: image, prompt, answer, boxes
      -> degradation/   what scanners, cameras and faxes do to a page; its boxes move along
      -> shards/        WebDataset tar files with a manifest, made by processes or by Ray
      -> preview.py     looking at them

Nothing here imports torch.
"""

from __future__ import annotations

from vary.datagen.corpus import Corpus, Paragraph
from vary.datagen.fonts import FontCatalogue, FontFace, find_fonts
from vary.datagen.lines.engine import LineEngine, LineSample, PageSamples
from vary.datagen.lines.planning import LineEngineConfig
from vary.datagen.sample import Box, Draw, Engine, Sample
from vary.datagen.shards import read_shards, write_shards

__all__ = [
    "Box",
    "Corpus",
    "Draw",
    "Engine",
    "FontCatalogue",
    "FontFace",
    "LineEngine",
    "LineEngineConfig",
    "LineSample",
    "PageSamples",
    "Paragraph",
    "Sample",
    "find_fonts",
    "read_shards",
    "write_shards",
]
