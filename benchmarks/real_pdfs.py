"""Character error rate on pages of real PDFs, whose text layer is the truth.

    for package in $(python benchmarks/real_pdfs.py --packages); do
        apt-get download $package
        mkdir -p pdfs/$package && dpkg-deb --fsys-tarfile ${package}_*.deb | tar -x -C pdfs/$package
    done
    python benchmarks/real_pdfs.py pdfs [--model DIR]

The rule by which pages are chosen was written before any page was read:

- the PDFs (`.pdf`, `.pdf.gz`) of the Debian packages listed below, one folder for each; other folders work
  too.  None of them was trained on: the texts of the training are Python Enhancement Proposals, The Rust
  Programming Language, books of Project Gutenberg, PingCAP's manuals and Chinese poems.
- Of a document every fifth page counts, from the third on.
- The page has prose: a text layer of at least 1,200 characters, or 500 with Chinese, without characters of
  the private use areas, controls or replacements; at least 85 % of it letters and white space.
- It has no pictures or shadings and no drawn shape larger than 12 points both ways (a rule is thinner).
- It has one column and no tables: at most one row in ten has a gap wider than three times its height.
- It is English, where at least 12 % of its words are among "the of and to a in is that for it" and at least
  90 % of its letters are Latin (this half of the sentence came after the first reading, in which two pages
  of Russian had passed), or Chinese, where at least half of its letters are Chinese characters.
- Of a package, three pages of each language, evenly spread over all that are left in the order of their
  files' names; a text whose 300th to 500th letters were met before does not count again (editions in other
  languages hold English pages too).

Pages are painted at 150 dpi.  Errors are counted as in `vary evaluate ocr`: NFKC, which takes ligatures
apart, white space collapsed (removed for Chinese); the order is that of the text layer.  A hyphen at a
line's end stays on both sides, and white space behind any hyphen counts for nothing, as the layer may have
none there.
"""

from __future__ import annotations

import argparse
import gzip
import json
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pypdfium2
import pypdfium2.raw as pdfium

from vary import Reader
from vary.evaluation.calibration import calibration, exact_lines
from vary.evaluation.metrics import ErrorRate, error_rate, total

PACKAGES = (
    "auto-multiple-choice-doc-pdf",
    "bash-doc",
    "c++-annotations-pdf",
    "debian-faq",
    "debian-history",
    "debian-policy",
    "debian-reference-en",
    "debian-reference-zh-cn",
    "debmake-doc",
    "developers-reference",
    "gnuplot-doc",
    "gnutls-doc",
    "gri-pdf-doc",
    "harden-doc",
    "installation-guide-amd64",
    "libmpfr-doc",
    "lilypond-doc-pdf",
    "live-manual-pdf",
    "maint-guide",
    "maint-guide-zh-cn",
    "octave-doc",
    "pari-doc",
    "r-doc-pdf",
    "texlive-lang-chinese",
    "zsh-doc",
)
DPI = 150
EVERY, FIRST = 5, 2
"""Every fifth page, from the third on."""
PAGES_OF_A_PACKAGE = 3
LEAST_CHARACTERS = {"en": 1200, "zh": 500}
LETTERS_SHARE = 0.85
FIGURE_SIDE = 12.0
"""Points that a drawn shape measures both ways, to be more than a rule."""
GAP, GAP_SHARE = 3.0, 0.1
COMMON_WORDS = frozenset(("the", "of", "and", "to", "a", "in", "is", "that", "for", "it"))
COMMON_SHARE, LATIN_SHARE, HAN_SHARE = 0.12, 0.9, 0.5
PICTURES = {pdfium.FPDF_PAGEOBJ_IMAGE, pdfium.FPDF_PAGEOBJ_SHADING}


