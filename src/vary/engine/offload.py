"""Weights that stay in main memory: each part's go to the device when it is its turn, and not before."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from vary.errors import DeviceError
from vary.model.modeling import VaryForConditionalGeneration

__all__ = ["check_offload", "is_offloaded", "offload_weights", "sent", "table_stays", "visiting_parts"]


def check_offload(device: torch.device) -> None:
    """Raises DeviceError for a CPU, whose memory is the one that the weights are in anyway."""
    if device.type == "cpu":
        raise DeviceError(
            "--offload keeps weights in main memory until a GPU or another device computes with them, and "
            "here a CPU computes, which has no other memory; leave it out, and where memory is short take "
            "--quantize int4 or --dtype bfloat16"
        )


def offload_weights(model: VaryForConditionalGeneration, device: torch.device) -> None:
    """Lets a model compute on a device that has room for a layer at a time; it is no plain model any more.

    The layers of all branches and the head stay in main memory, and visit the device one after the other;
    embeddings are looked up there.  The rest, which is small, goes to the device for good.
    """
    visiting = [model.get_submodule(name) for name in visiting_parts(model)]
    at_home = {id(module) for part in visiting for module in part.modules()}
    table = model.get_input_embeddings()
    if table_stays(model):
        at_home.add(id(table))
        table.forward = _LookUp(table, device)
    there: dict[int, Tensor] = {}  # a tensor that several modules share goes once
    for module in model.modules():
        if id(module) not in at_home:
            for name, tensor in _own(module):
                if id(tensor) not in there:
                    there[id(tensor)] = sent(tensor, device)
                setattr(module, name, there[id(tensor)])
    for part in visiting:
        part.forward = _Visit(part, device)


def visiting_parts(model: VaryForConditionalGeneration) -> list[str]:
    """What visits the device as a whole: the layers of every branch and the head, by their names."""
    kinds = set(model._no_split_modules)  # the branches' are among them
    names = [name for name, module in model.named_modules() if type(module).__name__ in kinds]
    return [*names, "lm_head"] if table_stays(model) else names


def table_stays(model: VaryForConditionalGeneration) -> bool:
    """Whether embeddings and head stay in main memory: a CTC branch reads single rows of the head."""
    return not model.config.vision_vocabulary_config.ctc_frames


def is_offloaded(model: nn.Module) -> bool:
    """Whether parts of a model visit their device."""
    return any(isinstance(module.forward, _Visit) for module in model.modules())


class _Visit:
    """Computes a part in place of its `forward`, with its weights on the device for as long as that takes.

    What is swapped are the tensors of its modules, not their contents: whatever ends the computation, the
    part then has the very tensors that it had.  One thread at a time computes it, or the next one would take
    the tensors on the device for those at home.
    """

    def __init__(self, part: nn.Module, device: torch.device) -> None:
        self.part, self.device = part, device
        self._lock = threading.Lock()
        self._forward: Callable[..., Any] = part.forward

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        with self._lock, self._weights_there():
            return self._forward(*args, **kwargs)

    @contextmanager
    def _weights_there(self) -> Iterator[None]:
        at_home = [(module, *own) for module in self.part.modules() for own in _own(module)]
        try:
            for module, name, tensor in at_home:
                setattr(module, name, sent(tensor, self.device))
            yield
        finally:
            for module, name, tensor in at_home:
                setattr(module, name, tensor)


def sent(tensor: Tensor, device: torch.device) -> Tensor:
    """A parameter or another tensor on a device; the host need not wait for it."""
    there = tensor.detach().to(device, non_blocking=True)
    return nn.Parameter(there, requires_grad=False) if isinstance(tensor, nn.Parameter) else there


def _own(module: nn.Module) -> list[tuple[str, Tensor]]:
    """A module's parameters and buffers, without those of modules within it."""
    return [*module.named_parameters(recurse=False), *module.named_buffers(recurse=False)]


class _LookUp:
    """Looks embeddings up in main memory in place of `forward`: only rows of the table go to the device."""

    def __init__(self, table: nn.Module, device: torch.device) -> None:
        self.device = device
        self._forward: Callable[[Tensor], Tensor] = table.forward

    def __call__(self, ids: Tensor) -> Tensor:
        return self._forward(ids.cpu()).to(self.device)
