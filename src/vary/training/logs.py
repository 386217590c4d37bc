"""The figures of a run: a CSV file, TensorBoard, the samples that could not be learned from."""

from __future__ import annotations

import csv
import os
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, TextIO

import torch
from accelerate import Accelerator

from vary.errors import MissingDependencyError
from vary.training.checkpoints import Position
from vary.training.data.batches import BadSample, Batch
from vary.training.settings import RunSettings

__all__ = ["BAD_SAMPLES_FILE", "FIGURES", "LOG_FILE", "RunLog"]

LOG_FILE, BAD_SAMPLES_FILE, TENSORBOARD_FOLDER = "log.csv", "bad_samples.csv", "tensorboard"
FIGURES = (
    *("samples", "answer_tokens", "bad_samples", "samples_per_second", "tokens_per_second"),
    *("mfu", "memory_gb", "seconds", "left_out", "cut"),
)


class RunLog:
    """Rows of figures, one for every `log_every` steps; a resumed run goes on in the same file.

    The columns: `step`, `learning_rate`, `gradient_norm`, the losses (means over the steps since the last
    row), what evaluation says, then totals (`samples`, `answer_tokens` learned, `bad_samples`), speed over
    all processes since the last row (`samples_per_second`, `tokens_per_second`, prompts and images among
    them), `mfu` (the share of the device's measured matrix product speed, see `throughput`), `memory_gb`
    (the process' peak, on a GPU the GPU's, 0 on Windows), `seconds`, and in total `left_out` (painted lines
    that could not be learned from; stored samples are `bad_samples`) and `cut` (conversations longer than
    allowed).
    """

    def __init__(
        self,
        folder: Path,
        names: Sequence[str],
        settings: RunSettings,
        accelerator: Accelerator,
        position: Position,
    ) -> None:
        self.path = folder / LOG_FILE
        self.columns = ("step", "learning_rate", "gradient_norm", *names, *FIGURES)
        self.main = accelerator.is_main_process
        self.device = accelerator.device
        self.world = accelerator.num_processes
        self.newest_bad: BadSample | None = None
        rank = accelerator.process_index
        self._bad_path = folder / (BAD_SAMPLES_FILE if rank == 0 else f"bad_samples-{rank}.csv")
        self._board = _tensorboard(folder, position.step) if self.main and settings.tensorboard else None
        if self.main:
            self._rewind(position.step)
        _rewind_bad(self._bad_path, position.step)
        self._peak: float | None = None
        self._restart()

    def __enter__(self) -> RunLog:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._board is not None:
            self._board.close()

    def add(self, losses: Mapping[str, float], counts: Mapping[str, int], cost: float) -> None:
        """Takes a step into the next row; `cost` is this process' floating point operations."""
        self._steps += 1
        self._cost += cost
        for name, value in losses.items():
            self._sums[name] = self._sums.get(name, 0.0) + value
        for name, value in counts.items():
            self._counts[name] = self._counts.get(name, 0) + value

    def write(
        self, position: Position, rate: float, norm: float, figures: Mapping[str, float]
    ) -> dict[str, Any]:
        """Writes a row and returns it."""
        spent = max(1e-9, time.monotonic() - self._mark)
        row: dict[str, Any] = {"step": position.step, "learning_rate": rate, "gradient_norm": norm}
        row |= {name: total / self._steps for name, total in self._sums.items()}
        row |= figures
        row |= {
            "samples": position.totals.get("samples", 0),
            "answer_tokens": position.totals.get("answer", 0),
            "bad_samples": position.totals.get("bad", 0),
            "samples_per_second": self._counts.get("samples", 0) / spent,
            "tokens_per_second": self._counts.get("tokens", 0) / spent,
            "memory_gb": _peak_memory(self.device) / 1e9,
            "seconds": position.seconds,
        }
        row |= {name: position.totals[name] for name in ("left_out", "cut") if name in position.totals}
        if self._cost:
            row["mfu"] = self._cost / spent / self._measured_peak()
        if self.main:
            self._append(row)
            if self._board is not None:
                for name, value in row.items():
                    if name != "step":
                        self._board.add_scalar(name, float(value), position.step)
                self._board.flush()
        self._restart()
        return row

    def note_bad(self, batches: Sequence[Batch], step: int) -> None:
        """Writes down the samples of a step that could not be learned from."""
        found = [bad for batch in batches for bad in batch.bad]
        if not found:
            return
        self.newest_bad = found[-1]
        new = not self._bad_path.exists()
        with self._bad_path.open("a", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            if new:
                writer.writerow(("step", "sample", "reason"))
            writer.writerows((step, bad.name, bad.reason) for bad in found)

    def _restart(self) -> None:
        self._sums: dict[str, float] = {}
        self._counts: dict[str, int] = {}
        self._steps, self._cost = 0, 0.0
        self._mark = time.monotonic()

    def _measured_peak(self) -> float:
        if self._peak is None:
            from vary.training.cost.throughput import matrix_product_speed

            self._peak = matrix_product_speed(self.device)
        return self._peak

    def _rewind(self, step: int) -> None:
        """Drops the rows after `step`: a resumed run writes them anew."""
        if not self.path.exists():
            return
        with self.path.open(encoding="utf-8", newline="") as file:
            rows = [row for row in csv.DictReader(file) if int(row["step"]) <= step]
        with _replacing(self.path) as file:
            writer = csv.DictWriter(file, self.columns, restval="", extrasaction="ignore")
            writer.writeheader()
            writer.writerows(rows)

    def _append(self, row: Mapping[str, Any]) -> None:
        new = not self.path.exists()
        with self.path.open("a", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, self.columns, restval="")
            if new:
                writer.writeheader()
            writer.writerow({key: f"{v:.9g}" if isinstance(v, float) else v for key, v in row.items()})


def _rewind_bad(path: Path, step: int) -> None:
    """Drops the bad samples after `step`."""
    if not path.exists():
        return
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))
    with _replacing(path) as file:
        csv.writer(file).writerows([row for row in rows if not row[0].isdigit() or int(row[0]) <= step])


@contextmanager
def _replacing(path: Path) -> Iterator[TextIO]:
    """A file to write in place of `path`: renamed when whole, so that a kill in between loses nothing."""
    partial = path.with_name(f".{path.name}.partial")
    with partial.open("w", encoding="utf-8", newline="") as file:
        yield file
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)


def _tensorboard(folder: Path, step: int) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise MissingDependencyError(
            "TensorBoard is not installed: pip install 'vary-toy[train]', or train without it"
        ) from error
    return SummaryWriter(str(folder / TENSORBOARD_FOLDER), purge_step=step + 1)


def _peak_memory(device: torch.device) -> int:
    """The most memory so far in bytes: of the GPU where there is one, else of the process."""
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    try:
        import resource
    except ImportError:  # Windows
        return 0
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
