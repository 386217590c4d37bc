"""The result of a benchmark: what was measured of whom, in one run, with machine and limits."""

from __future__ import annotations

import json
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from importlib import resources
from typing import Any

__all__ = ["SCHEMA_VERSION", "Limit", "Measurement", "Reading", "Result", "json_schema", "median_ratio"]

SCHEMA_VERSION = "1.0"


@dataclass(slots=True)
class Limit:
    """Something of the machine: `read`, `copy` (bytes a second), `multiply float32` (operations a second)."""

    name: str
    samples: list[float] = field(default_factory=list)

    @property
    def value(self) -> float:
        """The median: what else ran meanwhile slowed it down as it did the contestants."""
        return statistics.median(self.samples) if self.samples else 0.0


@dataclass(slots=True)
class Measurement:
    """One contestant in one case.

    Attributes:
        contestant, label, precision: who.
        phase, case: what, such as decode with {"context": 300, "sequences": 1, "tokens": 1, "steps": 16}.
        seconds: of every repetition; of a step in decode, of the whole in others.
        work: what was done in these seconds, in `unit`s: pages or tokens.
        measured: False where it is the sum of phases, because the whole would have taken too long.
        speed: as a multiple of the reference's, round by round in the same group; None for the reference.
        reference: its label.
        share: of the machine's limit that is named, 0 to 1; None where none applies.
        bytes, device_bytes, loading_bytes: peak memory in the phase memory, and while weights were loaded.
        group: contestants of a group were alive, and measured in turns, at the same time.
    """

    contestant: str
    label: str
    precision: str
    phase: str
    case: dict[str, int]
    seconds: list[float]
    work: int
    unit: str
    group: int
    measured: bool = True
    speed: float | None = None
    reference: str = ""
    share: float | None = None
    limit: str = ""
    bytes: int | None = None
    device_bytes: int | None = None
    loading_bytes: int | None = None

    @property
    def median(self) -> float:
        return statistics.median(self.seconds) if self.seconds else 0.0

    @property
    def rate(self) -> float:
        """Units a second."""
        return self.work / self.median if self.median else 0.0


@dataclass(slots=True)
class Reading:
    """A program that reads a page image: its times, and its errors where a truth is known."""

    label: str
    seconds: list[float]
    characters: int
    character_error_rate: float | None

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)


@dataclass(slots=True)
class Result:
    """All of a run; `as_dict` follows result.schema.json."""

    machine: dict[str, Any]
    model: dict[str, Any]
    settings: dict[str, Any]
    versions: dict[str, dict[str, str]]
    load_average: list[float | None]
    limits: list[Limit] = field(default_factory=list)
    measurements: list[Measurement] = field(default_factory=list)
    readings: list[Reading] = field(default_factory=list)
    missing: list[dict[str, str]] = field(default_factory=list)
    failures: list[dict[str, str]] = field(default_factory=list)
    interrupted: bool = False

    def fail(self, label: str, reason: str) -> None:
        """Notes once what went wrong with somebody."""
        failure = {"label": label, "reason": reason}
        if failure not in self.failures:
            self.failures.append(failure)

    def limit(self, name: str) -> float:
        """The value of a limit; 0 where it was not measured."""
        return next((limit.value for limit in self.limits if limit.name == name), 0.0)

    def find(self, phase: str, **case: int) -> list[Measurement]:
        """Measurements of a phase in a case, as far as it is given."""
        return [
            found
            for found in self.measurements
            if found.phase == phase and all(found.case.get(name) == value for name, value in case.items())
        ]

    def as_dict(self) -> dict[str, Any]:
        """JSON values."""
        return {
            "schema_version": SCHEMA_VERSION,
            "machine": self.machine,
            "model": self.model,
            "settings": self.settings,
            "versions": self.versions,
            "load_average": self.load_average,
            "limits": [{**asdict(limit), "value": limit.value} for limit in self.limits],
            "measurements": [
                {**asdict(found), "median": found.median, "rate": found.rate} for found in self.measurements
            ],
            "readings": [{**asdict(reading), "median": reading.median} for reading in self.readings],
            "missing": self.missing,
            "failures": self.failures,
            "interrupted": self.interrupted,
        }

    def dumps(self) -> str:
        """As JSON text."""
        return json.dumps(self.as_dict(), ensure_ascii=False, indent=2, allow_nan=False) + "\n"


def median_ratio(reference: Sequence[float], own: Sequence[float]) -> float | None:
    """The median over rounds of the reference's seconds by one's own; None where a round is missing."""
    ratios = [theirs / mine for theirs, mine in zip(reference, own, strict=False) if mine > 0]
    return statistics.median(ratios) if ratios else None


def json_schema() -> dict[str, Any]:
    """The JSON Schema (2020-12) of `Result.as_dict`."""
    text = resources.files("vary.bench").joinpath("result.schema.json").read_text("utf-8")
    schema: dict[str, Any] = json.loads(text)
    return schema
