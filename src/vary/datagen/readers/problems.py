"""What can be wrong in a record, as problems with a place, and what all checks of records share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import wraps
from typing import Any, TypeGuard

__all__ = [
    "Check",
    "Problem",
    "found_in",
    "id_problems",
    "is_id",
    "kind_of",
    "of_object",
    "text_problems",
]

_KINDS = {dict: "an object", list: "an array", str: "a text", bool: "true or false", type(None): "null"}
_MOST_SHOWN = 80
"""Characters of a list that a message repeats."""


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong in a record: where (a JSON path, `$` is the record) and what."""

    path: str
    reason: str


Check = Callable[[Any], Iterator[Problem]]
"""Everything that is wrong with a record; nothing for a good one."""


def of_object(check: Callable[[dict[str, Any]], Iterator[Problem]]) -> Check:
    """A check of records that must first of all be objects."""

    @wraps(check)
    def checked(record: Any) -> Iterator[Problem]:
        if isinstance(record, dict):
            yield from check(record)
        else:
            yield Problem("$", f"expected an object, found {kind_of(record)}")

    return checked


def kind_of(value: object) -> str:
    """What a JSON value is, in words."""
    return _KINDS.get(type(value), "a number")


def found_in(record: dict[str, Any], name: str) -> str:
    """What a record has under a name, in words."""
    if name not in record:
        return "nothing"
    value = record[name]
    if isinstance(value, list):
        shown = str(value)
        return shown if len(shown) <= _MOST_SHOWN else f"{shown[:_MOST_SHOWN]}..."
    return "an empty one" if isinstance(value, str) and not value.strip() else kind_of(value)


def is_id(value: object) -> TypeGuard[int]:
    """Whether a value is a whole number of 64 bits."""
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**63


def text_problems(record: dict[str, Any], *names: str) -> Iterator[Problem]:
    """A problem for each of these fields that is no text, or an empty one."""
    for name in names:
        value = record.get(name)
        if not isinstance(value, str) or not value.strip():
            yield Problem(f"$.{name}", f"expected a text, found {found_in(record, name)}")


def id_problems(record: dict[str, Any], *names: str) -> Iterator[Problem]:
    """A problem for each of these fields that is no whole number."""
    for name in names:
        if not is_id(record.get(name)):
            yield Problem(f"$.{name}", f"expected a whole number, found {found_in(record, name)}")
