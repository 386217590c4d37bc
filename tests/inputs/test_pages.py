"""Image files, bytes, PIL images, arrays and folders as pages."""

from __future__ import annotations

import io
import os
import struct
import tempfile
import warnings
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageChops, ImageDraw

from vary.errors import InputError, LimitError
from vary.inputs.pages import (
    InputLimits,
    PageFailure,
    PageImage,
    expand_sources,
    open_pages,
    page_count,
    source_name,
)

WIDTH, HEIGHT = 60, 40
INK = (4, 6, 30, 14)  # left, top, right, bottom (exclusive) of the black mark


def upright() -> Image.Image:
    """A white page with a black mark near its top left corner."""
    image = Image.new("RGB", (WIDTH, HEIGHT), "white")
    ImageDraw.Draw(image).rectangle((INK[0], INK[1], INK[2] - 1, INK[3] - 1), fill="black")
    return image


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def only_page(source: Any, **options: Any) -> PageImage:
    (page,) = open_pages(source, **options)
    assert isinstance(page, PageImage)
    assert page.image.mode == "RGB"
    return page


def ink_box(image: Image.Image, threshold: int = 128) -> tuple[int, int, int, int] | None:
    dark = image.convert("L").point(lambda value: 255 if value < threshold else 0)
    return dark.getbbox()


def message_of(source: Any, **options: Any) -> str:
    with pytest.raises(InputError) as error:
        list(open_pages(source, **options))
    return str(error.value)


@pytest.fixture
def in_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("PNG", {}),
        ("JPEG", {"quality": 95}),
        ("WEBP", {"lossless": True}),
        ("BMP", {}),
        ("TIFF", {}),
        ("TIFF", {"compression": "tiff_lzw"}),
        ("TIFF", {"big_tiff": True}),
        ("GIF", {}),
    ],
)
def test_reads_every_format_whatever_its_name(tmp_path: Path, kind: str, options: dict[str, Any]) -> None:
    content = encoded(upright(), kind, **options)
    path = tmp_path / "a b.c 模型.xyz"
    path.write_bytes(content)
    for source in (path, str(path), content, bytearray(content)):
        page = only_page(source)
        assert ink_box(page.image) == INK
        assert (page.width, page.height, page.index, page.rotation, page.notes) == (WIDTH, HEIGHT, 0, 0, ())
    assert only_page(path).source == str(path)
    assert only_page(content).source == "<bytes>"


def test_all_frames_of_tiff_and_the_first_of_gif() -> None:
    frames = [Image.new("L", (20, 20 + number), 40 * number) for number in range(4)]
    tiff = encoded(frames[0], "TIFF", save_all=True, append_images=frames[1:])
    pages = list(open_pages(tiff))
    assert [(page.index, page.height, page.image.getpixel((0, 0))[0]) for page in pages] == [
        (0, 20, 0),
        (1, 21, 40),
        (2, 22, 80),
        (3, 23, 120),
    ]
    assert page_count(tiff) == 4
    assert [page.index for page in open_pages(tiff, pages="4,2")] == [1, 3]
    moving = [Image.new("L", (20, 20), shade) for shade in (10, 200)]
    for kind in ("GIF", "WEBP", "PNG"):
        animation = encoded(moving[0], kind, save_all=True, append_images=moving[1:])
        assert page_count(animation) == 1
        assert only_page(animation).image.getpixel((5, 5))[0] < 20


