"""Whole pages through the reader, one joining as another ends: the same document as page by page."""

from __future__ import annotations

import random
import string
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image, ImageDraw

from checkpoints import chat_config, chat_model, chat_processor
from vary import page_stream
from vary.backends import pages as page_readers
from vary.engine.answers import Generation
from vary.engine.decoders.interface import Entry
from vary.engine.decoders.library import LibraryDecoder
from vary.engine.decoding import DraftUse
from vary.engine.lines import LineReading
from vary.errors import DeviceError, InputError
from vary.inputs.page_image import PageImage
from vary.inputs.windows import PageWindows, Window, whole_window
from vary.outputs.document import Document, Page, PageStatus
from vary.page_drafts import PageDrafts
from vary.page_stream import AHEAD, PageJob, whole_pages
from vary.reader import Reader

WORDS = ["Vary", "reads", "dense", "text,", "charts", "and", "pages", "of", "any", "kind"]


def painted(number: int) -> Image.Image:
    rng = random.Random(number)
    page = Image.new("RGB", (240 + 10 * number, 160), "white")
    for line in range(2 + number % 4):
        ImageDraw.Draw(page).text((12, 12 + 24 * line), " ".join(rng.sample(WORDS, 4)), fill="black")
    return page


@pytest.fixture(scope="module")
def reader() -> Reader:
    """A random model that looks at the page, and ends its answers at many lengths."""
    config = chat_config()
    model = chat_model(config, letters=string.ascii_letters + " .,\n")
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "projector" in name:
                weight.mul_(30)
            elif "language_model" in name:
                weight.mul_(
                    {"q": 5, "k": 5, "v": 20, "o": 20}.get(name.split(".")[-2].removesuffix("_proj"), 1)
                )
    return Reader(model, chat_processor(config), "tiny toy", torch.device("cpu"))


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Nine pages with text, a blank one, and one that is too small."""
    frames = [painted(number) for number in range(9)]
    frames.insert(2, Image.new("RGB", (200, 200), "white"))
    frames.insert(5, Image.new("L", (1, 1)))
    path = tmp_path_factory.mktemp("pages") / "pages.tiff"
    frames[0].save(path, save_all=True, append_images=frames[1:])
    return path


def contents(document: Document) -> list[Any]:
    return [
        (
            page.number,
            page.status,
            page.text,
            [pytest.approx(line.confidence, abs=1e-4) for line in page.lines],
        )
        for page in document.pages
    ]


OPTIONS: list[dict[str, Any]] = [
    {},
    {"draft": ["some text that is no good guess"]},
    {"temperature": 1.0, "seed": 4, "repetition_penalty": 1.2},
]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_a_document_is_what_its_pages_are_alone(reader: Reader, file: Path, options: dict[str, Any]) -> None:
    asked = {"max_new_tokens": 60, "task": "ocr", **options}
    expected = reader.read(file, batch_size=1, **asked)
    assert [page.status for page in expected.pages].count(PageStatus.FAILED) == 1
    assert expected.pages[2].status is PageStatus.BLANK
    assert len({page.text for page in expected.pages}) >= 4, "answers that are alike would show little"
    for batch_size in (2, 16):
        assert contents(reader.read(file, batch_size=batch_size, **asked)) == contents(expected)


def test_drafts_are_counted_over_all_pages(reader: Reader, file: Path) -> None:
    texts = [page.text for page in reader.read(file, max_new_tokens=60, task="ocr").pages]
    used = [
        reader.read(file, max_new_tokens=60, task="ocr", draft=texts, batch_size=size).model.settings[
            "draft_use"
        ]
        for size in (1, 4)
    ]
    assert used[0] == used[1]
    assert used[0]["pages"] == {"text": 9}
    assert used[0]["accepted"] > used[0]["tokens"] / 2


class Memory:
    """Room for so many images and sequences at a time; counts what was tried."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, reader: Reader, images: int, rows: int) -> None:
        encode, read = type(reader.model).get_image_features, LibraryDecoder.read
        self.rows: list[int] = []

        def encoded(model: Any, pixel_values: Any, **rest: Any) -> Any:
            if len(pixel_values) > images:
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\nSee there.")
            return encode(model, pixel_values, **rest)

        def stepped(decoder: LibraryDecoder, entries: list[Entry]) -> Any:
            self.rows.append(len(entries))
            if len(entries) > rows:
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\nSee there.")
            return read(decoder, entries)

        monkeypatch.setattr(type(reader.model), "get_image_features", encoded)
        monkeypatch.setattr(LibraryDecoder, "read", stepped)


