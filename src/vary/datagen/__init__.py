"""The data engine: training samples made offline, from text and installed fonts.

The way of the data::

    corpus.py       paragraphs of a text file, cleaned
      -> text.py    LineEngine: page number in, line samples out
      -> planning.py, wording.py, layout.py    a page's plan: font, size, column, its texts broken into lines
      -> painting.py     the plan painted with PIL; found lines matched to painted ones
      -> degradation.py  what scanners, cameras, faxes do to a page; line boxes move along
      -> vary.inputs.windows    the reader's own code finds and cuts the lines
      -> shards.py  WebDataset tar files with a manifest

Every engine has the same shape: a frozen configuration, `page(index) -> list of samples` that depends on the
seed and the index alone, and samples that `shards.py` can write.  Nothing here imports torch.
"""

from __future__ import annotations

from vary.datagen.corpus import Corpus, Paragraph
from vary.datagen.fonts import FontCatalogue, FontFace, find_fonts
from vary.datagen.lines.engine import LineEngine, LineSample, PageSamples
from vary.datagen.lines.planning import LineEngineConfig
from vary.datagen.shards import ShardItem, read_shards, write_shards

__all__ = [
    "Corpus",
    "FontCatalogue",
    "FontFace",
    "LineEngine",
    "LineEngineConfig",
    "LineSample",
    "PageSamples",
    "Paragraph",
    "ShardItem",
    "find_fonts",
    "read_shards",
    "write_shards",
]
