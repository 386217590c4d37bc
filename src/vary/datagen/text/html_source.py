"""Documents as one HTML file for printing, each on pages of its own kind.  All text is escaped."""

from __future__ import annotations

import html
from collections.abc import Sequence

from vary.datagen.fonts import FontFace, shapes_safely
from vary.datagen.text.browser import PageFont
from vary.datagen.text.content import Block, Document, Marginals, Spans, Style, plain
from vary.datagen.text.drawings import drawing
from vary.datagen.text.families import Family, FamilyList

__all__ = ["WIDTH_STEP", "html_source", "page_fonts", "sheet_widths"]

WIDTH_STEP = 1.5
"""The pages of a printed sheet are told apart by their widths, which are multiples of so many points: two CSS
px, for Chromium rounds sizes to whole ones."""

_HEAD = (
    '<!DOCTYPE html><html><head><meta charset="utf-8"><meta http-equiv="Content-Security-Policy" '
    """content="default-src 'none'; style-src 'unsafe-inline'">"""
)


def sheet_widths(documents: Sequence[Document]) -> list[float]:
    """The width of each document's pages in points, no two of them the same."""
    steps: list[int] = []
    for document in documents:
        step = round(document.style.width / WIDTH_STEP)
        while step in steps:
            step += 1
        steps.append(step)
    return [WIDTH_STEP * step for step in steps]


def page_fonts(documents: Sequence[Document], families: FamilyList) -> list[PageFont]:
    """The faces of all families that the documents use, under the names that `html_source` gives them, each
    with the characters of the documents that use it."""
    asked: dict[int, set[str]] = {}
    for document in documents:
        style, characters = document.style, _characters(document)
        for number in (style.text_family, style.heading_family, style.code_family, style.latin_family):
            if number is not None:
                asked.setdefault(number, set()).update(characters)
    fonts = []
    for number in sorted(asked):
        family, name, shown = families.families[number], f"F{number}", "".join(sorted(asked[number]))
        fonts.append(PageFont(name, family.regular, characters=shown))
        if family.bold is not None:
            fonts.append(PageFont(name, family.bold, bold=True, characters=shown))
        if family.italic is not None:
            fonts.append(PageFont(name, family.italic, italic=True, characters=shown))
    return fonts


def _characters(document: Document) -> set[str]:
    """All that a document may show, ASCII for the numbers of its pages and U+2010 for hyphens."""
    found = {chr(code) for code in range(0x20, 0x7F)} | {"\u2010"}
    for block in document.blocks:
        found.update(*map(plain, block.parts))
    for marginals in (document.header, document.footer):
        found.update(*marginals.texts(0))
    return found


def html_source(documents: Sequence[Document], families: FamilyList) -> str:
    """The documents, one after the other; the page of each begins anew and counts on."""
    sheets, bodies = [], []
    for number, (document, width) in enumerate(zip(documents, sheet_widths(documents), strict=True)):
        sheets.append(_sheet(number, document, families, width))
        bodies.append(_body(number, document))
    return f"{_HEAD}<style>{_COMMON}{''.join(sheets)}</style></head><body>{''.join(bodies)}</body></html>"


_COMMON = """
body { margin: 0; -webkit-print-color-adjust: exact; }
div, p, pre { margin: 0; padding: 0; }
.h { break-after: avoid; break-inside: avoid; font-weight: 700; text-indent: 0; line-height: 1.2; }
.i, .f, .e { display: flex; text-indent: 0; }
.i > span:last-child, .f > span:last-child { flex: 1; min-width: 0; }
.m { padding-right: 0.55em; }
.e > i { flex: 1; border-bottom: 0.6pt dotted; margin: 0 0.4em 0.3em; min-width: 1em; }
pre { white-space: pre-wrap; text-align: left; text-indent: 0; font-weight: 400; }
.t, figure { break-inside: avoid; text-align: center; text-indent: 0; }
figure { margin: 1em 0; }
.t table { border-collapse: collapse; display: inline-table; }
.t td, .t th { padding: 0.3em 0.5em; }
.n { text-indent: 0; text-align: left; }
"""


