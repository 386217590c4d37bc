"""How the pages of a document are read: cut into windows, sent through the model, put together."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass

from vary.assembly import answer_blocks, build_page, line_page
from vary.backends import Backend, Request
from vary.engine.confidence import LineConfidence
from vary.inputs.page_image import PageFailure, PageImage
from vary.inputs.windows import PageWindows, line_windows, whole_window
from vary.outputs.document import Page, PageStatus
from vary.page_drafts import PageDrafts
from vary.page_stream import Other, PageJob, line_pages, whole_pages

__all__ = ["PageWork", "Pages"]

Images = Generator[PageImage | PageFailure, None, None]
Jobs = Generator[PageJob | Page, None, None]


@dataclass(frozen=True, slots=True)
class PageWork:
    """What a caller of the reader asked for.

    Attributes:
        backend: reads the windows.
        request: how.
        batch_size: windows that are read at a time.
        drafts: of the document's pages.
    """

    backend: Backend
    request: Request
    batch_size: int
    drafts: PageDrafts

    def jobs(self, images: Images) -> Jobs:
        """Each page with its windows, or the page that could not be opened; closes the images in the end."""
        with closing(images):
            for page in images:
                started = time.monotonic()
                if isinstance(page, PageFailure):
                    yield Page(page.index + 1, 0, 0, page.source, PageStatus.FAILED, page.message)
                    continue
                windows = self._windows(page)
                draft = "" if windows.blank else self.drafts.text(page)
                yield PageJob(page, windows, time.monotonic() - started, self.drafts, draft)

    def stream(self, jobs: Iterable[PageJob | Other]) -> Iterator[Page | Other]:
        """The pages of some jobs, in order; what is none comes out in its place."""
        if self.backend.traits.line_size is not None:
            yield from line_pages(jobs, self.backend, self.request, self.batch_size, self._page)
        else:
            reader = self.backend.page_reader(self.request, self.batch_size)
            yield from whole_pages(jobs, reader, self.batch_size, self._page)

    def _windows(self, page: PageImage) -> PageWindows:
        size = self.backend.traits.line_size
        if size is None:
            return whole_window(page.image, text=self.request.task.about_text)
        return line_windows(page.image, line_height=size[0], max_width=size[1])

    def _page(self, job: PageJob) -> Page:
        windows, readings = job.windows, [job.readings[n] for n in range(len(job.windows.windows))]
        decode, traits = self.backend.decode, self.backend.traits
        if traits.line_size is not None:
            confidence = LineConfidence.of(traits.confidence)
            return line_page(job.page, windows, readings, decode, confidence, seconds=job.seconds)
        blocks = answer_blocks(windows.windows, readings, self.request.task, decode)
        return build_page(job.page, windows, blocks, seconds=job.seconds)


class Pages(Iterator[Page]):
    """The pages of a document, one after the other.  Who reads several documents together takes the jobs.

    Args:
        work: how they are read.
        images: of the pages.
    """

    def __init__(self, work: PageWork, images: Images) -> None:
        self.work = work
        self.jobs = work.jobs(images)
        self._pages = work.stream(self.jobs)

    def __next__(self) -> Page:
        return next(self._pages)

    def close(self) -> None:
        """Gives up what is on its way, and closes the file."""
        if isinstance(self._pages, Generator):
            self._pages.close()
        self.jobs.close()
