"""The process of one contestant: it is told by lines of JSON what to build and time, and answers with lines.

    python -m vary.bench.worker FOLDER

FOLDER is for the contestant's files and is gone at the end.
Standard output is kept for the answers; whatever a library prints goes to standard error.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import IO, Any

__all__ = ["main", "serve"]

Answer = dict[str, Any]


def main() -> None:
    """Serves standard input until it ends, which it also does when whoever started this has gone."""
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    with os.fdopen(os.dup(1), "w", encoding="utf-8") as answers:
        os.dup2(2, 1)
        folder = Path(sys.argv[1])
        try:
            serve(sys.stdin, answers, folder)
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def serve(requests: IO[str], answers: IO[str], folder: Path) -> None:
    """Answers every request; an error of the contestant is an answer too, and ends nothing."""
    job = _Job(folder)
    for line in requests:
        request: dict[str, Any] = json.loads(line)
        try:
            answer = job.answer(request.pop("do"), request)
        except Exception as error:  # noqa: BLE001 - peers raise what they like; the table says what it was
            answer = {"error": f"{type(error).__name__}: {error}"}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


class _Job:
    """What a worker holds: a contestant's phases, the machine's limits, or a reader of pages."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._phases: Any = None
        self._limits: Any = None
        self._reader: Any = None

    def answer(self, what: str, request: dict[str, Any]) -> Answer:
        """Does what is asked for; its seconds, or other figures."""
        known: dict[str, Callable[..., Answer]] = {
            "build": self._build,
            "time": self._time,
            "limits": self._limits_begin,
            "limit": self._limit,
            "reader": self._reader_begin,
            "read": self._read,
            "restart peak": self._restart_peak,
            "peak": self._peak,
        }
        return known[what](**request)

    def _build(self, contestant: str, encoder: str, decoder: str, **subject: Any) -> Answer:
        import torch

        from vary.bench.contestants.registry import CONTESTANTS
        from vary.bench.orders import order_of
        from vary.bench.phases import Phases

        torch.set_num_threads(subject["threads"])
        chosen = CONTESTANTS[contestant]
        order = order_of(subject, encoder or decoder, self._folder)
        with torch.inference_mode():
            encoding = chosen.encoding(order) if encoder else None
            decoding = chosen.decoding(replace(order, precision=decoder)) if decoder else None
        self._phases = Phases(order.config, order.device, encoding, decoding)
        del order  # with the numbers that random weights are cut out of
        return {"weight_bytes": None if decoding is None else decoding.weight_bytes}

    def _time(self, phase: str, **case: int) -> Answer:
        return {"seconds": getattr(self._phases, phase)(**case)}

    def _limits_begin(self, device: str, threads: int) -> Answer:
        import torch

        from vary.bench.limits import Limits

        torch.set_num_threads(threads)
        self._limits = Limits(torch.device(device))
        return {}

    def _limit(self, name: str, **options: str) -> Answer:
        return {"per_second": getattr(self._limits, name)(**options)}

    def _reader_begin(self, device: str, threads: int) -> Answer:
        import torch

        from vary.reader import Reader

        torch.set_num_threads(threads)
        self._reader = Reader.load(None, device=device)
        return {}

    def _read(self, page: str) -> Answer:
        import time

        started = time.perf_counter()
        text = self._reader.read(page).text
        return {"seconds": time.perf_counter() - started, "text": text}

    def _restart_peak(self) -> Answer:
        from vary.bench.machine import restart_peak

        return {"done": restart_peak()}

    def _peak(self) -> Answer:
        from vary.bench.machine import peak_memory

        answer: Answer = {"bytes": peak_memory(), "device_bytes": None}
        if self._phases is not None and self._phases.device.type == "cuda":
            import torch

            answer["device_bytes"] = torch.cuda.max_memory_allocated(self._phases.device)
        return answer


if __name__ == "__main__":
    main()
