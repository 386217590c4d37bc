"""What is written of a page, against markdown-it as an independent reader of Markdown."""

from __future__ import annotations

import re

from hypothesis import example, given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from typeset_pages import STYLE, document, page, paragraph
from vary.datagen.text.answers import line_text, markdown, paragraph_text
from vary.datagen.text.content import Block, Document, Marginals, Span, body_pieces, spans
from vary.datagen.text.matching import Matcher, PrintedLine, PrintedPage


def printed(document: Document) -> PrintedPage:
    """A page that has every piece of a document, each on a line of its own."""
    lines = [
        PrintedLine(
            piece, 0, len(piece.text), False, "body", (20, 50 + 16 * n, 90, 58 + 16 * n), (50, 58), ()
        )
        for n, piece in enumerate(body_pieces(document))
    ]
    return PrintedPage(200, 300, 1, tuple(lines))


def shown(text: str) -> str:
    """The text that a reader of Markdown shows, blanks as one."""
    html = MarkdownIt("commonmark").enable("table").render(text)
    html = re.sub(r"<[^>]+>", " ", html)
    for name, character in (("&lt;", "<"), ("&gt;", ">"), ("&quot;", '"'), ("&amp;", "&")):
        html = html.replace(name, character)
    return "".join(html.split())


def test_lines_are_joined_and_hyphens_undone() -> None:
    made = Document(
        *("plain", "en", STYLE, (paragraph("a wonderful day"), paragraph("next"))),
        header=Marginals(right="9"),
    )
    matched = Matcher(made).match(page((20, "9"), (50, "a won-"), (66, "derful day"), (82, "next")))
    assert paragraph_text(matched, made, marginals=True) == "9\na wonderful day\nnext"
    assert paragraph_text(matched, made, marginals=False) == "a wonderful day\nnext"
    assert line_text(matched, made, marginals=False) == "a won-\nderful day\nnext"


def test_a_word_broken_at_the_end_of_the_page_stays_broken() -> None:
    made = document(paragraph("a wonderful day"))
    matcher = Matcher(made)
    first, second = matcher.match(page((50, "a won-"))), matcher.match(page((50, "derful day")))
    assert paragraph_text(first, made, marginals=True) == "a won-"
    assert paragraph_text(second, made, marginals=True) == "derful day"
    assert markdown(second, made, marginals=True) == "derful day"


def test_every_kind_of_block_as_text_and_as_markdown() -> None:
    made = document(
        Block("heading", (spans("Title"),), level=1),
        Block("item", (spans("•"), spans("first"))),
        Block("item", (spans("2."), spans("second")), level=1),
        Block("code", (spans("def f():"), (), spans("    return 1"))),
        Block("table", tuple(spans(cell) for cell in ("a", "b|c", "1", "2")), level=2),
        Block("quote", (spans("said"),)),
        Block("field", (spans("Name:"), spans("Ann"))),
        Block("verse", (spans("one,"), spans("two."))),
        Block("paragraph", ((Span("so "), Span("bold", "strong"), Span(" and "), Span("x_y", "code")),)),
    )
    assert paragraph_text(printed(made), made, marginals=True) == (
        "Title\n• first\n2. second\ndef f():\n\n    return 1\na b|c\n1 2\n"
        "said\nName: Ann\none,\ntwo.\nso bold and x_y"
    )
    assert markdown(printed(made), made, marginals=True) == (
        "# Title\n\n- first\n   2. second\n\n```\ndef f():\n\n    return 1\n```\n\n"
        "| a | b\\|c |\n| --- | --- |\n| 1 | 2 |\n\n> said\n\nName: Ann\n\n"
        "one,\\\ntwo.\n\nso **bold** and `x_y`"
    )


words = st.text(
    st.sampled_from(list("ab1 *_`#<>&[]()!~|\\.-+=:/中文，"))
    | st.characters(codec="ascii", min_codepoint=33),
    min_size=1,
    max_size=30,
).map(lambda text: " ".join(text.split()))


@given(words.filter(bool))
@example("__0__")
def test_a_paragraph_shows_its_text_whatever_it_is(text: str) -> None:
    made = document(paragraph(text))
    written = markdown(printed(made), made, marginals=True)
    tokens = MarkdownIt("commonmark").enable("table").parse(written)
    assert [token.type for token in tokens] == ["paragraph_open", "inline", "paragraph_close"], written
    assert shown(written) == "".join(text.split()), written
    assert not [
        child.type for child in tokens[1].children or [] if child.type not in ("text", "text_special", "html")
    ]


@given(st.lists(words.filter(bool), min_size=4, max_size=4))
def test_a_table_keeps_its_cells(cells: list[str]) -> None:
    made = document(Block("table", tuple(spans(cell) for cell in cells), level=2))
    tokens = MarkdownIt("commonmark").enable("table").parse(markdown(printed(made), made, marginals=True))
    assert sum(token.type in ("td_open", "th_open") for token in tokens) == 4
