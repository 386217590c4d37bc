"""The native kernels: C++ that decodes with weights of 4, 8, 16 or 32 bits, as ctypes sees it.

They are built with the package where there is a C++ compiler; without one `load_library` says so, and what
decodes are the library's modules.
"""

from __future__ import annotations

import ctypes
from functools import cache
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path
from typing import Any

from vary.errors import NativeError

__all__ = ["Layer", "Matrix", "Part", "Shape", "check", "kernels_name", "load_library"]

VERSION = 5
"""Of the C functions and of how weights lie in memory; `library.cpp` has the same number."""
MISSING = (
    "the native kernels were not built with this installation; install a C++ compiler (such as g++) and then "
    "vary-toy again (pip install --force-reinstall --no-deps --no-binary vary-toy vary-toy)"
)


class Matrix(ctypes.Structure):
    """See matrix.hpp."""

    _fields_ = (
        ("kind", ctypes.c_int32),
        ("rows", ctypes.c_int32),
        ("columns", ctypes.c_int32),
        ("group", ctypes.c_int32),
        ("values", ctypes.c_void_p),
        ("scales", ctypes.c_void_p),
    )


class Shape(ctypes.Structure):
    """See decoder.hpp."""

    _fields_ = (
        *(
            (name, ctypes.c_int32)
            for name in (
                "hidden",
                "layers",
                "heads",
                "kv_heads",
                "head_dim",
                "inner",
                "vocabulary",
                "context",
            )
        ),
        ("epsilon", ctypes.c_float),
        ("theta", ctypes.c_float),
        ("wide", ctypes.c_int32),
    )


class Layer(ctypes.Structure):
    """See decoder.hpp."""

    _fields_ = (
        *((name, Matrix) for name in ("qkv", "out", "gate_up", "down")),
        *((name, ctypes.c_void_p) for name in ("qkv_bias", "input_norm", "post_norm")),
    )


class Part(ctypes.Structure):
    """See decoder.hpp."""

    _fields_ = tuple((name, ctypes.c_int32) for name in ("sequence", "count", "scored"))


@cache
def load_library() -> ctypes.CDLL:
    """The kernels.

    Raises:
        NativeError: if they were not built, do not load here, or are of another version.
    """
    folder = Path(__file__).parent
    found = [path for suffix in EXTENSION_SUFFIXES if (path := folder / f"_library{suffix}").is_file()]
    if not found:
        raise NativeError(MISSING)
    try:
        library = ctypes.CDLL(str(found[0]))
    except OSError as error:
        raise NativeError(f"{found[0]}: the native kernels do not load here ({error})") from error
    version = library.vary_version()
    if version != VERSION:
        raise NativeError(
            f"{found[0]}: the native kernels are of version {version}, expected {VERSION}; "
            "install vary-toy again"
        )
    _declare(library)
    return library


def kernels_name(name: str = "") -> str:
    """Which kernels of this processor a name stands for, "" for the best.

    Raises:
        NativeError: if they do not run here.
    """
    found: bytes | None = load_library().vary_kernels(name.encode())
    if found is None:
        raise NativeError(
            f"this processor does not run the kernels '{name}'; leave the name out for the best"
        )
    return found.decode()


def check(status: int, what: str) -> None:
    """Raises NativeError for what a function returned."""
    if status == 2:
        raise NativeError(f"not enough memory to {what}")
    assert status == 0, f"the native library refused to {what}"


def _declare(library: ctypes.CDLL) -> None:
    """Argument and result types of every function in library.cpp."""
    pointer, number, text = ctypes.c_void_p, ctypes.c_int32, ctypes.c_char_p
    matrix = ctypes.POINTER(Matrix)
    signatures: dict[str, tuple[Any, tuple[Any, ...]]] = {
        "vary_kernels": (text, (text,)),
        "vary_pack": (number, (matrix, pointer, pointer, number, number, pointer, pointer)),
        "vary_unpack": (None, (matrix, number, number, pointer)),
        "vary_multiply": (number, (matrix, text, pointer, number, pointer)),
        "vary_decoder_new": (
            pointer,
            (ctypes.POINTER(Shape), ctypes.POINTER(Layer), pointer, matrix, text, number),
        ),
        "vary_decoder_delete": (None, (pointer,)),
        "vary_decoder_open": (number, (pointer,)),
        "vary_decoder_close": (None, (pointer, number)),
        "vary_decoder_length": (number, (pointer, number)),
        "vary_decoder_cut": (number, (pointer, number, number)),
        "vary_decoder_read": (number, (pointer, ctypes.POINTER(Part), number, pointer, pointer)),
        "vary_decoder_cache_bytes": (ctypes.c_int64, (pointer,)),
    }
    for name, (result, arguments) in signatures.items():
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
