"""What the model shall write of a page: its plain text, by paragraphs or by lines, or Markdown."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from vary.datagen.text.content import Document, Piece, Span, Spans, plain
from vary.datagen.text.matching import PrintedLine, PrintedPage

__all__ = ["line_text", "markdown", "paragraph_text"]


@dataclass(frozen=True, slots=True)
class _Part:
    """What of a piece stands on the page."""

    piece: Piece
    spans: Spans
    area: str
    whole: bool
    """Whether the piece ends here."""
    starts: bool
    """Whether the piece begins here."""

    @property
    def text(self) -> str:
        return plain(self.spans)


def _parts(page: PrintedPage, marginals: bool) -> list[_Part]:
    parts = []
    lines = [line for line in page.lines if marginals or line.area not in ("header", "footer")]
    for same in _runs(lines):
        first, last = same[0], same[-1]
        text = first.piece.text
        starts = not text[: first.start].strip()
        begin = 0 if starts else first.start
        spans = _cut(first.piece.spans, begin, last.end)
        if last.broken and last is same[-1]:
            spans = (*spans, Span("-", spans[-1].style))
        parts.append(_Part(first.piece, spans, first.area, last.ends_piece, starts))
    return parts


def _runs(lines: Iterable[PrintedLine]) -> list[list[PrintedLine]]:
    """The lines of each piece together."""
    runs: list[list[PrintedLine]] = []
    for line in lines:
        if runs and runs[-1][-1].piece is line.piece:
            runs[-1].append(line)
        else:
            runs.append([line])
    return runs


def _cut(spans: Spans, begin: int, end: int) -> Spans:
    done = []
    place = 0
    for span in spans:
        text = span.text[max(0, begin - place) : max(0, end - place)]
        if text:
            done.append(Span(text, span.style))
        place += len(span.text)
    return tuple(done)


def paragraph_text(page: PrintedPage, document: Document, *, marginals: bool) -> str:
    """The text with the lines of a paragraph joined, hyphenation undone and a newline between blocks.

    Items follow their markers after a blank, and so do values their labels, cells the cell before, page
    numbers their titles.  Blank lines and indents of code are kept.  A word broken at the end of the page
    keeps its hyphen.
    """
    done = ""
    for part in _parts(page, marginals):
        if done:
            done += part.piece.before
            done += "\n" * _blank_lines(document, part.piece)
        done += part.text
    return done


def line_text(page: PrintedPage, document: Document, *, marginals: bool) -> str:
    """The text as it stands: a newline at the end of each line, hyphens of broken words included."""
    done = ""
    last: PrintedLine | None = None
    for line in page.lines:
        if not marginals and line.area in ("header", "footer"):
            continue
        text = line.text
        if last is not None:
            beside = line.piece is not last.piece and line.piece.before == " " and _beside(last, line)
            done += " " if beside else "\n"
            if line.piece is not last.piece:
                done += "\n" * _blank_lines(document, line.piece)
        if line.start and not line.piece.text[: line.start].strip():
            text = line.piece.text[: line.start] + text
        done += text
        last = line
    return done


def _beside(first: PrintedLine, second: PrintedLine) -> bool:
    """Whether two lines stand in one row."""
    middle = (second.box[1] + second.box[3]) / 2
    return (
        first.box[1] <= middle <= first.box[3]
        or second.box[1] <= (first.box[1] + first.box[3]) / 2 <= second.box[3]
    )


def _blank_lines(document: Document, piece: Piece) -> int:
    """How many blank lines of code stand before a piece."""
    if piece.block < 0 or document.blocks[piece.block].kind != "code":
        return 0
    parts = document.blocks[piece.block].parts
    count = 0
    while count < piece.part and not plain(parts[piece.part - 1 - count]).strip():
        count += 1
    return count


# Markdown


def markdown(page: PrintedPage, document: Document, *, marginals: bool) -> str:
    """The page as Markdown, blocks parted by a blank line.

    Headings are `#` by their depth, items `- ` or their numbers, indented by two or three blanks a level;
    code is fenced, a table has pipes, quotations `> `; strong is `**`, emphasis `*`, code in text a backtick;
    a footnote's number is `[^1]`, its text `[^1]: ...` at the end.  Lines of verse and of addresses end in a
    backslash.  Labels, entries of contents and captions are plain text.
    """
    done: list[str] = []
    last_kind = ""
    for block, parts in _blocks(_parts(page, marginals)):
        kind = document.blocks[block].kind if block >= 0 else {-3: "note"}.get(block, "marginal")
        text = _block(document, block, kind, parts)
        tight = kind == last_kind and kind in ("item", "note", "entry", "field")
        if done:
            done.append("\\\n" if tight and kind in ("entry", "field") else "\n" if tight else "\n\n")
        done.append(text)
        last_kind = kind
    return "".join(done)


def _blocks(parts: Sequence[_Part]) -> list[tuple[int, list[_Part]]]:
    groups: list[tuple[int, list[_Part]]] = []
    for part in parts:
        block = part.piece.block
        if groups and groups[-1][0] == block and block != -3:
            groups[-1][1].append(part)
        else:
            groups.append((block, [part]))
    return groups


def _block(document: Document, block: int, kind: str, parts: list[_Part]) -> str:
    match kind:
        case "heading":
            level = min(6, document.blocks[block].level)
            return "#" * level + " " + _inline(parts[0].spans, strong=False)
        case "item":
            return _item(document.blocks[block].level, parts)
        case "code":
            return _code(document, parts)
        case "table":
            return _table(document.blocks[block].level, parts)
        case "quote":
            return "> " + _start(_inline(parts[0].spans))
        case "verse" | "lines":
            return "\\\n".join(_start(_inline(part.spans)) for part in parts)
        case "note":
            mark, *rest = parts[0].spans
            return f"[^{mark.text}]: {_inline(tuple(rest))}"
        case _:
            return _start(" ".join(_inline(part.spans) for part in parts))


def _item(level: int, parts: list[_Part]) -> str:
    if not parts[0].starts or parts[0].piece.part == 1:
        return _start(_inline(parts[0].spans))  # the rest of an item of the page before
    marker = parts[0].text
    number = re.search(r"\d+", marker)
    if number:
        marker = number.group() + "."
    elif marker.rstrip(").(").isalpha() and marker[-1] in ".)":
        return "  " * level + "- " + " ".join((escaped(marker), *(_inline(part.spans) for part in parts[1:])))
    else:
        marker = "-"
    return "   " * level + marker + " " + _start(" ".join(_inline(part.spans) for part in parts[1:]))


def _code(document: Document, parts: list[_Part]) -> str:
    lines: list[str] = []
    for part in parts:
        if lines:
            lines += [""] * _blank_lines(document, part.piece)
        lines.append(part.text)
    return "```\n" + "\n".join(lines) + "\n```"


def _table(columns: int, parts: list[_Part]) -> str:
    cells = [_inline(part.spans, strong=False).replace("|", "\\|") for part in parts]
    rows = ["| " + " | ".join(cells[n : n + columns]) + " |" for n in range(0, len(cells), columns)]
    return "\n".join([rows[0], "|" + " --- |" * columns, *rows[1:]])


def _inline(spans: Spans, *, strong: bool = True) -> str:
    done = []
    for span in spans:
        if span.style == "mark":
            done.append(f"[^{span.text}]")
        elif span.style == "code":
            done.append(f"`{span.text}`")
        elif span.style in ("strong", "emphasis") and strong:
            stars = "**" if span.style == "strong" else "*"
            text = span.text
            body = text.strip()
            before, after = text[: len(text) - len(text.lstrip())], text[len(text.rstrip()) :]
            done.append(f"{before}{stars}{escaped(body)}{stars}{after}")
        else:
            done.append(escaped(span.text))
    return "".join(done)


_SPECIAL = re.compile(
    r"""[*`]                        # emphasis and code
    | \\(?=[!-/:-@\[-`{-~])         # a backslash that would hide
    | (?<![^\W_])_ | _(?![^\W_])    # emphasis at the edges of words
    | \[(?=[^\]]*\](?:\(|:|\[)) | \[(?=\^)
    | <(?=[A-Za-z/!?])
    | &(?=\#?\w+;)
    | ~(?=~)
    """,
    re.VERBOSE,
)
_START = re.compile(r"(?=[#>+=-])|(?<=\d)(?=[.)](?:\s|$))")


def escaped(text: str) -> str:
    """Text in which nothing is taken for Markdown, as few backslashes as possible."""
    return _SPECIAL.sub(lambda found: "\\" + found.group(), text)


def _start(text: str) -> str:
    """A block's text whose beginning is not taken for a heading, an item, a quotation or a rule."""
    if re.match(r"#{1,6}(\s|$)|>|[-+](\s|$)|(-\s*){2,}$|=+\s*$|~~~|\|", text):
        return "\\" + text
    return re.sub(r"^(\d{1,9})(?=[.)](\s|$))", r"\1\\", text)
