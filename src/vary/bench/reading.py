"""Programs that read a page's image, in turns: Tesseract, and vary with the checkpoint that it ships."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from vary.bench.contestants.tesseract import Tesseract
from vary.bench.page import paint_page
from vary.bench.processes import Worker
from vary.bench.result import Reading, Result
from vary.bench.settings import BenchSettings
from vary.errors import VaryError

__all__ = ["ErrorRate", "PageTruth", "read_in_turns"]

ErrorRate = Callable[[str, str, str], float | None]
"""(reading, truth, language) to errors a character, or None where they cannot be counted here."""
LOADING = 300.0
SPOT = 64
"""Side of the blank picture that shows how long a program takes to start."""


@dataclass(frozen=True, slots=True)
class PageTruth:
    """An image with what stands on it; an empty text is not compared with."""

    path: str
    text: str
    language: str


def read_in_turns(
    settings: BenchSettings,
    result: Result,
    page: PageTruth | None,
    error_rate: ErrorRate | None,
    said: Callable[[str], None],
) -> None:
    """Adds the readings of everyone that is there to a result."""
    said("the same page read by vary-nano and by Tesseract")
    with tempfile.TemporaryDirectory(prefix="vary-bench-") as folder:
        if page is None:
            painted = Path(folder, "page.png")
            page = PageTruth(str(painted), paint_page(painted), "en")
        blank = Path(folder, "blank.png")
        Image.new("L", (SPOT, SPOT), 255).save(blank)
        _turns(settings, result, page, str(blank), error_rate)


def _turns(
    settings: BenchSettings, result: Result, page: PageTruth, blank: str, error_rate: ErrorRate | None
) -> None:
    threads, device = settings.subject.threads, settings.subject.device
    with Worker.running("vary-nano", threads) as worker:
        worker.ask("reader", LOADING, device=device, threads=threads)

        def loaded() -> tuple[float, str]:
            answer = worker.ask("read", LOADING, page=page.path)
            return float(answer["seconds"]), str(answer["text"])

        programs: dict[str, Callable[[], tuple[float, str]]] = {
            "vary-nano, loaded": loaded,
            "vary-nano, from process start": lambda: _vary_process(page.path, device),
        }
        tesseract = Tesseract()
        if not tesseract.missing():
            result.versions[tesseract.name] = {tesseract.name: tesseract.version()}
            programs["tesseract, from process start"] = lambda: tesseract.read(
                page.path, page.language, threads
            )
            programs["tesseract, a blank picture"] = lambda: tesseract.read(blank, page.language, threads)
        found: dict[str, Reading] = {}
        for number in range(settings.repeat + 1):  # the first round warms up
            for label, read in list(programs.items()):
                try:
                    seconds, text = read()
                except VaryError as error:
                    result.fail(label, str(error))
                    del programs[label]
                    continue
                rate = None
                if error_rate is not None and page.text and not label.endswith("blank picture"):
                    rate = error_rate(text, page.text, page.language)
                reading = found.setdefault(label, Reading(label, [], len(text), rate))
                if number:
                    reading.seconds.append(seconds)
        result.readings += [reading for reading in found.values() if reading.seconds]


def _vary_process(path: str, device: str) -> tuple[float, str]:
    """`vary read` as a user runs it."""
    started = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "vary", "read", path, "--device", device],
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
        timeout=LOADING,
    )
    seconds = time.perf_counter() - started
    if done.returncode:
        raise VaryError(f"vary read failed on {path}: {done.stderr.strip()[-300:]}")
    return seconds, done.stdout