def test_thumbnails_inside_tiff_are_not_pages() -> None:
    thumbnail_tag = {254: 1}
    frames = [upright(), upright().resize((30, 20)), upright()]
    buffer = io.BytesIO()
    with Image.new("RGB", (1, 1)) as _:
        from PIL import TiffImagePlugin

        with TiffImagePlugin.AppendingTiffWriter(buffer) as writer:
            for number, frame in enumerate(frames):
                frame.save(writer, "TIFF", tiffinfo=thumbnail_tag if number == 1 else {})
                writer.newFrame()
    assert [page.width for page in open_pages(buffer.getvalue())] == [WIDTH, WIDTH]


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "TIFF", "LZW"])
@pytest.mark.parametrize(
    ("orientation", "stored_by", "rotation", "mirrored"),
    [
        (1, None, 0, False),
        (2, Image.Transpose.FLIP_LEFT_RIGHT, 0, True),
        (3, Image.Transpose.ROTATE_180, 180, False),
        (4, Image.Transpose.FLIP_TOP_BOTTOM, 180, True),
        (5, Image.Transpose.TRANSPOSE, 270, True),
        (6, Image.Transpose.ROTATE_90, 90, False),
        (7, Image.Transpose.TRANSVERSE, 90, True),
        (8, Image.Transpose.ROTATE_270, 270, False),
    ],
)
def test_exif_orientation(
    kind: str, orientation: int, stored_by: Image.Transpose | None, rotation: int, mirrored: bool
) -> None:
    stored = upright() if stored_by is None else upright().transpose(stored_by)
    exif = Image.Exif()
    exif[0x0112] = orientation
    options: dict[str, Any] = {"JPEG": {"quality": 95}, "WEBP": {"lossless": True}}.get(kind, {})
    if kind == "LZW":
        kind, options = "TIFF", {"compression": "tiff_lzw"}
    content = encoded(stored, kind, exif=exif, **options)
    page = only_page(content)
    assert ink_box(page.image) == INK
    assert (page.width, page.height) == (WIDTH, HEIGHT)
    assert (page.rotation, page.mirrored) == (rotation, mirrored)
    assert page.image.getexif().get(0x0112) is None
    # What `rotation` and `mirrored` say leads from the stored image to the page.
    by_hand = stored.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if mirrored else stored
    assert ink_box(by_hand.rotate(-rotation, expand=True)) == INK
    with Image.open(io.BytesIO(content)) as opened:
        assert ink_box(only_page(opened).image) == INK


def test_a_damaged_exif_block_is_noted_not_printed(capfd: pytest.CaptureFixture[str]) -> None:
    content = encoded(upright(), "JPEG", exif=b"Exif\x00\x00II*\x00\x08\x00\x00\x00\xff\xff\x12")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        page = only_page(content)
    assert "EXIF" in " ".join(page.notes)
    assert capfd.readouterr() == ("", "")


def shades() -> np.ndarray:
    """A gray ramp from black to white, left to right."""
    return np.tile(np.linspace(0, 255, 52).round(), (20, 1))


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_16_bit_gray_is_scaled_not_clipped(kind: str) -> None:
    deep = Image.fromarray((shades() * 257).astype(np.uint16))
    assert deep.mode == "I;16"
    page = only_page(encoded(deep, kind))
    np.testing.assert_array_equal(np.asarray(page.image)[:, :, 1], shades())
    np.testing.assert_array_equal(np.asarray(only_page(deep).image)[:, :, 1], shades())


@pytest.mark.parametrize(
    ("mode", "factor"),
    [("I", 1), ("I", 257), ("F", 1), ("F", 1 / 255), ("F", 257)],
)
def test_32_bit_modes_are_scaled(mode: str, factor: float) -> None:
    values = (shades() * factor).astype(np.int32 if mode == "I" else np.float32)
    image = Image.fromarray(values)
    assert image.mode == mode
    for source in (image, encoded(image, "TIFF")):
        np.testing.assert_allclose(np.asarray(only_page(source).image)[:, :, 0], shades(), atol=1)


def test_12_bit_data_in_16_bit_files_is_not_nearly_black() -> None:
    page = only_page(Image.fromarray((shades() * 16).astype(np.uint16)))
    assert np.asarray(page.image).max() > 250


