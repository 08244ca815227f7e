"""``compact``: a small residual network for signatures."""

from __future__ import annotations

import torch
from torch import nn

from worker.ml.networks.sphere import on_sphere


class _Block(nn.Module):
    """Two 3 x 3 convolutions beside a shortcut (He et al. 2016, figure 2), halving the map when stride is 2."""

    def __init__(self, inward: int, outward: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(inward, outward, 3, stride, 1, bias=False), nn.BatchNorm2d(outward), nn.ReLU(inplace=True),
            nn.Conv2d(outward, outward, 3, 1, 1, bias=False), nn.BatchNorm2d(outward),
        )  # fmt: skip
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or inward != outward:
            self.shortcut = nn.Sequential(nn.Conv2d(inward, outward, 1, stride, bias=False), nn.BatchNorm2d(outward))

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        return torch.relu_(self.body(maps) + self.shortcut(maps))


class Compact(nn.Module):
    """A small residual network that keeps the layout of the signature: its last map is flattened, not averaged.

    Few channels where the maps are large: with half as many more it is no more accurate, and takes 1.6 times as long
    (benchmarks/NOTES.md). Embeddings lie on a sphere, see :func:`on_sphere`.
    """

    def __init__(self, channels: int = 1) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(channels, 32, 5, 2, 2, bias=False), nn.BatchNorm2d(32), nn.ReLU(inplace=True),
            # (N, 32, 48, 96)
            nn.MaxPool2d(3, 2, 1),  # (N, 32, 24, 48)
            _Block(32, 32, 1), _Block(32, 32, 1),
            _Block(32, 64, 2), _Block(64, 64, 1),  # (N, 64, 12, 24)
            _Block(64, 160, 2), _Block(160, 160, 1),  # (N, 160, 6, 12)
            nn.Conv2d(160, 48, 1, bias=False), nn.BatchNorm2d(48), nn.ReLU(inplace=True),  # (N, 48, 6, 12)
        )  # fmt: skip
        self.head = nn.Linear(48 * 6 * 12, 128)

    def forward(self, canvases: torch.Tensor) -> torch.Tensor:
        maps = self.features(canvases)
        return on_sphere(self.head(maps.flatten(1)))  # (N, 128)
