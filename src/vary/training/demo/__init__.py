"""The whole method of Vary in miniature: a vocabulary is written, grafted, trained with, and measured.

The way of the data::

    sizes.py              how large everything is
      -> pages.py         engines: pages of digits, pictures of coloured shapes
      -> data_sets.py     which data sets they give
      -> language.py      the tokenizer, and a language model that has read text alone
      -> clip.py          a small CLIP
      -> vocabulary.py    the vision vocabulary (stage 1)
      -> comparison.py    models with it and without it, from the same start (stage 2, tuning)
      -> jobs.py          one such model after the other, or several at once
      -> scores.py        what the stored answers come to, and what may be said about them
      -> report.py        Markdown, JSON and a plot

`chain.py` joins them; a stage whose result lies in the folder is not done again.
"""

from __future__ import annotations

from vary.training.demo.chain import run_demo
from vary.training.demo.scores import Judges, summarise
from vary.training.demo.sizes import SIZES, DemoSize

__all__ = ["SIZES", "DemoSize", "Judges", "run_demo", "summarise"]