def test_16_bit_white_is_zero() -> None:
    deep = Image.fromarray(((255 - shades()) * 257).astype(np.uint16))
    content = encoded(deep, "TIFF", tiffinfo={262: 0})
    with Image.open(io.BytesIO(content)) as stored:
        assert stored.tag_v2[262] == 0
    np.testing.assert_array_equal(np.asarray(only_page(content).image)[:, :, 0], shades())


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "BMP"])
def test_1_bit(kind: str) -> None:
    assert ink_box(only_page(encoded(upright().convert("1"), kind)).image) == INK


@pytest.mark.parametrize("compression", ["group4", "tiff_adobe_deflate", "jpeg"])
def test_compressed_tiff(compression: str) -> None:
    image = upright().convert("1" if compression == "group4" else "RGB")
    content = encoded(image, "TIFF", compression=compression)
    assert ink_box(only_page(content).image) == INK


def test_palette_with_and_without_transparency() -> None:
    palette = upright().quantize(4)
    assert palette.mode == "P"
    assert ink_box(only_page(encoded(palette, "PNG")).image) == INK
    white = palette.getpixel((0, 0))
    single = encoded(palette, "PNG", transparency=white)
    several = encoded(palette, "PNG", transparency=bytes(0 if index == white else 255 for index in range(4)))
    gif = encoded(palette, "GIF", transparency=white)
    for content in (single, several, gif):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            image = only_page(content).image
        assert ink_box(image) == INK
        assert image.getpixel((0, 0)) == (255, 255, 255)


def with_alpha(image: Image.Image, mode: str) -> Image.Image:
    """The mark of ``image`` on a transparent ground whose hidden colour is black."""
    alpha = ImageChops.invert(image.convert("L"))
    ink = Image.new("L" if mode == "LA" else "RGB", image.size, 0)
    ink.putalpha(alpha)
    assert ink.mode == mode
    return ink


@pytest.mark.parametrize("mode", ["LA", "RGBA"])
def test_transparency_is_white_paper(mode: str) -> None:
    image = with_alpha(upright(), mode)
    for source in (image, encoded(image, "PNG"), encoded(image, "TIFF")):
        page = only_page(source)
        assert ink_box(page.image) == INK
        assert page.image.getpixel((0, 0)) == (255, 255, 255)


def test_half_transparent_black_is_gray() -> None:
    assert only_page(Image.new("RGBA", (20, 20), (0, 0, 0, 51))).image.getpixel((3, 3)) == (204, 204, 204)


def test_white_text_on_a_transparent_ground_can_be_seen() -> None:
    image = Image.new("RGBA", (WIDTH, HEIGHT), (255, 255, 255, 0))
    ImageDraw.Draw(image).rectangle(INK, fill=(255, 255, 255, 255))
    low, high = only_page(image).image.convert("L").getextrema()
    assert (low, high) == (0, 255)


def test_an_alpha_channel_that_was_never_set_hides_nothing() -> None:
    image = upright()
    image.putalpha(0)
    assert ink_box(only_page(image).image) == INK


def test_cmyk() -> None:
    image = upright().convert("CMYK")
    assert ink_box(only_page(encoded(image, "TIFF")).image) == INK
    adobe = encoded(image, "JPEG", quality=95)
    assert b"Adobe" in adobe
    assert ink_box(only_page(adobe).image) == INK
    assert only_page(adobe).image.getpixel((WIDTH - 2, HEIGHT - 2))[0] > 240


def test_cmyk_jpeg_without_adobe_marker_is_not_inverted() -> None:
    inverted = encoded(ImageChops.invert(upright().convert("CMYK")), "JPEG", quality=95)
    start = inverted.index(b"\xff\xee")
    (length,) = struct.unpack(">H", inverted[start + 2 : start + 4])
    plain = inverted[:start] + inverted[start + 2 + length :]
    assert b"Adobe" not in plain
    assert ink_box(only_page(plain).image) == INK


@pytest.mark.parametrize("mode", ["YCbCr", "LAB"])
def test_other_colour_spaces(mode: str) -> None:
    image = (
        upright().convert("YCbCr") if mode == "YCbCr" else Image.merge("LAB", [upright().convert("L")] * 3)
    )
    assert ink_box(only_page(encoded(image, "TIFF")).image) == INK


