"""The PDF engine: the same samples for the same seed, whatever else there is; what a sample holds."""

from __future__ import annotations

import json
import pickle
import random
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raw_pdf import RawPage, raw_pdf, text_lines, typeset
from vary.datagen.pdf import PdfConfig, PdfEngine
from vary.datagen.sample import Sample
from vary.datagen.shards import read_manifest, read_shards
from vary.errors import DataError
from vary.inputs.tasks import TASKS

ALL = (("train", 1.0),)


def _text(number: int, page: int) -> list[str]:
    return [f"Document {number}, page {page} has its own words", "and a second line that everybody may read."]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five documents of one to five pages."""
    root = tmp_path_factory.mktemp("documents")
    for number in range(1, 6):
        pages = [RawPage(text_lines(_text(number, page), size=9)) for page in range(number)]
        (root / f"{number}.pdf").write_bytes(raw_pdf(pages))
    return root


def _same(one: Sample, other: Sample) -> bool:
    return np.array_equal(one.image, other.image) and replace(one, image=None) == replace(other, image=None)


def test_a_document_gives_the_same_samples_in_every_process(folder: Path, tmp_path: Path) -> None:
    config = PdfConfig(files=(str(folder),), shares=ALL, seed=3, clean_share=0.2)
    engine = PdfEngine(config)
    assert engine.length == 5
    twin = pickle.loads(pickle.dumps(engine))
    for index in reversed(range(engine.length)):
        one, other = engine.draw(index), twin.draw(index)
        assert len(one.samples) == engine.documents[index].pages
        assert all(map(_same, one.samples, other.samples))
    # Alone, under another name and elsewhere, a document still gives the same pages.
    index = 2
    elsewhere = tmp_path / "elsewhere.pdf"
    elsewhere.write_bytes(engine.documents[index].path.read_bytes())
    alone = PdfEngine(replace(config, files=(str(elsewhere),))).draw(0)
    for one, other in zip(engine.draw(index).samples, alone.samples, strict=True):
        assert np.array_equal(one.image, other.image)
        assert (one.answer, one.prompt, one.boxes) == (other.answer, other.prompt, other.boxes)
    reseeded = PdfEngine(replace(config, seed=4)).draw(index)
    assert not all(map(_same, engine.draw(index).samples, reseeded.samples))


def test_what_a_sample_holds(folder: Path) -> None:
    config = PdfConfig(
        files=(str(folder),), shares=ALL, dpi=(90.0, 110.0), clean_share=1.0, licence="CC0-1.0"
    )
    engine = PdfEngine(config)
    for index in range(engine.length):
        number = int(engine.documents[index].name[0])
        for page, sample in enumerate(engine.draw(index).samples):
            assert sample.answer == " ".join(_text(number, page))
            assert (sample.task, sample.language, sample.licence) == ("ocr", "en", "CC0-1.0")
            assert sample.source == f"{number}.pdf#{page + 1}"
            assert sample.image is not None
            assert sample.image.ndim == 2, "a page without colours is gray"
            dpi = sample.details["dpi"]
            assert 90 <= dpi <= 110
            assert sample.image.shape == (np.ceil(400 * dpi / 72), np.ceil(300 * dpi / 72))
            assert [box.label for box in sample.boxes if box.level == "line"] == _text(number, page)
            words = [box.label for box in sample.boxes if box.level == "word"]
            assert words == " ".join(_text(number, page)).split()
    prompts = {s.prompt for i in range(engine.length) for s in engine.draw(i).samples}
    assert TASKS["ocr"].prompts["en"][0] in prompts
    assert len(prompts) > 1


def test_coloured_pages_keep_their_colours(tmp_path: Path) -> None:
    path = tmp_path / "red.pdf"
    path.write_bytes(raw_pdf([RawPage("1 0 0 rg " + text_lines(_text(1, 1) * 2))]))
    [sample] = PdfEngine(PdfConfig(files=(str(path),), shares=ALL, clean_share=1.0)).draw(0).samples
    assert sample.image is not None
    assert sample.image.shape[2] == 3
    darkest = sample.image.reshape(-1, 3)[sample.image.sum(axis=2).argmin()]
    assert darkest[0] > 200 > 60 > darkest[1], "red, green, blue"


def test_long_documents_give_pages_drawn_at_random(folder: Path) -> None:
    drawn = set()
    for seed in range(12):
        config = PdfConfig(files=(str(folder / "5.pdf"),), shares=ALL, max_pages_per_document=2, seed=seed)
        pages = [sample.details["page"] for sample in PdfEngine(config).draw(0).samples]
        assert len(set(pages)) == 2
        assert pages == sorted(pages)
        drawn.update(pages)
    assert drawn == {1, 2, 3, 4, 5}


def test_a_huge_page_is_painted_smaller(tmp_path: Path) -> None:
    path = tmp_path / "poster.pdf"
    page = RawPage(text_lines(_text(1, 1), x=200, y=9000, size=200), media_box="0 0 9000 12000")
    path.write_bytes(raw_pdf([page]))
    [sample] = PdfEngine(PdfConfig(files=(str(path),), shares=ALL, max_side_px=1000)).draw(0).samples
    assert sample.image is not None
    assert 980 <= max(sample.image.shape) <= 1001


def test_answers_as_paragraphs_and_as_lines(tmp_path: Path) -> None:
    rng = random.Random(4)
    words = ["internationalization", "and", "the", "representation", "of", "administrative", "considerations"]
    texts = [" ".join(rng.choices(words, k=40)).capitalize() + "." for _ in range(2)]
    source = '#set page(width: 260pt, height: 300pt, margin: 20pt)\n#set text(size: 10pt, lang: "en")\n'
    source += "#set par(justify: true, spacing: 1.4em)\n" + "\n\n".join(texts)
    path = typeset(tmp_path / "a.pdf", source)
    config = PdfConfig(files=(str(path),), shares=ALL, clean_share=1.0)
    [paragraphs] = PdfEngine(config).draw(0).samples
    [lines] = PdfEngine(replace(config, answer="lines")).draw(0).samples
    assert paragraphs.answer == "\n".join(texts)
    assert lines.answer.splitlines() == [box.label for box in lines.boxes if box.level == "line"]
    assert "-\n" in lines.answer
    assert (paragraphs.details["answer"], lines.details["answer"]) == ("paragraphs", "lines")


def test_a_document_that_is_gone_is_an_error_that_names_it(tmp_path: Path) -> None:
    path = tmp_path / "gone.pdf"
    path.write_bytes(raw_pdf([RawPage(text_lines(_text(1, 1)))]))
    engine = PdfEngine(PdfConfig(files=(str(path),), shares=ALL))
    path.unlink()
    with pytest.raises(DataError, match=r"^gone\.pdf: cannot be read"):
        engine.draw(0)


WHOLE = raw_pdf([RawPage(text_lines(_text(1, page) * 3)) for page in range(2)])
NUMBERS = [match.span() for match in re.finditer(rb"-?\d+", WHOLE)]


@settings(max_examples=60)
@given(data=st.data())
def test_damaged_files_give_samples_or_a_data_error(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    damaged = bytearray(WHOLE)
    for _ in range(data.draw(st.integers(1, 4))):
        if data.draw(st.booleans()):
            first, last = data.draw(st.sampled_from(NUMBERS))
            value = data.draw(st.sampled_from([b"0", b"-1", b"99999999999", b"1e38", b"null", b"7", b"[1]"]))
            damaged[first:last] = value.ljust(last - first)
        else:
            place = data.draw(st.integers(0, len(damaged) - 1))
            damaged[place : place + data.draw(st.integers(1, 40))] = data.draw(st.binary(max_size=40))
    path = tmp_path_factory.getbasetemp() / "damaged.pdf"
    path.write_bytes(damaged)
    try:
        draw = PdfEngine(PdfConfig(files=(str(path),), shares=ALL, dpi=(50.0, 50.0))).draw(0)
    except DataError:
        return
    assert len(draw.samples) + sum(draw.dropped.values()) == draw.counts["pages"] > 0


def test_the_command_writes_shards_and_names_what_it_left_out(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    (tmp_path / "broken.pdf").write_bytes(b"%PDF-1.7 and nothing else")
    command = [sys.executable, "-m", "vary", "synth", "pdf", str(folder), str(tmp_path / "broken.pdf")]
    command += ["--out", str(out), "--split-shares", "train=1", "--dpi", "72", "--answer", "lines"]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout == ""
    assert "left out: broken.pdf" in ran.stderr
    manifest = read_manifest(out)
    assert manifest["engine"] == "pdf"
    assert manifest["counts"]["samples"] == manifest["counts"]["pages"] == 15
    assert [entry["name"] for entry in manifest["left_out"]] == ["broken.pdf"]
    assert len(manifest["documents"]) == 5
    assert str(tmp_path) not in json.dumps(manifest)
    samples = list(read_shards(out))
    assert {sample.answer.count("\n") for sample in samples} == {1}
    assert {sample.details["dpi"] for sample in samples} == {72}