@dataclass(frozen=True)
class RealPage:
    """A page that the rule chooses: its package, file and number (1-based), its language and text."""

    package: str
    file: Path
    number: int
    language: str
    text: str


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, nargs="?", help="a folder for each package, with its PDFs")
    parser.add_argument("--packages", action="store_true", help="print the names of the Debian packages")
    parser.add_argument("--model", help="a checkpoint's folder; the shipped vary-nano by default")
    parser.add_argument("--list", action="store_true", help="print the chosen pages, and read nothing")
    parser.add_argument("--save", type=Path, metavar="DIR", help="keep what was read, beside the truth")
    args = parser.parse_args()
    if args.packages:
        print(" ".join(PACKAGES))
        return
    if args.folder is None or not args.folder.is_dir():
        parser.error("name a folder with the packages' PDFs")
    chosen = [page for folder in sorted(args.folder.iterdir()) for page in choose(folder)]
    if args.list:
        for page in chosen:
            print(f"{page.language} {page.package} {page.file.name} page {page.number}: {len(page.text)}")
        return
    measure(Reader.load(args.model, device="cpu"), chosen, args.save)


def choose(folder: Path) -> list[RealPage]:
    """The pages of a package by the rule."""
    fitting: dict[str, list[RealPage]] = {"en": [], "zh": []}
    seen: set[str] = set()
    files = [file for file in folder.rglob("*") if file.name.endswith((".pdf", ".pdf.gz")) and file.is_file()]
    for file in sorted(files, key=lambda file: (file.name, str(file))):
        for page in fitting_pages(folder.name, file):
            middle = "".join(filter(str.isalpha, page.text))[300:500]
            if middle not in seen:
                fitting[page.language].append(page)
            seen.add(middle)
    return [page for pages in fitting.values() for page in spread(pages, PAGES_OF_A_PACKAGE)]


def spread(pages: list[RealPage], count: int) -> list[RealPage]:
    """So many pages, evenly spread; all if there are fewer."""
    if len(pages) <= count:
        return pages
    return [pages[int((place + 0.5) * len(pages) / count)] for place in range(count)]


def fitting_pages(package: str, file: Path) -> Iterator[RealPage]:
    """The pages of a file that the rule lets pass."""
    try:
        document = pypdfium2.PdfDocument(pdf_bytes(file))
    except pypdfium2.PdfiumError:
        return
    with document:
        for index in range(FIRST, len(document), EVERY):
            page = document[index]
            text = page_text(page)
            language = language_of(text)
            if language and is_prose(text, language) and not has_figures(page) and has_one_column(page):
                yield RealPage(package, file, index + 1, language, text)


def pdf_bytes(file: Path) -> bytes:
    """The PDF's bytes, unpacked."""
    data = file.read_bytes()
    return gzip.decompress(data) if file.suffix == ".gz" else data


def page_text(page: pypdfium2.PdfPage) -> str:
    """The text layer, hyphens at the ends of lines as they are printed."""
    text = page.get_textpage().get_text_bounded(errors="replace")
    return re.sub("[\x02\ufffe\u00ad]", "-", text).replace("\r", "")


def language_of(text: str) -> str | None:
    """`en`, `zh`, or None for anything else."""
    letters = [letter for letter in text if letter.isalpha()]
    if sum("\u4e00" <= letter <= "\u9fff" for letter in letters) >= HAN_SHARE * max(1, len(letters)):
        return "zh"
    if sum(letter < "\u0250" for letter in letters) < LATIN_SHARE * len(letters):
        return None
    words = re.findall(r"\w+", text.lower())
    common = sum(word in COMMON_WORDS for word in words)
    return "en" if common >= COMMON_SHARE * max(1, len(words)) else None


def is_prose(text: str, language: str) -> bool:
    """Whether there is enough text, of characters that mean something, most of them letters and blanks."""
    if len(text) < LEAST_CHARACTERS[language]:
        return False
    if any(
        c != "\n" and (c == "\ufffd" or unicodedata.category(c) in ("Cc", "Co", "Cs", "Cn")) for c in text
    ):
        return False
    return sum(c.isalpha() or c.isspace() for c in text) >= LETTERS_SHARE * len(text)


