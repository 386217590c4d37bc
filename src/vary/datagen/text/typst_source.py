"""A document as Typst source.  Texts only ever stand in string literals, so that none of them is markup."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from vary.datagen.fonts import FontFace, shapes_safely
from vary.datagen.text.content import Block, Document, Marginals, Spans, Style
from vary.datagen.text.drawings import drawing
from vary.datagen.text.families import Family, FamilyList

__all__ = ["TypstFont", "typst_source"]


@dataclass(frozen=True, slots=True)
class TypstFont:
    """What Typst calls a face: its family and weight."""

    family: str
    weight: int


def literal(text: str) -> str:
    """A Typst string literal."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def typst_source(document: Document, families: FamilyList, fonts: Mapping[FontFace, TypstFont]) -> str:
    """The document, `fonts` giving Typst's names of all faces that it may use."""
    return _Writer(document, families, fonts).source()


class _Writer:
    def __init__(self, document: Document, families: FamilyList, fonts: Mapping[FontFace, TypstFont]) -> None:
        self.document, self.fonts = document, fonts
        self.text, self.headings, self.code = families.of_style(document.style)

    def source(self) -> str:
        document, style = self.document, self.document.style
        blocks = [self._block(block) for block in document.blocks]
        parts = [self._prelude(), *blocks[: document.full_width]]
        body = "\n".join(blocks[document.full_width :])
        if style.columns > 1:
            parts.append(f"#columns({style.columns}, gutter: {style.gutter}pt)[\n{body}\n]")
        else:
            parts.append(body)
        return "\n".join(parts)

    # the document's settings

    def _prelude(self) -> str:
        document, style = self.document, self.document.style
        top, right, bottom, left = style.margins
        language = '"en"' if document.language == "en" else '"zh", region: "cn"'
        ligatures = style.ligatures and all(shapes_safely(face) for f in self.text for face in f.faces)
        ink, accent = _colour(style.ink), _colour(style.accent)
        gap = f"{style.leading + 0.1:.2f}em"
        return "\n".join(
            (
                f"#set page(width: {style.width}pt, height: {style.height}pt, fill: {_colour(style.paper)}, "
                f"margin: (top: {top}pt, right: {right}pt, bottom: {bottom}pt, left: {left}pt), "
                f"header: {self._marginal(document.header, document.header_even, document.header_rule)}, "
                f"footer: {self._marginal(document.footer, document.footer_even, False)}{self._rules()})",
                f"#set text(font: {self._stack(self.text)}, size: {style.size}pt, fill: {ink}, "
                f"lang: {language}, weight: {self._weight(self.text[-1])}, fallback: false, "
                f"hyphenate: {_flag(style.hyphenate)}, ligatures: {_flag(ligatures)}, "
                f"features: (calt: 0, dlig: 0), tracking: {style.tracking}em)",
                f"#set par(justify: {_flag(style.alignment == 'justify')}, leading: {style.leading}em, "
                f"spacing: {round(style.leading + style.spacing, 2)}em, "
                f"first-line-indent: (amount: {style.indent}em, all: true))",
                f"#set align({'center' if style.alignment == 'center' else 'left'})",
                "#set smartquote(enabled: false)",
                # What is a gap on the page is a blank in the text, and the other way round.
                "#set text(cjk-latin-spacing: none)",
                f"#show raw: set text(font: {self._stack(self.code)}, weight: {self._weight(self.code[0])}, "
                f"size: {_code_size(style)}em, ligatures: false, hyphenate: false, tracking: 0pt)",
                f"#let strong(body) = {self._bold(self.text)}",
                '#let emphasis(body) = text(style: "italic", body)',
                "#let headline(size, where, body) = block(above: 1.3em, below: 0.8em, sticky: true, "
                f"width: 100%, align(where, text(font: {self._stack(self.headings)}, size: size, "
                f"fill: {accent}, hyphenate: false, par(justify: false, first-line-indent: 0pt, "
                f"leading: 0.5em, {self._bold(self.headings)}))))",
                "#let plainpar(body) = par(justify: false, first-line-indent: 0pt, body)",
                f"#let block0(body) = block(width: 100%, above: {gap}, below: {gap}, body)",
            )
        )

    def _weight(self, family: Family) -> int:
        return self.fonts[family.regular].weight

    def _bold(self, families: tuple[Family, ...]) -> str:
        """How `body` is set in bold: by the family's own bold face, or by a thin stroke where it has none."""
        last = families[-1]
        if last.bold is None or any(family.bold is None for family in families):
            ink = _colour(self.document.style.ink)
            return f"text(weight: {self._weight(last)}, stroke: 0.028em + {ink}, body)"
        return f"text(weight: {self.fonts[last.bold].weight}, body)"

    def _stack(self, families: tuple[Family, ...]) -> str:
        names = [self.fonts[family.regular].family for family in families]
        if len(names) == 1:
            return f"({literal(names[0])},)"
        return f'((name: {literal(names[0])}, covers: "latin-in-cjk"), {literal(names[1])})'

    def _marginal(self, odd: Marginals, even: Marginals | None, rule: bool) -> str:
        if odd == Marginals() and even in (None, Marginals()):
            return "none"
        first = _marginal(odd, rule)
        chosen = first if even is None else f"if calc.odd(n) {first} else {_marginal(even, rule)}"
        # Not counter.update, which comes too late for the first page's header.
        return f"context {{ let n = counter(page).get().first() + {self.document.first_page - 1}; {chosen} }}"

    def _rules(self) -> str:
        style = self.document.style
        if not style.column_rule or style.columns < 2 or self.document.full_width:
            return ""
        top, _, bottom, left = style.margins
        places = [
            left + number * style.column_width + (number - 0.5) * style.gutter
            for number in range(1, style.columns)
        ]
        lines = "".join(
            f"#place(top + left, dx: {x:.1f}pt, dy: {top}pt, line(angle: 90deg, "
            f"length: {style.height - top - bottom:.1f}pt, stroke: 0.4pt + {_colour(style.ink)}))"
            for x in places
        )
        return f", background: [{lines}]"

    # blocks

    def _block(self, block: Block) -> str:
        style = self.document.style
        parts = [self._spans(part) for part in block.parts]
        match block.kind:
            case "heading":
                scale = style.heading_scale ** max(0, 3 - block.level)
                where = block.align or style.heading_align
                return f"#headline({scale:.2f}em, {where}, {parts[0]})"
            case "paragraph":
                return f"#{_aligned(block, f'par({parts[0]})')}"
            case "quote":
                return f"#pad(left: 2em, right: 2em, par(first-line-indent: 0pt, {parts[0]}))"
            case "term":
                return f"#par(first-line-indent: 0pt, hanging-indent: 1.4em, {parts[0]})"
            case "item":
                return (
                    f"#block0(pad(left: {0.6 + 1.7 * block.level:.1f}em, grid(columns: (auto, 1fr), "
                    f"column-gutter: 0.55em, {parts[0]}, par(first-line-indent: 0pt, {parts[1]}))))"
                )
            case "verse" | "lines":
                return f"#block0({_aligned(block, 'plainpar(' + ' + linebreak() + '.join(parts) + ')')})"
            case _:
                return self._structured(block, parts)

    def _structured(self, block: Block, parts: list[str]) -> str:
        ink = _colour(self.document.style.ink)
        match block.kind:
            case "code":
                return self._code(block)
            case "table":
                return self._table(block, parts)
            case "figure":
                return self._figure(block, parts[0])
            case "field":
                return self._field(parts)
            case "entry":
                leader = f'(paint: {ink}, thickness: 0.6pt, dash: "dotted")'
                return (
                    f"#block0(pad(left: {1.6 * block.level:.1f}em, plainpar({parts[0]} + h(0.4em) + "
                    f"box(width: 1fr, line(length: 100%, stroke: {leader})) + h(0.4em) + {parts[1]})))"
                )
            case "rule":
                return f"#block0(line(length: 100%, stroke: 0.8pt + {ink}))"
            case _:
                return "#pagebreak()"

    def _spans(self, spans: Spans) -> str:
        """An expression in parentheses that gives the spans as content."""
        done = []
        for span in spans:
            text = literal(span.text)
            if span.style == "mark":
                note = self._spans(self.document.notes[int(span.text)])
                done.append(f"footnote({note})")
            elif span.style == "code":
                done.append(f"raw({text})")
            elif span.style:
                done.append(f"{span.style}({text})")
            else:
                done.append(f"[#{text}]")
        return "(" + (" + ".join(done) or "[]") + ")"

    def _code(self, block: Block) -> str:
        style = self.document.style
        text = literal("\n".join("".join(span.text for span in part) for part in block.parts))
        frames = ("", "stroke: 0.5pt + luma(60%), inset: 6pt,", f"fill: {_shade(style)}, inset: 6pt,")
        frame = frames[len(block.parts) % 3]
        leading = "" if style.leading < 0.7 else "#set par(leading: 0.6em)\n"
        return f"#block({frame} width: 100%)[{leading}#set par(justify: false)\n#raw(block: true, {text})]"

    def _table(self, block: Block, parts: list[str]) -> str:
        columns = block.level
        ink = _colour(self.document.style.ink)
        kind = self.document.style.table_lines
        stroke = f"0.5pt + {ink}" if kind == "all" else "none"
        if kind == "rows":
            stroke = f"(x, y) => (bottom: 0.5pt + {ink})"
        head = [f"strong({part})" for part in parts[:columns]]
        cells = [*head, *parts[columns:]]
        if kind == "rules":
            rows = len(parts) // columns
            cells = [
                f"table.hline(stroke: 1pt + {ink})",
                *head,
                f"table.hline(stroke: 0.5pt + {ink})",
                *parts[columns:],
                f"table.hline(y: {rows}, stroke: 1pt + {ink})",
            ]
        return (
            "#block(breakable: false, width: 100%, align(center, [#set par(justify: false, "
            f"first-line-indent: 0pt)\n#table(columns: {columns}, stroke: {stroke}, inset: 0.45em, "
            f"align: (x, y) => if x == 0 {{ left }} else {{ center }}, {', '.join(cells)})]))"
        )

    def _figure(self, block: Block, caption: str) -> str:
        picture = drawing(block.level, coloured=self.document.style.coloured)
        width = picture.width * self.document.style.column_width
        height = min(picture.aspect * width, 0.3 * self.document.style.height)
        shapes = []
        for shape in picture.shapes:
            x, y, w, h = shape.x * width, shape.y * height, shape.w * width, shape.h * height
            paint = f"rgb({literal('#' + shape.colour)})"
            look = f"fill: {paint}" if shape.filled else f"stroke: 1.2pt + {paint}"
            if shape.kind == "line":
                drawn = f"line(end: ({w:.1f}pt, {h:.1f}pt), stroke: 1.2pt + {paint})"
            else:
                name = "rect" if shape.kind == "rectangle" else "ellipse"
                drawn = f"{name}(width: {w:.1f}pt, height: {h:.1f}pt, {look})"
            shapes.append(f"#place(top + left, dx: {x:.1f}pt, dy: {y:.1f}pt, {drawn})")
        frame = "stroke: 0.6pt + luma(50%)," if picture.framed else ""
        size = f"width: {width:.1f}pt, height: {height:.1f}pt"
        return (
            "#block(breakable: false, width: 100%, above: 1.2em, below: 1.2em, align(center, "
            f"block({size}, {frame} align(left, [{''.join(shapes)}])) + block(above: 0.8em, "
            f"text(size: 0.9em, plainpar({caption})))))"
        )

    def _field(self, parts: list[str]) -> str:
        style = self.document.style
        line = f"0.5pt + {_colour(style.ink)}"
        framed = style.table_lines == "all"
        stroke = line if framed else f"(bottom: {line})"
        inset = "4pt" if framed else "(bottom: 3pt)"
        value = parts[1] if len(parts) > 1 else "[]"
        # The empty box keeps an empty field as high as a filled one.
        body = f"[#v(0.2em, weak: false)#plainpar({value} + h(0.1pt) + box(height: 0.8em))]"
        return (
            "#block0(grid(columns: (auto, 1fr), column-gutter: 0.6em, align: bottom, "
            f"block(inset: (y: 3pt), plainpar({parts[0]})), "
            f"block(width: 100%, stroke: {stroke}, inset: {inset}, {body})))"
        )


def _marginal(marginals: Marginals, rule: bool) -> str:
    cells = []
    for text in (marginals.left, marginals.centre, marginals.right):
        before, found, after = text.partition("{page}")
        pieces = [literal(before)] if before else []
        pieces += ["str(n)"] if found else []
        pieces += [literal(after)] if after else []
        cells.append("[#(" + (" + ".join(pieces) or '""') + ")]")
    line = " + v(-0.5em) + line(length: 100%, stroke: 0.5pt)" if rule else ""
    return (
        "{ set par(first-line-indent: 0pt, justify: false); text(size: 0.82em, grid("
        f"columns: (1fr, auto, 1fr), align: (left, center, right), {', '.join(cells)}){line}) }}"
    )


def _aligned(block: Block, body: str) -> str:
    return f"align({block.align}, {body})" if block.align else body


def _colour(colour: str) -> str:
    return f'rgb("#{colour}")'


def _shade(style: Style) -> str:
    dark = int(style.paper[:2], 16) < 128
    return "luma(25%)" if dark else "luma(94%)"


def _code_size(style: Style) -> float:
    return 0.8 if style.columns > 1 else 0.88


def _flag(value: bool) -> str:
    return "true" if value else "false"
