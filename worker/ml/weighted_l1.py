"""A distance that is learned with the network: the L1 distance with a weight for each number of the embedding."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import nn

from worker.ml.compare import Comparer, Floats, Integers, Representations

_NAME = "comparison"  # under which a network keeps it, and so do its files
_BLOCK = 65_536  # pairs subtracted at a time
_STEEPNESS, _OFFSET = 4.0, 2.0  # at the start; a sigmoid that is neither flat nor a step at distances of 0 to 3


class WeightedL1(nn.Module):
    """Distances sum_j |w_j| |a_j - b_j| between embeddings (Koch, Zemel and Salakhutdinov 2015, section 3.1).

    The paper leaves the signs of the weights free; here they count by their size, so that the sum is a distance:
    0 for equal rows, never below. ``offset`` is the distance at which the probability of one hand is a half.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weights = nn.Parameter(torch.full((width,), _STEEPNESS / math.sqrt(width)))
        self.offset = nn.Parameter(torch.tensor(_OFFSET))

    def forward(self, first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
        """Distances (P,) between the rows of (P, D) and (P, D)."""
        return ((first - second).abs() * self.weights.abs()).sum(1)

    def comparer(self) -> Comparer:
        """The same over rows of arrays, with the weights as they are now."""
        weights = self.weights.detach().abs().float().cpu().numpy()  # (D,)

        def weighted_l1(rows: Representations, first: Integers, second: Integers) -> Floats:
            out = np.empty(len(first), np.float32)
            for start in range(0, len(first), _BLOCK):
                part = np.s_[start : start + _BLOCK]
                difference = rows[first[part]].astype(np.float32) - rows[second[part]].astype(np.float32)
                out[part] = np.abs(difference) @ weights
            return out

        return weighted_l1


def give_comparison(network: nn.Module, width: int) -> WeightedL1:
    """Have ``network``, whose embeddings are ``width`` numbers long, own such a distance: trained and kept with it."""
    comparison = WeightedL1(width)
    network.add_module(_NAME, comparison)
    return comparison


def comparison_of(network: nn.Module) -> WeightedL1 | None:
    """The distance that ``network`` was given, or None."""
    found = getattr(network, _NAME, None)
    return found if isinstance(found, WeightedL1) else None


def begin_with(network: nn.Module, weights: dict[str, torch.Tensor]) -> None:
    """Give ``network`` these weights to begin with, as those of a finished training of a network of the same name.

    A learned distance that only one of the two has is left as it was, or left out. Raises ValueError for the weights of
    another network.
    """
    own = network.state_dict()
    strange = {name for name in own.keys() ^ weights.keys() if not name.startswith(f"{_NAME}.")}
    if strange or any(own[name].shape != weights[name].shape for name in own.keys() & weights.keys()):
        raise ValueError(f"the weights are those of another network: {sorted(strange)[:3]}")
    network.load_state_dict({name: value for name, value in weights.items() if name in own}, strict=False)
