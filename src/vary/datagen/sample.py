"""What every engine makes: samples, with boxes that are true on their images, and the shape of an engine."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

__all__ = ["Box", "Draw", "Engine", "Record", "Sample"]

Record = dict[str, Any]
"""JSON values by name."""


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle on a sample's image and what it holds.

    Attributes:
        label: a line's or word's text, an object's class, a description.
        left, top, right, bottom: px of the image, from its upper left corner; fractions are allowed.
        level: `line`, `word`, `object`, `cell` or `formula`.
    """

    label: str
    left: float
    top: float
    right: float
    bottom: float
    level: str = "object"


@dataclass(frozen=True, slots=True)
class Sample:
    """One training sample: what is shown, what is asked, and the exact answer.

    Attributes:
        image: uint8, (H, W) gray or (H, W, 3) RGB; None for text alone.
        task: a name of `vary.inputs.tasks.TASKS`, or `chat` for a conversation.
        prompt: the question; empty where a model takes none.
        answer: what the model shall write.
        source: where it comes from: `file name#line`, a document's name and page, a template's name.
        licence: of what the sample was made from.
        language: `en`, `zh`, `mixed`, or `other` where a reader finds another script.
        boxes: what the engine knows of places, whether or not the answer tells them.
        later: further rounds after the first, (question, answer).
        system: the system message, where the data gives one.
        details: what else the engine records, as JSON values: font, layout, degradation, ...
    """

    image: NDArray[np.uint8] | None = field(repr=False)
    task: str
    prompt: str
    answer: str
    source: str
    licence: str
    language: str = "en"
    boxes: tuple[Box, ...] = field(default=(), repr=False)
    later: tuple[tuple[str, str], ...] = ()
    system: str | None = None
    details: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Draw:
    """What an engine made of one index.

    Attributes:
        samples: in order.
        counts: what else is worth adding up over a data set, such as `painted_lines`.
        dropped: the reasons why something was left out, and how often.
    """

    samples: tuple[Sample, ...]
    counts: Counter[str] = field(default_factory=Counter)
    dropped: Counter[str] = field(default_factory=Counter)


class Engine(Protocol):
    """A source of samples by number: what it makes of an index depends on its settings and the index alone.

    An engine can be pickled, so that worker processes share its settings; unpickling is fast.
    """

    name: str
    """As in `vary synth NAME`."""

    @property
    def length(self) -> int | None:
        """How many indices there are: documents, records; None where an engine can go on for ever."""
        ...

    def draw(self, index: int) -> Draw:
        """The samples of index `index`, 0 and up.

        Raises:
            DataError: if the index's file is broken; what merely does not fit is counted in `Draw.dropped`.
        """
        ...

    def describe(self) -> Record:
        """What the samples depend on: seed, split, settings, hashes of the files, fonts, versions."""
        ...
