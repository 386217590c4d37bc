"""A page to read, painted with the font that Pillow brings along: the same on every machine."""

from __future__ import annotations

from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

__all__ = ["TEXT", "paint_page"]

WIDTH, HEIGHT, MARGIN, SIZE, LEADING = 1240, 1754, 110, 25, 38
"""A4 at 150 dpi."""
TEXT = """\
Notes on the harbour at Lindhaven

The harbour was dug between 1871 and 1874 by some two hundred workers, most of whom
came from the villages along the river. Its basin is 340 metres long and 95 wide; at low
water it is still four metres deep. Before that, ships had to wait in the open bay for the
tide, and in winter, when the wind blew from the north-east, they often waited for days.

In its first full year 412 ships entered the port. They brought coal, slate, salted fish and,
once a month, letters. What left was mostly timber: planks of pine and spruce, cut in the
three mills above the town and floated down in rafts. A raft of 60 logs needed six men and
about nine hours, if nothing went wrong at the bend below the church.

The storehouse on the east quay is older than the harbour itself. Its walls are of brick, its
roof has been replaced twice, and the date above the door, 1798, was painted there by a
clerk who liked round stories better than records. According to the tax rolls it was built in
1803. Today it holds a small museum, which is open on Saturdays from 10 to 16.

Three things are worth seeing:
1. the tide gauge of 1880, which is read every morning at 7:30;
2. the crane with its treadwheel, restored in 1999 at a cost of 86,500 crowns;
3. the model of the basin, at a scale of 1:200, made by pupils of the town school.

The lighthouse stands outside the wall. It was lit with oil until 1911, then with gas, and
since 1954 with a lamp of 1,000 watts that can be seen 14 sea miles away. Nobody has lived
there since the keeper moved into the town, but the garden behind it is still looked after.

Visitors who come by train should leave it at the second stop. From there it is a walk of
twelve minutes: first along the canal, then across the iron bridge, and down the stairs to
the quay. The last train back leaves at 21:48; on Sundays it leaves an hour earlier.
"""


def paint_page(path: Path) -> str:
    """Paints the page into a file; returns the text that stands on it."""
    page = Image.new("L", (WIDTH, HEIGHT), 255)
    pen, font = ImageDraw.Draw(page), ImageFont.load_default(SIZE)
    for number, line in enumerate(TEXT.splitlines()):
        pen.text((MARGIN, MARGIN + number * LEADING), line, font=font, fill=20)
    page.save(path)
    return TEXT
