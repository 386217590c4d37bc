"""The native kernels of the vision vocabulary network, as ctypes sees them: structures and functions."""

from __future__ import annotations

import ctypes
from functools import cache
from typing import Any

from vary.engine.native import load_library

__all__ = [
    "PANEL",
    "Block",
    "Convolution",
    "Grid",
    "Norm",
    "VisionMatrix",
    "VisionShape",
    "vision_library",
]

PANEL = 16
"""Outputs that lie side by side in packed matrices and tables; `vision_vectors.inl` has it as kPanel."""


class _Structure(ctypes.Structure):
    """A structure of vision.hpp."""


def _numbers(*names: str) -> list[tuple[str, Any]]:
    return [(name, ctypes.c_int32) for name in names]


def _pointers(*names: str) -> list[tuple[str, Any]]:
    return [(name, ctypes.c_void_p) for name in names]


class VisionShape(_Structure):
    _fields_ = (*_numbers("precision", "hidden", "inner", "heads"), ("epsilon", ctypes.c_float))


class VisionMatrix(_Structure):
    _fields_ = (*_numbers("outputs", "inputs"), *_pointers("packed", "bias"))


class Norm(_Structure):
    _fields_ = tuple(_pointers("weight", "bias"))


class Block(_Structure):
    _fields_ = (
        *_numbers("window", "table_rows", "table_columns"),
        *(("norm1", Norm), ("qkv", VisionMatrix), ("out", VisionMatrix)),
        *_pointers("row_table", "column_table"),
        *(("norm2", Norm), ("expand", VisionMatrix), ("contract", VisionMatrix)),
    )


class Grid(_Structure):
    _fields_ = (*_numbers("images", "rows", "columns"), *_pointers("valid_columns"))


class Convolution(_Structure):
    _fields_ = (
        *_numbers("kernel", "row_stride", "column_stride", "images", "rows", "columns", "channels"),
        *_numbers("relu", "norm_size"),
        *(("epsilon", ctypes.c_float), ("matrix", VisionMatrix), ("norm", Norm)),
        *_pointers("valid_columns"),
    )


@cache
def vision_library() -> ctypes.CDLL:
    """The library with the types of its functions for this network; NativeError if it is not there."""
    library = load_library()
    number, pointer = ctypes.c_int32, ctypes.c_void_p
    library.vary_vision_kernels.restype = ctypes.c_char_p
    library.vary_vision_kernels.argtypes = (pointer,)
    library.vary_vision_packed_bytes.restype = ctypes.c_int64
    library.vary_vision_packed_bytes.argtypes = (number, number, number)
    library.vary_vision_pack.restype = None
    library.vary_vision_pack.argtypes = (number, number, number, pointer, pointer)
    library.vary_vision_survey.restype = number
    library.vary_vision_survey.argtypes = (pointer, pointer, number, pointer, pointer, number)
    library.vary_vision_convolve.restype = number
    library.vary_vision_convolve.argtypes = (pointer, pointer, pointer, number)
    library.vary_vision_run.restype = number
    library.vary_vision_run.argtypes = (pointer, pointer, number, pointer, pointer, number)
    return library
