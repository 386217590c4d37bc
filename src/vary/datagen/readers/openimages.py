"""OpenImages' CSV files as a table of objects: normalised boxes, classes by code."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator
from pathlib import Path

from vary.datagen.readers.object_table import ObjectTable, TableBuilder
from vary.datagen.readers.records import RecordFault
from vary.errors import DataError

__all__ = ["load_openimages"]

_EDGES = ("XMin", "YMin", "XMax", "YMax")
_NEEDED = ("ImageID", "LabelName", *_EDGES)
_SUFFIX = ".jpg"
_OUTSIDE = 1e-6


def load_openimages(boxes: str | Path, classes: str | Path) -> ObjectTable:
    """The table of a CSV of boxes: `ImageID,...,LabelName,...,XMin,XMax,YMin,YMax,...,IsGroupOf,...`.

    Columns are found by name and others passed over.  Images are `ImageID.jpg`, in the order in which they
    come first; `IsGroupOf` marks groups.  `classes` has lines `LabelName,DisplayName`.

    Raises:
        DataError: if a file cannot be read, or has not those columns.
    """
    builder = TableBuilder(boxes)
    codes: dict[str, int] = {}
    for line, code, name in _classes(classes):
        if code in codes:
            raise DataError(f"{classes}:{line}: the class {code} stands twice")
        codes[code] = len(codes)
        builder.class_names[codes[code]] = name
    images: dict[str, int] = {}
    for number, (line, row) in enumerate(_rows(boxes)):
        name = row["ImageID"].strip()
        if not name:
            fault = RecordFault(Path(boxes).name, number, line, "$.ImageID", "no image is named")
            builder.add_fault(None, fault)
            continue
        key = images.setdefault(name, len(images))
        if key == len(builder.names):
            builder.add_image(key, name + _SUFFIX, line)
        path, reason, edges = _edges(row)
        if reason:
            builder.add_fault(key, RecordFault(Path(boxes).name, number, line, path, reason))
            continue
        code = row["LabelName"].strip()
        if code not in codes:
            reason = f"the class {code!r} has no name in {Path(classes).name}"
            builder.add_fault(key, RecordFault(Path(boxes).name, number, line, "$.LabelName", reason))
            continue
        group = (row.get("IsGroupOf") or "").strip() == "1"
        builder.add_box(key, edges, codes[code], group=group, number=number, line=line)
    return builder.table(normalised=True)


def _edges(row: dict[str, str]) -> tuple[str, str, tuple[float, float, float, float]]:
    """Where and what is wrong with a row's edges (empty: nothing), and the edges, left to bottom."""
    values = []
    for name in _EDGES:
        try:
            value = float(row[name])
        except ValueError:
            value = math.nan
        if not -_OUTSIDE <= value <= 1 + _OUTSIDE:
            return f"$.{name}", f"expected a number from 0 to 1, found {row[name]!r}", (0.0, 0.0, 0.0, 0.0)
        values.append(value)
    left, top, right, bottom = values
    return "", "", (left, top, right, bottom)


def _rows(path: str | Path) -> Iterator[tuple[int, dict[str, str]]]:
    """The rows by column, with their lines; a row of too few columns has empty texts."""
    reader = _reader(path)
    _, header = next(reader, (0, []))
    missing = [name for name in _NEEDED if name not in header]
    if missing:
        raise DataError(
            f"{path}: its first line has no column {', '.join(missing)}; expected {', '.join(_NEEDED)}"
        )
    for line, values in reader:
        if values:
            yield line, dict(zip(header, values + [""] * (len(header) - len(values)), strict=False))


def _classes(path: str | Path) -> Iterator[tuple[int, str, str]]:
    found = False
    for line, values in _reader(path):
        if not values or values[0] == "LabelName":
            continue
        if len(values) < 2 or not values[0].strip() or not values[1].strip():
            raise DataError(f"{path}:{line}: expected a code and a name, found {','.join(values)[:80]!r}")
        found = True
        yield line, values[0].strip(), values[1].strip()
    if not found:
        raise DataError(f"{path}: no classes; expected lines of LabelName,DisplayName")


def _reader(path: str | Path) -> Iterator[tuple[int, list[str]]]:
    try:
        with Path(path).open(encoding="utf-8-sig", newline="") as stream:
            reader = csv.reader(stream)
            for values in reader:
                yield reader.line_num, values
    except OSError as error:
        raise DataError(f"{path}: cannot be read, {error.strerror or error}") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: no CSV in UTF-8, {error}") from error
