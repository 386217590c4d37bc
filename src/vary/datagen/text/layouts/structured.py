"""Layouts of structured pages: lists, figures, code, forms, contents, tables, dictionary, index, slides."""

from __future__ import annotations

from vary.datagen.text.content import Document, Marginals, spans
from vary.datagen.text.layouts.code import code_lines
from vary.datagen.text.layouts.draft import Draft
from vary.datagen.text.layouts.prose import bullets, picture

__all__ = [
    "code",
    "contents",
    "dictionary",
    "figures",
    "form",
    "index",
    "lists",
    "questions",
    "slides",
    "table",
    "title_page",
]


def lists(draft: Draft) -> Document:
    """Bulleted and numbered lists, nested, each under a heading and a sentence."""
    draft.heading(draft.author.title(8), 1)
    while not draft.full:
        draft.heading(draft.author.title(6), 2)
        if draft.chance(0.7):
            draft.paragraph(40, 260)
        bullets(draft, 3 + draft.below(6))
    return draft.document("lists", footer=draft.page_number() if draft.chance(0.6) else Marginals())


def figures(draft: Draft) -> Document:
    """Running text around drawings with captions."""
    if draft.chance(0.25):
        draft.restyle(columns=2, size=min(draft.style.size, 11.0))
    if draft.chance(0.6):
        draft.heading(draft.author.title(7), 2)
    while not draft.full:
        for _ in range(1 + draft.below(3)):
            draft.paragraph(80, 600)
        picture(draft)
    return draft.document("figures", footer=draft.page_number(), first_page=1 + draft.below(200))


def code(draft: Draft) -> Document:
    """A manual: sentences and listings of a program, a configuration file or a shell."""
    draft.heading(draft.author.title(7), 1)
    width = int(draft.style.column_width / draft.style.size / 0.66) - 2
    while not draft.full:
        if draft.chance(0.5):
            draft.heading(draft.author.title(5), 2)
        draft.paragraph(40, 350)
        lines = code_lines(draft, max(24, min(width, 88)))
        draft.add("code", *lines, lines=len(lines) + 2)
        if draft.chance(0.3):
            bullets(draft, 2 + draft.below(3))
    return draft.document("code", footer=draft.page_number() if draft.chance(0.6) else Marginals())


_LABELS = (
    ("Name", "姓名"),
    ("Date of birth", "出生日期"),
    ("Address", "地址"),
    ("Telephone", "电话"),
    ("E-mail", "电子邮箱"),
    ("Order No.", "订单编号"),
    ("Department", "部门"),
    ("Amount due", "应付金额"),
    ("Signature", "签名"),
    ("Account", "账号"),
    ("Invoice date", "开票日期"),
    ("Reference", "参考号"),
    ("Nationality", "国籍"),
    ("Occupation", "职业"),
    ("Remarks", "备注"),
    ("Quantity", "数量"),
    ("Unit price", "单价"),
    ("Approved by", "审批人"),
)


def form(draft: Draft) -> Document:
    """Labels with fields, filled in or empty, in sections, and a word of explanation."""
    author = draft.author
    draft.add("heading", author.title(7), level=1, align="center", lines=4)
    if draft.chance(0.5):
        draft.paragraph(30, 200)
    colon = author.say(":", "：")
    section = 0
    while not draft.filled(0.55 + 0.4 * (draft.pages - 1) + 0.3 * draft.rng.random()):
        section += 1
        if draft.chance(0.6):
            draft.heading(f"{section}. {draft.author.title(4)}", 3)
        for _ in range(3 + draft.below(6)):
            author = draft.author
            label = author.say(*_LABELS[draft.below(len(_LABELS))]) + colon
            value = "" if draft.chance(0.3) else _value(draft)
            draft.add("field", label, value, lines=1.6)
        if draft.chance(0.35):
            author = draft.author
            draft.add("field", author.title(5) + colon, author.say("Yes / No", "是 / 否"), lines=1.6)
    if draft.chance(0.5):
        draft.paragraph(30, 250)
    return draft.document("form", footer=draft.page_number() if draft.chance(0.5) else Marginals())


def _value(draft: Draft) -> str:
    author = draft.author
    kinds = (
        author.name,
        author.date,
        author.figure,
        lambda: f"{author.word()} {draft.below(9999)}",
        lambda: author.title(4),
        lambda: f"+{1 + draft.below(98)} {100 + draft.below(899)} {1000 + draft.below(8999)}",
    )
    return kinds[draft.below(len(kinds))]()


def contents(draft: Draft) -> Document:
    """A table of contents: titles of two depths, leaders and page numbers."""
    draft.heading(draft.author.say("Contents", "目录"), 1)
    page = 1 + draft.below(20)
    chapter = 0
    while not draft.full:
        chapter += 1
        draft.add("entry", f"{draft.number(chapter)} {draft.author.title(6)}", str(page), level=0, lines=1.5)
        page += 1 + draft.below(9)
        for section in range(1, 1 + draft.below(6)):
            draft.add("entry", f"{chapter}.{section} {draft.author.title(6)}", str(page), level=1, lines=1.2)
            page += draft.below(7)
    return draft.document("contents", footer=draft.page_number() if draft.chance(0.6) else Marginals())


