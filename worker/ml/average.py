"""The running average of a network's weights: what is judged, and what a training gives."""

from __future__ import annotations

import torch
from torch import nn

Tensors = dict[str, torch.Tensor]


class RunningAverage:
    """An exponential mean of all that a network keeps; a step keeps ``keep`` (0..1) of it, 0: the weights as they are.

    It moves faster at first, when it is still the start of the training.
    """

    def __init__(self, network: nn.Module, keep: float) -> None:
        self.values = copies(network.state_dict())
        self.steps = 0
        self._keep = keep

    @torch.no_grad()
    def follow(self, network: nn.Module) -> None:
        """Move towards the weights after a step of the optimiser."""
        self.steps += 1
        keep = min(self._keep, self.steps / (self.steps + 10))
        for name, value in network.state_dict().items():
            kept = self.values[name]
            if kept.is_floating_point():
                kept.lerp_(value, 1 - keep)
            else:
                kept.copy_(value)  # counters


def copies(tensors: Tensors) -> Tensors:
    """The tensors as they are now."""
    return {name: value.detach().clone() for name, value in tensors.items()}
