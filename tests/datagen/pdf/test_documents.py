"""Documents: found once, in one split by their bytes, the others named with their reason."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raw_pdf import RawPage, raw_pdf, text_lines
from vary.datagen.pdf import PdfConfig, PdfEngine, split_of
from vary.datagen.pdf.documents import find_documents
from vary.errors import DataError

SHARES = (("train", 0.5), ("validation", 0.3), ("test", 0.2))


def _document(number: int) -> bytes:
    lines = [f"Document number {number} has two pages of text", "that can be read by everybody who likes to."]
    return raw_pdf([RawPage(text_lines(lines)), RawPage(text_lines(lines[::-1]))])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Twelve documents, some of them in a folder below."""
    root = tmp_path / "documents"
    (root / "below").mkdir(parents=True)
    for number in range(12):
        (root / ("below" if number % 3 else ".") / f"document {number}.pdf").write_bytes(_document(number))
    return root


def _by_split(folder: Path) -> dict[str, set[str]]:
    """The documents' hashes by split."""
    found = {}
    for name, _ in SHARES:
        engine = PdfEngine(PdfConfig(files=(str(folder),), split=name, shares=SHARES))
        found[name] = {document.sha256 for document in engine.documents}
    return found


def test_no_document_is_in_two_splits_whatever_its_name(folder: Path) -> None:
    before = _by_split(folder)
    every = {hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.rglob("*.pdf")}
    assert set.union(*before.values()) == every
    assert sum(map(len, before.values())) == len(every), "a document is in two splits"
    assert all(before.values())
    paths = sorted(folder.rglob("*.pdf"))
    for number, path in enumerate(paths):
        path.rename(folder / f"{(number * 7) % 12:02d} 改名.pdf")
    (folder / "copy of one.pdf").write_bytes(_document(3))
    assert _by_split(folder) == before


@given(st.binary(max_size=40), st.binary(max_size=40))
def test_a_split_depends_on_the_bytes_alone(one: bytes, other: bytes) -> None:
    hashes = [hashlib.sha256(data).hexdigest() for data in (one, other)]
    splits = [split_of(sha256, SHARES) for sha256 in hashes]
    assert splits == [split_of(sha256, SHARES) for sha256 in hashes]
    assert one != other or splits[0] == splits[1]
    assert set(splits) <= {name for name, _ in SHARES}


def test_shares_are_kept() -> None:
    hashes = [hashlib.sha256(str(number).encode()).hexdigest() for number in range(20_000)]
    for name, share in SHARES:
        assert sum(split_of(sha256, SHARES) == name for sha256 in hashes) / 20_000 == pytest.approx(
            share, abs=0.02
        )
    assert split_of("f" * 64, SHARES) == "test"
    assert split_of("0" * 64, SHARES) == "train"


def test_what_is_no_document_is_named(folder: Path) -> None:
    (folder / "again.pdf").write_bytes(_document(5))
    (folder / "broken.pdf").write_bytes(_document(99)[:300])
    (folder / "empty.pdf").write_bytes(b"")
    (folder / "no pdf.pdf").write_bytes(b"This is a text and no PDF file at all.")
    (folder / "notes.txt").write_text("not looked at", encoding="utf-8")
    (folder / "locked.pdf").write_bytes(_locked())
    documents, left_out = find_documents([str(folder)])
    assert len(documents) == 12
    reasons = {entry.name: entry.reason for entry in left_out}
    assert set(reasons) == {"broken.pdf", "empty.pdf", "no pdf.pdf", "locked.pdf"} | (
        {"again.pdf"} if "again.pdf" in reasons else {"below/document 5.pdf"}
    )
    assert "the same bytes as" in reasons.get("again.pdf", reasons.get("below/document 5.pdf", ""))
    assert "cut off" in reasons["broken.pdf"]
    assert reasons["locked.pdf"] == "the PDF file is encrypted; save a copy without encryption"
    assert not [reason for reason in reasons.values() if str(folder) in reason]
    described = PdfEngine(PdfConfig(files=(str(folder),), shares=SHARES)).describe()
    assert {entry["name"] for entry in described["left_out"]} == set(reasons)


def _locked() -> bytes:
    """A file that asks for a password: its encryption dictionary fits none."""
    data = _document(50)
    entry = (
        b"/Encrypt << /Filter /Standard /V 1 /R 2 /P -4 /O <" + b"00" * 32 + b"> /U <" + b"00" * 32 + b"> >>"
    )
    return data.replace(b"/Root 1 0 R", b"/Root 1 0 R /ID [<00><00>] " + entry)


def test_the_order_follows_from_the_bytes(folder: Path) -> None:
    documents, _ = find_documents([str(folder)])
    hashes = [document.sha256 for document in documents]
    assert hashes == sorted(hashes)
    one_by_one, _ = find_documents(sorted(map(str, folder.rglob("*.pdf")), reverse=True))
    assert [document.sha256 for document in one_by_one] == hashes
    assert {document.name for document in one_by_one} == {path.name for path in folder.rglob("*.pdf")}


@pytest.mark.skipif(sys.platform == "win32", reason="links need rights there")
def test_a_file_that_is_reached_twice_counts_once(folder: Path) -> None:
    (folder / "link.pdf").symlink_to(folder / "document 0.pdf")
    documents, left_out = find_documents([str(folder), str(folder / "document 0.pdf")])
    assert len(documents) == 12
    assert left_out == []


@pytest.mark.parametrize("files", [("nowhere",), ("empty",)])
def test_nothing_to_learn_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, files: tuple[str, ...]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"no such file or folder|no PDF file to learn from"):
        find_documents(files)


def test_a_split_without_documents_says_where_they_are(tmp_path: Path) -> None:
    path = tmp_path / "one.pdf"
    path.write_bytes(_document(1))
    [there] = [s for s, _ in SHARES if split_of(hashlib.sha256(path.read_bytes()).hexdigest(), SHARES) == s]
    other = next(name for name, _ in SHARES if name != there)
    with pytest.raises(DataError, match=f"split '{other}': 1 documents fall into {there} 1"):
        PdfEngine(PdfConfig(files=(str(path),), split=other, shares=SHARES))


@pytest.mark.parametrize(
    ("settings", "found"),
    [
        ({"split": "dev"}, "split 'dev': expected one of train, validation, test"),
        ({"shares": (("train", 0.5), ("test", 0.4))}, "1 together"),
        ({"shares": (("train", 0.5), ("train", 0.5))}, "different names"),
        ({"shares": (("train", 1.5), ("test", -0.5))}, "above 0"),
        ({"languages": ("en", "fr")}, r"\['en', 'fr'\]: expected some of \['en', 'zh'\]"),
        ({"dpi": (200.0, 100.0)}, "20 <= first <= second <= 600"),
        ({"dpi": (100.0, 5000.0)}, "<= 600"),
        ({"answer": "words"}, "expected one of paragraphs, lines"),
        ({"min_characters": 10, "max_characters": 5}, "1 <= first <= second"),
        ({"max_pages_per_document": 100000}, "expected 1 to 200"),
        ({"clean_share": 1.5}, "clean_share is 1.5: expected 0 to 1"),
    ],
)
def test_settings_that_cannot_be(settings: dict[str, object], found: str) -> None:
    with pytest.raises(DataError, match=found):
        PdfConfig(files=("x.pdf",), **settings)
