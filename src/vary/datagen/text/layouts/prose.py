"""Layouts of running text: article, paper in columns, newspaper, book, footnotes, letter, poem, dialogue."""

from __future__ import annotations

import re

from vary.datagen.text.content import Document, Marginals, Span, spans
from vary.datagen.text.layouts.draft import Draft

__all__ = ["article", "book", "dialogue", "footnotes", "letter", "newspaper", "paper", "plain_text", "poem"]


def plain_text(draft: Draft) -> Document:
    """Nothing but paragraphs, in one column or two."""
    if draft.chance(0.2):
        draft.restyle(columns=2)
    high = 250 + draft.below(800)
    while not draft.full:
        draft.paragraph(40, high)
    footer = draft.page_number() if draft.chance(0.5) else Marginals()
    return draft.document("plain", footer=footer, first_page=1 + draft.below(400))


def article(draft: Draft) -> Document:
    """A title, its author, numbered or plain headings of two depths, paragraphs, a quotation or a list."""
    author = draft.author
    draft.heading(author.title(10), 1)
    if draft.chance(0.7):
        draft.add("lines", author.name(), align=draft.style.heading_align)
    numbered = draft.chance(0.5)
    section = 0
    while not draft.full:
        section += 1
        number = f"{draft.number(section)}{draft.author.say('. ', '、')}" if numbered else ""
        draft.heading(number + draft.author.title(), 2)
        for part in range(1 + draft.below(3)):
            if part and draft.chance(0.35):
                draft.heading((f"{section}.{part} " if numbered else "") + draft.author.title(6), 3)
            for _ in range(1 + draft.below(3)):
                draft.paragraph(80, 650)
            if draft.chance(0.15):
                draft.paragraph(60, 260, kind="quote")
            if draft.chance(0.2):
                bullets(draft, 2 + draft.below(4))
    title = draft.author.title(6)
    header = Marginals(left=title, right="{page}") if draft.chance(0.4) else Marginals()
    footer = draft.page_number() if not header.left and draft.chance(0.7) else Marginals()
    return draft.document(
        "article", header=header, footer=footer, header_rule=draft.chance(0.5), first_page=1 + draft.below(30)
    )


def bullets(draft: Draft, count: int, level: int = 0, *, ordered: bool | None = None) -> None:
    """A list of short paragraphs, some with a list of their own inside."""
    ordered = draft.chance(0.4) if ordered is None else ordered
    marker = draft.printable("•–*▪◦-·")
    form = draft.below(3)
    for number in range(1, count + 1):
        author = draft.author
        if ordered:
            letter = chr(96 + min(number, 26))
            marker = (f"{number}.", f"({number})", f"{letter})")[form]
        written = author.sentence(140 if draft.chance(0.8) else 300)
        draft.add("item", marker, draft.marked(written, author, 0.1), level=level, source=written.source)
        if level < 2 and draft.chance(0.15):
            bullets(draft, 2 + draft.below(2), level + 1)


def paper(draft: Draft) -> Document:
    """A paper in two columns under a title, authors and an abstract that go across both."""
    draft.restyle(columns=2, alignment="justify", size=min(draft.style.size, 11.0), heading_align="left")
    author = draft.author
    draft.add("heading", author.title(10), level=1, align="center", lines=6)
    draft.add(
        "lines", author.say(", ", "，").join(author.name() for _ in range(1 + draft.below(4))), align="center"
    )
    full_width = 2
    if draft.chance(0.6):
        draft.add("heading", author.say("Abstract", "摘要"), level=3, align="center", lines=2)
        draft.paragraph(200, 700, lines=8)
        full_width = 4
    section = 0
    while not draft.full:
        section += 1
        draft.heading(f"{section} {draft.author.title(5)}", 2)
        for _ in range(2 + draft.below(4)):
            draft.paragraph(100, 700)
        if draft.chance(0.3):
            bullets(draft, 2 + draft.below(3), ordered=False)
    header = Marginals(left=author.title(6), right=author.date()) if draft.chance(0.35) else Marginals()
    return draft.document(
        "two columns",
        full_width=full_width,
        header=header,
        footer=draft.page_number() if draft.chance(0.7) else Marginals(),
        first_page=1 + draft.below(900),
    )


