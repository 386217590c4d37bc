"""Which device a model runs on: a name in, a torch.device out, and never another one than was asked for.

torch is imported inside the functions, so that the command line can name the kinds of device without it.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING

from vary.errors import DeviceError

if TYPE_CHECKING:
    import torch

__all__ = ["DEVICE_CHOICES", "DEVICE_KINDS", "DeviceStatus", "device_statuses", "resolve_device"]

DEVICE_KINDS = ("cuda", "npu", "xpu", "mps", "cpu")
"""In the order in which "auto" prefers them."""

DEVICE_CHOICES = ("auto", *sorted(DEVICE_KINDS))
"""What a user may ask for; an accelerator may carry an index: "cuda:1"."""


@dataclass(frozen=True, slots=True)
class DeviceStatus:
    """One kind of device: whether torch can use it here, and the names of the devices of that kind."""

    kind: str
    available: bool
    names: tuple[str, ...]


def device_statuses() -> list[DeviceStatus]:
    """Every kind of device that vary knows, in the order of preference, with what torch finds of it here."""
    return [_status(kind) for kind in DEVICE_KINDS]


def resolve_device(name: str | torch.device = "auto") -> torch.device:
    """The device that `name` stands for: "auto", a kind, or a kind with an index ("cuda:1").

    "auto" takes the first kind that is available, in the order cuda, npu, xpu, mps, cpu.

    Raises DeviceError for an unknown name and for a device that is not there; nothing falls back to another.
    """
    import torch

    text = str(name).strip().lower()
    if text == "auto":
        return torch.device(next(kind for kind in DEVICE_KINDS if _status(kind).available))
    kind, colon, index = text.partition(":")
    if kind not in DEVICE_KINDS or (colon and not (index.isascii() and index.isdigit())):
        raise DeviceError(
            f"device {str(name)!r} is not known: expected one of {', '.join(DEVICE_CHOICES)}, "
            "with an index where there are several ('cuda:1')"
        )
    found = _status(kind)
    if not found.available or (colon and int(index) >= len(found.names)):
        raise DeviceError(
            f"device {str(name)!r} was asked for and is not available here: torch {torch.__version__} finds "
            f"{_available_text()}; ask for one of these or for 'auto'"
        )
    return torch.device(f"{kind}:{int(index)}" if colon and kind != "cpu" else kind)


def _available_text() -> str:
    """Such as "cuda:0 (NVIDIA H100), cpu"."""
    parts = []
    for status in device_statuses():
        if status.kind == "cpu":
            parts.append("cpu")
        elif status.available:
            parts += [f"{status.kind}:{number} ({name})" for number, name in enumerate(status.names)]
    return ", ".join(parts)


def _status(kind: str) -> DeviceStatus:
    """What torch finds of one kind; for "npu" its plug-in for Ascend devices is imported, where installed."""
    import torch

    if kind == "cpu":
        return DeviceStatus("cpu", True, ("cpu",))
    if kind == "mps":
        there = torch.backends.mps.is_available()
        return DeviceStatus("mps", there, ("Apple GPU",) if there else ())
    if kind == "npu" and find_spec("torch_npu") is not None:
        import_module("torch_npu")
    backend = getattr(torch, kind, None)
    if backend is None or not backend.is_available():
        return DeviceStatus(kind, False, ())
    names = tuple(str(backend.get_device_name(number)) for number in range(backend.device_count()))
    return DeviceStatus(kind, bool(names), names)