def test_dpi_is_what_the_file_says() -> None:
    for kind in ("PNG", "JPEG", "TIFF", "BMP"):
        assert only_page(encoded(upright(), kind, dpi=(300, 300))).dpi == pytest.approx(300, rel=1e-3)
    assert only_page(encoded(upright(), "PNG")).dpi is None
    assert only_page(encoded(upright(), "PNG", dpi=(300, 100))).dpi is None
    assert only_page(encoded(upright(), "PNG", dpi=(0, 0))).dpi is None


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int64, np.bool_, np.float32, np.float64])
@pytest.mark.parametrize("shape", ["HW", "HW1", "HW3", "HW4"])
def test_arrays(dtype: Any, shape: str) -> None:
    gray = np.asarray(upright().convert("L"))
    pixels = {"HW": gray, "HW1": gray[:, :, None]}.get(shape, np.repeat(gray[:, :, None], 3, axis=2))
    if shape == "HW4":
        pixels = np.concatenate([pixels, np.full_like(gray, 255)[:, :, None]], axis=2)
    full = {np.uint16: 65535, np.bool_: 1, np.float32: 1, np.float64: 1}.get(dtype, 255)
    array = (pixels / 255 * full).astype(dtype)
    page = only_page(array)
    assert ink_box(page.image) == INK
    assert page.source == "<array>"


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (np.zeros((3, 40, 60), np.uint8), "move the channels to the end"),
        (np.zeros((2, 40, 60, 3), np.uint8), "give the pages one by one"),
        (np.zeros((40,), np.uint8), "not a page"),
        (np.zeros((0, 40), np.uint8), "not a page"),
        (np.zeros((40, 60), np.complex64), "expected uint8, uint16, bool or float"),
    ],
)
def test_refuses_other_arrays(array: np.ndarray, words: str) -> None:
    message = message_of(array)
    assert message.startswith("<array>: ")
    assert words in message


def test_pil_images_are_left_as_they_are() -> None:
    image = with_alpha(upright(), "RGBA")
    before = image.tobytes()
    page = only_page(image)
    assert page.source == "<image>"
    assert (image.mode, image.tobytes()) == ("RGBA", before)
    image.paste("red", (0, 0, WIDTH, HEIGHT))
    assert ink_box(page.image) == INK


def test_pages_outlive_the_file() -> None:
    frames = [Image.new("L", (20, 20), shade) for shade in (0, 100, 200)]
    pages = list(open_pages(encoded(frames[0], "TIFF", save_all=True, append_images=frames[1:])))
    assert [page.image.getpixel((3, 3))[0] for page in pages] == [0, 100, 200]


def open_files_below(folder: Path) -> list[str]:
    names = [
        os.readlink(f"/proc/self/fd/{number}") for number in os.listdir("/proc/self/fd") if _is_link(number)
    ]
    return [name for name in names if name.startswith(str(folder))]


def _is_link(number: str) -> bool:
    return os.path.islink(f"/proc/self/fd/{number}")


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="needs /proc to see open files")
def test_the_file_is_closed_at_the_end_when_closed_early_and_on_errors(tmp_path: Path) -> None:
    frames = [Image.new("L", (20, 20), shade) for shade in (0, 100, 200)]
    path = tmp_path / "scan.tif"
    path.write_bytes(encoded(frames[0], "TIFF", save_all=True, append_images=frames[1:]))
    pages = open_pages(path)
    next(pages)
    assert open_files_below(tmp_path) == [str(path)]
    pages.close()
    assert open_files_below(tmp_path) == []
    list(open_pages(path))
    page_count(path)
    message_of(path, pages="7")
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"\x89PNG\r\n\x1a\n broken")
    message_of(broken)
    assert open_files_below(tmp_path) == []


# What users see