def newspaper(draft: Draft) -> Document:
    """A masthead over three columns or four of short reports with headlines and bylines."""
    columns = 3 if draft.style.width < 560 or draft.chance(0.7) else 4
    draft.restyle(
        columns=columns,
        alignment="justify",
        size=min(draft.style.size, 9.5),
        gutter=min(draft.style.gutter, 16.0),
        heading_align="left",
        spacing=0.0,
        indent=2.0 if draft.language != "en" else 1.0,
    )
    author = draft.author
    name = (
        author.pick(("Daily", "Evening", "Morning", "Weekly"))
        + " "
        + author.pick(("Herald", "Post", "Times"))
    )
    draft.add("heading", author.say(name, author.word() + "日报"), level=1, align="center", lines=6)
    draft.add("lines", f"{author.date()} {author.say('No.', '第')} {1 + draft.below(9000)}", align="center")
    draft.add("rule", lines=1)
    while not draft.full:
        author = draft.author
        draft.heading(author.caps(author.title(6)), 2)
        if draft.chance(0.6):
            draft.add("lines", author.say("By ", "记者 ") + author.name(), align="left")
        if draft.chance(0.15):
            picture(draft)
        for _ in range(2 + draft.below(3)):
            draft.paragraph(60, 420)
    return draft.document(
        "newspaper", full_width=3, footer=draft.page_number(), first_page=1 + draft.below(40)
    )


def picture(draft: Draft) -> None:
    """A drawing with a numbered caption."""
    author = draft.author
    written = author.sentence(110)
    label = author.say(f"Figure {1 + draft.below(30)}: ", f"图 {1 + draft.below(30)} ")
    draft.add(
        "figure",
        (*spans(label, "strong" if draft.chance(0.4) else ""), *spans(written.text)),
        level=draft.below(10_000),
        source=written.source,
        lines=8,
    )


def book(draft: Draft) -> Document:
    """Pages of a book: running heads that differ left and right, page numbers, indented paragraphs."""
    wide = draft.language != "en"
    draft.restyle(alignment="justify", spacing=0.0, indent=2.0 if wide else 1.5, hyphenate=draft.chance(0.8))
    author = draft.author
    if draft.chance(0.6):
        chapter = 1 + draft.below(30)
        draft.add(
            "heading", author.say(f"Chapter {chapter}", f"第{chapter}章"), level=2, align="center", lines=3
        )
        if draft.chance(0.7):
            draft.add("heading", author.title(6), level=1, align="center", lines=4)
    while not draft.full:
        draft.paragraph(100, 1100)
        if draft.chance(0.03):
            draft.add("lines", "* * *", align="center")
    title, part = author.caps(author.title(5)), author.title(5)
    outer = draft.chance(0.5)
    left = Marginals(left="{page}", centre=title) if outer else Marginals(centre=title)
    right = Marginals(centre=part, right="{page}") if outer else Marginals(centre=part)
    return draft.document(
        "book",
        header=right,
        header_even=left,
        footer=Marginals() if outer else Marginals(centre="{page}"),
        header_rule=draft.chance(0.3),
        first_page=1 + draft.below(600),
    )


def footnotes(draft: Draft) -> Document:
    """Scholarly prose with raised numbers and their notes at the foot of the page."""
    if draft.chance(0.6):
        draft.heading(draft.author.title(8), 1)
    number = 0
    while not draft.full:
        author = draft.author
        written = author.paragraph(150, 700)
        body = spans(written.text)
        if draft.chance(0.65):
            number += 1
            cut = _end_of_a_word(written.text, draft)
            body = (
                *spans(written.text[:cut]),
                Span(str(number), "mark"),
                *spans(written.text[cut:]),
            )
            draft.notes[number] = spans(author.sentence(130).text)
            draft.lines += 1.5
        draft.add("paragraph", body, source=written.source)
        if draft.chance(0.1):
            draft.heading(draft.author.title(6), 2)
    return draft.document("footnotes", footer=draft.page_number(), first_page=1 + draft.below(300))


