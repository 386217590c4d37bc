"""Device names: what they resolve to, and the error for a device that is not there."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from vary.engine import devices
from vary.engine.devices import DEVICE_KINDS, DeviceStatus, device_statuses, resolve_device
from vary.errors import DeviceError


def _machine(monkeypatch: pytest.MonkeyPatch, **names: tuple[str, ...]) -> None:
    """Pretend that torch finds these devices beside the CPU."""
    found = {"cpu": ("cpu",), **names}
    monkeypatch.setattr(
        devices, "_status", lambda kind: DeviceStatus(kind, kind in found, found.get(kind, ()))
    )


def test_the_cpu_is_always_there() -> None:
    assert resolve_device("cpu") == torch.device("cpu")
    assert resolve_device(torch.device("cpu")) == torch.device("cpu")
    assert [status.kind for status in device_statuses()] == list(DEVICE_KINDS)
    assert device_statuses()[-1].available


@pytest.mark.parametrize(
    ("there", "chosen"),
    [
        ({}, "cpu"),
        ({"mps": ("Apple GPU",)}, "mps"),
        ({"mps": ("Apple GPU",), "xpu": ("Arc",)}, "xpu"),
        ({"xpu": ("Arc",), "cuda": ("H100",)}, "cuda"),
    ],
)
def test_auto_takes_the_first_kind_that_is_there(
    monkeypatch: pytest.MonkeyPatch, there: dict[str, tuple[str, ...]], chosen: str
) -> None:
    _machine(monkeypatch, **there)
    assert resolve_device() == torch.device(chosen)


def test_a_device_may_be_numbered(monkeypatch: pytest.MonkeyPatch) -> None:
    _machine(monkeypatch, cuda=("H100", "H200"))
    assert resolve_device("cuda:1") == torch.device("cuda:1")
    assert resolve_device("CUDA") == torch.device("cuda")
    assert resolve_device("cpu:0") == torch.device("cpu")


def test_a_missing_device_is_an_error_that_lists_what_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    _machine(monkeypatch, cuda=("H100",))
    with pytest.raises(
        DeviceError, match=r"'xpu' was asked for and is not available.* cuda:0 \(H100\), cpu;"
    ):
        resolve_device("xpu")
    with pytest.raises(DeviceError, match=r"'cuda:1' was asked for"):
        resolve_device("cuda:1")


@pytest.mark.parametrize("name", ["gpu", "", "cuda:", "cuda:-1", "cuda:one", "cuda:²"])
def test_an_unknown_name_is_an_error_that_lists_the_names(name: str) -> None:
    with pytest.raises(DeviceError, match=r"expected one of auto, cpu, cuda, mps, npu, xpu"):
        resolve_device(name)


def test_the_names_of_an_accelerator_come_from_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    backend = SimpleNamespace(
        is_available=lambda: True, device_count=lambda: 2, get_device_name=lambda number: f"card {number}"
    )
    monkeypatch.setattr(torch, "xpu", backend)
    assert devices._status("xpu") == DeviceStatus("xpu", True, ("card 0", "card 1"))
