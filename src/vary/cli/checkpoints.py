"""Checkpoints as a command line names them: by path, by the name of a fetched one, or the shipped one."""

from __future__ import annotations

from pathlib import Path

from vary.assets import default_checkpoint

__all__ = ["SHIPPED", "find_checkpoint"]

SHIPPED = "vary-nano"
"""The checkpoint that the package has with it."""


def find_checkpoint(given: str) -> Path:
    """The folder or file of weights that is meant; a path goes before a name.

    Raises:
        CheckpointError: if there is none.
    """
    from vary.weights.loading import resolve_checkpoint

    if given == SHIPPED and not Path(given).exists():
        return default_checkpoint()
    return resolve_checkpoint(given)
