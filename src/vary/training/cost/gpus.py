"""GPUs that a stage of training may be planned for: their memory and their peak speed."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from functools import cache
from importlib import resources

from vary.errors import TrainingError, did_you_mean
from vary.training.settings import Precision

__all__ = ["Gpu", "find_gpu", "known_gpus"]

MIB = 2**20


@dataclass(frozen=True, slots=True)
class Gpu:
    """A kind of GPU.

    Attributes:
        key: as a command line names it.
        name: as its maker does.
        mebibytes: of memory, as the driver reports it.
        half: peak of dense products of bfloat16 or float16 numbers added up in float32, in TFLOP/s.
        single: peak of products of float32 numbers, in TFLOP/s.
    """

    key: str
    name: str
    mebibytes: int
    half: float
    single: float

    @property
    def memory(self) -> int:
        """Bytes."""
        return self.mebibytes * MIB

    def speed(self, precision: Precision) -> float:
        """Floating point operations a second, at the peak."""
        return 1e12 * (self.single if precision == "no" else self.half)


@cache
def known_gpus() -> dict[str, Gpu]:
    """All kinds by their keys; the figures are those of the makers' data sheets, without sparsity."""
    text = (resources.files("vary.training.cost") / "gpus.json").read_text(encoding="utf-8")
    return {key: Gpu(key=key, **facts) for key, facts in json.loads(text).items()}


def find_gpu(name: str) -> Gpu:
    """The kind of that name; `A100 80GB`, `rtx-4090` and `4090` are understood too.

    Raises:
        TrainingError: if there is none; the message lists all.
    """
    gpus = known_gpus()
    plain = re.sub(r"[^a-z0-9]", "", name.lower()).removeprefix("nvidia").removeprefix("geforce")
    plain = re.sub(r"(80)?gb$", "", plain)
    found = {re.sub(r"[^a-z0-9]", "", key): gpu for key, gpu in gpus.items()}
    for candidate in (plain, f"rtx{plain}", plain.removesuffix("sxm"), plain.removeprefix("rtx")):
        if candidate in found:
            return found[candidate]
    raise TrainingError(
        f"no GPU {name!r} in the table{did_you_mean(name, gpus)}; there are {', '.join(gpus)}"
    )
