"""``signet``: the Siamese network of Dey et al. (2017), with its local response norm or with batch norm."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional


class LocalNorm(nn.Module):
    """Local response norm across channels: a / (k + alpha S)^beta, S the sum of a^2 over ``size`` channels around.

    Krizhevsky et al. (2012, section 3.3), whose constants SigNet uses. torch's LocalResponseNorm takes the mean in
    place of the sum: there alpha is ``size`` times this one. It has no bfloat16 form on the CPU; this one works in
    float32 whatever the input's type, also under autocast, since the squares are what bfloat16 would blur.
    """

    def __init__(self, size: int = 5, alpha: float = 1e-4, beta: float = 0.75, k: float = 2.0) -> None:
        super().__init__()
        self.size, self.alpha, self.beta, self.k = size, alpha, beta, k

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        """(N, C, H, W) of any floating type to float32 of the same shape; past the first and last channel is zero."""
        with torch.autocast(maps.device.type, enabled=False):
            wide = maps.float()
            before, channels = self.size // 2, wide.shape[1]
            squares = functional.pad(wide.square(), (0, 0, 0, 0, before, self.size - 1 - before))
            total = squares[:, :channels].clone()
            for shift in range(1, self.size):
                total += squares[:, shift : shift + channels]
            return wide / (self.k + self.alpha * total).pow(self.beta)


class Signet(nn.Module):
    """SigNet (Dey et al. 2017, table 1): four convolutions, three poolings, two dense layers, ReLU after each.

    114 million weights, nearly all in the first dense layer. Weights are drawn as Glorot and Bengio advise, biases
    are zero, as the paper says. ``batch_norm`` puts batch norm where the table has local response norm, as the
    authors' published code does (which also takes steps of 4 in the first convolution; here it is the table's 1).
    The paper divides pixels by the deviation of all training pixels; here they stay in 0..1, as for every network.
    """

    def __init__(self, channels: int = 1, batch_norm: bool = False) -> None:
        super().__init__()

        def norm(width: int) -> nn.Module:
            return nn.BatchNorm2d(width) if batch_norm else LocalNorm()

        self.features = nn.Sequential(
            nn.Conv2d(channels, 96, 11), nn.ReLU(), norm(96),  # (N, 96, 145, 210)
            nn.MaxPool2d(3, 2),  # (N, 96, 72, 104)
            nn.Conv2d(96, 256, 5, padding=2), nn.ReLU(), norm(256),
            nn.MaxPool2d(3, 2), nn.Dropout(0.3),  # (N, 256, 35, 51)
            nn.Conv2d(256, 384, 3, padding=1), nn.ReLU(),
            nn.Conv2d(384, 256, 3, padding=1), nn.ReLU(),
            nn.MaxPool2d(3, 2), nn.Dropout(0.3),  # (N, 256, 17, 25)
        )  # fmt: skip
        self.head = nn.Sequential(
            nn.Linear(256 * 17 * 25, 1024), nn.ReLU(), nn.Dropout(0.5), nn.Linear(1024, 128), nn.ReLU()
        )
        for layer in self.modules():
            if isinstance(layer, (nn.Conv2d, nn.Linear)):
                nn.init.xavier_uniform_(layer.weight)
                nn.init.zeros_(layer.bias)  # type: ignore[arg-type]  # all of these have one

    def forward(self, canvases: torch.Tensor) -> torch.Tensor:
        maps = self.features(canvases)  # (N, 256, 17, 25)
        embeddings: torch.Tensor = self.head(maps.flatten(1))  # (N, 128)
        return embeddings
