"""What a file is, by its first bytes; its name is never asked."""

from __future__ import annotations

from enum import StrEnum

__all__ = ["HEAD_BYTES", "SUPPORTED", "SUPPORTED_SUFFIXES", "FileType", "describe", "sniff"]

HEAD_BYTES = 4096
"""How many bytes ``sniff`` and ``describe`` want to see."""

_PDF_HEADER_WITHIN = 1024  # PDF readers accept other bytes before the header; this far, by convention


class FileType(StrEnum):
    """The readable kinds of file; each value but PDF is Pillow's name of the format."""

    PNG = "PNG"
    JPEG = "JPEG"
    WEBP = "WEBP"
    BMP = "BMP"
    TIFF = "TIFF"
    GIF = "GIF"
    PDF = "PDF"


SUPPORTED = "PNG, JPEG, WebP, BMP, TIFF, GIF or PDF"
"""For messages."""

SUPPORTED_SUFFIXES = frozenset(
    {".png", ".jpg", ".jpeg", ".jfif", ".webp", ".bmp", ".dib", ".tif", ".tiff", ".gif", ".pdf"}
)
"""Names with which a file in a folder is meant to be read, even where its content turns out to be broken."""

_MAGIC: tuple[tuple[bytes, FileType], ...] = (
    (b"\x89PNG\r\n\x1a\n", FileType.PNG),
    (b"\xff\xd8\xff", FileType.JPEG),
    (b"GIF87a", FileType.GIF),
    (b"GIF89a", FileType.GIF),
    (b"II*\x00", FileType.TIFF),
    (b"MM\x00*", FileType.TIFF),
    (b"II+\x00", FileType.TIFF),
    (b"MM\x00+", FileType.TIFF),
)

_BMP_HEADER_SIZES = frozenset({12, 16, 40, 52, 56, 64, 108, 124})

_OTHERS: tuple[tuple[bytes, str], ...] = (
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an old Microsoft Office document"),
    (b"PK\x05\x06", "an empty ZIP archive"),
    (b"{\\rtf", "an RTF document"),
    (b"%!PS", "a PostScript document"),
    (b"AT&TFORM", "a DjVu document"),
    (b"\x00\x00\x00\x0cjP  ", "a JPEG 2000 image"),
    (b"\xff\x4f\xff\x51", "a JPEG 2000 image"),
    (b"\xff\x0a", "a JPEG XL image"),
    (b"\x00\x00\x00\x0cJXL ", "a JPEG XL image"),
    (b"8BPS", "a Photoshop image"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive"),
    (b"Rar!", "a RAR archive"),
    (b"version https://git-lfs", "a Git LFS pointer instead of the file itself"),
)

_IN_ZIP: tuple[tuple[bytes, str], ...] = (
    (b"word/", "a Word document (.docx)"),
    (b"xl/", "an Excel workbook (.xlsx)"),
    (b"ppt/", "a PowerPoint presentation (.pptx)"),
    (b"application/epub+zip", "an EPUB book"),
    (b"application/vnd.oasis.opendocument", "an OpenDocument file"),
    (b"[Content_Types].xml", "a Microsoft Office document"),
)


def sniff(head: bytes) -> FileType | None:
    """The kind of a file that begins with ``head`` (``HEAD_BYTES`` of it), or None where vary does not read
    it.
    """
    for magic, kind in _MAGIC:
        if head.startswith(magic):
            return kind
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return FileType.WEBP
    if head[:2] == b"BM" and int.from_bytes(head[14:18], "little") in _BMP_HEADER_SIZES:
        return FileType.BMP
    if b"%PDF-" in head[:_PDF_HEADER_WITHIN]:
        return FileType.PDF
    return None


def describe(head: bytes) -> str:
    """What an unreadable file seems to be, for a message: ``a Word document (.docx)``."""
    for magic, name in _OTHERS:
        if head.startswith(magic):
            return name
    if head.startswith(b"PK\x03\x04"):
        return next((name for magic, name in _IN_ZIP if magic in head), "a ZIP archive")
    if head[4:8] == b"ftyp":
        brand = head[8:12].decode("latin-1").strip()
        return {"heic": "a HEIC image", "mif1": "a HEIC image", "avif": "an AVIF image"}.get(
            brand, f"a media file of type {brand!r}"
        )
    if _is_text(head):
        start = head.lstrip(b"\xef\xbb\xbf \t\r\n")[:256].lower()
        if b"<svg" in start:
            return "an SVG drawing"
        if start.startswith((b"<!doctype html", b"<html")):
            return "an HTML page"
        return "an XML file" if start.startswith(b"<?xml") else "plain text"
    return f"an unknown type of file (it begins with {head[:8].hex(' ')})"


def _is_text(head: bytes) -> bool:
    if b"\x00" in head:
        return False
    try:
        head[: len(head) - 3].decode()  # the last character may be cut
    except UnicodeDecodeError:
        return False
    return True
