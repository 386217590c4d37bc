"""The JSON form of a document: written exactly, read back strictly.

Derived values (``text`` of a page, ``confidence`` of blocks and pages, ``box_1000``, ``status`` of the
document) are written for those who read the JSON without vary; reading takes them from what they derive from.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from importlib import resources
from typing import Any, TypeVar

from vary.errors import DocumentError
from vary.outputs.boxes import Box
from vary.outputs.document import (
    SCHEMA_VERSION,
    Block,
    Detection,
    Document,
    Line,
    Page,
    Provenance,
    Word,
)

__all__ = ["document_from_dict", "document_to_dict", "dumps", "json_schema", "loads"]

_Item = TypeVar("_Item")
_NUMBER = (int, float)
_CONTROLS = re.compile("[\x7f-\x9f]")
"""Terminals obey them as well, and JSON escapes only those before the blank."""
_JSON = (str, int, float, bool, list, dict, None)


def json_schema() -> dict[str, Any]:
    """The JSON Schema (2020-12) of what ``dumps`` writes."""
    text = resources.files("vary.outputs").joinpath("document.schema.json").read_text("utf-8")
    schema: dict[str, Any] = json.loads(text)
    return schema


def dumps(document: Document, *, indent: int | None = 2) -> str:
    """``document`` as JSON; other scripts than Latin are written as they are."""
    content = document_to_dict(document)
    text = json.dumps(content, ensure_ascii=False, indent=indent, allow_nan=False)
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:  # a lone surrogate, which only an escape can carry
        text = json.dumps(content, ensure_ascii=True, indent=indent, allow_nan=False)
    return _CONTROLS.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def loads(text: str | bytes) -> Document:
    """The document in ``text``.  Raises DocumentError, naming the place, where it breaks the schema."""
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DocumentError(f"this is not the JSON of a document: {error}") from error
    return document_from_dict(content)


def document_to_dict(document: Document) -> dict[str, Any]:
    """``document`` as JSON values."""
    model = document.model
    return {
        "schema_version": document.schema_version,
        "source": document.source,
        "status": str(document.status),
        "model": {
            "name": model.name,
            "version": model.version,
            "vary_version": model.vary_version,
            "task": model.task,
            "prompt": model.prompt,
            "settings": model.settings,
        },
        "pages": [_page_to_dict(page) for page in document.pages],
    }


def document_from_dict(content: object) -> Document:
    """The document of JSON values.  Unknown keys are passed over: a later 1.x may have written them.

    What 1.x added may be missing from a document of an earlier version, from no other.
    """
    fields = _Fields(content, "document")
    version = fields.get("schema_version", str)
    fields.minor = _minor(version)
    if version.split(".")[0] != SCHEMA_VERSION.split(".")[0]:
        raise DocumentError(
            f"the document has schema version {version!r}, this vary reads {SCHEMA_VERSION}; "
            "install a vary that knows it, or read the pages again"
        )
    model = _Fields(fields.get("model", dict), "model", fields.minor)
    return Document(
        source=fields.get("source", str),
        pages=fields.items("pages", _page_from_dict),
        model=Provenance(
            name=model.get("name", str),
            version=model.get("version", str),
            vary_version=model.get("vary_version", str),
            task=model.get("task", str),
            prompt=model.get("prompt", str),
            settings=model.get("settings", dict),
        ),
        schema_version=version,
    )


def _minor(version: str) -> int:
    """The y of version x.y; of one that is written otherwise, ours."""
    minor = version.partition(".")[2] or "0"
    return int(minor) if minor.isdecimal() and len(minor) < 9 else int(SCHEMA_VERSION.partition(".")[2])


def _page_to_dict(page: Page) -> dict[str, Any]:
    return {
        "number": page.number,
        "width": page.width,
        "height": page.height,
        "source": page.source,
        "status": str(page.status),
        "message": page.message,
        "dpi": page.dpi,
        "rotation": page.rotation,
        "skew": page.skew,
        "seconds": page.seconds,
        "confidence": page.confidence,
        "text": page.text,
        "blocks": [_block_to_dict(block, page) for block in page.blocks],
    }


def _block_to_dict(block: Block, page: Page) -> dict[str, Any]:
    return {
        "kind": str(block.kind),
        **_box_to_dict(block.box, page),
        "confidence": block.confidence,
        "lines": [_line_to_dict(line, page) for line in block.lines],
        "detections": [
            {"label": found.label, **_box_to_dict(found.box, page), "confidence": found.confidence}
            for found in block.detections
        ],
        "data": block.data,
        "note": block.note,
    }


def _line_to_dict(line: Line, page: Page) -> dict[str, Any]:
    return {
        "text": line.text,
        "polygon": None if line.polygon is None else [list(corner) for corner in line.polygon],
        **_box_to_dict(line.box, page),
        "confidence": line.confidence,
        "finish_reason": str(line.finish_reason),
        "words": [
            {"text": word.text, **_box_to_dict(word.box, page), "confidence": word.confidence}
            for word in line.words
        ],
    }


def _box_to_dict(box: Box | None, page: Page) -> dict[str, Any]:
    """``box`` in page pixels and ``box_1000`` in 0..1000 of the page."""
    if box is None:
        return {"box": None, "box_1000": None}
    normalised = list(box.normalised(page.width, page.height)) if page.width and page.height else None
    return {"box": list(box.edges), "box_1000": normalised}


def _page_from_dict(fields: _Fields) -> Page:
    return Page(
        number=fields.get("number", int),
        width=fields.get("width", int),
        height=fields.get("height", int),
        source=fields.get("source", str),
        status=fields.get("status", str),
        message=fields.get("message", str),
        blocks=fields.items("blocks", _block_from_dict),
        dpi=fields.get("dpi", *_NUMBER, None),
        rotation=fields.get("rotation", int),
        skew=fields.get("skew", *_NUMBER),
        seconds=fields.get("seconds", *_NUMBER, None),
    )


def _block_from_dict(fields: _Fields) -> Block:
    return Block(
        lines=fields.items("lines", _line_from_dict),
        kind=fields.get("kind", str),
        box=fields.box(),
        detections=fields.items("detections", _detection_from_dict) if fields.has("detections", 1) else (),
        data=fields.get("data", *_JSON) if fields.has("data", 1) else None,
        note=fields.get("note", str) if fields.has("note", 1) else "",
    )


def _detection_from_dict(fields: _Fields) -> Detection:
    box = Box(*fields.numbers(fields.get("box", list), 4, "box"))
    return Detection(fields.get("label", str), box, fields.get("confidence", *_NUMBER, None))


def _line_from_dict(fields: _Fields) -> Line:
    polygon = fields.get("polygon", list, None)
    return Line(
        text=fields.get("text", str),
        polygon=None
        if polygon is None
        else tuple(fields.numbers(corner, 2, "polygon") for corner in polygon),
        box=fields.box(),
        confidence=fields.get("confidence", *_NUMBER, None),
        words=fields.items("words", _word_from_dict),
        finish_reason=fields.get("finish_reason", str),
    )


def _word_from_dict(fields: _Fields) -> Word:
    return Word(fields.get("text", str), fields.box(), fields.get("confidence", *_NUMBER, None))


class _Fields:
    """The fields of one JSON object, where it stands, for messages, and the version that it follows."""

    def __init__(self, content: object, where: str, minor: int = 0) -> None:
        if not isinstance(content, Mapping):
            raise DocumentError(f"{where}: expected an object, found {_kind(content)}")
        self._content, self._where = content, where
        self.minor = minor

    def has(self, key: str, since: int) -> bool:
        """Whether ``key``, which came with version 1.``since``, is or has to be there."""
        return key in self._content or self.minor >= since

    def get(self, key: str, *kinds: type | None) -> Any:
        """The value of ``key``, which must be there and of one of ``kinds``."""
        if key not in self._content:
            raise DocumentError(f"{self._where}: {key!r} is missing")
        value = self._content[key]
        wanted = tuple(type(None) if kind is None else kind for kind in kinds)
        if not isinstance(value, wanted) or (isinstance(value, bool) and bool not in wanted):
            names = " or ".join(_NAMES[kind] for kind in wanted)
            raise DocumentError(f"{self._where}.{key}: expected {names}, found {_kind(value)}")
        return value

    def items(self, key: str, make: Callable[[_Fields], _Item]) -> tuple[_Item, ...]:
        """What ``make`` makes of each object in the list ``key``."""
        made = []
        for number, item in enumerate(self.get(key, list)):
            where = f"{self._where}.{key}[{number}]".removeprefix("document.")
            fields = _Fields(item, where, self.minor)
            try:
                made.append(make(fields))
            except DocumentError as error:
                message = str(error)
                raise DocumentError(message if message.startswith(where) else f"{where}: {message}") from None
        return tuple(made)

    def numbers(self, value: object, count: int, key: str) -> Any:
        """``value`` as a tuple of ``count`` numbers."""
        if (
            not isinstance(value, list)
            or len(value) != count
            or not all(isinstance(number, _NUMBER) and not isinstance(number, bool) for number in value)
        ):
            raise DocumentError(f"{self._where}.{key}: expected {count} numbers, found {value!r:.60}")
        return tuple(float(number) for number in value)

    def box(self) -> Box | None:
        """The value of ``box``."""
        value = self.get("box", list, None)
        return None if value is None else Box(*self.numbers(value, 4, "box"))


_NAMES: dict[type, str] = {
    str: "a string",
    int: "an integer",
    float: "a number",
    list: "a list",
    dict: "an object",
    bool: "true or false",
    type(None): "null",
}


def _kind(value: object) -> str:
    return _NAMES.get(type(value), type(value).__name__)
