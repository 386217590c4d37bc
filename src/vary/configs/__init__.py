"""Settings files that the package ships: MindOCR's for Vary-toy."""

from __future__ import annotations

from pathlib import Path

__all__ = ["shipped_config"]


def shipped_config(name: str = "vary_toy.yaml") -> Path | None:
    """The shipped file of that name, or None where there is none."""
    path = Path(__file__).parent / Path(name).name
    return path if path.suffix == ".yaml" and path.is_file() else None
