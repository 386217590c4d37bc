"""What a reader makes of pages that hold no text, or little: text that it invents, loops, endless reading.

python benchmarks/trust.py [--model DIR] [--pages 200] [--photos DIR] [--suite DIR]

The pages are drawn by `trust_pages.py` from a seed; `--photos` adds pictures of a folder, such as desktop
backgrounds.  `--suite` (a folder with pages.json) also reads worse and worse copies of its pages, whose
confidence has to fall.  Nothing is fetched.
"""

from __future__ import annotations

import argparse
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image, ImageFilter
from trust_pages import KINDS, WITH_WORDS, draw

from vary import Document, Reader
from vary.evaluation.metrics import error_rate, total
from vary.evaluation.suites import load_suite
from vary.outputs.document import PageStatus

PHOTO_SIDE = 2000
"""Photos are made no larger than this."""
PICTURES = {".jpg", ".jpeg", ".png"}


@dataclass
class Row:
    """What became of the pages of one kind."""

    statuses: Counter[str] = field(default_factory=Counter)
    invented: list[int] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    words: int = 0
    found: int = 0

    def add(self, document: Document, words: list[str] | None, seconds: float) -> None:
        """Counts a page; `words` stand on it, None where nobody knows."""
        self.statuses[str(document.status)] += 1
        self.seconds.append(seconds)
        if words is not None:
            read = Counter(document.text.split())
            self.words += len(words)
            self.found += sum((read & Counter(words)).values())
            if not words:
                self.invented.append(len("".join(document.text.split())))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", help="a checkpoint's folder; the shipped vary-nano by default")
    parser.add_argument("--pages", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--photos", type=Path, metavar="DIR", help="pictures without text")
    parser.add_argument("--suite", type=Path, metavar="DIR", help="pages whose worse copies are read, too")
    parser.add_argument("--save", type=Path, metavar="DIR", help="keep the pages on which text was invented")
    args = parser.parse_args()
    reader = Reader.load(args.model, device="cpu")
    rows = {kind: Row() for kind in (*KINDS, "photo")}
    for name, number, page, words in pages(args.pages, args.seed, args.photos):
        started = time.monotonic()
        document = reader.read(page)
        rows[name].add(document, words, time.monotonic() - started)
        if not words and document.text:
            message = " ".join(document.text.split())[:70]
            print(
                f"{name} {number}: {document.status}, confidence {document.confidence:.2f}: {message}",
                flush=True,
            )
            if args.save is not None:
                args.save.mkdir(parents=True, exist_ok=True)
                Image.fromarray(page).save(args.save / f"{name.replace(' ', '-')}-{number}.png")
    report(rows)
    if args.suite is not None:
        fading(reader, args.suite)


def pages(count: int, seed: int, photos: Path | None) -> Iterator[tuple[str, str, np.ndarray, list[str]]]:
    """Kind, name, pixels and words of each page."""
    kinds = list(KINDS)
    for number in range(count):
        kind, index = kinds[number % len(kinds)], number // len(kinds)
        page, words = draw(kind, seed, index)
        yield kind, str(index), page, words
    files = sorted(file for file in photos.rglob("*") if file.suffix.lower() in PICTURES) if photos else []
    for file in files:
        with Image.open(file) as picture:
            picture.thumbnail((PHOTO_SIDE, PHOTO_SIDE))
            yield "photo", file.stem, np.asarray(picture.convert("RGB")), []


def report(rows: dict[str, Row]) -> None:
    """A table row for each kind."""
    heads = ("kind", "pages", "statuses", "pages with invented text", "invented characters", "words found")
    print(f"| {' | '.join(heads)} | slowest page |\n|{'---|' * (len(heads) + 1)}")
    for kind, row in rows.items():
        if not row.seconds:
            continue
        statuses = ", ".join(f"{count} {name}" for name, count in sorted(row.statuses.items()))
        words = f"{row.found} of {row.words}" if kind in WITH_WORDS else ""
        guilty, invented = sum(map(bool, row.invented)), sum(row.invented)
        print(
            f"| {kind} | {len(row.seconds)} | {statuses} | {guilty} of {len(row.invented)} | {invented} | "
            f"{words} | {max(row.seconds):.1f} s |"
        )
    ended = sum(
        row.statuses[name] for row in rows.values() for name in (PageStatus.LOOPED, PageStatus.TRUNCATED)
    )
    print(f"pages looped or truncated: {ended}")


WORSE: dict[str, Callable[[Image.Image], Image.Image]] = {
    "as it is": lambda page: page,
    "half the resolution": lambda page: page.resize(
        (page.width // 2, page.height // 2), Image.Resampling.BOX
    ),
    "a third": lambda page: page.resize((page.width // 3, page.height // 3), Image.Resampling.BOX),
    "blurred, 1.5 px": lambda page: page.filter(ImageFilter.GaussianBlur(1.5)),
    "blurred, 2.5 px": lambda page: page.filter(ImageFilter.GaussianBlur(2.5)),
    "noise of 30": lambda page: noisy(page, 30),
    "noise of 60": lambda page: noisy(page, 60),
}


def noisy(page: Image.Image, sigma: float) -> Image.Image:
    """With Gaussian noise, the same one on every page of a size."""
    pixels = np.asarray(page, np.float32)
    noise = np.random.default_rng(0).normal(0, sigma, pixels.shape)
    return Image.fromarray(np.clip(pixels + noise, 0, 255).astype(np.uint8))


def fading(reader: Reader, folder: Path) -> None:
    """Error rate and confidence of worse and worse copies of a suite's pages."""
    print("\n| copies | character error rate | mean confidence | statuses |\n|---|---|---|---|")
    suite = load_suite(folder)
    for name, change in WORSE.items():
        rates, confidences, statuses = [], [], Counter[str]()
        for page in suite:
            with Image.open(page.image) as picture:
                document = reader.read(change(picture.convert("L")))
            rates.append(error_rate(document.text, page.text, page.language))
            statuses[str(document.status)] += 1
            if document.confidence is not None:
                confidences.append(document.confidence)
        mean = f"{np.mean(confidences):.3f}" if confidences else "none"
        counts = ", ".join(f"{count} {status}" for status, count in sorted(statuses.items()))
        print(f"| {name} | {total(rates).rate:.4f} | {mean} | {counts} |", flush=True)


if __name__ == "__main__":
    main()
