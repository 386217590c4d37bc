"""Random tables: heads, labels and columns of numbers, units, percents, dates, words and formulas."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from vary.datagen.formula.grammar import Grammar
from vary.datagen.formula.spans import Formula, Span, Words
from vary.datagen.formula.tables import RULES, Cell, Table
from vary.datagen.formula.templates import draw_inline

__all__ = ["draw_table"]

_HEADS = {
    "en": (
        *("Method", "Model", "Year", "Region", "Sample", "Group", "Total", "Share", "Rate", "Mean", "Error"),
        *("Size", "Cost", "Price", "Date", "Width", "Length", "Score", "Accuracy", "Recall", "Precision"),
        *("Temperature", "Pressure", "Density", "Volume", "Income", "Output", "Growth", "Notes", "Unit"),
        *("Parameters", "Time", "Speed", "Quantity", "Symbol", "Type", "Material", "Status", "Level"),
    ),
    "zh": (
        *("方法", "模型", "年份", "地区", "样本", "组别", "合计", "比例", "速率", "均值", "误差", "规模"),
        *("成本", "价格", "日期", "宽度", "长度", "得分", "准确率", "召回率", "精确率", "温度", "压力"),
        *("密度", "体积", "收入", "产量", "增长率", "备注", "单位", "参数量", "时间", "速度", "数量", "符号"),
        *("类型", "材料", "状态", "等级", "编号", "项目", "名称", "占比"),
    ),
}
_LABELS = {
    "en": (
        *("Baseline", "Ours", "Control", "North", "South", "East", "West", "Alpha", "Beta", "Gamma", "Steel"),
        *("Copper", "Water", "Glass", "Monday", "Spring", "Autumn", "First", "Second", "Total", "Other"),
        *("Train", "Test", "Small", "Medium", "Large", "A1", "A2", "B1", "B2", "Type I", "Type II", "Mean"),
    ),
    "zh": (
        *(
            "基线",
            "本文",
            "对照组",
            "北部",
            "南部",
            "东部",
            "西部",
            "甲",
            "乙",
            "丙",
            "钢",
            "铜",
            "水",
            "玻璃",
        ),
        *(
            "春季",
            "秋季",
            "第一季度",
            "第二季度",
            "第三季度",
            "合计",
            "其他",
            "训练集",
            "测试集",
            "小型",
            "中型",
        ),
        *("大型", "一等", "二等", "上半年", "下半年", "平均", "实验组", "北京", "上海", "广州", "成都"),
    ),
}
_GROUPS = {
    "en": (
        "Train",
        "Test",
        "Year 1",
        "Year 2",
        "Before",
        "After",
        "English",
        "Chinese",
        "Group A",
        "Group B",
    ),
    "zh": ("训练", "测试", "第一年", "第二年", "之前", "之后", "英文", "中文", "甲组", "乙组"),
}
_SIGNS = "$€£¥"
_UNITS = ("kg", "cm", "mm", "km/h", "MB", "ms", "GHz", "kW", "mol/L", "mg", "dB", "h")
_WORDS = {
    "en": ("yes", "no", "high", "low", "medium", "good", "poor", "n/a", "stable", "open", "new", "used"),
    "zh": ("是", "否", "高", "低", "中等", "良好", "较差", "无", "稳定", "开放", "新", "旧"),
}
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")

Column = Callable[[], tuple[Span, ...]]


class _Drawer:
    """The parts of one table; every draw comes from `rng`."""

    def __init__(self, rng: np.random.Generator, language: str, signs: str) -> None:
        self.rng, self.language, self.signs = rng, language, signs
        self.key = "en" if language == "en" else "zh"
        self._used: set[str] = set()

    def number(self, low: int, high: int) -> int:
        return int(self.rng.integers(low, high))

    def chance(self, probability: float) -> bool:
        return bool(self.rng.random() < probability)

    def word(self, lists: Mapping[str, tuple[str, ...]]) -> str:
        """A word of a list, not one that stands in the table already as long as there are others."""
        key = self.key
        if self.language == "mixed" and self.chance(0.3):
            key = "en"
        free = [word for word in lists[key] if word not in self._used] or list(lists[key])
        found = free[self.number(0, len(free))]
        self._used.add(found)
        return found

    def head(self) -> tuple[Span, ...]:
        kind = self.rng.random()
        if kind < 0.1:
            return (Formula(draw_inline(Grammar(self.rng, 1, self.key == "zh"))),)
        text = self.word(_HEADS)
        if kind < 0.25:
            text += f" ({_UNITS[self.number(0, len(_UNITS))]})"
        elif kind < 0.32:
            text += " (%)"
        return (Words(text),)

    def column(self) -> tuple[Column, str]:
        """What fills a column, and its alignment."""
        number, digits = self.number, self.number(0, 4)
        scale = 10 ** self.rng.uniform(0, 5)
        unit = _UNITS[number(0, len(_UNITS))]
        sign = self.signs[number(0, len(self.signs))]

        def value() -> float:
            return float(scale * self.rng.uniform(0.05, 1.0))

        def plain(make: Callable[[], str]) -> Column:
            return lambda: (Words(make()),)

        def formula() -> tuple[Span, ...]:
            return (Formula(draw_inline(Grammar(self.rng, 1, self.key == "zh"))),)

        kinds: tuple[tuple[Column, str], ...] = (
            (plain(lambda: str(number(0, 10 ** number(1, 5)))), "r"),
            (plain(lambda: f"{value():,.0f}"), "r"),
            (plain(lambda: f"{value():.{digits}f}"), "r"),
            (plain(lambda: f"{number(0, 10000) / 100:.{min(digits, 2)}f}"), "c"),
            (plain(lambda: f"{number(0, 1000) / 10}%"), "r"),
            (plain(lambda: f"{sign}{value():,.2f}"), "r"),
            (plain(lambda: f"{value():.{digits % 3}f} {unit}"), "r"),
            (plain(lambda: f"{'+-'[number(0, 2)]}{number(0, 500) / 10}"), "r"),
            (plain(lambda: f"{number(1990, 2030)}-{number(1, 13):02d}-{number(1, 29):02d}"), "c"),
            (plain(lambda: f"{number(1, 29)} {_MONTHS[number(0, 12)]} {number(1950, 2030)}"), "l"),
            (plain(lambda: self._any(_WORDS)), "c"),
            (plain(lambda: self.word(_LABELS)), "l"),
            (lambda: (Formula(rf"{number(0, 1000) / 10}\pm{number(1, 50) / 10}"),), "c"),
            (lambda: (Formula(rf"{number(1, 100) / 10}\times10^{{{number(-9, 10)}}}"),), "c"),
            (formula, "c"),
        )
        return kinds[number(0, len(kinds))]

    def _any(self, lists: Mapping[str, tuple[str, ...]]) -> str:
        found = lists[self.key]
        return found[self.number(0, len(found))]


def draw_table(
    rng: np.random.Generator,
    language: str,
    *,
    most_columns: int = 8,
    sentence: Callable[[int], str] | None = None,
    shows: Callable[[str], bool] | None = None,
) -> Table:
    """A table of 2 to `most_columns` columns and 2 to 12 rows in `en`, `zh` or `mixed`.

    `sentence(length)` gives running text for a last column that is broken into lines; None: there is none.
    `shows` says whether the fonts have a sign of a currency (the dollar's they have).
    """
    drawer = _Drawer(rng, language, "".join(filter(shows, _SIGNS)) if shows else _SIGNS)
    columns, rows = drawer.number(2, most_columns + 1), drawer.number(2, 9) + drawer.number(0, 4)
    rules = RULES[int(rng.choice(len(RULES), p=[0.35, 0.35, 0.2, 0.1]))]
    heads, header_rows = _heads(drawer, columns, rows)
    wrapped = sentence is not None and columns <= 4 and rows <= 7 and drawer.chance(0.15)
    cells = [*heads]
    alignment = "l" if drawer.chance(0.7) else "c"
    first = _first_column(drawer, header_rows, rows)
    cells += first
    for column in range(1, columns):
        fill, side = drawer.column()
        last = wrapped and column == columns - 1
        alignment += "l" if last else ("c" if drawer.chance(0.3) else side)
        for row in range(header_rows, rows):
            cells.append(Cell(row, column, _filled(drawer, fill, sentence if last else None)))
    if drawer.chance(0.3):
        cells = [_bold(cell) if cell.row < header_rows else cell for cell in cells]
    return Table(
        rows=rows,
        columns=columns,
        alignment=alignment,
        rules=rules,
        cells=tuple(sorted(cells, key=lambda cell: (cell.row, cell.column))),
        header_rows=header_rows,
        upright=drawer.chance(0.4),
        width=float(drawer.number(10, 17)) if wrapped else None,
    )


def _filled(drawer: _Drawer, fill: Column, sentence: Callable[[int], str] | None) -> tuple[Span, ...]:
    if sentence is not None:
        return (Words(sentence(drawer.number(20, 70))),)
    if drawer.chance(0.03):
        return (Words("-"),) if drawer.chance(0.6) else ()
    return fill()


def _heads(drawer: _Drawer, columns: int, rows: int) -> tuple[list[Cell], int]:
    """The cells of the head: one row, or two with heads that reach over several columns or both rows."""
    if columns < 3 or rows < 4 or drawer.chance(0.65):
        return [Cell(0, column, drawer.head()) for column in range(columns)], 1
    cells, column = [Cell(0, 0, drawer.head(), rows=2)], 1
    while column < columns:
        width = min(drawer.number(1, 4), columns - column)
        if width == 1:
            cells.append(Cell(0, column, drawer.head(), rows=2))
        else:
            cells.append(Cell(0, column, (Words(drawer.word(_GROUPS)),), columns=width))
            cells += [Cell(1, column + place, drawer.head()) for place in range(width)]
        column += width
    if all(cell.rows == 2 for cell in cells):  # no head over several columns came up
        return [Cell(0, cell.column, cell.spans) for cell in cells], 1
    return cells, 2


def _first_column(drawer: _Drawer, first: int, rows: int) -> list[Cell]:
    """Labels, each of a row, or some of several rows."""
    tall = drawer.chance(0.2)
    numbered = drawer.chance(0.15)
    cells: list[Cell] = []
    row = first
    while row < rows:
        height = min(drawer.number(1, 4), rows - row) if tall else 1
        text = str(row - first + 1) if numbered else drawer.word(_LABELS)
        cells.append(Cell(row, 0, (Words(text),), rows=height))
        row += height
    return cells


def _bold(cell: Cell) -> Cell:
    spans: Sequence[Span] = [
        Words(span.text, bold=True) if isinstance(span, Words) else span for span in cell.spans
    ]
    return Cell(cell.row, cell.column, tuple(spans), cell.rows, cell.columns)
