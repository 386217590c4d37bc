"""Plain text into Markdown source that shows that very text.

CommonMark and the tables and strike-through of GitHub; a character is escaped only where it would act.
"""

from __future__ import annotations

import re
import unicodedata

from vary.outputs.text import clean_line

__all__ = ["comment", "escape_cell", "escape_heading", "escape_lines"]

_ASCII_PUNCTUATION = r"!-/:-@\[-`{-~"
_BACKSLASH = re.compile(rf"\\(?=[{_ASCII_PUNCTUATION}]|$)", re.MULTILINE)
_ENTITY = re.compile(r"&(?=(?:#[0-9]{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z][A-Za-z0-9]{1,31});)")
_TAG = re.compile(r"<(?=[A-Za-z/!?][^<]*>)")
_LINK = re.compile(r"\](?=\()")
_BACKTICKS = re.compile(r"`+")
_RUNS = {mark: re.compile(rf"{re.escape(mark)}+") for mark in "*_~"}

_AT_LINE_START = re.compile(
    r"""
      \#{1,6}(?=\s|$)                    # heading
    | >                                  # quotation
    | [-+*](?=\s|$)                      # list
    | <(?=[A-Za-z/!?])                   # HTML block, which needs no end
    | \[(?=[^\]]*\]:)                    # definition of a link
    | -+\s*$ | =+\s*$                    # underline of a heading
    | (?=(?:_\s*){3,}$)_ | (?=(?:-\s*){3,}$)-   # rule
    | [|:](?=[\s:|-]*$)                  # second row of a table
    | -(?=[\s:|-]*$)
    """,
    re.VERBOSE,
)
_ORDERED_LIST = re.compile(r"([0-9]{1,9})([.)])(?=\s|$)")
_FENCE_OR_RULE = re.compile(r"`{3,}|~{3,}|\*{3,}\s*$|(?:\*\s*){3,}$")
_CLOSING_HASHES = re.compile(r"(?:^|(?<=\s))#(?=#*$)")


def escape_lines(lines: list[str]) -> list[str]:
    """The lines of one paragraph, escaped."""
    return [_escape_line_start(line) for line in _escape_inline("\n".join(lines)).split("\n")]


def escape_heading(text: str) -> str:
    """The one line of a heading, escaped."""
    return _CLOSING_HASHES.sub(r"\\#", _escape_inline(text))


def escape_cell(text: str) -> str:
    """The text of a table's cell, escaped: one line in which no bar parts cells.

    An entity stands for the bar: parsers disagree about backslashes before it.
    """
    return _escape_inline(clean_line(text)).replace("|", "&#124;")


def comment(text: str) -> str:
    """A comment, whose end no text can forge."""
    return f"<!-- {re.sub('-(?=-)', '- ', clean_line(text))} -->"


def _escape_line_start(line: str) -> str:
    if match := _ORDERED_LIST.match(line):
        return f"{match[1]}\\{line[match.end(1) :]}"
    if match := _FENCE_OR_RULE.match(line):
        return "".join(f"\\{mark}" if mark in "`~*" else mark for mark in match[0]) + line[match.end() :]
    return f"\\{line}" if _AT_LINE_START.match(line) else line


def _escape_inline(text: str) -> str:
    """Escape what acts within a paragraph: emphasis, code, links, tags, entities."""
    marked: set[int] = set()
    for pattern in (_BACKSLASH, _ENTITY, _TAG, _LINK):
        marked.update(match.start() for match in pattern.finditer(text))
    ticks = list(_BACKTICKS.finditer(text))
    if len(ticks) > 1:
        marked.update(position for run in ticks for position in range(*run.span()))
    for mark in _RUNS:
        marked.update(_active_runs(text, mark))
    return "".join(f"\\{character}" if i in marked else character for i, character in enumerate(text))


def _active_runs(text: str, mark: str) -> set[int]:
    """The positions of ``mark`` that could open or close emphasis, where one could open before another
    closes.
    """
    active: set[int] = set()
    opened = closed = False
    for run in _RUNS[mark].finditer(text):
        before = text[run.start() - 1] if run.start() else " "
        after = text[run.end()] if run.end() < len(text) else " "
        opens, closes = _flanking(before, after), _flanking(after, before)
        if mark == "_":
            opens, closes = (
                opens and (not closes or _is_punctuation(before)),
                closes and (not opens or _is_punctuation(after)),
            )
        closed = closed or (opened and closes)
        opened = opened or opens
        if opens or closes:
            active.update(range(*run.span()))
    return active if closed else set()


def _flanking(outside: str, inside: str) -> bool:
    """CommonMark's left-flanking, read from the left; right-flanking, read from the right."""
    if inside.isspace():
        return False
    return not _is_punctuation(inside) or outside.isspace() or _is_punctuation(outside)


def _is_punctuation(character: str) -> bool:
    return unicodedata.category(character)[0] in "PS"
