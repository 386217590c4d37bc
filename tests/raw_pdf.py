"""PDF files written byte by byte, so that a test knows what stands in them; and files typeset by Typst."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

__all__ = ["RawPage", "raw_pdf", "text_lines", "typeset"]


@dataclass(frozen=True)
class RawPage:
    """A page: its content stream, and the keys that differ from a plain one of 300 x 400 points.

    Fonts: `/F1` Helvetica; `/F2` Helvetica whose characters are all said to be in the private use area;
    `/F3` one whose glyphs have no characters.  `/Im` is an image of gray stripes.
    """

    content: str
    rotate: int = 0
    media_box: str = "0 0 300 400"
    crop_box: str | None = None


def text_lines(
    lines: Sequence[str],
    *,
    x: float = 30,
    y: float = 360,
    size: float = 10,
    before: str = "",
    font: str = "F1",
) -> str:
    """A content stream of lines below each other; `before` are operators that come first."""
    shown = "".join(f"({_escaped(line)}) Tj 0 {-1.3 * size:g} Td\n" for line in lines)
    return f"{before} BT /{font} {size:g} Tf {x:g} {y:g} Td\n{shown}ET\n"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("(", "\\(").replace(")", "\\)")


def raw_pdf(pages: Sequence[RawPage]) -> bytes:
    """The bytes of a PDF file."""
    objects: dict[int, bytes] = {1: b"<< /Type /Catalog /Pages 2 0 R >>"}
    objects[3] = b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>"
    objects[4] = (
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding /ToUnicode 5 0 R >>"
    )
    objects[5] = _stream(
        b"/CIDInit /ProcSet findresource begin 12 dict begin begincmap /CMapName /X def\n"
        b"1 begincodespacerange <00> <FF> endcodespacerange\n"
        b"1 beginbfrange <20> <7E> <E020> endbfrange\nendcmap end end"
    )
    stripes = bytes(255 if row // 4 % 2 else 120 for row in range(64) for _ in range(64))
    objects[6] = _stream(
        stripes,
        b"/Type /XObject /Subtype /Image /Width 64 /Height 64 /ColorSpace /DeviceGray /BitsPerComponent 8",
    )
    objects[7] = (
        b"<< /Type /Font /Subtype /Type0 /BaseFont /Nothing /Encoding /Identity-H /DescendantFonts [ << "
        b"/Type /Font /Subtype /CIDFontType2 /BaseFont /Nothing /CIDSystemInfo << "
        b"/Registry (Adobe) /Ordering (Identity) /Supplement 0 >> /FontDescriptor << "
        b"/Type /FontDescriptor /FontName /Nothing /Flags 4 /FontBBox "
        b"[0 0 1000 1000] /ItalicAngle 0 /Ascent 800 /Descent -200 /CapHeight 700 /StemV 80 >> >> ] >>"
    )
    kids = []
    for number, page in enumerate(pages):
        own = 10 + 2 * number
        kids.append(f"{own} 0 R")
        crop = f"/CropBox [{page.crop_box}]" if page.crop_box else ""
        objects[own] = (
            f"<< /Type /Page /Parent 2 0 R /MediaBox [{page.media_box}] {crop} /Rotate {page.rotate} "
            f"/Contents {own + 1} 0 R /Resources << /Font << /F1 3 0 R /F2 4 0 R /F3 7 0 R >> "
            "/XObject << /Im 6 0 R >> >> >>"
        ).encode()
        objects[own + 1] = _stream(page.content.encode("cp1252"))
    objects[2] = f"<< /Type /Pages /Count {len(pages)} /Kids [{' '.join(kids)}] >>".encode()
    return _assembled(objects)


def _stream(data: bytes, keys: bytes = b"") -> bytes:
    packed = zlib.compress(data)
    head = b"<< " + keys + b" /Filter /FlateDecode /Length " + str(len(packed)).encode() + b" >>"
    return head + b"\nstream\n" + packed + b"\nendstream"


def _assembled(objects: dict[int, bytes]) -> bytes:
    out = bytearray(b"%PDF-1.7\n")
    places = {}
    for number, body in sorted(objects.items()):
        places[number] = len(out)
        out += f"{number} 0 obj\n".encode() + body + b"\nendobj\n"
    start = len(out)
    size = max(objects) + 1
    out += f"xref\n0 {size}\n0000000000 65535 f \n".encode()
    for number in range(1, size):
        used = number in places
        out += f"{places.get(number, 0):010d} {0 if used else 65535:05d} {'n' if used else 'f'} \n".encode()
    out += f"trailer\n<< /Size {size} /Root 1 0 R >>\nstartxref\n{start}\n%%EOF\n".encode()
    return bytes(out)


def typeset(path: Path, source: str) -> Path:
    """A PDF file that Typst has typeset, with the fonts it brings along."""
    try:
        import typst
    except ImportError as error:  # a test that cannot run fails
        raise AssertionError("Typst is missing: pip install 'vary-toy[synth]'") from error
    path.write_bytes(typst.compile(source.encode(), ignore_system_fonts=True))
    return path