def _end_of_a_word(text: str, draft: Draft) -> int:
    """Where a note's number may stand: behind a mark or a word."""
    places = [found.end() for found in re.finditer(r"[.,;:](?= )|[。，；]|\w(?=[ ])", text)]
    return places[draft.below(len(places))] if places else len(text)


def letter(draft: Draft) -> Document:
    """Sender, date, receiver, salutation, some paragraphs, closing and name."""
    author = draft.author
    right = author.pick(("right", "left"))
    street = f"{1 + draft.below(200)} {author.word().capitalize()} {author.pick(('Street', 'Road', 'Lane'))}"
    place = author.say(street, f"{author.word()}路{1 + draft.below(200)}号")
    draft.add(
        "lines",
        author.name(),
        place,
        f"{10000 + draft.below(89999)} {author.word().capitalize()}",
        align=right,
    )
    draft.add("lines", author.date(), align=right)
    draft.add(
        "lines", author.name(), author.say(f"{author.word().capitalize()} & Co.", f"{author.word()}公司")
    )
    if draft.chance(0.6):
        draft.add("lines", spans(author.say("Re: ", "事由：") + author.title(7), "strong"))
    draft.add("paragraph", author.say(f"Dear {author.name()},", f"尊敬的{author.name()}："))
    while not draft.filled(0.7 + 0.2 * draft.pages - 0.2):
        draft.paragraph(80, 500)
    draft.add(
        "paragraph",
        author.say(author.pick(("Yours sincerely,", "Kind regards,", "Yours truly,")), "此致敬礼"),
    )
    draft.add("lines", author.name(), align=author.pick(("left", "right")))
    if draft.chance(0.4):
        draft.add("paragraph", author.say("P.S. ", "附：") + author.sentence(120).text)
    return draft.document("letter", footer=Marginals())


def poem(draft: Draft) -> Document:
    """Poems: titles, poets, stanzas whose lines are not filled, left or centred."""
    align = "center" if draft.chance(0.4) else "left"
    limit = int(min(46, draft.characters_in_line * 0.8))
    while not draft.full:
        author = draft.author
        draft.add("heading", author.title(5), level=2, align=align, lines=3)
        if draft.chance(0.5):
            draft.add("lines", author.name(), align=align)
        for _ in range(1 + draft.below(4)):
            lines = [_verse(draft, limit) for _ in range(draft.below(5) + 2)]
            draft.add("verse", *lines, align=align)
    return draft.document("poem", footer=draft.page_number() if draft.chance(0.6) else Marginals())


def _verse(draft: Draft, limit: int) -> str:
    """A line of a poem: a clause, cut after a word where it is too long."""
    author = draft.author
    text = author.paragraph(20, 200).text
    if author.language == "zh":
        parts = [part for part in re.split(r"(?<=[，。！？；])", text) if part]
        line = parts[draft.below(len(parts))]
        return line[: max(4, limit // 2)]
    words = text.split(" ")
    line = ""
    for word in words[draft.below(max(1, len(words) - 6)) :]:
        if len(line) + len(word) + 1 > max(12, limit):
            break
        line = f"{line} {word}".strip()
    return line or author.word()


def dialogue(draft: Draft) -> Document:
    """A play: speakers in bold or capitals, their lines, stage directions in italics."""
    if draft.chance(0.7):
        draft.heading(draft.author.title(6), 1)
    form = draft.below(3)
    people = [draft.author.name() for _ in range(2 + draft.below(4))]
    while not draft.full:
        author = draft.author
        who = people[draft.below(len(people))]
        who = who.upper() if form == 1 else who
        written = author.paragraph(15, 350)
        mark = author.say(": ", "：") if form < 2 else author.say(". ", " ")
        name = spans(who + mark.rstrip(), "strong") if form != 1 else spans(who + mark.rstrip())
        gap = spans(mark[len(mark.rstrip()) :])
        draft.add("term", (*name, *gap, *spans(written.text)), source=written.source)
        if draft.chance(0.12):
            text = f"({author.sentence(60).text.strip('().')})"
            draft.add("paragraph", spans(text, "emphasis" if draft.italic else ""), align="center")
    return draft.document("dialogue", footer=draft.page_number() if draft.chance(0.7) else Marginals())
