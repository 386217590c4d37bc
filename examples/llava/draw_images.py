"""Draws the images of conversations.json: `python examples/llava/draw_images.py`."""

from __future__ import annotations

from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

LATIN = "DejaVuSans.ttf"  # Debian's package fonts-dejavu-core
CHINESE = "LXGWWenKai-Regular.ttf"  # Debian's package fonts-lxgw-wenkai
INK = "#202020"


def main() -> None:
    folder = Path(__file__).parent
    for name, draw in (("note", note), ("sign", sign), ("chart", chart), ("shapes", shapes)):
        draw().quantize(32, dither=Image.Dither.NONE).save(folder / f"{name}.png", optimize=True)


def note() -> Image.Image:
    image, pen = _paper(440, 220)
    pen.text((30, 24), "Shopping for Friday", INK, ImageFont.truetype(LATIN, 24))
    for row, line in enumerate(("- 6 lemons", "- 250 g butter", "- flour, if there is none left")):
        pen.text((30, 78 + 38 * row), line, INK, ImageFont.truetype(LATIN, 19))
    return image


def sign() -> Image.Image:
    image, pen = _paper(420, 200, "#155a3c")
    pen.rectangle((8, 8, 411, 191), outline="white", width=3)
    pen.text((210, 66), "图书馆", "white", ImageFont.truetype(CHINESE, 54), anchor="mm")
    pen.text((210, 142), "周一至周六 9:00–18:00", "white", ImageFont.truetype(CHINESE, 30), anchor="mm")
    return image


def chart() -> Image.Image:
    image, pen = _paper(460, 300)
    font = ImageFont.truetype(LATIN, 17)
    pen.text((230, 26), "Visitors", INK, ImageFont.truetype(LATIN, 21), anchor="mm")
    for place, (day, visitors) in enumerate((("Mon", 40), ("Tue", 65), ("Wed", 90), ("Thu", 55))):
        left = 60 + 95 * place
        pen.rectangle((left, 250 - 2 * visitors, left + 60, 250), fill="#3b6fb6")
        pen.text((left + 30, 236 - 2 * visitors), str(visitors), INK, font, anchor="mm")
        pen.text((left + 30, 270), day, INK, font, anchor="mm")
    pen.line((40, 250, 430, 250), fill=INK, width=2)
    return image


def shapes() -> Image.Image:
    image, pen = _paper(500, 400, "#f4efe2")
    pen.ellipse((50, 40, 200, 190), fill="#c0392b")
    pen.rectangle((250, 100, 400, 300), fill="#2e8b57")
    pen.polygon(((90, 360), (160, 240), (230, 360)), fill="#2c5aa0")
    return image


def _paper(width: int, height: int, colour: str = "white") -> tuple[Image.Image, ImageDraw.ImageDraw]:
    image = Image.new("RGB", (width, height), colour)
    return image, ImageDraw.Draw(image)


if __name__ == "__main__":
    main()