def test_documents_that_are_read_together_are_as_alone(reader: Reader, file: Path, tmp_path: Path) -> None:
    """Pages of several files are in one batch, and a file that cannot be read keeps nothing else from it."""
    sources: list[Any] = [
        tmp_path / "missing.png",
        file,
        painted(20),
        tmp_path / "empty.png",
        painted(21),
        file,
    ]
    sources[3].touch()
    seen: list[tuple[int, int, int | None]] = []
    options: dict[str, Any] = {"max_new_tokens": 40, "task": "ocr", "draft": ["a guess"], "batch_size": 4}
    found = list(reader.read_many(sources, progress=lambda *told: seen.append(told), **options))
    for number, (source, document) in enumerate(zip(sources, found, strict=True)):
        if number in (0, 3):
            with pytest.raises(InputError) as raised:
                reader.read(source, **options)
            assert isinstance(document, InputError)
            assert str(document) == str(raised.value)
            assert all(told[0] != number for told in seen)
            continue
        expected = reader.read(source, **options)
        assert isinstance(document, Document)
        assert contents(document) == contents(expected)
        assert document.source == expected.source
        assert document.model == expected.model, "drafts are counted for each"
        assert [told[1:] for told in seen if told[0] == number] == [
            (done, len(expected.pages)) for done in range(len(expected.pages) + 1)
        ]
    assert [told[0] for told in seen] == sorted(told[0] for told in seen)


