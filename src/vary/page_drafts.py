"""Where the guess of a page's text comes from: its own text layer, vary-nano, or the caller."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vary.assets import default_checkpoint
from vary.engine.decoding import DraftUse
from vary.errors import InputError, LimitError, VaryError
from vary.inputs.page_image import PageImage

__all__ = ["DRAFT_CHOICES", "DraftChoice", "PageDrafts", "choose_drafts", "draft_pages"]

DRAFT_CHOICES = ("auto", "pdf", "nano", "off")
DraftChoice = str | os.PathLike[str] | Sequence[str] | None
"""One of `DRAFT_CHOICES`, a text file, or the texts of the pages; None is `auto`."""

NANO_RATIO = 10
"""A model so many times larger than vary-nano has it read first."""
MAX_FILE_BYTES = 64 * 1024 * 1024
MAX_PAGE_CHARACTERS = 1_000_000
"""Of a page's draft, far more than a page has; following it takes time and memory with its length."""
USE = "draft_use"
"""Where a document's settings say what drafts were worth."""
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
            USE: {
                "pages": dict(self.pages_with),
                "tokens": use.tokens,
                "steps": use.steps,
                "tokens_per_step": round(use.per_step, 2),
                "proposed": use.proposed,
                "accepted": use.accepted,
            }
        }

    def count_in(self, settings: Mapping[str, Any]) -> None:
        """Adds what is noted with another document."""
        if noted := settings.get(USE):
            for kind, pages in noted["pages"].items():
                self.pages_with[kind] = self.pages_with.get(kind, 0) + pages
            counts = ("tokens", "steps", "proposed", "accepted")
            self.use += DraftUse(**{name: noted[name] for name in counts})

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
        InputError: for a file that cannot be read, or a text that is none; see `draft_pages`.
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
        InputError: for a file that cannot be read or holds no text.
        LimitError: for a file or the text of a page that is too large to be one.
    """
    if isinstance(choice, str | os.PathLike):
        pages, name = _pages_of_file(Path(choice)), f"{Path(choice)}: "
    else:
        pages, name = list(choice or ()), ""
    if not all(isinstance(page, str) for page in pages):
        raise VaryError("a draft is one of auto, pdf, nano, off, a text file, or the text of every page")
    for number, page in enumerate(pages, start=1):
        if len(page) > MAX_PAGE_CHARACTERS:
            raise LimitError(
                f"{name}page {number} of the draft has {len(page):,} characters, and a draft at most "
                f"{MAX_PAGE_CHARACTERS:,} of a page; give the text of the pages, in a file with form feeds "
                "between them"
            )
    return pages


def _pages_of_file(path: Path) -> list[str]:
    try:
        with path.open("rb") as file:
            content = file.read(MAX_FILE_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise InputError(
            f"{path}: the draft cannot be read ({reason}); give {', '.join(DRAFT_CHOICES)} or a text file"
        ) from error
    if len(content) > MAX_FILE_BYTES:
        raise LimitError(f"{path}: a draft of more than {MAX_FILE_BYTES} bytes is none; give the page's text")
    # What is no UTF-8 makes a worse draft and nothing else.
    text = content.decode("utf-8-sig", "replace").replace("\r\n", "\n")
    if not text.strip():
        raise InputError(f"{path}: the draft holds no text; give another one, or none")
    return text.split(FORM_FEED)
