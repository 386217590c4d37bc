"""The precisions of packed weights, by name; without torch, so that the command line can list them."""

from __future__ import annotations

from dataclasses import dataclass

from vary.errors import NativeError, did_you_mean

__all__ = ["PRECISIONS", "Precision", "precision"]

GROUPS = (32, 64, 128)


@dataclass(frozen=True, slots=True)
class Precision:
    """How matrices are stored.

    Attributes:
        kind: of the layers' matrices and the head: `float32`, `bfloat16`, `int8` or `int4`.
        group: columns of a row that share a scale: 32, 64 or 128; 0 for floats.
    """

    kind: str
    group: int = 0

    @property
    def name(self) -> str:
        return f"{self.kind}-g{self.group}" if self.group else self.kind


PRECISIONS = {
    "int4": Precision("int4", 32),
    **{f"int4-g{group}": Precision("int4", group) for group in GROUPS},
    "int8": Precision("int8", 64),
    **{f"int8-g{group}": Precision("int8", group) for group in GROUPS},
    "bfloat16": Precision("bfloat16"),
    "float32": Precision("float32"),
}


def precision(name: str) -> Precision:
    """The precision of a name.

    Raises:
        NativeError: for an unknown one.
    """
    if name not in PRECISIONS:
        known = ", ".join(PRECISIONS)
        raise NativeError(
            f"unknown precision '{name}'; expected one of {known}{did_you_mean(name, PRECISIONS)}"
        )
    return PRECISIONS[name]