def _sheet(number: int, document: Document, families: FamilyList, width: float) -> str:
    style = document.style
    text, headings, code = families.of_style(style)
    top, right, bottom, left = style.margins
    faces: list[FontFace] = [face for family in text for face in family.faces]
    safe = style.ligatures and all(shapes_safely(face) for face in faces)
    name = f".d{number}"
    body, head, mono = (_stack(stack, families) for stack in (text, headings, code))
    shade = "#404040" if int(style.paper[:2], 16) < 128 else "#f0f0f0"
    boxed = (
        "border: 0.5pt solid; padding: 3pt" if style.table_lines == "all" else "border-bottom: 0.5pt solid"
    )
    rule = f"column-rule: 0.4pt solid #{style.ink};" if style.column_rule else ""
    table = _TABLE_LINES[style.table_lines].replace("@", f"{name} .t")
    return f"""
@page d{number} {{ size: {width:.2f}pt {style.height}pt; margin: {top}pt {right}pt {bottom}pt {left}pt;
  background: #{style.paper}; color: #{style.ink}; font: {0.82 * style.size:.2f}pt {body};
  {_margin_boxes("top", document.header, document)} {_margin_boxes("bottom", document.footer, document)} }}
{name} {{ page: d{number}; color: #{style.ink}; font: {style.size}pt/{0.82 + style.leading:.2f} {body};
  text-align: {style.alignment}; letter-spacing: {style.tracking}em; overflow-wrap: break-word;
  font-variant-ligatures: {"common-ligatures no-contextual" if safe else "none"};
  text-autospace: no-autospace; font-kerning: normal; font-synthesis: weight style; orphans: 1; widows: 1; }}
{name} p {{ text-indent: {style.indent}em; margin-bottom: {style.spacing}em; }}
{name} .c {{ columns: {style.columns}; column-gap: {style.gutter}pt; {rule}
  column-fill: {"auto" if document.first_page % 2 else "balance"}; }}
{name} .h {{ font-family: {head}; color: #{style.accent}; margin: 0.7em 0 0.45em; }}
{name} pre {{ font: {0.85 * style.size:.2f}pt/1.35 {mono}; background: {shade}; padding: 0.5em;
  margin: 0.6em 0; font-variant-ligatures: none; letter-spacing: 0; }}
{name} code {{ font-family: {mono}; font-size: 0.9em; font-variant-ligatures: none; }}
{name} .i, {name} .n, {name} .e {{ margin-bottom: {0.25 + style.spacing / 3:.2f}em; }}
{name} .f {{ margin-bottom: 0.8em; gap: 0.6em; align-items: baseline; }}
{name} .f > span:last-child {{ {boxed}; min-height: 1em; text-align: left; }}
{name} .t {{ margin: 0.7em 0; }}
{table}
"""


_TABLE_LINES = {
    "all": "@ td, @ th { border: 0.5pt solid; }",
    "rows": "@ tr { border-bottom: 0.5pt solid; }",
    "rules": "@ table { border: solid; border-width: 1pt 0; } @ th { border-bottom: 0.5pt solid; }",
    "none": "",
}
"""The lines of a table, `@` for the table."""


def _stack(stack: Sequence[Family], families: FamilyList) -> str:
    """A CSS list of families."""
    return ", ".join(f"F{families.families.index(family)}" for family in stack)


def _margin_boxes(side: str, marginals: Marginals, document: Document) -> str:
    boxes = zip(("left", "center", "right"), (marginals.left, marginals.centre, marginals.right), strict=True)
    return " ".join(
        f"@{side}-{place} {{ content: {_content(text, document.first_page)}; white-space: nowrap; }}"
        for place, text in boxes
        if text
    )


def _content(text: str, first_page: int) -> str:
    """A text for `content:` in which `{page}` is counted: from hundreds where the first page is above 100."""
    before, found, after = text.partition("{page}")
    pieces = [_css_string(before)] if before else []
    if found:
        hundreds = first_page // 100
        pieces += (
            [_css_string(str(hundreds)), "counter(page, decimal-leading-zero)"]
            if hundreds
            else ["counter(page)"]
        )
    pieces += [_css_string(after)] if after else []
    return " ".join(pieces)


def _css_string(text: str) -> str:
    """A CSS string that cannot end the style element either."""
    safe = "".join(c if c.isalnum() or c == " " else f"\\{ord(c):06x}" for c in text)
    return f'"{safe}"'


