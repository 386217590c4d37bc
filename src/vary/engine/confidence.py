"""How sure a reading is of a whole line: the probability that every character of it is right.

What the branches of a model give to each token says little about a line: a hundred characters of 0.99 make a
line that is right with 0.37, if they are independent, and they are not.  So a checkpoint may hold two
numbers, fitted on lines whose text is known, that make a probability of a line's doubt d:

    confidence = 1 / (1 + (d / half) ** slope)

The doubt is minus the log-probability of the line in the branch that is surer of it: the decoder's, its end
included, or the CTC branch's along the best path.  On lines that are longer than those it was trained on a
decoder may be at a loss where the CTC branch, which sees no further than its frames, reads on.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vary.engine.lines import LineReading
from vary.errors import CheckpointError

__all__ = ["LineConfidence", "doubt_of", "fit_confidence", "sense_of"]

LEAST_PROBABILITY, LEAST_DOUBT = 1e-30, 1e-6
"""A token is never surer of being wrong, and a line never surer of being right."""
RIDGE = 1e-3
"""Keeps the fit finite where the lines can be told apart without an error."""
ROUNDS = 50


@dataclass(frozen=True, slots=True)
class LineConfidence:
    """The map from a reading to the probability that its line is right; see above for the formula.

    Attributes:
        half: the doubt, in nats, with which half of the lines are right.
        slope: how steeply confidence falls with doubt.
    """

    half: float
    slope: float

    @classmethod
    def of(cls, values: Any) -> LineConfidence | None:
        """The map that a checkpoint's configuration holds (`confidence`), None where it has none.

        Raises CheckpointError for anything but two finite numbers above 0.
        """
        if not values:
            return None
        names = [field.name for field in fields(cls)]
        numbers = values if isinstance(values, dict) and sorted(values) == sorted(names) else {}
        if not numbers or not all(_is_number(value) for value in numbers.values()):
            raise CheckpointError(
                f"the configuration's confidence is {values!r:.120}, expected numbers above 0 for "
                f"{' and '.join(names)}; fit it with `vary train confidence`, or take it out"
            )
        return cls(**numbers)

    def as_dict(self) -> dict[str, float]:
        """As it stands in a configuration."""
        return asdict(self)

    def __call__(self, reading: LineReading) -> float:
        """The probability that the whole line is right; 0 where reading did not end by itself."""
        if reading.generation.finish_reason != "stop":
            return 0.0
        return _logistic(self.slope * (math.log(self.half) - math.log(doubt_of(reading))))


def doubt_of(reading: LineReading) -> float:
    """Minus the log-probability of the line in the branch that is surer of it, in nats; above 0."""
    decoder, frames = _branches(reading)
    doubt = -float(decoder.sum()) - (reading.generation.end_logprob or 0.0)
    return max(LEAST_DOUBT, doubt if frames is None else min(doubt, -float(frames.sum())))


def sense_of(reading: LineReading) -> float:
    """The mean probability of a token in the branch that is surer of the line; 0 without tokens.

    What is no text, such as noise, makes no sense to either.
    """
    if not reading.probabilities:
        return 0.0
    branches = [branch for branch in _branches(reading) if branch is not None]
    return max(float(np.exp(np.minimum(branch, 0.0)).mean()) for branch in branches)


def _branches(reading: LineReading) -> tuple[NDArray[np.float64], NDArray[np.float64] | None]:
    """The log-probability of each token in the decoder, and in the CTC branch where it could align them."""
    decoder = np.array(reading.generation.logprobs, np.float64)
    if reading.spans is None:
        return decoder, None
    # A token's probability is the geometric mean of both branches.
    both = np.log(np.maximum(LEAST_PROBABILITY, np.array(reading.probabilities, np.float64)))
    return decoder, np.minimum(2 * both - decoder, 0.0)


def fit_confidence(readings: Sequence[LineReading], exact: Sequence[bool]) -> LineConfidence:
    """The map that makes it likeliest that just these readings are exact, by Newton's method.

    Readings that did not end by themselves have no say.  Raises ValueError unless some lines are exact and
    some are not, and the doubtful ones less often.
    """
    pairs = zip(readings, exact, strict=True)
    ended = [(doubt_of(one), flag) for one, flag in pairs if one.generation.finish_reason == "stop"]
    truth = np.array([flag for _, flag in ended], np.float64)
    if not 0 < truth.sum() < len(truth):
        raise ValueError(
            f"{int(truth.sum())} of {len(truth)} lines are exact; expected some that are and some not"
        )
    facts = np.array([(1.0, -math.log(doubt)) for doubt, _ in ended])
    weights = np.zeros(2)
    for _ in range(ROUNDS):
        likely = np.array([_logistic(odds) for odds in facts @ weights])
        gradient = facts.T @ (likely - truth) + RIDGE * weights
        curvature = (facts * (likely * (1 - likely))[:, None]).T @ facts + RIDGE * np.eye(2)
        step = np.linalg.solve(curvature, gradient)
        weights -= step
        if float(np.abs(step).max()) < 1e-9:
            break
    bias, slope = weights.tolist()
    if slope <= 0:
        raise ValueError(
            "doubtful lines are exact as often as others; expected a model that has learned to read"
        )
    return LineConfidence(round(math.exp(bias / slope), 4), round(slope, 4))


def _logistic(odds: float) -> float:
    return 1 / (1 + math.exp(-max(-500.0, min(500.0, odds))))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < math.inf
