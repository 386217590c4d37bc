"""The loss curve of a run as a picture."""

from __future__ import annotations

import csv
from pathlib import Path

from vary.errors import MissingDependencyError, TrainingError
from vary.training.logs import FIGURES

__all__ = ["plot_log"]

LOSSES = ("loss", "decoder", "ctc")
NOT_DRAWN = {"step", "learning_rate", "gradient_norm", *FIGURES}


def plot_log(log: Path, picture: Path) -> None:
    """Draws a run's `log.csv` over the number of samples seen: losses, and what evaluation says.

    Raises:
        TrainingError: if the log is missing or empty.
        MissingDependencyError: without matplotlib.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingDependencyError("plots need matplotlib: pip install 'vary-toy[train]'") from error
    try:
        with log.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
    except OSError as error:
        raise TrainingError(f"{log}: cannot be read ({error.strerror}); expected the log of a run") from error
    if not rows:
        raise TrainingError(f"{log}: no rows; the run has not reached its first log entry")
    figure = Figure(figsize=(11, 4), layout="constrained")
    FigureCanvasAgg(figure)
    judged = [name for name in rows[0] if name not in {*LOSSES, *NOT_DRAWN}]
    panels = (("loss", LOSSES), ("evaluation", judged))
    for axes, (title, columns) in zip(figure.subplots(1, len(panels)), panels, strict=True):
        drawn = False
        for column in columns:
            points = [(int(row["samples"]), float(row[column])) for row in rows if row.get(column)]
            if points:
                drawn = True
                axes.plot(*zip(*points, strict=True), label=column, marker="." if len(points) < 50 else None)
        axes.set(xlabel="samples seen", title=title, yscale="log" if title == "loss" else "linear")
        axes.grid(alpha=0.3, which="both")
        if drawn:
            axes.legend()
    figure.savefig(picture, dpi=110)
