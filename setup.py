"""The one part of the build that pyproject.toml cannot say: the native kernels, which may fail to build."""

from __future__ import annotations

from pathlib import Path

from setuptools import Extension, setup

NATIVE = Path("src/vary/engine/native")

setup(
    ext_modules=[
        Extension(
            # No Python module: ctypes loads it, so that one build serves every version of Python.
            "vary.engine.native._library",
            sources=[path.as_posix() for path in sorted(NATIVE.glob("*.cpp"))],
            depends=[path.as_posix() for kind in ("*.hpp", "*.inl") for path in sorted(NATIVE.glob(kind))],
            # The order of additions is part of what the kernels promise, so nothing is contracted.
            extra_compile_args=[
                *(
                    "-std=c++17",
                    "-O3",
                    "-fno-math-errno",
                    "-ffp-contract=off",
                    "-fvisibility=hidden",
                    "-pthread",
                ),
                *("-Wno-psabi", "-Wno-maybe-uninitialized"),
            ],
            extra_link_args=["-pthread"],
            language="c++",
            py_limited_api=True,
            optional=True,  # without a compiler the package installs all the same, and decodes without them
        )
    ]
)
