"""Where the guess of a page's text comes from: its own text layer, vary-nano, or the caller."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vary.assets import default_checkpoint
from vary.engine.decoding import DraftUse
from vary.errors import InputError, VaryError
from vary.inputs.page_image import PageImage

__all__ = ["DRAFT_CHOICES", "DraftChoice", "PageDrafts", "choose_drafts"]

DRAFT_CHOICES = ("auto", "pdf", "nano", "off")
DraftChoice = str | os.PathLike[str] | Sequence[str] | None
"""One of `DRAFT_CHOICES`, a text file, or the texts of the pages; None is `auto`."""

NANO_RATIO = 10
"""A model so many times larger than vary-nano has it read first."""
MAX_FILE_BYTES = 64 * 1024 * 1024
FORM_FEED = "\f"


@dataclass(slots=True)
class PageDrafts:
    """The drafts of a document's pages, and what they were worth.

    Args:
        layer: whether the page's own text layer is one.
        read: reads a page quickly, for those that have no such text; None where nothing does.
        pages: the texts that the caller gave.

    Attributes:
        pages_with: how many pages had a draft, by where it came from: `pdf`, `nano` or `text`.
        use: of all of them.
    """

    layer: bool = False
    read: Callable[[PageImage], str] | None = None
    pages: Sequence[str] = ()
    pages_with: dict[str, int] = field(default_factory=dict)
    use: DraftUse = field(default_factory=DraftUse)

    def text(self, page: PageImage) -> str:
        """The draft of a page; empty where there is none."""
        if self.pages:
            # One text is that of the only page, or of all of them without marks between.
            given = (
                self.pages[0] if len(self.pages) == 1 else "".join(self.pages[page.index : page.index + 1])
            )
            return self._noted("text", given)
        if self.layer and page.text:
            return self._noted("pdf", page.text)
        return "" if self.read is None else self._noted("nano", self.read(page))

    def settings(self) -> dict[str, Any]:
        """What is noted about them with the document; nothing where no page had one."""
        if not self.pages_with:
            return {}
        use = self.use
        return {
            "draft_use": {
                "pages": dict(self.pages_with),
                "tokens": use.tokens,
                "steps": use.steps,
                "tokens_per_step": round(use.per_step, 2),
                "proposed": use.proposed,
                "accepted": use.accepted,
            }
        }

    def _noted(self, kind: str, text: str) -> str:
        text = text.strip()
        if text:
            self.pages_with[kind] = self.pages_with.get(kind, 0) + 1
        return text


def choose_drafts(
    choice: DraftChoice,
    read: Callable[[PageImage], str],
    weights: int,
    *,
    reads_text: bool,
    hindrance: str = "",
) -> PageDrafts:
    """What a caller's choice means for a model.

    Args:
        choice: of the caller; None for `auto`.
        read: reads a page with vary-nano.
        weights: how many the model has.
        reads_text: whether the task is to write what stands on the page.
        hindrance: with what no draft has an effect, where that is so.

    Raises:
        VaryError: for a draft that would have no effect.
        InputError: for a file that cannot be read.
    """
    if choice in (None, "auto"):
        if hindrance or not reads_text:
            return PageDrafts()
        return PageDrafts(layer=True, read=read if weights >= NANO_RATIO * _nano_weights() else None)
    if choice == "off":
        return PageDrafts()
    if hindrance:
        raise VaryError(f"a draft has no effect with {hindrance}; leave it out, or give 'off'")
    if choice == "pdf":
        return PageDrafts(layer=True)
    if choice == "nano":
        return PageDrafts(read=read)
    return PageDrafts(pages=draft_pages(choice))


def _nano_weights() -> int:
    """How many weights vary-nano has, about; its file holds two bytes for each."""
    return (default_checkpoint() / "model.safetensors").stat().st_size // 2


def draft_pages(choice: DraftChoice) -> list[str]:
    """The texts of pages that a caller gives, of a file with form feeds between them or as they are.

    Raises:
        InputError: for a file that cannot be read or is too large.
    """
    if not isinstance(choice, str | os.PathLike):
        pages = list(choice or ())
        if not all(isinstance(page, str) for page in pages):
            raise VaryError("a draft is one of auto, pdf, nano, off, a text file, or the text of every page")
        return pages
    path = Path(choice)
    try:
        with path.open("rb") as file:
            content = file.read(MAX_FILE_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise InputError(
            f"{path}: the draft cannot be read ({reason}); give {', '.join(DRAFT_CHOICES)} or a text file"
        ) from error
    if len(content) > MAX_FILE_BYTES:
        raise InputError(f"{path}: a draft of more than {MAX_FILE_BYTES} bytes is none; give the page's text")
    # What is no UTF-8 makes a worse draft and nothing else.
    return content.decode("utf-8-sig", "replace").replace("\r\n", "\n").split(FORM_FEED)
