"""Large JSON files, record by record: where each stands in its file, and one at a time as values.

A file is a JSON array of records, an object that holds arrays of records (`images`, `annotations`), or JSON
lines.  One pass finds the bytes and the line of each record without building its values; afterwards any
record can be read alone.  So a file of gigabytes costs 24 bytes a record, and a fault has its line number.
"""

from __future__ import annotations

import json
import mmap
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from vary.errors import DataError

__all__ = [
    "MAX_RECORD_BYTES",
    "RecordFault",
    "RecordFile",
    "Span",
    "decode_record",
    "iterate_records",
    "iterate_spans",
]

MAX_RECORD_BYTES = 32 * 2**20
"""Of one record: a conversation of some thousand pages of text."""
MAX_DEPTH = 100
"""Arrays and objects within each other."""

_BLANKS = re.compile(rb"[ \t\r\n]*+")
_STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"', re.DOTALL)
_INSIDE = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+("?)|[\[\]{}]', re.DOTALL)
_SCALAR = re.compile(rb"[^\s,\[\]{}\":]++")
_SURROGATE = re.compile("[\ud800-\udfff]")
_SUFFIXES_OF_LINES = frozenset({".jsonl", ".ndjson"})
_BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True)
class Span:
    """Where a record stands: the array's key (empty for the file's own array), its number from 0, bytes, line
    from 1."""

    key: str
    number: int
    start: int
    end: int
    line: int


class RecordFault(DataError):
    """A record that cannot be used: `line` (from 1) and `number` (from 0) in `file`, `path` within the record
    (`$` is the record itself), `reason`."""

    def __init__(self, file: str, number: int, line: int, path: str, reason: str) -> None:
        self.file, self.number, self.line, self.path, self.reason = file, number, line, path, reason
        super().__init__(f"{file}:{line}: record {number}: {path}: {reason}")

    def __reduce__(self) -> tuple[type, tuple[str, int, int, str, str]]:
        return type(self), (self.file, self.number, self.line, self.path, self.reason)


@dataclass(frozen=True)
class RecordFile:
    """The records of a file: `len(file)`, `file.read(number)`.  Can be pickled; opened anew at each read."""

    path: Path
    key: str
    starts: NDArray[np.int64] = field(repr=False)
    ends: NDArray[np.int64] = field(repr=False)
    lines: NDArray[np.int64] = field(repr=False)

    @classmethod
    def open(cls, path: str | Path, key: str = "") -> RecordFile:
        """Find the records of the file's own array or lines, or, in an object, of the array under `key`.

        Raises:
            DataError: if the file is no JSON as far as its records reach, or has no such array.
        """
        spans = [(s.start, s.end, s.line) for s in iterate_spans(path, {key} - {""}) if s.key in ("", key)]
        if not spans:
            where = f"no array {key!r} with records" if key else "no records"
            raise DataError(f"{path}: {where}; check the format that was named for this file")
        table = np.array(spans, dtype=np.int64)
        return cls(Path(path), key, table[:, 0].copy(), table[:, 1].copy(), table[:, 2].copy())

    def __len__(self) -> int:
        return len(self.starts)

    def read(self, number: int) -> Any:
        """A record's values, counted from 0.  Raises `RecordFault` for a broken one, `DataError` for none."""
        if not 0 <= number < len(self):
            raise DataError(f"{self.path}: no record {number}; it has {len(self)}, counted from 0")
        with self.path.open("rb") as stream:
            stream.seek(int(self.starts[number]))
            data = stream.read(int(self.ends[number] - self.starts[number]))
        try:
            return decode_record(data)
        except ValueError as error:
            raise self.fault(number, "$", str(error)) from error

    def fault(self, number: int, path: str, reason: str) -> RecordFault:
        """A fault of record `number`, to be raised."""
        return RecordFault(self.path.name, number, int(self.lines[number]), path, reason)


def iterate_records(path: str | Path, keys: Iterable[str] = ()) -> Iterator[tuple[Span, Any]]:
    """All records in the order of the file (see `iterate_spans`), one in memory at a time.

    A record that is broken comes as the `RecordFault` that says so.  Raises `DataError` as `RecordFile.open`.
    """
    with Path(path).open("rb") as stream:
        for span in iterate_spans(path, keys):
            stream.seek(span.start)
            try:
                value = decode_record(stream.read(span.end - span.start))
            except ValueError as error:
                value = RecordFault(Path(path).name, span.number, span.line, "$", str(error))
            yield span, value


def decode_record(data: bytes) -> Any:
    """The values of a record's bytes.  Raises `ValueError` with a plain reason."""
    if len(data) > MAX_RECORD_BYTES:
        raise ValueError(f"{len(data):,} bytes are too many for a record, the limit is {MAX_RECORD_BYTES:,}")
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"byte {error.start} of the record is no UTF-8; save the file as UTF-8") from error
    try:
        value = json.loads(text, parse_constant=_refuse_constant)
    except json.JSONDecodeError as error:
        place = f"line {error.lineno} of the record, column {error.colno}"
        raise ValueError(f"no JSON ({error.msg}, {place})") from error
    except RecursionError as error:
        raise ValueError("arrays and objects stand too deep within each other") from error
    if "\\u" in text and _has_surrogate(value):
        raise ValueError("half of a surrogate pair (\\ud800 to \\udfff), which is no character")
    return value


