"""The engine `text`: whole pages typeset from a corpus, with the boxes of their lines and words."""

from __future__ import annotations

from vary.datagen.text.config import TextEngineConfig
from vary.datagen.text.engine import TextEngine

__all__ = ["TextEngine", "TextEngineConfig"]
