"""Protobuf's wire format, read from a file: a message's fields one after the other, unknown ones skipped.

Only a block of the file is in memory at any time, and a length that the file states is believed only as far
as what holds it reaches.  Source: https://protobuf.dev/programming-guides/encoding/.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from vary.errors import CheckpointError

__all__ = ["FIXED32", "FIXED64", "MAX_FIELDS", "SPAN", "VARINT", "Field", "WireReader", "varint"]

VARINT, FIXED64, SPAN, GROUP, GROUP_END, FIXED32 = range(6)
"""The wire types; a span is a length and so many bytes: a string, bytes, a message or packed numbers."""

BLOCK = 4096
MAX_FIELDS = 2_000_000
"""More than any model's parameters need; a file of nothing but tiny fields would take hours to read."""
MAX_DEPTH = 100
"""Groups inside groups, the limit of protobuf's own readers."""


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a message.

    Attributes:
        number: which field it is.
        kind: its wire type.
        start: the file's byte where its content begins, after key and length.
        stop: the byte after its content.
        value: the number, if it is a varint.
    """

    number: int
    kind: int
    start: int
    stop: int
    value: int = 0


class WireReader:
    """Fields of the messages in a file that is open for reading; `size` is the file's length in bytes."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        self.size = size
        self._file = file
        self._block = b""
        self._begin = 0
        self._read = 0

    def fields(self, start: int, stop: int) -> Iterator[Field]:
        """The fields of the message in bytes `start` to `stop`, without groups, which nobody writes any more.

        Raises:
            CheckpointError: without the file's name, if the bytes are no message.
        """
        at = start
        while at < stop:
            field = self._field(at, stop)
            at = field.stop
            if field.kind == GROUP:
                at = self._after_group(field, stop)
            elif field.kind == GROUP_END:
                raise CheckpointError(f"a group ends before byte {at} that never began")
            else:
                yield field

    def numbers(self, start: int, stop: int) -> Iterator[int]:
        """The varints in bytes `start` to `stop`, one after the other.

        Raises:
            CheckpointError: without the file's name, if the last is cut off or any is too long.
        """
        at = start
        while at < stop:
            value, at = self._varint(at, stop)
            yield value

    def span(self, start: int, stop: int, limit: int) -> bytes:
        """The bytes `start` to `stop`, which lie in the file.

        Raises:
            CheckpointError: without the file's name, if these are more than `limit` bytes.
        """
        if stop - start > limit:
            raise CheckpointError(f"a text at byte {start} has {stop - start} bytes, more than {limit}")
        self._file.seek(start)
        found = self._file.read(stop - start)
        if len(found) < stop - start:
            raise self._changed(start + len(found))
        return found

    def _field(self, begin: int, stop: int) -> Field:
        self._read += 1
        if self._read > MAX_FIELDS:
            raise CheckpointError(f"it has more than {MAX_FIELDS:,} fields, which no model's weights need")
        key, at = self._varint(begin, stop)
        number, kind = key >> 3, key & 7
        if not number or key >> 32 or kind > FIXED32:
            raise CheckpointError(f"no field begins at byte {begin} (key {key})")
        value = 0
        start = end = at
        if kind == VARINT:
            value, end = self._varint(at, stop)
        elif kind == SPAN:
            length, start = self._varint(at, stop)
            end = start + length
        elif kind in (FIXED64, FIXED32):
            end = start + (8 if kind == FIXED64 else 4)
        if end > stop:
            raise CheckpointError(
                f"field {number} at byte {begin} has {end - start} bytes, but only {stop - start} are left"
            )
        return Field(number, kind, start, end, value)

    def _after_group(self, group: Field, stop: int) -> int:
        """The byte after a group, which ends where a field says so: all its fields must be walked over."""
        unfinished, at = [group.number], group.stop
        while unfinished:
            if at >= stop:
                raise CheckpointError(f"group {unfinished[-1]} has no end")
            field = self._field(at, stop)
            at = field.stop
            if field.kind == GROUP:
                unfinished.append(field.number)
                if len(unfinished) > MAX_DEPTH:
                    raise CheckpointError(f"more than {MAX_DEPTH} groups inside each other at byte {at}")
            elif field.kind == GROUP_END and field.number != unfinished.pop():
                raise CheckpointError(f"group {field.number} ends before byte {at}, but another is open")
        return at

    def _varint(self, at: int, stop: int) -> tuple[int, int]:
        """A number of up to 64 bits, seven in a byte, lowest first; and the byte after it."""
        value = 0
        for place in range(10):
            if at + place >= stop:
                raise CheckpointError(f"a number is cut off at byte {stop}")
            byte = self._byte(at + place)
            value |= (byte & 0x7F) << (7 * place)
            if byte < 0x80:
                return value & (2**64 - 1), at + place + 1
        raise CheckpointError(f"the number at byte {at} has more than ten bytes")

    def _byte(self, at: int) -> int:
        offset = at - self._begin
        if not 0 <= offset < len(self._block):
            self._file.seek(at)
            self._block, self._begin, offset = self._file.read(BLOCK), at, 0
            if not self._block:
                raise self._changed(at)
        return self._block[offset]

    def _changed(self, at: int) -> CheckpointError:
        return CheckpointError(
            f"it had {self.size} bytes and ends at byte {at} now: it changes while it is read"
        )


def varint(value: int) -> bytes:
    """A number of at least zero as protobuf writes it."""
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes((*encoded, value))