def iterate_spans(path: str | Path, keys: Iterable[str] = ()) -> Iterator[Span]:
    """Where the records of a file stand, in its order, whatever is in them.

    A file that is an object gives those of its arrays under `keys`; without `keys` it is taken for JSON
    lines.  Raises `DataError`.
    """
    lines = Path(path).suffix.lower() in _SUFFIXES_OF_LINES
    try:
        with Path(path).open("rb") as stream:
            if not stream.read(1):
                raise DataError(f"{path}: the file is empty")
            with mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as data:
                yield from _Scanner(data, str(path)).spans(frozenset(keys), lines)
    except OSError as error:
        raise DataError(f"{path}: cannot be read, {error.strerror or error}") from error


class _Scanner:
    """One pass over a file; `position` is behind what was read."""

    def __init__(self, data: mmap.mmap, name: str) -> None:
        self._data, self._name = data, name
        self._line, self._counted = 1, 0
        head = data[:4]
        if head.startswith((b"\xff\xfe", b"\xfe\xff")) or b"\0" in head:
            raise DataError(f"{name}: the file is not UTF-8 but looks like UTF-16; save it as UTF-8")
        self.position = len(_BOM) if head.startswith(_BOM) else 0

    def spans(self, keys: frozenset[str], lines: bool) -> Iterator[Span]:
        first = self._peek()
        if lines or (first == b"{" and not keys):
            yield from self._lines()
        elif first == b"[":
            yield from self._array("")
            if self._peek():
                self._fail("more follows behind the file's array")
        elif first == b"{":
            yield from self._members(keys)
        else:
            self._fail("expected a JSON array, an object or JSON lines")

    def _array(self, key: str) -> Iterator[Span]:
        self.position += 1
        number = 0
        if self._peek() == b"]":
            self.position += 1
            return
        while True:
            yield self._value(key, number)
            number += 1
            mark = self._peek()
            self.position += 1
            if mark == b"]":
                return
            if mark != b",":
                self.position -= 1
                self._fail(f"expected a comma or ']' behind record {number - 1}")
            if self._peek() == b"]":
                self._fail(f"a comma stands behind the last record, {number - 1}")

    def _lines(self) -> Iterator[Span]:
        """One record a line; blank lines are passed over, and a broken line spoils no other."""
        number = 0
        while self._peek():
            end = self._data.find(b"\n", self.position)
            end = len(self._data) if end < 0 else end
            yield Span("", number, self.position, end, self._line_here())
            self.position, number = end, number + 1

    def _members(self, keys: frozenset[str]) -> Iterator[Span]:
        """The records of the arrays under `keys` of the object at `position`."""
        self.position += 1
        while self._peek() not in (b"}", b""):
            match = _STRING.match(self._data, self.position)
            if match is None:
                self._fail("expected a key in quotes")
            try:
                key = json.loads(match[0])
            except ValueError:
                self._fail("a key that is no JSON string")
            self.position = match.end()
            if self._peek() != b":":
                self._fail(f"expected a colon behind the key {key!r}")
            self.position += 1
            if self._peek() == b"[" and key in keys:
                yield from self._array(key)
            else:
                self._value(key, 0)
            if self._peek() == b",":
                self.position += 1
            elif self._peek() != b"}":
                self._fail(f"expected a comma or '}}' behind {key!r}")
        if not self._peek():
            self._fail("the file ends within its object; it is cut off")

    def _value(self, key: str, number: int) -> Span:
        """Pass over the value at `position`."""
        mark = self._peek()
        start, line = self.position, self._line_here()
        if mark in (b"{", b"["):
            self._pass_brackets()
        else:
            match = (_STRING if mark == b'"' else _SCALAR).match(self._data, start)
            if match is None:
                self._fail("the file ends, or something other than a value stands here")
            self.position = match.end()
        return Span(key, number, start, self.position, line)

    def _pass_brackets(self) -> None:
        depth = 0
        for match in _INSIDE.finditer(self._data, self.position):
            mark = self._data[match.start()]
            if mark == 0x22:  # a string
                if not match[1]:
                    self.position = match.start()
                    self._fail("a string without its closing quote")
            elif mark in b"[{":
                depth += 1
                if depth > MAX_DEPTH:
                    self.position = match.start()
                    self._fail(f"more than {MAX_DEPTH} arrays and objects stand within each other")
            else:
                depth -= 1
                if depth == 0:
                    self.position = match.end()
                    return
        self._fail("the file ends within this record; it is cut off")

    def _peek(self) -> bytes:
        """The mark behind the blanks; `position` is moved there.  Empty at the end of the file."""
        match = _BLANKS.match(self._data, self.position)
        assert match is not None
        self.position = match.end()
        return self._data[self.position : self.position + 1]

    def _line_here(self) -> int:
        self._line += self._data[self._counted : self.position].count(b"\n")
        self._counted = self.position
        return self._line

    def _fail(self, reason: str) -> NoReturn:
        raise DataError(f"{self._name}:{self._line_here()}: {reason}")


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number of JSON")


def _has_surrogate(value: Any) -> bool:
    if isinstance(value, str):
        return _SURROGATE.search(value) is not None
    if isinstance(value, dict):
        return any(_has_surrogate(key) or _has_surrogate(item) for key, item in value.items())
    return isinstance(value, list) and any(map(_has_surrogate, value))
