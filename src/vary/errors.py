"""The errors that vary raises on purpose.

Every message says what was found, what was expected and what to do about it.  Anything else that escapes is a
bug in vary.
"""

from __future__ import annotations

__all__ = [
    "CheckpointError",
    "DataError",
    "DeviceError",
    "DocumentError",
    "InputError",
    "LimitError",
    "MissingDependencyError",
    "TaskError",
    "TrainingError",
    "VaryError",
]


class VaryError(Exception):
    """The root of every error that vary raises for its users."""


class InputError(VaryError):
    """A file, page or page range cannot be read; the message names the file."""


class LimitError(InputError):
    """An input is larger than the limits allow: bytes, pixels or pages."""


class CheckpointError(VaryError):
    """A checkpoint is missing, incomplete or not what it says it is."""


class DeviceError(VaryError):
    """A device that was asked for is not there."""


class TaskError(VaryError):
    """A task or prompt that the checkpoint does not know."""


class DocumentError(VaryError):
    """A stored document does not follow the schema."""


class DataError(VaryError):
    """Training data, a corpus, a font or a shard is missing or broken."""


class TrainingError(VaryError):
    """A training run cannot start or must stop, for instance on a non-finite loss."""


class MissingDependencyError(VaryError):
    """An optional package is not installed; the message is the line that installs it."""
