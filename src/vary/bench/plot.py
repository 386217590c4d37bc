"""The result as a picture: bars for every phase, with the machine's limit where one applies."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from typing import Any

from vary.bench.result import Measurement, Result
from vary.errors import MissingDependencyError

__all__ = ["check_plotting", "plot_result"]

COLOURS = {
    "vary": "#1b6ca8",
    "transformers": "#8a8a8a",
    "onnxruntime": "#b0783c",
    "openvino": "#6d4f8f",
    "llamacpp": "#4f8f5b",
}
INSTALL = "plots need matplotlib: pip install 'vary-toy[synth]'"
Panel = tuple[str, str, Sequence[Measurement], Callable[[Measurement], float]]


def check_plotting() -> None:
    """Raises MissingDependencyError without matplotlib, before anything is measured."""
    try:
        import matplotlib  # noqa: F401 - only whether it is there
    except ImportError as error:
        raise MissingDependencyError(INSTALL) from error


def plot_result(result: Result) -> bytes:
    """Draws every phase that was measured; the content of a PNG file.

    Raises:
        MissingDependencyError: without matplotlib.
    """
    check_plotting()
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    panels = [panel for panel in _panels(result) if panel[2]]
    columns = min(2, max(1, len(panels)))
    rows = -(-max(1, len(panels)) // columns)
    most = max((len(panel[2]) for panel in panels), default=1)
    figure = Figure(figsize=(6.4 * columns, (1.1 + 0.36 * most) * rows + 0.6), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(rows, columns, squeeze=False).flatten()
    for place, panel in zip(axes, panels, strict=False):
        _bars(place, panel, most)
    for place in axes[len(panels) :]:
        place.set_axis_off()
    machine = result.machine
    title = f"{result.model['name']} on {machine['device_name']}, {machine['threads']} threads"
    figure.suptitle(
        f"{title}; vary {machine['vary']}" + (f" at {machine['commit']}" if machine["commit"] else "")
    )
    picture = io.BytesIO()
    figure.savefig(picture, format="png", dpi=110)
    return picture.getvalue()


def _panels(result: Result) -> list[Panel]:
    """Title, unit, who, and the height of a bar."""
    return [
        ("encode an image", "images/s", result.find("encode", images=1), lambda one: one.rate),
        ("prefill", "tokens/s", result.find("prefill"), lambda one: one.rate),
        (
            "decode, one token a step",
            "tokens/s",
            result.find("decode", sequences=1, tokens=1),
            lambda one: one.rate,
        ),
        ("a whole page", "pages/s", result.find("page"), lambda one: one.rate),
        ("many pages at once", "pages/s", result.find("pages"), lambda one: one.rate),
        (
            "peak memory at work",
            "GB",
            result.find("memory"),
            lambda one: (one.device_bytes or one.bytes or 0) / 1e9,
        ),
    ]


def _bars(axes: Any, panel: Panel, slots: int) -> None:
    """A bar for each, as thick in every panel: room is left for so many of them."""
    title, unit, found, value = panel
    heights = [value(one) for one in found]
    places = range(len(found))
    axes.barh(places, heights, color=[COLOURS.get(one.contestant, "#555555") for one in found])
    axes.set_yticks(places, [one.label for one in found])
    axes.set_ylim(slots - 0.4, -0.6)
    axes.set(title=title, xlabel=unit)
    axes.grid(axis="x", alpha=0.3)
    axes.set_axisbelow(True)
    most = max(heights, default=0.0) or 1.0
    for place, (one, height) in enumerate(zip(found, heights, strict=True)):
        share = "" if one.share is None or title == "peak memory at work" else f" ({one.share:.0%} of limit)"
        how = "" if one.measured else " (added up)"
        axes.text(height + 0.01 * most, place, f"{_short(height)}{share}{how}", va="center", fontsize=8)
    axes.set_xlim(0, 1.38 * most)


def _short(value: float) -> str:
    """Three digits, and whole numbers whole."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
