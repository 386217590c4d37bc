"""Page ranges as people write them: ``1-3,5,8-``."""

from __future__ import annotations

import re
from dataclasses import dataclass

from vary.errors import InputError

__all__ = ["PageSelection", "parse_page_range"]

_PART = re.compile(r"([0-9]{1,9})\s*(?:(-)\s*([0-9]{1,9})?)?")


@dataclass(frozen=True, slots=True)
class PageSelection:
    """Some pages of a file. No spans: every page."""

    spans: tuple[tuple[int, int | None], ...] = ()
    """First and last page, 1-based and inclusive; no last page: to the end of the file."""

    def indices(self, count: int, name: str = "the file") -> list[int]:
        """The 0-based numbers of the selected pages of a file of ``count`` pages, each once, ascending.

        A range that begins in the file and ends behind it is cut at the file's end.  A page or range that
        begins behind the end is an InputError.
        """
        if not self.spans:
            return list(range(count))
        chosen: set[int] = set()
        for first, last in self.spans:
            if first > count:
                pages = "1 page" if count == 1 else f"{count} pages"
                raise InputError(
                    f"{name}: page {first} was asked for, the file has {pages}; choose among 1-{count}"
                )
            chosen.update(range(first - 1, count if last is None else min(last, count)))
        return sorted(chosen)


def parse_page_range(text: str | None) -> PageSelection:
    """Read ``1-3,5,8-`` (1-based, inclusive); None selects every page.

    Raises InputError for anything else: an empty part, page 0, a range that runs backwards, ``-3`` (which
    could mean the first or the last three).
    """
    if text is None:
        return PageSelection()
    spans = []
    for part in text.split(","):
        match = _PART.fullmatch(part.strip())
        if match is None:
            raise InputError(
                f"page range {text!r}: {part.strip()!r} is not a page or a range; write it like 1-3,5,8-"
            )
        first = int(match[1])
        last = int(match[3]) if match[3] else (None if match[2] else first)
        if first == 0:
            raise InputError(f"page range {text!r}: there is no page 0; the first page is 1")
        if last is not None and last < first:
            raise InputError(f"page range {text!r}: {part.strip()!r} runs backwards; write {last}-{first}")
        spans.append((first, last))
    return PageSelection(tuple(spans))
