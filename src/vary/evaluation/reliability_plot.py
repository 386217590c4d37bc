"""The plot of a calibration: how often lines of each confidence are exact, and how many lines there are."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from vary.errors import MissingDependencyError
from vary.evaluation.calibration import BINS, Calibration

__all__ = ["plot_calibrations"]


def plot_calibrations(found: Mapping[str, Calibration], picture: Path) -> None:
    """Draws calibrations, by their names, as one picture.

    Raises MissingDependencyError without matplotlib.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingDependencyError("plots need matplotlib: pip install 'vary-toy[train]'") from error
    figure = Figure(figsize=(9, 4), layout="constrained")
    FigureCanvasAgg(figure)
    curves, counts = figure.subplots(1, 2)
    curves.plot((0, 1), (0, 1), color="gray", linestyle=":", label="as it should be")
    width = 1 / (BINS * len(found))
    for place, (name, one) in enumerate(found.items()):
        middles = [each.confidence for each in one.bins]
        label = f"{name}: {one.lines} lines, error {one.ece:.3f}"
        curves.plot(middles, [each.exact for each in one.bins], marker="o", markersize=4, label=label)
        edges = [min(int(middle * BINS), BINS - 1) / BINS + (place + 0.5) * width for middle in middles]
        counts.bar(edges, [each.lines for each in one.bins], width=width, label=name)
    curves.set(xlabel="confidence", ylabel="share of lines that are exact", xlim=(0, 1), ylim=(0, 1.02))
    counts.set(xlabel="confidence", ylabel="lines", xlim=(0, 1), yscale="log")
    for axes in (curves, counts):
        axes.grid(alpha=0.3)
        axes.legend(fontsize="small")
    figure.savefig(picture, dpi=100)
