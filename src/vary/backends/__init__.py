"""What reads the windows of a page: a checkpoint's model in PyTorch, or without it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from vary.engine.lines import LineReading
from vary.engine.sampling import Sampling
from vary.inputs.tasks import ResolvedTask
from vary.inputs.windows import Window

__all__ = ["Backend", "PageReader", "Request", "Traits"]


@dataclass(frozen=True, slots=True)
class Traits:
    """What a checkpoint is, as far as whoever reads with it has to know.

    Attributes:
        tasks, languages, prompts, version, confidence: as in `VaryConfig`.
        line_size: height and greatest width of the text lines that it reads, px; None if it reads pages.
        weights: how many numbers it has.
    """

    tasks: tuple[str, ...]
    languages: tuple[str, ...]
    prompts: dict[str, str]
    version: str
    confidence: dict[str, float] | None
    line_size: tuple[int, int] | None
    weights: int


@dataclass(frozen=True, slots=True)
class Request:
    """How windows are to be read; see `vary.reader.Reader.iter_pages`."""

    task: ResolvedTask
    sampling: Sampling
    max_new_tokens: int | None = None
    layout: str | None = None

    @property
    def plain(self) -> bool:
        """Whether the likeliest ids are wanted, by the checkpoint's own layout, and nothing else."""
        return self.layout is None and self.sampling.greedy


class PageReader(Protocol):
    """Pages on their way through a model: they join while others are read, and leave as they end."""

    @property
    def wanted(self) -> int:
        """How many more pages are worth adding now."""

    def add(self, window: Window, draft: str) -> int:
        """Lets a page wait for its turn, with a draft of its text or ""; its number, counted from 0."""

    def step(self) -> list[tuple[int, LineReading]]:
        """Reads on; the pages that ended, with their numbers.

        Raises:
            ContextError: for a prompt that leaves no room for an answer.
            DeviceError: where memory does not suffice for a single page.
        """

    def close(self) -> None:
        """Gives up what is on its way."""


class Backend(Protocol):
    """Reads windows with one checkpoint on one device."""

    @property
    def notes(self) -> tuple[str, ...]:
        """What a user should know about how the checkpoint runs here."""

    @property
    def traits(self) -> Traits:
        """What the checkpoint is."""

    def pages_at_once(self, sampling: Sampling) -> int:
        """How many whole pages are best read together."""

    def parts(self, sampling: Sampling = ...) -> dict[str, str]:
        """For people: `device`, `dtype`, and what computes `vision` and, for a sampling, `decoder`."""

    def check_layout(self, name: str | None) -> str | None:
        """A layout's name; TaskError if the checkpoint has none of it."""

    def encode(self, text: str) -> list[int]:
        """Text to ids, without a prompt."""

    def decode(self, ids: Sequence[int]) -> str:
        """Ids to text, special tokens left out."""

    def read_lines(self, windows: Sequence[Window], request: Request) -> list[LineReading]:
        """Reads windows of text lines at once.

        Raises:
            ContextError: for a prompt that leaves no room for an answer.
            DeviceError: where memory does not suffice for a single window.
        """

    def page_reader(self, request: Request, batch_size: int) -> PageReader:
        """Reads whole pages, at most `batch_size` at a time."""
