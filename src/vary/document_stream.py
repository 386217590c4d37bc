"""Documents read in one stream of pages: where each begins and ends, and what is known beside its pages."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any

from vary.errors import InputError
from vary.inputs.pages import Source, source_name
from vary.outputs.document import Document, Page, Provenance
from vary.page_stream import PageJob
from vary.page_work import Pages

__all__ = ["Begun", "ManyProgress", "read_together"]

ManyProgress = Callable[[int, int, int | None], None]
"""(number of the document from 0, pages done of it, pages that it has where that is known)"""


@dataclass(frozen=True, slots=True)
class Begun:
    """Behind this come the pages of a document.

    Attributes:
        number: of the document among those that are read.
        source: what is read.
        provenance: as far as it is known before.
        pages: what will come.
        total: how many; None where nobody asked.
    """

    number: int
    source: Source
    provenance: Provenance
    pages: Pages
    total: int | None

    def document(self, pages: Iterable[Page], parts: dict[str, Any]) -> Document:
        """The document; `parts` is what read it."""
        settings = self.provenance.settings | parts | self.pages.work.drafts.settings()
        provenance = replace(self.provenance, settings=settings)
        return Document(source_name(self.source), tuple(pages), provenance)


@dataclass(frozen=True, slots=True)
class _Ended:
    """The end of a document, or why it cannot be read as a whole."""

    error: InputError | None = None


def read_together(
    sources: Iterable[tuple[int, Source]],
    begin: Callable[[int, Source], Begun],
    parts: Callable[[], dict[str, Any]],
    progress: ManyProgress | None,
) -> Iterator[Document | InputError]:
    """Reads documents, or says why one cannot be read, in their order; pages of the next ones join.

    Args:
        sources: with their numbers.
        begin: opens one; what is asked is the same for all.  It may raise InputError.
        parts: what reads; asked at the end of a document, since an option may have asked for more than the
            reader had at the beginning.
        progress: is told at the beginning of a document and after each page.
    """
    items = _items(sources, begin)
    with closing(items):
        for item in items:
            if isinstance(item, Begun):
                rest: Iterable[Begun | PageJob | Page | _Ended] = chain([item], items)
                yield from _documents(item.pages.work.stream(rest), parts, progress)
            elif isinstance(item, _Ended) and item.error is not None:
                yield item.error


def _items(
    sources: Iterable[tuple[int, Source]], begin: Callable[[int, Source], Begun]
) -> Generator[Begun | PageJob | Page | _Ended, None, None]:
    """Of each document its beginning, its pages and its end."""
    for number, source in sources:
        try:
            begun = begin(number, source)
            yield begun
            yield from begun.pages.jobs
            yield _Ended()
        except InputError as error:
            yield _Ended(error)


def _documents(
    stream: Iterable[Begun | Page | _Ended],
    parts: Callable[[], dict[str, Any]],
    progress: ManyProgress | None,
) -> Iterator[Document | InputError]:
    """Puts the pages of a stream together."""
    begun: Begun | None = None
    pages: list[Page] = []
    for item in stream:
        if isinstance(item, Begun):
            begun, pages = item, []
        elif isinstance(item, Page):
            pages.append(item)
        else:
            if item.error is not None:
                yield item.error
            elif begun is not None:
                yield begun.document(pages, parts())
            begun = None
        if begun is not None and progress is not None:
            progress(begun.number, len(pages), begun.total)