def test_missing_file(in_folder: Path) -> None:
    assert (
        message_of("no such.png")
        == "no such.png: there is no such file; check the name and the current folder"
    )


def test_empty_file(in_folder: Path) -> None:
    Path("empty.png").touch()
    assert message_of("empty.png") == (
        "empty.png: the file is empty (0 bytes), expected PNG, JPEG, WebP, BMP, TIFF, GIF or PDF; "
        "export or copy it again"
    )
    assert message_of(b"").startswith("<bytes>: the file is empty")


def test_one_pixel(in_folder: Path) -> None:
    Image.new("RGB", (1, 1)).save("dot.png")
    assert message_of("dot.png") == (
        "dot.png: 1 x 1 pixels are too small to hold text, expected at least 8 x 8; "
        "give a larger scan of the page"
    )
    assert message_of(np.zeros((1, 900), np.uint8)).startswith("<array>: 900 x 1 pixels")


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "BMP", "TIFF", "GIF"])
@pytest.mark.parametrize("part", [0.97, 0.5, 0.02])
def test_truncated_image(in_folder: Path, kind: str, part: float) -> None:
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64), np.uint8))
    content = encoded(noise, kind)
    Path("cut.img").write_bytes(content[: int(len(content) * part)])
    message = message_of("cut.img")
    assert message.startswith("cut.img: ")
    assert message.endswith("; export, download or scan it again")
    assert "cut off" in message or "damaged" in message
    assert "BytesIO" not in message
    assert "object at 0x" not in message


def test_damaged_image(in_folder: Path) -> None:
    content = bytearray(encoded(upright(), "PNG"))
    start = content.index(b"IDAT")
    content[start + 10 : start + 30] = bytes(20)
    Path("bad.png").write_bytes(content)
    assert message_of("bad.png").startswith("bad.png: the image is ")


