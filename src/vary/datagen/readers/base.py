"""What all readers of annotation files share: their random numbers, and images whose faults are named."""

from __future__ import annotations

import zlib

import numpy as np

from vary.datagen.readers.pictures import ImageFolder, Picture
from vary.datagen.readers.records import RecordFile
from vary.errors import InputError

__all__ = ["UNKNOWN_LICENCE", "asked_language", "open_picture", "rng_of"]

UNKNOWN_LICENCE = "see the data set"
"""Recorded where the user names no licence."""


def rng_of(seed: int, split: str, index: int) -> np.random.Generator:
    """The random numbers of one index, whatever process asks for them."""
    return np.random.default_rng([seed, zlib.crc32(split.encode()), index])


def open_picture(records: RecordFile, number: int, path: str, images: ImageFolder, name: str) -> Picture:
    """The image that a record names at `path`.  Raises `RecordFault` where it is missing or broken."""
    try:
        return images.open(name)
    except InputError as error:
        raise records.fault(number, path, str(error)) from error


def asked_language(language: str) -> str:
    """The language to ask in about something in `language`."""
    return language if language in ("en", "zh", "mixed") else "en"
