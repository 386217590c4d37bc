"""What a parser has to say about an answer: each kind of trouble once, with its number and an example."""

from __future__ import annotations

from vary.outputs.text import clean_line

__all__ = ["Notes", "excerpt"]

EXCERPT = 40
"""Characters of an answer that a note quotes."""


class Notes:
    """Collects what was odd; an answer with a thousand broken boxes gets one note about them."""

    def __init__(self) -> None:
        self._found: dict[str, tuple[int, str]] = {}

    def add(self, what: str, example: str = "") -> None:
        """Count a case of `what`; the first example of each is quoted."""
        count, first = self._found.get(what, (0, ""))
        self._found[what] = (count + 1, first or excerpt(example))

    def texts(self) -> tuple[str, ...]:
        """The notes in the order in which their kinds were first met."""
        return tuple(_text(what, count, first) for what, (count, first) in self._found.items())


def _text(what: str, count: int, first: str) -> str:
    details = [f"{count} times, first"] if count > 1 and first else [f"{count} times"] if count > 1 else []
    details += [f"'{first}'"] if first else []
    return f"{what} ({' '.join(details)})" if details else what


def excerpt(text: str) -> str:
    """The beginning of a text as one clean line."""
    # Cut before it is cleaned as well: a note must not cost more than it says.
    line = clean_line(text[: 4 * EXCERPT])
    return line if len(line) <= EXCERPT and len(text) <= 4 * EXCERPT else f"{line[:EXCERPT]}…"