def _body(number: int, document: Document) -> str:
    language = "en" if document.language == "en" else "zh-CN"
    blocks = [_block(block, document.style) for block in document.blocks]
    head, rest = "".join(blocks[: document.full_width]), "".join(blocks[document.full_width :])
    if document.style.columns > 1:
        rest = f'<div class="c">{rest}</div>'
    return f'<div class="d{number}" lang="{language}">{head}{rest}</div>'


def _block(block: Block, style: Style) -> str:
    parts = [_spans(part) for part in block.parts]
    align = f"text-align: {block.align};" if block.align else ""
    match block.kind:
        case "heading":
            size = style.heading_scale ** max(0, 3 - block.level)
            where = block.align or style.heading_align
            return f'<div class="h" style="font-size: {size:.2f}em; text-align: {where}">{parts[0]}</div>'
        case "paragraph":
            return f'<p style="{align}">{parts[0]}</p>'
        case "quote":
            return f'<p style="margin-left: 2em; margin-right: 2em; text-indent: 0">{parts[0]}</p>'
        case "term":
            return f'<p style="padding-left: 1.4em; text-indent: -1.4em">{parts[0]}</p>'
        case "item":
            left = 0.6 + 1.7 * block.level
            return (
                f'<div class="i" style="padding-left: {left:.1f}em"><span class="m">{parts[0]}</span>'
                f"<span>{parts[1]}</span></div>"
            )
        case "verse" | "lines":
            return f'<div class="n" style="{align}">{"<br>".join(parts)}</div>'
        case _:
            return _structured(block, style, parts)


def _structured(block: Block, style: Style, parts: Sequence[str]) -> str:
    match block.kind:
        case "code":
            return f"<pre>{chr(10).join(parts)}</pre>"
        case "table":
            return _table(block.level, parts)
        case "figure":
            return _figure(block, style, parts[0])
        case "field":
            value = parts[1] if len(parts) > 1 else ""
            return f'<div class="f"><span>{parts[0]}</span><span>{value}</span></div>'
        case "entry":
            return (
                f'<div class="e" style="padding-left: {1.6 * block.level:.1f}em">'
                f"<span>{parts[0]}</span><i></i><span>{parts[1]}</span></div>"
            )
        case "rule":
            return "<hr>"
        case _:
            return '<div style="break-before: page"></div>'


_TAGS = {"strong": "b", "emphasis": "i", "code": "code", "mark": "sup"}


def _spans(spans: Spans) -> str:
    done = []
    for span in spans:
        text = html.escape(span.text)
        tag = _TAGS.get(span.style)
        done.append(f"<{tag}>{text}</{tag}>" if tag else text)
    return "".join(done)


def _table(columns: int, parts: Sequence[str]) -> str:
    rows = [parts[first : first + columns] for first in range(0, len(parts), columns)]
    head = "".join(f"<th>{cell}</th>" for cell in rows[0])
    body = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows[1:])
    return f'<div class="t"><table><tr>{head}</tr>{body}</table></div>'


def _figure(block: Block, style: Style, caption: str) -> str:
    picture = drawing(block.level, coloured=style.coloured)
    width = picture.width * style.column_width
    height = min(picture.aspect * width, 0.3 * style.height)
    shapes = []
    for shape in picture.shapes:
        x, y, w, h = (
            round(v, 1) for v in (shape.x * width, shape.y * height, shape.w * width, shape.h * height)
        )
        drawn = f'stroke="#{shape.colour}" stroke-width="1.2"'
        look = f'fill="#{shape.colour}"' if shape.filled else f'fill="none" {drawn}'
        if shape.kind == "line":
            shapes.append(f'<line x1="{x}" y1="{y}" x2="{x + w:.1f}" y2="{y + h:.1f}" {drawn}/>')
        elif shape.kind == "rectangle":
            shapes.append(f'<rect x="{x}" y="{y}" width="{w}" height="{h}" {look}/>')
        else:
            centre = f'cx="{x + w / 2:.1f}" cy="{y + h / 2:.1f}"'
            shapes.append(f'<ellipse {centre} rx="{w / 2:.1f}" ry="{h / 2:.1f}" {look}/>')
    frame = ' style="border: 0.6pt solid #808080"' if picture.framed else ""
    size = f'width="{width:.1f}pt" height="{height:.1f}pt" viewBox="0 0 {width:.1f} {height:.1f}"'
    return (
        f"<figure><svg {size}{frame}>{''.join(shapes)}</svg>"
        f'<div style="font-size: 0.9em">{caption}</div></figure>'
    )
