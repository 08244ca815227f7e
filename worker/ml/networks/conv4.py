"""``conv4``: the small network of the few-shot papers, for small pictures of any kind."""

from __future__ import annotations

import torch
from torch import nn

from worker.ml.networks.sphere import on_sphere


class Conv4(nn.Module):
    """Four blocks of a 3 x 3 convolution with 64 channels, batch norm, ReLU and 2 x 2 pooling.

    The encoder of matching networks (Vinyals et al. 2016, section 4.1) and prototypical networks (Snell et al. 2017,
    section 3). They take the flattened map for the embedding; here a dense layer brings it to 128 numbers, on a
    sphere (:func:`on_sphere`). ``side`` is that of the canvas, in pixels; in the catalogue it is 64.
    """

    def __init__(self, channels: int = 1, side: int = 64) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for inward in (channels, 64, 64, 64):
            layers += [nn.Conv2d(inward, 64, 3, padding=1, bias=False), nn.BatchNorm2d(64), nn.ReLU(inplace=True)]
            layers += [nn.MaxPool2d(2)]
        self.features = nn.Sequential(*layers)  # (N, 64, side / 16, side / 16)
        self.head = nn.Linear(64 * (side // 16) ** 2, 128)

    def forward(self, canvases: torch.Tensor) -> torch.Tensor:
        maps = self.features(canvases)
        return on_sphere(self.head(maps.flatten(1)))  # (N, 128)