@pytest.mark.parametrize(
    ("name", "content", "found"),
    [
        (
            "letter.docx",
            b"PK\x03\x04\x14\x00[Content_Types].xml...word/document.xml",
            "a Word document (.docx)",
        ),
        ("book.pdf", b"PK\x03\x04mimetypeapplication/epub+zip", "an EPUB book"),
        ("table.xls", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1....", "an old Microsoft Office document"),
        ("photo.heic", b"\x00\x00\x00\x18ftypheic\x00\x00\x00\x00", "a HEIC image"),
        ("page.png", b"<!DOCTYPE html><html></html>", "an HTML page"),
        ("figure.svg", b"<?xml version='1.0'?><svg/>", "an SVG drawing"),
        ("notes.txt", "BM und Übergröße".encode(), "plain text"),
        ("scan.tif", b"version https://git-lfs.github.com/spec/v1", "a Git LFS pointer"),
        ("thing.bin", b"\x00\x01\x02\x03", "an unknown type of file (it begins with 00 01 02 03)"),
    ],
)
def test_unsupported_file(in_folder: Path, name: str, content: bytes, found: str) -> None:
    Path(name).write_bytes(content)
    message = message_of(name)
    assert message.startswith(f"{name}: this is {found}")
    assert message.endswith(
        ", expected PNG, JPEG, WebP, BMP, TIFF, GIF or PDF; save or print it as PDF or PNG and read that"
    )


def test_folder_without_images(in_folder: Path) -> None:
    Path("sub").mkdir()
    Path("sub/notes.txt").write_text("nothing")
    assert message_of("sub") == (
        "sub: the folder holds no file that can be read, expected PNG, JPEG, WebP, BMP, TIFF, GIF or PDF"
    )
    assert expand_sources(["sub"]) == [Path("sub")]
    upright().save("sub/a.png")
    assert message_of("sub") == "sub: this is a folder, expected one file; name one of the files in it"


def test_other_sources_are_refused(in_folder: Path) -> None:
    assert (
        message_of(17) == "int is not a source of pages, expected a path, bytes, a PIL image or a numpy array"
    )
    assert "cannot be opened" in message_of("a\0b.png")
    assert "cannot be opened" in message_of("a" * 5000)
    if hasattr(os, "mkfifo"):
        os.mkfifo("pipe")
        assert message_of("pipe").startswith("pipe: this is not a regular file")


def test_names_that_are_no_unicode() -> None:
    assert source_name(os.fsdecode(b"caf\xe9.png")).encode() == b"caf\\udce9.png"


@pytest.mark.parametrize("dpi", [0, -1, float("nan"), float("inf")])
def test_wrong_dpi_and_pages_are_refused_at_once(dpi: float) -> None:
    with pytest.raises(InputError, match="give a positive number"):
        open_pages("x.png", dpi=dpi)
    with pytest.raises(InputError, match="page range"):
        open_pages("x.png", pages="x")


# Limits


def bomb(width: int, height: int) -> bytes:
    """A PNG file whose header promises more than is there."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(b"\0" * 100))
        + chunk(b"IEND", b"")
    )


def test_pixel_limit_is_checked_before_decoding(monkeypatch: pytest.MonkeyPatch) -> None:
    def decode(*_: object) -> None:
        raise AssertionError("decoded")

    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", decode)
    with pytest.raises(LimitError) as error:
        list(open_pages(bomb(12_000, 9_000)))
    assert str(error.value) == (
        "<bytes>: 12000 x 9000 pixels (108,000,000) are too many, the limit is 100,000,000; "
        "scale the image down, or raise InputLimits.max_pixels"
    )


def test_decompression_bombs_of_pillow() -> None:
    with pytest.raises(
        LimitError, match=r"<bytes>: 3,600,000,000 pixels are more than the image library decodes"
    ):
        list(open_pages(bomb(60_000, 60_000)))
    # Between Pillow's warning and its error our own limit decides, and nothing is printed.
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(LimitError, match="the limit is 100,000,000"):
            list(open_pages(bomb(15_000, 10_000)))


def test_byte_limit(tmp_path: Path) -> None:
    content = encoded(upright(), "BMP")
    path = tmp_path / "big.bmp"
    path.write_bytes(content)
    limits = InputLimits(max_file_bytes=len(content) - 1)
    for source in (path, content):
        with pytest.raises(
            LimitError, match=rf"the file has {len(content):,} bytes, the limit is {len(content) - 1:,}"
        ):
            list(open_pages(source, limits=limits))
    assert page_count(path, limits=InputLimits(max_file_bytes=len(content))) == 1


def test_page_limit() -> None:
    frames = [Image.new("L", (20, 20))] * 4
    content = encoded(frames[0], "TIFF", save_all=True, append_images=frames[1:])
    with pytest.raises(LimitError, match="the limit is 3"):
        list(open_pages(content, limits=InputLimits(max_pages=3)))
    assert len(list(open_pages(content, limits=InputLimits(max_pages=4)))) == 4


# One bad page does not take the others with it


def tiff_of_three() -> tuple[bytes, list[int]]:
    """A TIFF file of three raw frames and the offsets of their directories."""
    rng = np.random.default_rng(0)
    frames = [Image.fromarray(rng.integers(0, 255, (50, 50), np.uint8)) for _ in range(3)]
    content = encoded(frames[0], "TIFF", save_all=True, append_images=frames[1:])
    offsets, position = [], struct.unpack("<I", content[4:8])[0]
    while position:
        offsets.append(position)
        (entries,) = struct.unpack("<H", content[position : position + 2])
        end = position + 2 + 12 * entries
        (position,) = struct.unpack("<I", content[end : end + 4])
    return content, offsets


def test_tiff_whose_last_frame_is_cut_off(in_folder: Path) -> None:
    content, offsets = tiff_of_three()
    assert len(offsets) == 3
    for cut in (len(content) - 100, offsets[2] + 30, offsets[2] - 1):
        Path("fax.tif").write_bytes(content[:cut])
        pages = list(open_pages("fax.tif"))
        assert [type(page) for page in pages] == [PageImage, PageImage, PageFailure], cut
        assert pages[2].message.startswith("page 3 of fax.tif: the image is ")
        assert (pages[2].source, pages[2].index) == ("fax.tif", 2)


def test_tiff_with_a_broken_frame_in_the_middle() -> None:
    content, offsets = tiff_of_three()
    broken = bytearray(content)
    start = offsets[1] + 2
    while struct.unpack("<H", broken[start : start + 2])[0] != 258:  # BitsPerSample
        start += 12
    broken[start + 8 : start + 10] = struct.pack("<H", 11)
    whole, pages = list(open_pages(content)), list(open_pages(bytes(broken)))
    assert [type(page) for page in pages] == [PageImage, PageFailure, PageImage]
    assert pages[2].image.tobytes() == whole[2].image.tobytes()


def test_a_frame_that_is_too_small_or_large_fails_alone() -> None:
    frames = [Image.new("L", size) for size in ((20, 20), (3, 3), (30, 30))]
    content = encoded(frames[0], "TIFF", save_all=True, append_images=frames[1:])
    pages = list(open_pages(content, limits=InputLimits(max_pixels=500)))
    assert [type(page) for page in pages] == [PageImage, PageFailure, PageFailure]
    assert pages[1].message.startswith("page 2 of <bytes>: 3 x 3 pixels are too small")
    assert pages[2].message.startswith("page 3 of <bytes>: 30 x 30 pixels (900) are too many")


# Folders


def test_folders_become_their_files_in_natural_order(in_folder: Path) -> None:
    Path("scans/b").mkdir(parents=True)
    Path("scans/.hidden").mkdir()
    for name in ("page10.png", "page2.png", "no extension", "b/c.jpg", ".hidden/x.png", ".y.png"):
        upright().save(f"scans/{name}", "PNG")
    Path("scans/notes.txt").write_text("notes")
    Path("scans/broken.tif").write_bytes(b"")
    Path("scans/paper.pdf").write_bytes(b"%PDF-1.4")
    found = expand_sources(["other.png", Path("scans")])
    assert found == [
        Path("other.png"),
        *(
            Path("scans", name)
            for name in ("b/c.jpg", "broken.tif", "no extension", "page2.png", "page10.png", "paper.pdf")
        ),
    ]
    assert expand_sources("scans") == found[1:]


@pytest.mark.skipif(not hasattr(os, "symlink"), reason="needs symbolic links")
def test_links_in_folders(in_folder: Path) -> None:
    Path("scans").mkdir()
    upright().save("a.png")
    Path("scans/1.png").symlink_to("../a.png")
    Path("scans/2.png").symlink_to("../gone.png")
    Path("scans/3.png").symlink_to("..")
    assert expand_sources("scans") == [Path("scans/1.png"), Path("scans/2.png")]
    assert "there is no such file" in message_of("scans/2.png")


@pytest.fixture
def unprivileged(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A working folder of a user who may not read everything: of nobody, where the tests run as root."""
    nobody = 65534
    with tempfile.TemporaryDirectory() as folder:
        monkeypatch.chdir(folder)
        if os.geteuid() != 0:
            yield Path(folder)
            return
        os.chown(folder, nobody, nobody)
        os.setresuid(nobody, nobody, 0)
        try:
            yield Path(folder)
        finally:
            os.setresuid(0, 0, 0)


@pytest.mark.skipif(not hasattr(os, "setresuid"), reason="a system without such users")
def test_what_may_not_be_read_is_reported(unprivileged: Path) -> None:
    Path("scans/closed").mkdir(parents=True)
    upright().save("scans/a.png")
    Path("scans/closed").chmod(0)
    Path("scans/a.png").chmod(0)
    try:
        assert expand_sources(["scans"]) == [Path("scans/a.png"), Path("scans/closed")]
        for path in expand_sources(["scans"]):
            assert "permission denied" in message_of(path)
    finally:
        Path("scans/closed").chmod(0o700)
