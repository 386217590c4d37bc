"""Large JSON files: every record found with its line, read as `json` reads it, and faults told apart."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vary.datagen.readers.records import RecordFault, RecordFile, iterate_records
from vary.errors import DataError

TEXTS = st.text(st.characters(exclude_categories=("Cs",)), max_size=12)
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**9), 10**9)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=6,
)
OBJECTS = st.dictionaries(TEXTS, VALUES, max_size=4)


def _write(folder: Path, data: str | bytes, name: str = "x.json") -> Path:
    path = folder / name
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("records")


@given(
    values=st.lists(VALUES, min_size=1, max_size=6), indent=st.sampled_from([None, 0, 2]), ascii=st.booleans()
)
def test_an_array_gives_what_json_gives(
    folder: Path, values: list[Any], indent: int | None, ascii: bool
) -> None:
    text = json.dumps(values, indent=indent, ensure_ascii=ascii)
    records = pickle.loads(pickle.dumps(RecordFile.open(_write(folder, text))))
    assert [records.read(number) for number in range(len(records))] == values
    assert [value for _, value in iterate_records(folder / "x.json")] == values
    lines = text.encode().splitlines(keepends=True)
    for span, _ in iterate_records(folder / "x.json"):
        assert span.line == text.encode()[: span.start].count(b"\n") + 1
        assert span.line <= len(lines)


@given(
    values=st.lists(OBJECTS, min_size=1, max_size=6), name=st.sampled_from(["x.jsonl", "x.json", "x.ndjson"])
)
def test_json_lines(folder: Path, values: list[Any], name: str) -> None:
    path = _write(folder, "\n\n".join(map(json.dumps, values)) + "\n", name)
    records = RecordFile.open(path)
    assert [records.read(number) for number in range(len(records))] == values
    assert records.lines.tolist() == [1 + 2 * number for number in range(len(values))]


@given(images=st.lists(OBJECTS, min_size=1, max_size=3), others=st.lists(VALUES, max_size=3), info=VALUES)
def test_arrays_of_an_object(folder: Path, images: list[Any], others: list[Any], info: Any) -> None:
    value = {"info": info, "images": images, "annotations": others, "images2": [1]}
    path = _write(folder, "\ufeff" + json.dumps(value, indent=1))
    found: dict[str, list[Any]] = {"images": [], "annotations": []}
    for span, record in iterate_records(path, found):
        found[span.key].append(record)
    assert found == {"images": images, "annotations": others}
    assert len(RecordFile.open(path, "images")) == len(images)


def test_a_broken_record_spoils_no_other(folder: Path) -> None:
    path = _write(folder, '[\n{"a": 1},\n{"a": tru},\n{"a" 3},\n{"a": "\\ud800"},\n{"a": NaN},\n{"a": 4}\n]')
    records = RecordFile.open(path)
    assert [records.read(0), records.read(5)] == [{"a": 1}, {"a": 4}]
    for number, reason in (
        (1, "no JSON"),
        (2, "no JSON"),
        (3, "half of a surrogate pair"),
        (4, "NaN is no number"),
    ):
        with pytest.raises(
            RecordFault, match=rf"^x\.json:{number + 2}: record {number}: \$: {reason}"
        ) as caught:
            records.read(number)
        again = pickle.loads(pickle.dumps(caught.value))
        assert (str(again), again.number, again.line) == (str(caught.value), number, number + 2)
    with pytest.raises(DataError, match="no record 6; it has 6"):
        records.read(6)


def test_bytes_that_are_no_utf8_are_one_record_s_fault(folder: Path) -> None:
    path = _write(folder, b'[{"a": "ok"}, {"a": "\xff\xfe"}]')
    records = RecordFile.open(path)
    assert records.read(0) == {"a": "ok"}
    with pytest.raises(RecordFault, match="is no UTF-8"):
        records.read(1)


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (b"", "the file is empty"),
        (b"[]", "no records"),
        (b"   \n", "expected a JSON array"),
        (b"hello", "expected a JSON array"),
        (b'[{"a": 1}, {"a": [1, 2', "cut off"),
        (b'[\n{"a": 1}\n{"a": 2}]', "x.json:3: expected a comma or ']' behind record 0"),
        (b'[{"a": 1},\n]', "a comma stands behind the last record, 0"),
        (b'[{"a": 1}] [', "more follows behind"),
        (b'[{"a": "never closed}]', "closing quote"),
        (b"[" + b"[" * 200 + b"]" * 201, "within each other"),
        ("[{}]".encode("utf-16"), "looks like UTF-16"),
    ],
)
def test_files_that_are_no_records(folder: Path, data: bytes, found: str) -> None:
    with pytest.raises(DataError, match=found.replace("[", r"\[")):
        RecordFile.open(_write(folder, data))


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nowhere\.json: cannot be read"):
        RecordFile.open(tmp_path / "nowhere.json")


@given(
    data=st.binary(max_size=60) | st.text('[]{},:"\\ \n0a', max_size=60).map(str.encode), keyed=st.booleans()
)
def test_any_bytes_give_records_or_a_data_error(folder: Path, data: bytes, keyed: bool) -> None:
    path = _write(folder, data, "fuzzed.json")
    try:
        for span, record in iterate_records(path, ["a"] if keyed else ()):
            assert 0 <= span.start <= span.end <= len(data)
            assert isinstance(record, RecordFault) or record == json.loads(data[span.start : span.end])
    except DataError:
        pass
