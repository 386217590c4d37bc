"""Measuring in turns: every contestant of a group once, then again, so that a busy moment hits all alike."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

from vary.bench.contestants.protocol import DTYPES
from vary.bench.processes import Worker, WorkerError
from vary.bench.result import Limit, Measurement, Result, median_ratio
from vary.bench.settings import BenchSettings, Entrant

__all__ = ["Case", "Group", "Stage"]

PAUSE = 0.15
"""Seconds between turns: threads of the last one that wait for more work go to sleep."""
BUILD_SECONDS = 1800.0
HARD = 4.0
"""Times the limit after which a contestant that has not answered is ended."""


@dataclass(frozen=True, slots=True)
class Case:
    """What is timed: a method of `Phases` with its arguments, and how much work it does."""

    phase: str
    values: dict[str, int]
    work: int
    unit: str

    def measurement(self, entrant: Entrant, group: int) -> Measurement:
        """An empty one for an entrant."""
        return Measurement(
            contestant=entrant.contestant,
            label=entrant.label,
            precision=entrant.precision,
            phase=self.phase,
            case=dict(self.values),
            seconds=[],
            work=self.work,
            unit=self.unit,
            group=group,
        )

    def added_up(self, entrant: Entrant, seconds: float) -> Measurement:
        """One that was not measured but follows from others."""
        made = self.measurement(entrant, 0)
        made.seconds, made.measured = [seconds], False
        return made


@dataclass(frozen=True, slots=True)
class Stage:
    """Cases that the same processes are measured in.

    Attributes:
        parts: of a contestant that they need, `encoder` and `decoder`.
        cases: one after the other.
        tokens: the most that their caches will hold, all sequences together.
    """

    parts: tuple[str, ...]
    cases: Sequence[Case]
    tokens: int

    @property
    def title(self) -> str:
        return ", ".join(dict.fromkeys(case.phase for case in self.cases))


@dataclass
class Group:
    """Contestants that are alive at the same time.  Use it as a context: it starts and stops them."""

    number: int
    stage: Stage
    members: Sequence[Entrant]
    settings: BenchSettings
    limits: Worker
    result: Result
    said: Callable[[str], None]
    _workers: dict[Entrant, Worker] = field(default_factory=dict)
    _weights: dict[Entrant, int] = field(default_factory=dict)
    _stack: ExitStack = field(default_factory=ExitStack)

    def __enter__(self) -> Group:
        """Builds the contestants, one at a time; one that fails is named and left out."""
        try:
            self._build()
        except BaseException:
            self._stack.__exit__(*sys.exc_info())
            raise
        return self

    def _build(self) -> None:
        for entrant in self.members:
            worker = self._stack.enter_context(Worker.running(entrant.label, self.settings.subject.threads))
            try:
                built = worker.ask(
                    "build", BUILD_SECONDS, **build_request(entrant, self.settings, self.stage.parts)
                )
            except WorkerError as error:
                self._leave(entrant, str(error), worker)
                continue
            self._workers[entrant] = worker
            self._weights[entrant] = int(built["weight_bytes"] or 0)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.__exit__(kind, error, trace)

    def measure(self) -> None:
        """All cases, each in as many rounds as asked for; files what was found with the result."""
        for case in self.stage.cases:
            self.said(f"  {case.phase} {', '.join(f'{name} {value}' for name, value in case.values.items())}")
            rounds = {entrant: case.measurement(entrant, self.number) for entrant in self._workers}
            limit = _limit_of(case, self.members)
            own = self._rounds(case, rounds, limit)
            self._judge(case, rounds, limit, own)

    def _rounds(self, case: Case, rounds: dict[Entrant, Measurement], limit: str) -> list[float]:
        """Fills in seconds; returns what the machine's limit was between them."""
        limits: list[float] = []
        spent = dict.fromkeys(rounds, 0.0)
        over: set[Entrant] = set()
        for number in range(self.settings.repeat + 1):  # the first round warms up
            if limit and number:
                limits.append(self._limit(limit))
            for entrant, found in rounds.items():
                worker = self._workers.get(entrant)
                if worker is None or entrant in over:
                    continue
                time.sleep(PAUSE)
                try:
                    answer = worker.ask("time", HARD * self.settings.limit, phase=case.phase, **case.values)
                except WorkerError as error:
                    self._leave(entrant, f"{case.phase}: {error}", worker)
                    continue
                seconds = float(answer["seconds"])
                cost = seconds * case.values.get("steps", 1)
                spent[entrant] += cost
                if number or 2 * cost > self.settings.limit:  # what is so slow needs no warming up
                    found.seconds.append(seconds)
                if spent[entrant] + cost > self.settings.limit:
                    over.add(entrant)
        return [value for value in limits if value]

    def _limit(self, name: str) -> float:
        """A limit of the machine now; noted with the others."""
        kind, _, dtype = name.partition(" ")
        try:
            options = {"dtype": dtype} if dtype else {}
            answer = self.limits.ask("limit", HARD * self.settings.limit, name=kind, **options)
        except WorkerError:
            return 0.0
        value = float(answer["per_second"])
        known = next((limit for limit in self.result.limits if limit.name == name), None)
        if known is None:
            known = Limit(name)
            self.result.limits.append(known)
        known.samples.append(value)
        return value

    def _judge(self, case: Case, rounds: dict[Entrant, Measurement], limit: str, limits: list[float]) -> None:
        """Speeds beside the reference's and shares of the limit; what nobody timed is dropped."""
        reference = next((rounds[entrant] for entrant in self.members if entrant in rounds), None)
        best = sorted(limits)[len(limits) // 2] if limits else 0.0
        for entrant, found in rounds.items():
            if not found.seconds:
                continue
            if reference is not None and found is not reference and reference.seconds:
                found.speed = median_ratio(reference.seconds, found.seconds)
                found.reference = reference.label
            done = self._done(case, entrant)
            if best and done:
                found.share, found.limit = done / found.median / best, limit
            self.said(f"    {found.label}: {found.median:.4g} s")
            _file(self.result, found)

    def _done(self, case: Case, entrant: Entrant) -> float:
        """What a case asks of the machine, in the units of its limit."""
        model = self.result.model
        if case.phase == "decode":
            return (
                float(self._weights[entrant])
                if case.values["tokens"] * case.values["sequences"] == 1
                else 0.0
            )
        if case.phase == "encode":
            return float(model["encode_flops"]) * case.values["images"]
        if case.phase == "prefill":
            return float(model["prefill_flops"])
        return 0.0

    def _leave(self, entrant: Entrant, reason: str, worker: Worker) -> None:
        """Notes what went wrong; one that has died takes no further part."""
        self.said(f"  {reason}")
        self.result.fail(entrant.label, reason)
        if not worker.alive:
            self._workers.pop(entrant, None)


def build_request(entrant: Entrant, settings: BenchSettings, parts: Sequence[str]) -> dict[str, Any]:
    """What a worker is told to build: the precision of each part, "" for one that is not needed."""
    return {
        "contestant": entrant.contestant,
        "encoder": entrant.encoder if "encoder" in parts else "",
        "decoder": entrant.decoder if "decoder" in parts else "",
        **settings.subject.request(),
    }


def _limit_of(case: Case, members: Sequence[Entrant]) -> str:
    """What bounds a case: streaming memory, or products of matrices in the first one's type."""
    if case.phase == "decode":
        return "read"
    first = {"encode": members[0].encoder, "prefill": members[0].decoder}.get(case.phase)
    if first is None:
        return ""
    return f"multiply {first if first in DTYPES else 'float32'}"


def _file(result: Result, found: Measurement) -> None:
    """Adds a measurement; that of a reference that several groups had is one."""
    for old in result.measurements:
        if (old.label, old.phase, old.case) == (found.label, found.phase, found.case):
            old.seconds += found.seconds
            return
    result.measurements.append(found)
