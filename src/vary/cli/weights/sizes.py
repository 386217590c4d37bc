"""Numbers for people: bytes and parameters in a few characters."""

from __future__ import annotations

__all__ = ["in_words", "parameters_in_words"]


def in_words(count: float) -> str:
    """A number of bytes: 950 B, 12.3 kB, 4.47 GB."""
    return _scaled(count, ("B", "kB", "MB", "GB", "TB"), " ")


def parameters_in_words(count: float) -> str:
    """A number of parameters: 5.45M, 2.24B."""
    return _scaled(count, ("", "k", "M", "B", "T"), "")


def _scaled(count: float, units: tuple[str, ...], space: str) -> str:
    for unit in units[:-1]:
        if count < 999.5:
            return f"{count:.0f}{space}{unit}" if unit == units[0] else f"{count:.3g}{space}{unit}"
        count /= 1000
    return f"{count:.3g}{space}{units[-1]}"
