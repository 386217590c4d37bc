"""Pages on their way through a model: lines in sorted batches, whole pages as others end; out in order."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from vary.backends import Backend, PageReader, Request
from vary.engine.lines import LineReading
from vary.inputs.page_image import PageImage
from vary.inputs.windows import PageWindows
from vary.outputs.document import Page
from vary.page_drafts import PageDrafts

__all__ = ["Finish", "Other", "PageJob", "line_pages", "whole_pages"]

GROUP_WINDOWS = 96
"""Lines of so many are collected, from one page or several, before they are sorted by width and read."""
GROUP_PAGES, GROUP_PIXELS = 8, 40_000_000
OPEN_PIXELS = 400_000_000
"""Pixels of pages that are read at a time, as long as there are several."""
AHEAD = 8
"""Batches of pages that may be read before an earlier page has ended: the longest answers take about so many
times as long as the usual ones."""

Other = TypeVar("Other")
"""What is no job comes out in its place as it is, such as a page that could not be opened."""


@dataclass(slots=True)
class PageJob:
    """A page on its way.

    Attributes:
        page, windows: the page and what is to be read of it.
        seconds: that it took so far; what several pages took together is shared among them.
        drafts: where what the draft was worth is noted.
        draft: of its text, or "".
        readings: of its windows, by their numbers.
    """

    page: PageImage
    windows: PageWindows
    seconds: float
    drafts: PageDrafts
    draft: str = ""
    readings: dict[int, LineReading] = field(default_factory=dict)

    @property
    def pixels(self) -> int:
        return self.page.width * self.page.height


Finish = Callable[[PageJob], Page]
"""The page of the document, made of a job whose windows were all read."""


def line_pages(
    jobs: Iterable[PageJob | Other], backend: Backend, request: Request, batch_size: int, finish: Finish
) -> Iterator[Page | Other]:
    """Reads the lines of some pages together, `batch_size` of like width at once."""
    for group in _groups(jobs):
        work = [
            (job, number)
            for job in group
            if isinstance(job, PageJob)
            for number in range(len(job.windows.windows))
        ]
        work.sort(key=lambda item: item[0].windows.windows[item[1]].image.shape[1])
        for first in range(0, len(work), batch_size):
            batch = work[first : first + batch_size]
            started = time.monotonic()
            readings = backend.read_lines([job.windows.windows[number] for job, number in batch], request)
            share = (time.monotonic() - started) / len(batch)
            for (job, number), reading in zip(batch, readings, strict=True):
                job.readings[number] = reading
                job.seconds += share
        for item in group:
            yield finish(item) if isinstance(item, PageJob) else item


def _groups(jobs: Iterable[PageJob | Other]) -> Iterator[list[PageJob | Other]]:
    """Consecutive pages whose lines are worth reading together, and whose images fit into memory."""
    group: list[PageJob | Other] = []
    windows = pixels = 0
    for job in jobs:
        group.append(job)
        if isinstance(job, PageJob):
            windows += len(job.windows.windows)
            pixels += job.pixels
        if windows >= GROUP_WINDOWS or len(group) >= GROUP_PAGES or pixels >= GROUP_PIXELS:
            yield group
            group, windows, pixels = [], 0, 0
    if group:
        yield group


def whole_pages(
    jobs: Iterable[PageJob | Other], reader: PageReader, batch_size: int, finish: Finish
) -> Iterator[Page | Other]:
    """Reads whole pages, of which the next one joins when another has ended; at most `AHEAD` batches ahead.

    The reader is closed in the end, also where nobody asks for the rest.
    """
    with closing(reader):
        stream = _WholePages(iter(jobs), reader, AHEAD * batch_size, finish)
        while stream.take():
            stream.read_on()
            yield from stream.ready()


@dataclass(slots=True)
class _Place(Generic[Other]):
    """What comes out at a place of the document; None while it is read."""

    item: Page | Other | None = None


class _WholePages(Generic[Other]):
    """The pages between the first that is not out yet and the last that was opened."""

    def __init__(
        self, jobs: Iterator[PageJob | Other], reader: PageReader, most: int, finish: Finish
    ) -> None:
        self._jobs, self._reader, self._most, self._finish = jobs, reader, most, finish
        self._order: deque[_Place[Other]] = deque()
        self._places: dict[int, tuple[PageJob, int, _Place[Other]]] = {}  # by the reader's numbers
        self._more = True

    def take(self) -> bool:
        """Opens the pages that the reader wants; whether there is anything to go on with."""
        while self._more and self._has_room():
            try:
                job = next(self._jobs)
            except StopIteration:
                self._more = False
                break
            place: _Place[Other] = _Place()
            self._order.append(place)
            if not isinstance(job, PageJob):
                place.item = job
                continue
            for number, window in enumerate(job.windows.windows):
                self._places[self._reader.add(window, job.draft)] = job, number, place
            if not job.windows.windows:
                place.item = self._finish(job)
        return bool(self._order)

    def read_on(self) -> None:
        """Lets the reader go on, and shares the time among the pages that it has."""
        if not self._places:
            return
        started = time.monotonic()
        ended = self._reader.step()
        share = (time.monotonic() - started) / len(self._places)
        for job, _, _ in self._places.values():
            job.seconds += share
        for reader_number, reading in ended:
            job, number, place = self._places.pop(reader_number)
            job.readings[number] = reading
            if job.draft and reading.generation.draft is not None:
                job.drafts.use += reading.generation.draft
            if len(job.readings) == len(job.windows.windows):
                place.item = self._finish(job)  # from here on its image is not held any more

    def ready(self) -> Iterator[Page | Other]:
        """What comes out next."""
        while self._order and (item := self._order[0].item) is not None:
            self._order.popleft()
            yield item

    def _has_room(self) -> bool:
        """Whether another page is to be opened now; none before what is ready is out."""
        if self._order and self._order[0].item is not None:
            return False
        pixels = sum(job.pixels for job, _, _ in self._places.values())
        return self._reader.wanted > 0 and len(self._order) < self._most and pixels < OPEN_PIXELS
