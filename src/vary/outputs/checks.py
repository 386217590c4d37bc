"""Values on their way into a document: each is checked, and cleaned, once."""

from __future__ import annotations

import json
import math
from enum import StrEnum
from typing import Any, TypeVar

from vary.errors import DocumentError

__all__ = ["finite", "json_value", "member", "probability", "set_fields"]

Enum = TypeVar("Enum", bound=StrEnum)


def set_fields(instance: object, **values: object) -> None:
    """Put cleaned values into a frozen instance that is being made."""
    for name, value in values.items():
        object.__setattr__(instance, name, value)


def probability(value: float | None) -> float | None:
    """A confidence between 0 and 1, or None."""
    if value is None:
        return None
    value = float(value)
    if not 0.0 <= value <= 1.0:
        raise DocumentError(f"a confidence is between 0 and 1, got {value!r}")
    return value


def finite(value: float | None, name: str) -> float | None:
    """A number that is neither infinite nor NaN, or None."""
    if value is None:
        return None
    value = float(value)
    if not math.isfinite(value):
        raise DocumentError(f"{name} must be a finite number, got {value!r}")
    return value


def json_value(value: Any, what: str) -> Any:
    """A copy of ``value`` as it comes back from JSON."""
    try:
        return json.loads(json.dumps(value, allow_nan=False))
    except (TypeError, ValueError, RecursionError) as error:
        raise DocumentError(f"{what} must be JSON values: {error}") from error


def member(kind: type[Enum], value: str, name: str) -> Enum:
    """The member of ``kind`` that ``value`` names."""
    try:
        return kind(value)
    except ValueError:
        raise DocumentError(f"{name} is {value!r}, expected one of {', '.join(kind)}") from None
