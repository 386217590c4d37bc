"""Protobuf's wire format: the examples of its specification, what is skipped, and what is refused."""

from __future__ import annotations

from io import BytesIO
from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vary.errors import CheckpointError
from vary.weights.mindspore import wire
from vary.weights.mindspore.wire import FIXED32, FIXED64, SPAN, VARINT, Field, WireReader, varint


def fields(content: bytes) -> list[Field]:
    return list(WireReader(BytesIO(content), len(content)).fields(0, len(content)))


def test_the_examples_of_the_specification() -> None:
    assert fields(b"\x08\x96\x01") == [Field(1, VARINT, 1, 3, 150)]
    assert fields(b"\x12\x07testing") == [Field(2, SPAN, 2, 9)]
    assert fields(b"\x1a\x03\x08\x96\x01") == [Field(3, SPAN, 2, 5)]
    assert list(WireReader(BytesIO(b"\x03\x8e\x02\x9e\xa7\x05"), 6).numbers(0, 6)) == [3, 270, 86942]
    assert fields(b"\x08" + b"\xff" * 9 + b"\x01")[0].value == 2**64 - 1  # int64 -1


def test_fixed_widths_and_groups() -> None:
    content = b"\x21" + b"8" * 8 + b"\x1b\x08\x01\x2b\x25four\x2c\x1c" + b"\x3d" + b"4444"
    assert fields(content) == [Field(4, FIXED64, 1, 9), Field(7, FIXED32, 21, 25)]


@given(st.integers(0, 2**64 - 1))
def test_a_number_is_read_as_written(value: int) -> None:
    encoded = varint(value)
    assert len(encoded) <= 10
    assert fields(b"\x08" + encoded) == [Field(1, VARINT, 1, 1 + len(encoded), value)]


@given(st.lists(st.binary(max_size=300)), st.sampled_from([1, 2, 7, 4096]))
def test_blocks_do_not_show(spans: list[bytes], block: int) -> None:
    content = b"".join(b"\x0a" + varint(len(span)) + span for span in spans)
    with patch.object(wire, "BLOCK", block):
        reader = WireReader(BytesIO(content), len(content))
        found = [reader.span(field.start, field.stop, 300) for field in reader.fields(0, len(content))]
    assert found == spans


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\x08", "a number is cut off at byte 1"),
        (b"\x08\x96", "a number is cut off at byte 2"),
        (b"\x08" + b"\xff" * 11, "the number at byte 1 has more than ten bytes"),
        (b"\x0a\x05four", "field 1 at byte 0 has 5 bytes, but only 4 are left"),
        (b"\x0a" + varint(2**63), f"field 1 at byte 0 has {2**63} bytes, but only 0 are left"),
        (b"\x25abc", "field 4 at byte 0 has 4 bytes, but only 3 are left"),
        (b"\x00\x00", "no field begins at byte 0"),
        (b"\x0e\x00", "no field begins at byte 0"),
        (varint(2**32) + b"\x00", "no field begins at byte 0"),
        (b"\x0b\x08\x01", "group 1 has no end"),
        (b"\x0b\x14", "group 2 ends before byte 2, but another is open"),
        (b"\x08\x01\x0c", "a group ends before byte 3 that never began"),
        (b"\x0b" * 101 + b"\x0c" * 101, "more than 100 groups inside each other"),
    ],
)
def test_what_is_no_message_is_refused(content: bytes, message: str) -> None:
    with pytest.raises(CheckpointError, match=message):
        fields(content)


def test_endless_small_fields_are_refused() -> None:
    content = b"\x08\x01" * 50
    with patch.object(wire, "MAX_FIELDS", 50):
        assert len(fields(content)) == 50
        with pytest.raises(CheckpointError, match="more than 50 fields"):
            fields(content + b"\x08\x01")
        with pytest.raises(CheckpointError, match="more than 50 fields"):
            fields(b"\x1b" + content + b"\x1c")


def test_a_file_that_shrinks_is_noticed() -> None:
    reader = WireReader(BytesIO(b"\x08\x01\x0a"), 99)
    with pytest.raises(CheckpointError, match="it had 99 bytes and ends at byte 3 now"):
        list(reader.fields(0, 99))
    with pytest.raises(CheckpointError, match="it had 99 bytes and ends at byte 3 now"):
        reader.span(1, 9, 99)
    with pytest.raises(CheckpointError, match="has 9 bytes, more than 8"):
        reader.span(0, 9, 8)
