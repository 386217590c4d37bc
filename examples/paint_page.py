"""Paints page.png, the sample page of the README, and its text, page.txt: `python examples/paint_page.py`."""

from __future__ import annotations

import textwrap
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

FONT = "DejaVuSerif.ttf"  # Debian's package fonts-dejavu-core
SIZE = (1000, 1030)
LEFT, TOP, COLUMNS = 90, 90, 58
HEADING = "How a page is read"
PARAGRAPHS = (
    "A printed page looks still, yet reading it is a walk: the eye finds a block of text, takes its "
    "first line from left to right, drops to the next one and goes on until the block ends. Then it "
    "looks for another.",
    "A program can walk the same way. It turns the page upright, looks for rows of ink, groups rows "
    "that stand together, and cuts each row out as a long, narrow picture. Every picture goes through a "
    "small network, 32 pixels high and as wide as the line, that has learned what letters look like in "
    "60 typefaces or more.",
    "Because no line waits for another, all lines of a page, 4 or 40, are read in the same batch. Each "
    'line keeps its place on the page, so that a reader may ask: "Where does it say so?" (and how sure '
    "is it?).",
    "Prices such as $12.50, dates like 24/07/1998 and words with hyphens, well-known traps, are left as "
    "they stand; nothing is corrected, and what cannot be read is reported.",
)


def main() -> None:
    """Write both files beside this script."""
    page = Image.new("L", SIZE, 255)
    draw = ImageDraw.Draw(page)
    draw.text((LEFT, TOP), HEADING, font=ImageFont.truetype(FONT, 40), fill=0)
    body = ImageFont.truetype(FONT, 26)
    y, blocks = TOP + 90, [HEADING]
    for paragraph in PARAGRAPHS:
        lines = textwrap.wrap(paragraph, COLUMNS, break_on_hyphens=False)
        for line in lines:
            draw.text((LEFT, y), line, font=body, fill=0)
            y += 40
        y += 28
        blocks.append("\n".join(lines))
    folder = Path(__file__).parent
    page.save(folder / "page.png", optimize=True, dpi=(150, 150))
    (folder / "page.txt").write_text("\n\n".join(blocks) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
