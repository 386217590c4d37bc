"""A sample as members of a tar file, and back: a picture (PNG or JPEG) and a JSON record.

What comes from a file is not trusted: sizes and pixels are bounded before anything is decoded.
"""

from __future__ import annotations

import io
import json
import math
import warnings
from collections.abc import Mapping
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from vary.datagen.sample import Box, Record, Sample
from vary.errors import DataError

__all__ = [
    "MANIFEST",
    "MAX_PICTURE_BYTES",
    "MAX_PIXELS",
    "MAX_RECORD_BYTES",
    "SCHEMA",
    "decode_sample",
    "encode_sample",
    "json_bytes",
]

MANIFEST = "manifest.json"
SCHEMA = "vary-shards/2"

MAX_PIXELS = 100_000_000
"""Most pixels of a stored picture: A4 at 850 dpi."""
MAX_PICTURE_BYTES = 256 * 2**20
MAX_RECORD_BYTES = 64 * 2**20

_PNG = [cv2.IMWRITE_PNG_COMPRESSION, 1, cv2.IMWRITE_PNG_FILTER, cv2.IMWRITE_PNG_FILTER_UP]
"""One filter for every row: half the time of choosing among all, a twentieth more bytes."""

_TEXTS = ("task", "prompt", "answer", "source", "licence", "language")


def encode_sample(sample: Sample, jpeg_quality: int | None = None) -> list[tuple[str, bytes]]:
    """The members of a sample: suffix and bytes, the picture first.

    `jpeg_quality` (1 to 100) stores the picture as JPEG, which is smaller and not exact; None: PNG.

    Raises:
        DataError: if the sample is not what `Sample` says: another image type, values that JSON has not.
    """
    record = json_bytes(_record(sample))
    if sample.image is None:
        return [("json", record)]
    suffix, picture = _picture(sample.image, jpeg_quality)
    if len(picture) > MAX_PICTURE_BYTES or len(record) > MAX_RECORD_BYTES:
        raise DataError(
            f"a sample of {sample.source} has {len(picture)} bytes of picture and {len(record)} of record: "
            f"expected at most {MAX_PICTURE_BYTES} and {MAX_RECORD_BYTES}"
        )
    return [(suffix, picture), ("json", record)]


def _record(sample: Sample) -> Record:
    record: Record = {name: getattr(sample, name) for name in _TEXTS}
    record["boxes"] = [
        {"label": box.label, "box": [box.left, box.top, box.right, box.bottom], "level": box.level}
        for box in sample.boxes
    ]
    record["later"] = [list(turn) for turn in sample.later]
    record["system"] = sample.system
    record["details"] = dict(sample.details)
    _check_keys(record["details"], sample.source)
    return record


def _check_keys(value: object, source: str) -> None:
    """JSON would turn other keys into texts in silence."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            if not isinstance(key, str):
                raise DataError(f"a sample of {source} has the key {key!r} in its record: expected a text")
            _check_keys(inner, source)
    elif isinstance(value, list | tuple):
        for inner in value:
            _check_keys(inner, source)


def json_bytes(value: object, indent: int | None = None) -> bytes:
    """JSON in UTF-8.

    Raises:
        DataError: if the value is none that JSON can hold: an array, NaN, half of a surrogate pair.
    """
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False, indent=indent).encode()
    except (TypeError, ValueError) as error:
        raise DataError(f"a record is no JSON, {error}; engines give plain numbers, texts, lists") from error


def _picture(image: NDArray[np.uint8], jpeg_quality: int | None) -> tuple[str, bytes]:
    gray, colour = image.ndim == 2, image.ndim == 3 and image.shape[2] == 3
    if (
        image.dtype != np.uint8
        or not (gray or colour)
        or not 0 < image.shape[0] * image.shape[1] <= MAX_PIXELS
    ):
        raise DataError(
            f"an engine made an image of {image.dtype} {image.shape}: expected uint8 (H, W) or (H, W, 3), "
            f"at most {MAX_PIXELS} pixels"
        )
    pixels = image if gray else cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    if jpeg_quality is None:
        _, data = cv2.imencode(".png", pixels, _PNG)
        return "png", bytes(data)
    _, data = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, jpeg_quality])
    return "jpg", bytes(data)


def decode_sample(record: bytes, picture: bytes | None) -> Sample:
    """A sample from its members.

    Raises:
        DataError: if the record or the picture is broken or larger than the limits; the message says how,
            not which sample.
    """
    try:
        fields = json.loads(record)
    except (ValueError, RecursionError) as error:
        raise DataError(f"its record is no JSON, {error}") from error
    if not isinstance(fields, dict):
        raise DataError(f"its record is {type(fields).__name__}, expected an object")
    texts = {name: _typed(fields, name, str) for name in _TEXTS}
    system = fields.get("system")
    if not (system is None or isinstance(system, str)):
        raise DataError("its 'system' is no text")
    return Sample(
        image=None if picture is None else _decoded(picture),
        boxes=tuple(_box(entry) for entry in _typed(fields, "boxes", list)),
        later=tuple(_turn(entry) for entry in _typed(fields, "later", list)),
        system=system,
        details=_typed(fields, "details", dict),
        **texts,
    )


def _typed(fields: Record, name: str, kind: type) -> Any:
    value = fields.get(name)
    if not isinstance(value, kind):
        raise DataError(f"its {name!r} is {type(value).__name__}, expected {kind.__name__}")
    return value


def _box(entry: object) -> Box:
    if isinstance(entry, dict):
        label, level, places = entry.get("label"), entry.get("level"), entry.get("box")
        if (
            isinstance(label, str)
            and isinstance(level, str)
            and isinstance(places, list)
            and len(places) == 4
        ):
            numbers = [v for v in places if isinstance(v, int | float) and not isinstance(v, bool)]
            if len(numbers) == 4 and all(math.isfinite(value) for value in numbers):
                return Box(label, numbers[0], numbers[1], numbers[2], numbers[3], level)
    raise DataError("one of its boxes is not {label, box: four numbers, level}")


def _turn(entry: object) -> tuple[str, str]:
    if isinstance(entry, list) and len(entry) == 2 and all(isinstance(text, str) for text in entry):
        return entry[0], entry[1]
    raise DataError("one of its later rounds is not [question, answer]")


def _decoded(picture: bytes) -> NDArray[np.uint8]:
    """The pixels; their number is read off the head first, so that a bomb is never unpacked."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # the limit here is our own
            with Image.open(io.BytesIO(picture), formats=("PNG", "JPEG")) as head:
                width, height, mode = *head.size, head.mode
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise DataError(f"its picture is broken, {error}") from error
    if width * height > MAX_PIXELS:
        raise DataError(f"its picture has {width} x {height} pixels, expected at most {MAX_PIXELS}")
    if mode not in ("L", "RGB"):
        raise DataError(f"its picture has the mode {mode}, expected gray or RGB of 8 bits")
    pixels = cv2.imdecode(np.frombuffer(picture, np.uint8), cv2.IMREAD_UNCHANGED)
    shape = (height, width) if mode == "L" else (height, width, 3)
    if pixels is None or pixels.dtype != np.uint8 or pixels.shape != shape:
        raise DataError("its picture is broken: it ends early, or its head is not true")
    if pixels.ndim == 3:
        pixels = cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB)
    return np.asarray(pixels, dtype=np.uint8)