def test_single_pages_are_read_side_by_side(reader: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    memory, opened = Memory(monkeypatch, reader, 8, 8), list[int]()

    def sources() -> Iterator[Image.Image]:
        for number in range(7):
            opened.append(number)
            yield painted(number)

    found = reader.read_many(sources(), batch_size=4, max_new_tokens=30)
    next(found)
    assert max(memory.rows) == 4
    assert len(opened) < 8
    assert len(list(found)) == 6
    assert len(memory.rows) < 7 * 30 / 2


def test_the_command_reads_files_together(tiny_toy_folder: Path, tmp_path: Path) -> None:
    names = [f"{number}.png" for number in range(4)]
    for number, name in enumerate(names):
        painted(number).save(tmp_path / name)
    (tmp_path / "2.png").write_bytes(b"no image")
    command = [sys.executable, "-m", "vary", "read", *names, "--model", str(tiny_toy_folder)]
    command += ["--device", "cpu", "--max-new-tokens", "12", "--format", "json"]
    found = [
        subprocess.run(
            [*command, "--batch-size", size], capture_output=True, text=True, check=False, cwd=tmp_path
        )
        for size in ("1", "4")
    ]
    for ran in found:
        assert ran.returncode == 1
        assert "2.png: this is" in ran.stderr
    documents = [[Document.from_json(line) for line in ran.stdout.splitlines()] for ran in found]
    assert [document.source for document in documents[0]] == ["0.png", "1.png", "3.png"]
    assert [contents(document) for document in documents[1]] == [contents(one) for one in documents[0]]


def test_lines_are_read_document_by_document(tiny_nano_folder: Path) -> None:
    nano, opened = Reader.load(tiny_nano_folder, device="cpu"), list[int]()

    def sources() -> Iterator[Image.Image]:
        for number in range(3):
            opened.append(number)
            yield painted(number)

    found = nano.read_many(sources(), max_new_tokens=5)
    first = next(found)
    assert isinstance(first, Document)
    assert opened == [0]
    assert first.text == nano.read(painted(0), max_new_tokens=5).text
    assert len(list(found)) == 2


@pytest.mark.parametrize(("images", "rows"), [(8, 3), (3, 8), (1, 1)])
def test_what_does_not_fit_into_memory_waits(
    reader: Reader, file: Path, monkeypatch: pytest.MonkeyPatch, images: int, rows: int
) -> None:
    expected = reader.read(file, batch_size=1, max_new_tokens=30)
    memory = Memory(monkeypatch, reader, images, rows)
    assert contents(reader.read(file, batch_size=6, max_new_tokens=30)) == contents(expected)
    assert memory.rows.count(max(memory.rows)) == 1 if rows < 6 else max(memory.rows) == 6


def test_a_page_that_does_not_fit_alone_is_an_error(
    reader: Reader, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Memory(monkeypatch, reader, 0, 8)
    with pytest.raises(DeviceError, match=r"single window of tiny toy \(CUDA out of memory.*2.00 GiB"):
        reader.read(file, batch_size=6, max_new_tokens=30)


def test_beams_are_read_in_halves(reader: Reader, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = reader.read(file, batch_size=1, max_new_tokens=8, num_beams=2)
    Memory(monkeypatch, reader, 2, 8)
    assert contents(reader.read(file, batch_size=4, max_new_tokens=8, num_beams=2)) == contents(expected)


def test_who_stops_in_the_middle_leaves_nothing_open(
    reader: Reader, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoders: list[LibraryDecoder] = []

    class Noted(LibraryDecoder):
        def __init__(self, model: Any) -> None:
            super().__init__(model)
            decoders.append(self)

    closed: list[str] = []

    def noted(source: Any, **options: Any) -> Iterator[Any]:
        try:
            yield from opened(source, **options)
        finally:
            closed.append("file")

    from vary import reader as corridor

    opened = corridor.open_pages
    monkeypatch.setattr(corridor, "open_pages", noted)
    monkeypatch.setattr(page_readers, "LibraryDecoder", Noted)
    read = reader.iter_pages(file, batch_size=3, max_new_tokens=40)
    assert next(read).number == 1
    [decoder] = decoders
    assert decoder._slots
    read.close()
    assert decoder._slots == []
    assert closed == ["file"]


class Scripted:
    """A `PageReader` whose pages take given numbers of steps; a step takes a second of `clock`."""

    def __init__(self, steps: list[int], rows: int) -> None:
        self.steps, self.rows = steps, rows
        self.left: dict[int, int] = {}
        self.added, self.clock, self.closed = 0, 0.0, False

    @property
    def wanted(self) -> int:
        return self.rows - len(self.left)

    def add(self, window: Window, draft: str) -> int:
        self.left[self.added] = self.steps[self.added]
        self.added += 1
        return self.added - 1

    def step(self) -> list[tuple[int, LineReading]]:
        self.clock += 1
        self.left = {number: left - 1 for number, left in self.left.items()}
        ended = [number for number, left in self.left.items() if not left]
        for number in ended:
            del self.left[number]
        answer = Generation([1], [0.0], "stop", draft=DraftUse(3, 2, 2, 1))
        return [(number, LineReading(answer, [1.0], None, 0)) for number in ended]

    def close(self) -> None:
        self.closed = True


def run(
    steps: list[int], rows: int, monkeypatch: pytest.MonkeyPatch
) -> tuple[Scripted, list[int], Iterator[Page | str]]:
    """Pages of so many steps each; -1 stands for what is no page.  And the numbers of those opened so far."""
    reader, opened = Scripted([step for step in steps if step > 0], rows), list[int]()
    monkeypatch.setattr(page_stream.time, "monotonic", lambda: reader.clock)
    drafts, [window] = PageDrafts(), whole_window(painted(0)).windows

    def jobs() -> Iterator[PageJob | str]:
        for number, step in enumerate(steps):
            opened.append(number)
            image = PageImage(Image.new("RGB", (20, 20)), "x", number)
            windows = whole_window(image.image) if step == 0 else PageWindows([window], False, 0.0)
            yield "other" if step < 0 else PageJob(image, windows, 0.0, drafts, "draft")

    def finish(job: PageJob) -> Page:
        return Page(job.page.index, 20, 20, "x", PageStatus.OK, seconds=job.seconds)

    return reader, opened, whole_pages(jobs(), reader, rows, finish)


def test_pages_come_in_order_and_time_is_shared(monkeypatch: pytest.MonkeyPatch) -> None:
    steps = [5, 1, -1, 2, 0, 9, 1, 1, 0, 3]
    reader, _, pages = run(steps, 3, monkeypatch)
    found = list(pages)
    assert [item if isinstance(item, str) else item.number for item in found] == [
        0,
        1,
        "other",
        *range(3, 10),
    ]
    assert sum(item.seconds or 0.0 for item in found if not isinstance(item, str)) == pytest.approx(
        reader.clock
    )
    assert reader.clock == 10, "rows are filled at once"
    assert reader.closed


def test_no_page_is_opened_before_its_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    _, opened, pages = run([1, 0, 1, 1], 1, monkeypatch)
    for number in range(4):
        page = next(pages)
        assert isinstance(page, Page)
        assert page.number == number
        assert opened == list(range(number + 1))


def test_a_long_answer_does_not_let_the_whole_document_be_read_ahead(monkeypatch: pytest.MonkeyPatch) -> None:
    reader, opened, pages = run([500, *[1] * 499], 2, monkeypatch)
    next(pages)
    assert reader.clock == 500
    assert len(opened) == 2 * AHEAD
    assert len(list(pages)) == 499
    monkeypatch.setattr(page_stream, "OPEN_PIXELS", 3 * 400)
    _, opened, pages = run([9] * 20, 8, monkeypatch)
    next(pages)
    assert len(opened) == 3
