"""An exponential moving average of the weights that are trained."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

__all__ = ["WeightAverage"]


class WeightAverage:
    """Averages in float32, beside the model; `decay` is what a step keeps of the average before it.

    Early on the decay is smaller, (1 + step) / (10 + step), so that the first weights are soon forgotten.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self.weights: dict[str, Tensor] = {
            name: parameter.detach().float().clone() for name, parameter in _trained(model)
        }

    def to(self, device: torch.device) -> None:
        """Moves the average to where the model is."""
        self.weights = {name: weight.to(device) for name, weight in self.weights.items()}

    @torch.no_grad()
    def update(self, model: nn.Module, step: int) -> None:
        """Takes the weights after step `step`, counted from 1, into the average."""
        decay = min(self.decay, (1 + step) / (10 + step))
        named = dict(_trained(model))
        averages = list(self.weights.values())
        now = [named[name].detach().float() for name in self.weights]
        torch._foreach_lerp_(averages, now, 1 - decay)

    def load(self, weights: dict[str, Tensor]) -> None:
        """Goes on with an average from a checkpoint."""
        for name, average in self.weights.items():
            average.copy_(weights[name])

    @contextmanager
    def applied(self, model: nn.Module) -> Iterator[None]:
        """The model with the average in place of its weights, which come back at the end."""
        kept = {name: parameter.detach().clone() for name, parameter in _trained(model)}
        try:
            self._write(model, self.weights)
            yield
        finally:
            self._write(model, kept)

    @staticmethod
    @torch.no_grad()
    def _write(model: nn.Module, weights: dict[str, Tensor]) -> None:
        for name, parameter in _trained(model):
            parameter.copy_(weights[name])


def _trained(model: nn.Module) -> Iterator[tuple[str, nn.Parameter]]:
    return ((name, parameter) for name, parameter in model.named_parameters() if parameter.requires_grad)