def table(draft: Draft) -> Document:
    """Tables of figures and words with captions, between paragraphs."""
    if draft.chance(0.6):
        draft.heading(draft.author.title(7), 1)
    number = 0
    while not draft.full:
        draft.paragraph(60, 450)
        author = draft.author
        number += 1
        label = author.say(f"Table {number}: ", f"表 {number} ")
        draft.add("lines", (*spans(label, "strong"), *spans(author.title(8))), align="center")
        rows, columns = 3 + draft.below(8), _columns(draft)
        cells = [
            author.word() if author.language == "zh" else author.word().capitalize() for _ in range(columns)
        ]
        for _ in range(rows):
            cells += [author.title(2) if author.language == "en" else author.word()]
            cells += [author.figure() if draft.chance(0.85) else author.word() for _ in range(columns - 1)]
        draft.add("table", *cells, level=columns, lines=1.5 * (rows + 2))
    return draft.document("table", footer=draft.page_number() if draft.chance(0.6) else Marginals())


def _columns(draft: Draft) -> int:
    most = int(draft.style.column_width / draft.style.size / 7)
    return max(2, min(most, 2 + draft.below(5)))


def dictionary(draft: Draft) -> Document:
    """Head words in bold with explanations, hanging, in two columns."""
    draft.restyle(
        columns=2 if draft.chance(0.75) else 1, size=min(draft.style.size, 10.5), spacing=0.2, indent=0.0
    )
    classes = ("n.", "v.", "adj.", "adv.", "prep.")
    words: list[str] = []
    while not draft.full:
        author = draft.author
        word = author.word()
        words.append(word)
        written = author.sentence(260)
        kind = author.pick(classes) if author.language == "en" else ""
        parts = (
            *spans(word, "strong"),
            *spans(" " + kind, "emphasis" if draft.italic else "") * bool(kind),
            *spans(" " + written.text),
        )
        draft.add("term", parts, source=written.source)
    head = Marginals(left=words[0], right=words[-1])
    return draft.document("dictionary", header=head, footer=Marginals(centre="{page}"), header_rule=True)


def index(draft: Draft) -> Document:
    """The index of a book: words and page numbers in two columns or three."""
    draft.restyle(
        columns=2 + draft.below(2),
        size=min(draft.style.size, 10.0),
        alignment="left",
        indent=0.0,
        spacing=0.0,
    )
    draft.add("heading", draft.author.say("Index", "索引"), level=1, align="left", lines=4)
    while not draft.full:
        author = draft.author
        pages = sorted({1 + draft.below(600) for _ in range(1 + draft.below(5))})
        text = f"{author.title(3) if draft.chance(0.5) else author.word()}, {', '.join(map(str, pages))}"
        draft.add("term", text, lines=1.3)
    return draft.document(
        "index", full_width=1, footer=draft.page_number(), first_page=200 + draft.below(500)
    )


def slides(draft: Draft) -> Document:
    """Slides: large type across, a title and some points on each, or a sentence alone."""
    width = float(draft.rng.choice([720.0, 960.0]))
    height = width * float(draft.rng.choice([0.75, 0.5625]))
    margin = 0.07 * width
    draft.restyle(
        width=width,
        height=round(height, 1),
        margins=(round(0.8 * margin, 1), margin, round(0.8 * margin, 1), margin),
        size=round(width / (36 + draft.below(14)), 1),
        columns=1,
        alignment="left",
        hyphenate=False,
        spacing=0.6,
        indent=0.0,
        heading_scale=1.5,
    )
    for number in range(draft.pages):
        if number:
            draft.add("break", lines=0)
        draft.heading(draft.author.title(7), 2)
        before = draft.lines
        while draft.lines - before < 0.45 * draft.lines_in_page:
            if draft.chance(0.8):
                bullets(draft, 2 + draft.below(2))
            else:
                draft.paragraph(30, 200)
    name = draft.author.title(5)
    return draft.document("slides", footer=Marginals(left=name, right="{page}"))


def title_page(draft: Draft) -> Document:
    """A title page: title, subtitle, author, place and year, centred."""
    author = draft.author
    draft.add("lines", author.caps(author.title(4)), align="center", lines=6)
    draft.add("heading", author.caps(author.title(9)), level=1, align="center", lines=8)
    if draft.chance(0.6):
        draft.add("heading", author.title(8), level=3, align="center", lines=4)
    draft.add("lines", author.say("by", "著"), author.name(), align="center", lines=5)
    if draft.chance(0.6):
        draft.paragraph(60, 220, kind="quote")
    publisher = author.say(f"{author.name()} & Sons", f"{author.word()}出版社")
    draft.add(
        "lines",
        author.say(author.word().capitalize(), author.word()),
        publisher,
        author.date(),
        align="center",
    )
    draft.pages = 1
    return draft.document("title page")


def questions(draft: Draft) -> Document:
    """Questions and answers, or an examination with choices."""
    draft.heading(draft.author.title(7), 1)
    number = 0
    while not draft.full:
        author = draft.author
        number += 1
        written = author.sentence(160)
        draft.add("paragraph", spans(f"{number}. ") + spans(written.text), source=written.source)
        if draft.chance(0.5):
            for letter in "ABCD"[: 2 + draft.below(3)]:
                draft.add("item", f"{letter}.", author.title(6), level=1)
        else:
            answer = author.paragraph(40, 260)
            draft.add(
                "paragraph",
                (*spans(author.say("A: ", "答："), "strong"), *spans(answer.text)),
                source=answer.source,
            )
    return draft.document("questions", footer=draft.page_number() if draft.chance(0.6) else Marginals())
