"""Peak memory: every contestant in a fresh process, alone, with one page and a few tokens of its answer."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from vary.bench.processes import Worker, WorkerError
from vary.bench.result import Result
from vary.bench.rounds import BUILD_SECONDS, HARD, Case, build_request
from vary.bench.settings import BenchSettings, Entrant

__all__ = ["measure_memory"]

TOKENS = 8


def measure_memory(
    entrants: Sequence[Entrant], settings: BenchSettings, result: Result, said: Callable[[str], None]
) -> None:
    """Adds a measurement of the phase memory for everyone: weights loaded, then a page or a prompt."""
    for entrant in entrants:
        said(f"memory: {entrant.label}")
        with Worker.running(entrant.label, settings.subject.threads) as worker:
            try:
                _measure(worker, entrant, settings, result)
            except WorkerError as error:
                result.fail(entrant.label, f"memory: {error}")
                said(f"  {error}")


def _measure(worker: Worker, entrant: Entrant, settings: BenchSettings, result: Result) -> None:
    parts = [part for part in ("encoder", "decoder") if getattr(entrant, part)]
    worker.ask("build", BUILD_SECONDS, **build_request(entrant, settings, parts))
    loading = worker.ask("peak", BUILD_SECONDS)["bytes"]
    forgotten = worker.ask("restart peak", BUILD_SECONDS)["done"]
    steps = {"context": settings.prompt, "sequences": 1, "tokens": 1, "steps": TOKENS}
    case = Case("memory", {"prompt": settings.prompt, "tokens": TOKENS}, 1, "pages")
    found = case.measurement(entrant, 0)
    limit = HARD * settings.limit
    if entrant.encoder:
        answer = worker.ask("time", limit, phase="page", **case.values)
    else:
        answer = worker.ask("time", limit, phase="decode", **steps)
    found.seconds = [float(answer["seconds"])]
    peak = worker.ask("peak", limit)
    found.bytes, found.device_bytes = int(peak["bytes"]), peak["device_bytes"]
    found.loading_bytes = int(loading) if forgotten else None
    found.case = {**found.case, "encoder": int(bool(entrant.encoder))}
    result.measurements.append(found)
