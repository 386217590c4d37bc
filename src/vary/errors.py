"""The errors that vary raises on purpose.

Every message says what was found, what was expected and what to do about it.  Anything else that escapes is a
bug in vary.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

__all__ = [
    "CheckpointError",
    "ContextError",
    "DataError",
    "DeviceError",
    "DocumentError",
    "DownloadError",
    "InputError",
    "LimitError",
    "MissingDependencyError",
    "NativeError",
    "OutputError",
    "SettingsError",
    "TaskError",
    "TrainingError",
    "VaryError",
    "did_you_mean",
]


class VaryError(Exception):
    """The root of every error that vary raises for its users."""


class InputError(VaryError):
    """A file, page or page range cannot be read; the message names the file."""


class LimitError(InputError):
    """An input is larger than the limits allow: bytes, pixels or pages."""


class CheckpointError(VaryError):
    """A checkpoint is missing, incomplete or not what it says it is."""


class DownloadError(VaryError):
    """Weights cannot be fetched: the source cannot be reached, refuses, or gives other bytes than it did."""


class DeviceError(VaryError):
    """A device that was asked for is not there."""


class NativeError(VaryError):
    """The native kernels are not there, do not run on this processor, or cannot hold a model."""


class TaskError(VaryError):
    """A task or prompt that the checkpoint does not know."""


class ContextError(VaryError):
    """A conversation leaves no room for a question or its answer; the message says how long it may be."""


class OutputError(VaryError):
    """A result cannot be stored where it should go."""


class SettingsError(VaryError):
    """A settings file has keys or values that cannot be followed; the message names each and its line."""


class DocumentError(VaryError):
    """A stored document does not follow the schema."""


class DataError(VaryError):
    """Training data, a corpus, a font or a shard is missing or broken."""


class TrainingError(VaryError):
    """A training run cannot start or must stop, for instance on a non-finite loss."""


class MissingDependencyError(VaryError):
    """An optional package is not installed; the message is the line that installs it."""


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """The end of a message about an unknown name: `; did you mean 'x'?`, or nothing."""
    close = difflib.get_close_matches(name.lower(), list(known), n=1)
    return f"; did you mean '{close[0]}'?" if close else ""