def has_figures(page: pypdfium2.PdfPage) -> bool:
    """Whether there are pictures, shadings or large shapes."""
    for item in page.get_objects(max_depth=8):
        if item.type in PICTURES:
            return True
        if item.type == pdfium.FPDF_PAGEOBJ_PATH:
            left, bottom, right, top = item.get_pos() if hasattr(item, "get_pos") else item.get_bounds()
            if min(right - left, top - bottom) > FIGURE_SIDE:
                return True
    return False


def has_one_column(page: pypdfium2.PdfPage) -> bool:
    """Whether few rows have a wide gap: pieces of the text layer, put into rows by their middles."""
    layer = page.get_textpage()
    pieces = sorted(
        (layer.get_rect(n) for n in range(layer.count_rects())), key=lambda box: -(box[1] + box[3])
    )
    rows: list[list[tuple[float, float, float, float]]] = []
    for piece in pieces:
        middle = (piece[1] + piece[3]) / 2
        if rows and rows[-1][0][1] <= middle <= rows[-1][0][3]:
            rows[-1].append(piece)
        else:
            rows.append([piece])
    gaps = 0
    for row in rows:
        row.sort()
        height = max(top - bottom for _, bottom, _, top in row)
        reach, wide = row[0][2], False
        for left, _, right, _ in row[1:]:
            wide |= left - reach > GAP * height
            reach = max(reach, right)
        gaps += wide
    return gaps <= GAP_SHARE * len(rows)


def after_hyphens(text: str, blank: str = "") -> str:
    """With the same behind every hyphen, whatever white space stood there."""
    return re.sub(r"-\s*", f"-{blank}", text)


def measure(reader: Reader, chosen: list[RealPage], save: Path | None) -> None:
    """Reads the pages, prints a row for each, and the rates of each document and language."""
    rates: dict[tuple[str, ...], list[ErrorRate]] = {}
    confidences: list[float] = []
    exact: list[bool] = []
    for page in chosen:
        document = reader.read(pdf_bytes(page.file), pages=str(page.number), dpi=DPI)
        rate = error_rate(after_hyphens(document.text), after_hyphens(page.text), page.language)
        rates.setdefault((page.language, page.package, page.file.name), []).append(rate)
        lines = [line for line in document.pages[0].lines if line.text and line.confidence is not None]
        confidences += [line.confidence for line in lines if line.confidence is not None]
        texts = [after_hyphens(line.text, " ") for line in lines]
        exact += exact_lines(texts, after_hyphens(page.text, " "), page.language)
        sure = f"{document.confidence:.3f}" if document.confidence is not None else "none"
        print(
            f"{page.language} {page.file.name} page {page.number}: {rate.edits} of {rate.characters}, "
            f"{rate.rate:.4f}, {document.status}, confidence {sure}",
            flush=True,
        )
        if save is not None:
            save.mkdir(parents=True, exist_ok=True)
            kept = {"read": document.text, "truth": page.text, "edits": rate.edits}
            name = f"{page.package}-{page.file.name}-{page.number}.json"
            (save / name).write_text(json.dumps(kept, ensure_ascii=False, indent=1), encoding="utf-8")
    print("\n| language | package | document | pages | characters | error rate |\n|---|---|---|---|---|---|")
    for (language, package, name), found in rates.items():
        row = total(found)
        print(f"| {language} | {package} | {name} | {len(found)} | {row.characters} | {row.rate:.4f} |")
    for language in sorted({key[0] for key in rates}):
        pages = [rate for key, found in rates.items() if key[0] == language for rate in found]
        row = total(pages)
        print(f"{language}: {len(pages)} pages, {row.characters} characters, error rate {row.rate:.4f}")
    if confidences:
        one = calibration(confidences, exact)
        print(
            f"{one.lines} lines: {one.exact:.3f} exact, mean confidence {one.confidence:.3f}, "
            f"calibration error {one.ece:.3f}"
        )


if __name__ == "__main__":
    main()
