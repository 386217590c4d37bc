"""PDF files as pages."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pypdfium2
import pytest
from PIL import Image

from vary.errors import InputError, LimitError
from vary.inputs.pages import InputLimits, PageFailure, PageImage, open_pages, page_count

WIDTH, HEIGHT = 144, 72  # points; twice as many pixels at 144 dpi
MARK = b"0 g 10 50 40 12 re f"  # black, from the left bottom: in pixels (20, 20) to (100, 44)
MARK_BOX = (20, 20, 100, 44)
WHOLE = Callable[[int, bytes], bytes]


def pdf(
    *contents: bytes, page: bytes = b"", catalog: bytes = b"", others: tuple[bytes, ...] = (), size: str = ""
) -> bytes:
    """A PDF file with one page for each content stream.

    ``page`` and ``catalog`` are added to every page's and the catalogue's dictionary, ``others`` are further
    objects, numbered from 100.
    """
    return assemble(objects_of(contents, page, catalog, others, size), b"")


def objects_of(
    contents: tuple[bytes, ...],
    page: bytes = b"",
    catalog: bytes = b"",
    others: tuple[bytes, ...] = (),
    size: str = "",
    encrypt: WHOLE = lambda _, data: data,
) -> dict[int, bytes]:
    box = (size or f"0 0 {WIDTH} {HEIGHT}").encode()
    kids = b" ".join(b"%d 0 R" % (10 + 2 * number) for number in range(len(contents)))
    objects = {
        1: b"<< /Type /Catalog /Pages 2 0 R " + catalog + b" >>",
        2: b"<< /Type /Pages /Count %d /Kids [%s] >>" % (len(contents), kids),
    }
    for number, content in enumerate(contents):
        here = 10 + 2 * number
        objects[here] = (
            b"<< /Type /Page /Parent 2 0 R /MediaBox [%s] /Resources << >> /Contents %d 0 R %s >>"
            % (box, here + 1, page)
        )
        data = encrypt(here + 1, content)
        objects[here + 1] = b"<< /Length %d >>\nstream\n%s\nendstream" % (len(data), data)
    objects.update({100 + number: other for number, other in enumerate(others)})
    return objects


def assemble(objects: dict[int, bytes], trailer: bytes) -> bytes:
    body, offsets = b"%PDF-1.7\n", {}
    for number, content in objects.items():
        offsets[number] = len(body)
        body += b"%d 0 obj\n%s\nendobj\n" % (number, content)
    table = b"xref\n0 1\n0000000000 65535 f \n"
    for number, offset in offsets.items():
        table += b"%d 1\n%010d 00000 n \n" % (number, offset)
    return (
        body
        + table
        + b"trailer\n<< /Size %d /Root 1 0 R %s >>\nstartxref\n%d\n%%%%EOF\n"
        % (
            max(objects) + 1,
            trailer,
            len(body),
        )
    )


def encrypted_pdf(password: bytes) -> bytes:
    """A page encrypted with 40-bit RC4 (PDF 1.7, 7.6): the user password opens it."""
    padding = bytes.fromhex("28BF4E5E4E758A4164004E56FFFA01082E2E00B6D0683E802F0CA9FE6453697A")
    padded, identity = (password + padding)[:32], b"0123456789abcdef"
    owner = rc4(hashlib.md5((b"owner" + padding)[:32]).digest()[:5], padded)
    key = hashlib.md5(padded + owner + b"\xfc\xff\xff\xff" + identity).digest()[:5]

    def encrypt(number: int, data: bytes) -> bytes:
        return rc4(hashlib.md5(key + number.to_bytes(3, "little") + b"\0\0").digest()[:10], data)

    objects = objects_of((MARK,), encrypt=encrypt)
    trailer = b"/ID [<%s> <%s>] /Encrypt << /Filter /Standard /V 1 /R 2 /P -4 /O <%s> /U <%s> >>" % (
        identity.hex().encode(),
        identity.hex().encode(),
        owner.hex().encode(),
        rc4(key, padding).hex().encode(),
    )
    return assemble(objects, trailer)


def rc4(key: bytes, data: bytes) -> bytes:
    state, j, out = list(range(256)), 0, bytearray()
    for i in range(256):
        j = (j + state[i] + key[i % len(key)]) % 256
        state[i], state[j] = state[j], state[i]
    i = j = 0
    for byte in data:
        i = (i + 1) % 256
        j = (j + state[i]) % 256
        state[i], state[j] = state[j], state[i]
        out.append(byte ^ state[(state[i] + state[j]) % 256])
    return bytes(out)


def read(source: Any, **options: Any) -> list[PageImage | PageFailure]:
    return list(open_pages(source, dpi=144, **options))


def ink_box(page: PageImage | PageFailure) -> tuple[int, int, int, int] | None:
    assert isinstance(page, PageImage), page
    return page.image.convert("L").point(lambda value: 255 if value < 128 else 0).getbbox()


def message_of(source: Any, **options: Any) -> str:
    with pytest.raises(InputError) as error:
        read(source, **options)
    return str(error.value)


@pytest.fixture
def in_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_page_is_painted_at_the_dpi(tmp_path: Path) -> None:
    path = tmp_path / "a b.模型.bin"
    path.write_bytes(pdf(MARK))
    for source in (path, path.read_bytes()):
        (page,) = read(source)
        assert isinstance(page, PageImage)
        assert (page.width, page.height, page.image.mode) == (288, 144, "RGB")
        assert (page.index, page.dpi, page.rotation, page.notes) == (0, 144, 0, ())
        assert ink_box(page) == MARK_BOX
        assert page.image.getpixel((1, 1)) == (255, 255, 255)
    (default,) = open_pages(path)
    assert (default.width, default.dpi) == (400, 200)
    assert default.source == str(path)


def test_colours_are_red_green_blue() -> None:
    (page,) = read(pdf(b"1 0 0 rg 0 0 144 72 re f"))
    assert page.image.getpixel((9, 9)) == (255, 0, 0)


@pytest.mark.parametrize(
    ("rotate", "size", "box"),
    [
        (0, (288, 144), (20, 20, 100, 44)),
        (90, (144, 288), (100, 20, 124, 100)),
        (180, (288, 144), (188, 100, 268, 124)),
        (270, (144, 288), (20, 188, 44, 268)),
        (-90, (144, 288), (20, 188, 44, 268)),
    ],
)
def test_rotate_is_applied(rotate: int, size: tuple[int, int], box: tuple[int, int, int, int]) -> None:
    (page,) = read(pdf(MARK, page=b"/Rotate %d" % rotate))
    assert isinstance(page, PageImage)
    assert (page.width, page.height) == size
    assert ink_box(page) == box
    assert page.rotation == rotate % 360


def test_crop_box_and_shifted_media_box() -> None:
    (page,) = read(pdf(MARK, page=b"/CropBox [10 40 144 72]"))
    assert (page.width, page.height, ink_box(page)) == (268, 64, (0, 20, 80, 44))
    (page,) = read(pdf(b"0 g 110 150 40 12 re f", size="100 100 244 172"))
    assert ink_box(page) == MARK_BOX


def test_page_ranges_and_count(in_folder: Path) -> None:
    Path("four.pdf").write_bytes(pdf(*(b"%g g 0 0 144 72 re f" % (number / 5) for number in range(4))))
    assert page_count("four.pdf") == 4
    shades = [(page.index, page.image.getpixel((5, 5))[0]) for page in read("four.pdf", pages="4,2")]
    assert shades == [(1, 51), (3, 153)]
    assert message_of("four.pdf", pages="6-") == (
        "four.pdf: page 6 was asked for, the file has 4 pages; choose among 1-4"
    )


def test_annotations_and_form_fields_are_painted() -> None:
    look = b"<< /Type /XObject /Subtype /Form /BBox [0 0 40 12] /Length %d >>\nstream\n%s\nendstream"
    fill = b"0 g 0 0 40 12 re f"
    place = b"/Rect [10 50 50 62] /F 4 /AP << /N 101 0 R >>"
    stamp = b"<< /Type /Annot /Subtype /Stamp %s >>" % place
    field = b"<< /Type /Annot /Subtype /Widget /FT /Tx /T (name) /V (x) %s >>" % place
    looks = look % (len(fill), fill)
    (page,) = read(pdf(b"", page=b"/Annots [100 0 R]", others=(stamp, looks)))
    assert ink_box(page) == MARK_BOX
    form = {"page": b"/Annots [100 0 R]", "others": (field, looks)}
    (page,) = read(pdf(b"", catalog=b"/AcroForm << /Fields [100 0 R] >>", **form))
    assert isinstance(page, PageImage)
    assert page.image.convert("L").getpixel((60, 32)) < 200


def test_xfa_forms_are_noted_not_printed(capfd: pytest.CaptureFixture[str]) -> None:
    packet = b"<< /Length 11 >>\nstream\n<xdp></xdp>\nendstream"
    form = pdf(MARK, catalog=b"/AcroForm << /Fields [] /XFA 100 0 R >>", others=(packet,))
    (page,) = read(form)
    assert isinstance(page, PageImage)
    assert "XFA form" in page.notes[0]
    assert capfd.readouterr() == ("", "")


def test_an_image_in_a_pdf() -> None:
    import io

    buffer = io.BytesIO()
    picture = Image.new("L", (100, 50), 255)
    picture.paste(0, (10, 10, 30, 20))
    picture.save(buffer, "PDF", resolution=144, save_all=True, append_images=[picture])
    pages = read(buffer.getvalue())
    assert [page.width for page in pages] == [100, 100]
    assert ink_box(pages[1]) == (10, 10, 30, 20)


def test_pages_come_lazily_and_outlive_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    painted: list[int] = []
    render = pypdfium2.PdfPage.render

    def count(self: pypdfium2.PdfPage, **options: Any) -> Any:
        painted.append(1)
        return render(self, **options)

    monkeypatch.setattr(pypdfium2.PdfPage, "render", count)
    pages = open_pages(pdf(MARK, MARK, MARK), dpi=144)
    assert painted == []
    first = next(pages)
    assert len(painted) == 1
    next(pages)
    assert len(painted) == 2
    pages.close()
    assert ink_box(first) == MARK_BOX


def test_everything_is_closed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "scan.pdf"
    path.write_bytes(pdf(MARK, MARK))
    open_objects: set[int] = set()
    closed: list[type] = []
    for kind in (pypdfium2.PdfDocument, pypdfium2.PdfPage, pypdfium2.PdfBitmap):
        initialise, close = kind.__init__, kind.close

        def made(self: Any, *args: Any, _init: Any = initialise, **options: Any) -> None:
            _init(self, *args, **options)
            open_objects.add(id(self))

        def gone(self: Any, *args: Any, _close: Any = close, **options: Any) -> Any:
            closed.append(type(self))
            open_objects.discard(id(self))
            return _close(self, *args, **options)

        monkeypatch.setattr(kind, "__init__", made)
        monkeypatch.setattr(kind, "close", gone)
    pages = open_pages(path, dpi=144)
    next(pages)
    assert len(open_objects) == 1  # the document
    pages.close()
    assert open_objects == set()
    assert set(closed) == {pypdfium2.PdfDocument, pypdfium2.PdfPage, pypdfium2.PdfBitmap}
    with pytest.raises(InputError):
        list(open_pages(path, pages="9"))
    page_count(path)
    assert open_objects == set()
    if os.path.isdir("/proc/self/fd"):
        links = [f"/proc/self/fd/{number}" for number in os.listdir("/proc/self/fd")]
        assert not [link for link in links if os.path.islink(link) and os.readlink(link) == str(path)]


def test_two_threads_read_at_once() -> None:
    content = pdf(*[MARK] * 20)
    boxes: list[Any] = []

    def work() -> None:
        boxes.extend(ink_box(page) for page in read(content))

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert boxes == [MARK_BOX] * 60


# What users see


def test_encrypted(in_folder: Path) -> None:
    Path("secret.pdf").write_bytes(encrypted_pdf(b"sesame"))
    assert message_of("secret.pdf") == (
        "secret.pdf: the PDF file is encrypted and needs a password; "
        "give it (--password, in Python password=...), or save a copy without"
    )
    assert message_of("secret.pdf", password="wrong") == (
        "secret.pdf: the PDF file is encrypted and the password given does not open it; give the right one"
    )
    (page,) = read("secret.pdf", password="sesame")
    assert ink_box(page) == MARK_BOX
    assert page_count("secret.pdf", password="sesame") == 1
    (page,) = read(encrypted_pdf(b""))
    assert ink_box(page) == MARK_BOX


def test_truncated(in_folder: Path) -> None:
    whole = pdf(MARK, MARK)
    Path("cut.pdf").write_bytes(whole[:60])
    assert message_of("cut.pdf") == (
        "cut.pdf: the PDF file is cut off and cannot be opened; export or download it again"
    )
    Path("cut.pdf").write_bytes(whole[: whole.index(b"trailer")])
    assert "cut off" in message_of("cut.pdf")
    # With an early trailer, as in a file for the web, PDFium finds what is there.
    early = whole.replace(b"10 0 obj", b"trailer\n<< /Size 14 /Root 1 0 R >>\n10 0 obj")
    Path("cut.pdf").write_bytes(early[: early.index(b"12 0 obj")])
    pages = read("cut.pdf")
    assert isinstance(pages[0], PageImage)
    assert "cut off" in pages[0].notes[0]
    assert pages[1] == PageFailure(
        "cut.pdf",
        1,
        "page 2 of cut.pdf: the PDF page cannot be loaded, the file is cut off; "
        "open and save it in a PDF program, or download it again",
    )


def test_damaged(in_folder: Path) -> None:
    Path("bad.pdf").write_bytes(b"%PDF-1.7\n" + b"\xff garbage " * 200 + b"\n%%EOF\n")
    assert message_of("bad.pdf") == (
        "bad.pdf: the PDF file is damaged and cannot be opened; export or download it again"
    )


def test_one_broken_page_does_not_take_the_others_with_it() -> None:
    objects = objects_of((MARK, MARK, MARK))
    objects[12] = b"(this is no page)"
    pages = read(assemble(objects, b""))
    assert [type(page) for page in pages] == [PageImage, PageFailure, PageImage]
    assert pages[1].message.startswith(
        "page 2 of <bytes>: the PDF page cannot be loaded, the file is damaged"
    )
    assert ink_box(pages[2]) == MARK_BOX


def test_no_pages() -> None:
    message = message_of(pdf())
    assert message.startswith("<bytes>: the PDF file ")
    assert message.endswith("again")


def test_pixel_limit_comes_before_painting(monkeypatch: pytest.MonkeyPatch) -> None:
    def render(*_: object, **__: object) -> None:
        raise AssertionError("painted")

    monkeypatch.setattr(pypdfium2.PdfPage, "render", render)
    with pytest.raises(LimitError) as error:
        read(pdf(MARK, size="0 0 14400 14400"))
    assert str(error.value) == (
        "<bytes>: 28800 x 28800 pixels (829,440,000) are too many, the limit is 100,000,000; "
        "lower the dpi (144 now), or raise InputLimits.max_pixels"
    )
    with pytest.raises(LimitError, match="more than PDFium paints; lower the dpi"):
        read(pdf(MARK, size="0 0 14400 14400"), limits=InputLimits(max_pixels=10**12))


def test_tiny_pages_and_too_many_pages() -> None:
    assert "1 x 1 pixels are too small" in message_of(pdf(MARK, size="0 0 0.5 0.5"))
    content = pdf(MARK, MARK, MARK)
    with pytest.raises(LimitError, match="3 pages were asked for, the limit is 2"):
        read(content, limits=InputLimits(max_pages=2))
    assert len(read(content, limits=InputLimits(max_pages=2), pages="2-")) == 2


def test_pypdfium2_and_torch_are_not_imported_with_the_module() -> None:
    code = (
        "import sys, vary.inputs.pages, vary.outputs.render; "
        "print([name for name in ('pypdfium2', 'torch', 'transformers', 'cv2') if name in sys.modules])"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[]"
