"""``seed``: the network of the article that the project began with."""

from __future__ import annotations

import torch
from torch import nn


class Seed(nn.Module):
    """The article's network: four convolutions, three poolings, two dense layers.

    The listing it comes from has no activations; here a ReLU follows each convolution and the first dense layer, and
    in training dropout of 0.3 follows the last two poolings, of 0.5 the first dense layer. No normalisation. Weights
    are drawn as He et al. (2015, equation 10) advise for ReLU, without which the embeddings start out all alike.
    """

    def __init__(self, channels: int = 1) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(channels, 96, 11), nn.ReLU(),  # (N, 96, 95, 95)
            nn.MaxPool2d(3, 2),  # (N, 96, 47, 47)
            nn.Conv2d(96, 256, 5, padding=2), nn.ReLU(),
            nn.MaxPool2d(3, 2), nn.Dropout(0.3),  # (N, 256, 23, 23)
            nn.Conv2d(256, 384, 3, padding=1), nn.ReLU(),
            nn.Conv2d(384, 256, 3, padding=1), nn.ReLU(),
            nn.MaxPool2d(3, 2), nn.Dropout(0.3),  # (N, 256, 11, 11)
        )  # fmt: skip
        self.head = nn.Sequential(nn.Linear(30976, 1024), nn.ReLU(), nn.Dropout(0.5), nn.Linear(1024, 128))
        for name, weight in self.named_parameters():
            if name.endswith("bias"):
                nn.init.zeros_(weight)
            else:
                nn.init.kaiming_normal_(weight, nonlinearity="relu")

    def forward(self, canvases: torch.Tensor) -> torch.Tensor:
        maps = self.features(canvases)  # (N, 256, 11, 11)
        embeddings: torch.Tensor = self.head(maps.flatten(1))  # (N, 128)
        return embeddings
