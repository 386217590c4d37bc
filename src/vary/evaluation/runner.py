"""Reads a suite, or takes texts that were read before, and scores it.

Nothing is left out of a score: a page that failed and a prediction that is missing count as empty texts, and
the report names them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vary.errors import DataError, InputError
from vary.evaluation.metrics import ErrorRate, error_rate, total
from vary.evaluation.suites import SuitePage
from vary.outputs.document import Document

__all__ = [
    "PageScore",
    "Prediction",
    "Score",
    "load_predictions",
    "prediction_of",
    "read_suite",
    "score_suite",
]


@dataclass(frozen=True, slots=True)
class Prediction:
    """What was read of one page: its text, and what became of it ("ok", "failed", "missing", ...)."""

    text: str
    status: str
    message: str = ""
    seconds: float | None = None


@dataclass(frozen=True, slots=True)
class PageScore:
    """One page of a suite with its prediction and its error rate."""

    page: SuitePage
    prediction: Prediction
    errors: ErrorRate

    def as_dict(self) -> dict[str, Any]:
        """This page's entry in the report."""
        return {
            "image": self.page.image.name,
            "lang": self.page.language,
            "kind": self.page.kind,
            "status": self.prediction.status,
            "message": self.prediction.message,
            "seconds": self.prediction.seconds,
            "edits": self.errors.edits,
            "characters": self.errors.characters,
            "cer": self.errors.rate,
        }


@dataclass(frozen=True, slots=True)
class Score:
    """A scored suite: every page, the pooled rate of every group, and the rate over all pages."""

    pages: list[PageScore] = field(default_factory=list)

    @property
    def overall(self) -> ErrorRate:
        """The rate over all pages."""
        return total(page.errors for page in self.pages)

    @property
    def groups(self) -> dict[str, ErrorRate]:
        """The rate of each language and of each language's kinds of page, in alphabetical order."""
        names = sorted({name for page in self.pages for name in page.page.groups})
        return {name: total(p.errors for p in self.pages if name in p.page.groups) for name in names}

    def as_dict(self) -> dict[str, Any]:
        """The report, without its provenance: JSON-serialisable."""
        rates = {"overall": self.overall, **self.groups}
        return {
            "cer": {
                name: {"cer": rate.rate, "edits": rate.edits, "characters": rate.characters}
                for name, rate in rates.items()
            },
            "pages": [page.as_dict() for page in self.pages],
        }


def score_suite(suite: Sequence[SuitePage], predictions: Mapping[str, Prediction]) -> Score:
    """Score predictions, by stem; a page without one counts as empty with the status "missing"."""
    missing = Prediction("", "missing", "no prediction for this page")
    scores = []
    for page in suite:
        prediction = predictions.get(page.stem, missing)
        scores.append(PageScore(page, prediction, error_rate(prediction.text, page.text, page.language)))
    return Score(scores)


def load_predictions(suite: Sequence[SuitePage], folder: Path) -> dict[str, Prediction]:
    """The texts STEM.txt of a folder, by stem; a page whose file is missing has no entry.

    Raises DataError for a folder that is not there and for a file that is not UTF-8.
    """
    if not folder.is_dir():
        raise DataError(f"{folder}: is no folder; expected one with a STEM.txt for each page of the suite")
    found = {}
    for page in suite:
        file = folder / f"{page.stem}.txt"
        if not file.exists():
            continue
        try:
            found[page.stem] = Prediction(file.read_text(encoding="utf-8"), "ok")
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(f"{file}: cannot be read as UTF-8 text ({error})") from error
    return found


def read_suite(
    suite: Sequence[SuitePage],
    read_many: Callable[[Sequence[Path]], Iterable[Document | InputError]],
    *,
    progress: Callable[[int, int], None] | None = None,
) -> Iterator[tuple[SuitePage, Document | InputError]]:
    """Each page with what was read of it, or with why its image cannot be read.

    Args:
        suite: the pages.
        read_many: reads images in their order, such as `Reader.read_many`, which joins them to batches.
        progress: is told how many pages are read, and how many there are.
    """
    images = [page.image for page in suite]
    for number, (page, found) in enumerate(zip(suite, read_many(images), strict=True), start=1):
        if progress is not None:
            progress(number, len(suite))
        yield page, found


def prediction_of(found: Document | InputError) -> Prediction:
    """What was read of a page; of an image that cannot be read an empty text that is "failed"."""
    if isinstance(found, InputError):
        return Prediction("", "failed", str(found))
    seconds = sum(page.seconds or 0.0 for page in found.pages)
    messages = "; ".join(page.message for page in found.pages if page.message)
    return Prediction(found.text, str(found.status), messages, round(seconds, 3))
