"""Workers from the outside: a process each, asked by lines of JSON, with a limit of time for every answer."""

from __future__ import annotations

import json
import os
import queue
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from vary.errors import VaryError

__all__ = ["Worker", "WorkerError"]

SHOWN = 400
"""Characters of a dead worker's last words that are shown."""
STOP_SECONDS = 10.0


class WorkerError(VaryError):
    """A contestant failed, or did not answer in time; the message says which and how."""


class Worker:
    """A running worker.  `ask` sends one request and waits for its answer."""

    def __init__(self, label: str, threads: int) -> None:
        self.label = label
        self._folder = tempfile.mkdtemp(prefix="vary-bench-")
        self._words = tempfile.TemporaryFile(mode="w+b")  # noqa: SIM115 - closed by `stop`
        self._process = subprocess.Popen(
            [sys.executable, "-m", "vary.bench.worker", self._folder],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._words,
            text=True,
            encoding="utf-8",
            env={**os.environ, "OMP_NUM_THREADS": str(threads)},
        )
        self._answers: queue.Queue[str] = queue.Queue()
        threading.Thread(target=self._listen, daemon=True).start()

    @classmethod
    @contextmanager
    def running(cls, label: str, threads: int) -> Iterator[Worker]:
        """A worker that is stopped in the end, at once where something went wrong."""
        worker = cls(label, threads)
        try:
            yield worker
        except BaseException:
            worker._process.kill()
            raise
        finally:
            worker.stop()

    @property
    def alive(self) -> bool:
        """Whether it can be asked again."""
        return not self._words.closed and self._process.poll() is None

    def ask(self, what: str, seconds: float, **values: Any) -> dict[str, Any]:
        """Sends a request; its answer.

        Raises:
            WorkerError: if the contestant failed, its process died or was killed after `seconds`.
        """
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps({"do": what, **values}) + "\n")
            self._process.stdin.flush()
            line = self._answers.get(timeout=seconds)
        except queue.Empty:
            self._process.kill()
            self.stop()
            raise WorkerError(
                f"{self.label}: no answer after {seconds:.0f} s; raise --limit to wait longer"
            ) from None
        except OSError:
            line = ""
        if not line:
            self._process.wait()
            raise WorkerError(f"{self.label}: its process ended ({self._last_words()})")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise WorkerError(f"{self.label}: {answer['error']}")
        return answer

    def stop(self) -> None:
        """Ends the process: politely, then for good."""
        if self._words.closed:
            return
        if self._process.stdin is not None:
            try:
                self._process.stdin.close()
            except OSError:
                self._process.kill()  # it has gone, and what was buffered for it with it
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._words.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _listen(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._answers.put(line)
        self._answers.put("")

    def _last_words(self) -> str:
        """How it ended and what it said last."""
        code = self._process.returncode
        how = f"signal {-code}" if code < 0 else f"exit code {code}"
        if self._words.closed:
            return how
        self._words.seek(0)
        said = self._words.read().decode("utf-8", "replace").strip()[-SHOWN:]
        return f"{how}: {said}" if said else f"{how}; is there enough memory?"
