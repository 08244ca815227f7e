"""Where the embeddings of several networks lie."""

from __future__ import annotations

import torch
from torch.nn import functional

RADIUS = 1.5


def on_sphere(directions: torch.Tensor) -> torch.Tensor:
    """(N, R) of any floating type to float32 (N, R) of length 1.5 each; bfloat16 would blur close distances.

    Distances are then at most 3: a margin of 2 leaves room beyond it, and no learning rate can blow them up.
    """
    return RADIUS * functional.normalize(directions.float(), dim=1)
