"""What reads the windows of a page: a checkpoint's model in PyTorch, or without it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from vary.engine.decoding import DraftUse
from vary.engine.lines import LineReading
from vary.engine.sampling import Sampling
from vary.inputs.tasks import ResolvedTask
from vary.inputs.windows import Window

__all__ = ["Backend", "Request", "Traits"]


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
        sampling = self.sampling
        return (
            self.layout is None
            and not sampling.temperature
            and sampling.num_beams == 1
            and sampling.repetition_penalty == 1
            and not sampling.no_repeat_ngram_size
        )


class Backend(Protocol):
    """Reads windows with one checkpoint on one device."""

    @property
    def traits(self) -> Traits:
        """What the checkpoint is."""

    def parts(self) -> dict[str, str]:
        """For people: `device`, `dtype`, and what computes `vision` and `decoder`."""

    def check_layout(self, name: str | None) -> str | None:
        """A layout's name; TaskError if the checkpoint has none of it."""

    def encode(self, text: str) -> list[int]:
        """Text to ids, without a prompt."""

    def decode(self, ids: Sequence[int]) -> str:
        """Ids to text, special tokens left out."""

    def read(
        self, windows: Sequence[Window], request: Request, drafts: Sequence[str], use: list[DraftUse]
    ) -> list[LineReading]:
        """Reads windows at once, each with a draft or "".

        What drafts were worth is added to `use`.

        Raises:
            ContextError: for a prompt that leaves no room for an answer.
            DeviceError: where memory does not suffice for a single window.
        """
