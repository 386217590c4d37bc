"""What stands on a sheet, at random: titles, headings, paragraphs, formulas, theorems, lists, tables."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from vary.datagen.formula.phrases import AUTHORS, CAPTIONS, HEADINGS, PROOF, THEOREMS
from vary.datagen.formula.prose import Prose
from vary.datagen.formula.sheet import Sheet
from vary.datagen.formula.spans import Formula, Span, Words
from vary.datagen.formula.style import Style
from vary.datagen.formula.table_drawing import draw_table
from vary.datagen.formula.tables import Table
from vary.datagen.formula.templates import draw_display, draw_inline

__all__ = ["Composer"]

_END_OF_PROOF = Formula(r"\square")


class Composer:
    """Fills a sheet; every draw comes from `rng`."""

    def __init__(self, sheet: Sheet, prose: Prose, style: Style, rng: np.random.Generator) -> None:
        self.sheet, self.prose, self.style, self.rng = sheet, prose, style, rng
        self._numbers = {"section": int(rng.integers(0, 6)), "subsection": 0, "statement": 0}
        self._equation = int(rng.integers(0, 40))
        self._tables = int(rng.integers(0, 9))
        self._templates: list[str] = []

    def compose(self, blocks: int, tables: int) -> None:
        """A document of `blocks` blocks, and `tables` tables after it."""
        kinds: tuple[tuple[float, Callable[[], None]], ...] = (
            (0.40, self._paragraph),
            (0.13, self._derivation),
            (0.12, self._heading),
            (0.11, self._formula),
            (0.09, self._statement),
            (0.07, self._list),
            (0.08, self._captioned_table),
        )
        weights = np.array([weight for weight, _ in kinds])
        if self._chance(0.25):
            self._title()
        while len(self.sheet.blocks) < blocks:
            kinds[int(self.rng.choice(len(kinds), p=weights / weights.sum()))][1]()
        for _ in range(tables):
            self._lone_table()

    # drawing

    def _chance(self, probability: float) -> bool:
        return bool(self.rng.random() < probability)

    def _number(self, low: int, high: int) -> int:
        return int(self.rng.integers(low, high))

    @property
    def _chinese(self) -> bool:
        return self.prose.main == "zh"

    def _add(self, kind: str, source: str, markdown: str, *, keep: bool = False) -> None:
        """A block with what its text and formulas come from."""
        self.sheet.add(
            kind,
            source,
            markdown,
            templates=self._templates,
            origins=self.prose.take_sources(),
            keep=keep,
        )
        self._templates = []

    def _display(self) -> tuple[str, str]:
        name, latex = draw_display(self.prose.grammar())
        self._templates.append(name)
        tag = ""
        if self._chance(self.style.numbered_share):
            self._equation += 1
            section = self._numbers["section"]
            tag = f"{section}.{self._equation}" if self.style.numbered_by_section else str(self._equation)
        return self.sheet.display(latex, tag)

    # the kinds of blocks

    def _title(self) -> None:
        pick, main = self.prose.pick, self.prose.main
        spans: list[Span] = [Words(pick(HEADINGS[main]))]
        if self._chance(0.4):
            spans += [Words("：" if self._chinese else " of "), Formula(draw_inline(self.prose.grammar()))]
        source = rf"{{\centering\LARGE {self.sheet.typeset(spans)}\par}}"
        answer = "# " + self.sheet.delimiters.markdown(spans)
        if self._chance(0.7):
            names = list(dict.fromkeys(pick(AUTHORS[main]) for _ in range(self._number(1, 4))))
            line = ("，" if self._chinese else ", ").join(names)
            source += rf"\vskip 6pt {{\centering {self.sheet.typeset([Words(line)])}\par}}\vskip 4pt "
            answer += f"\n\n{line}"
        self._add("title", source, answer)

    def _heading(self) -> None:
        deep = self._chance(0.4)
        numbers = self._numbers
        if deep:
            numbers["subsection"] += 1
            number = f"{numbers['section']}.{numbers['subsection']}"
        else:
            numbers["section"] += 1
            numbers.update(subsection=0, statement=0)
            number = str(numbers["section"])
            self._equation = 0 if self.style.numbered_by_section else self._equation
        spans: list[Span] = [Words(self.prose.pick(HEADINGS[self.prose.main]))]
        if self._chance(0.1):
            spans += [Words("与 " if self._chinese else " for "), Formula(draw_inline(self.prose.grammar()))]
        size = r"\large" if deep else r"\Large"
        place = r"\centering " if self.style.centred_headings and not deep else r"\noindent\raggedright "
        shown = rf"{number}{self.style.after_number}\quad " if self.style.numbered_headings else ""
        source = rf"\vskip 5pt {{{place}{size}\bfseries {shown}{self.sheet.typeset(spans)}\par}}\vskip 2pt "
        answer = "###" if deep else "##"
        if self.style.numbered_headings:
            answer += f" {number}{self.style.after_number}"
        self._add("heading", source, f"{answer} {self.sheet.delimiters.markdown(spans)}", keep=True)

    def _paragraph(self) -> None:
        spans = self.prose.paragraph(self._number(1, 6))
        self._add("paragraph", self.sheet.typeset(spans), self.sheet.markdown(spans))

    def _derivation(self) -> None:
        """Text, a displayed formula, and text that goes on."""
        before = [*self.prose.paragraph(self._number(1, 3)), Words(" " if not self._chinese else "")]
        spans = [*before, *self.prose.lead()]
        source, answer = self.sheet.typeset(spans), self.sheet.markdown(spans)
        for _ in range(self._number(1, 3)):
            shown, written = self._display()
            spans = self.prose.paragraph(1)
            source += f"\n{shown}\n{self.sheet.typeset(spans)}"
            answer += f"\n\n{written}\n\n{self.sheet.markdown(spans)}"
        self._add("paragraph", source, answer)

    def _formula(self) -> None:
        source, answer = self._display()
        self._add("formula", rf"\noindent {source}", answer)

    def _statement(self) -> None:
        """A theorem or the like, sometimes with its proof."""
        main = self.prose.main
        name = self.prose.pick(THEOREMS[main])
        self._numbers["statement"] += 1
        number = f"{self._numbers['section']}.{self._numbers['statement']}"
        note = f" ({self.prose.pick(HEADINGS[main])})" if self._chance(0.25) else ""
        spans = self.prose.paragraph(self._number(1, 3))
        head = f"{name} {number}"
        shape = r"\itshape " if self.style.italic_statements else ""
        dot = r"\textbf{.}" if not self._chinese else ""
        source = (
            rf"\noindent\textbf{{{head}}}{typeset_note(self.sheet, note)}{dot}\hskip 0.6em "
            rf"{{{shape}{self.sheet.typeset(spans)}"
        )
        stop = "" if self._chinese else "**.**" if note else "."
        bold = f"**{head}**{note}{stop}" if note or self._chinese else f"**{head}.**"
        answer = f"{bold} {self.sheet.delimiters.markdown(spans)}"
        if self._chance(0.4):
            shown, written = self._display()
            source += f"\n{shown}"
            answer += f"\n\n{written}"
        source += r"\par}"
        if self._chance(0.35):
            spans = self.prose.paragraph(self._number(1, 3))
            proof = PROOF[main]
            source += (
                rf"\vskip 3pt \noindent\textit{{{proof}}}\hskip 0.6em {self.sheet.typeset(spans)}"
                rf"\hfill\hbox{{\quad {self.sheet.typeset([_END_OF_PROOF])}}}\par "
            )
            end = self.sheet.delimiters.markdown([_END_OF_PROOF])
            answer += f"\n\n{proof} {self.sheet.delimiters.markdown(spans)} {end}"
        self._add("statement", source, answer)

    def _list(self) -> None:
        numbered, count = self._chance(0.5), self._number(2, 6)
        name = "enumerate" if numbered else "itemize"
        sources, answers = [], []
        for item in range(1, count + 1):
            spans = self.prose.paragraph(1)
            # The braces keep a bracket at its beginning from being the item's label.
            sources.append(rf"\item{{}} {self.sheet.typeset(spans)}")
            answers.append(f"{f'{item}.' if numbered else '-'} {self.sheet.markdown(spans)}")
        body = "\n".join(sources)
        self._add("list", f"\\begin{{{name}}}\n{body}\n\\end{{{name}}}", "\n".join(answers))

    def _captioned_table(self) -> None:
        columns = 4 if self.style.columns == 2 else 6
        table = self._table(columns)
        self.prose.take_sources()
        self._tables += 1
        words = self.prose.filled(self.prose.pick(CAPTIONS[self.prose.main]))
        label = f"表 {self._tables}" if self._chinese else f"Table {self._tables}"
        mark = self.style.after_label if not self._chinese else "　"
        spans = [Words(f"{label}{mark}"), *words]
        small = self.style.table_size
        shown_caption = rf"{{{small}\centering {self.sheet.typeset(spans)}\par}}"
        caption = self.sheet.delimiters.markdown(
            [Words(f"{label} " if self._chinese else f"{label}{mark}"), *words]
        )
        shown, written = self.sheet.table(table)
        shown = rf"{{{small}{self.style.table_stretch}{shown}}}"
        if self._chance(0.6):
            source, answer = rf"{shown_caption}\vskip 6pt {shown}", f"{caption}\n\n{written}"
        else:
            source, answer = rf"{shown}\vskip 6pt {shown_caption}", f"{written}\n\n{caption}"
        source = rf"\vskip 4pt {source}\par\kern 4pt "
        self.sheet.add("table", source, answer, table=table, origins=("made-up",))

    def _lone_table(self) -> None:
        table = self._table(8)
        shown, written = self.sheet.table(table)
        source = rf"{{{self.style.table_size}{self.style.table_stretch}{shown}}}"
        origins = self.prose.take_sources() or ("made-up",)
        self.sheet.add("table", source, written, table=table, origins=origins, alone=True)

    def _table(self, columns: int) -> Table:
        return draw_table(
            self.rng,
            self.prose.language,
            most_columns=columns,
            sentence=self._cell_text,
            shows=self.prose.shows,
        )

    def _cell_text(self, length: int) -> str:
        return self.prose.sentence(self.prose.spoken(), max(20, length))


def typeset_note(sheet: Sheet, note: str) -> str:
    """A theorem's note as source."""
    return sheet.typeset([Words(note)]) if note else ""
