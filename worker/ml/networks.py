"""The networks of the catalogue: one canvas (1 x height x width, float32 in 0..1, ink bright) to one embedding."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn
from torch.nn import functional

from shared.errors import InvalidInput


def build(name: str) -> nn.Module:
    """Make the network of that name with fresh random weights, in training mode.

    It maps (N, 1, height, width) to (N, embedding), sizes as in ``shared.specs.NETWORKS``. The weights come from
    torch's global generator: seed that for weights that repeat. Raises InvalidInput with code network_unknown.
    """
    if name not in _BUILDERS:
        known = ", ".join(sorted(_BUILDERS))
        raise InvalidInput("network_unknown", f"There is no network {name}. Known are: {known}.")
    return _BUILDERS[name]()


class Seed(nn.Module):
    """The article's network, ``seed``: four convolutions, three poolings, two dense layers.

    The listing it comes from has no activations; here a ReLU follows each convolution and the first dense layer, and
    in training dropout of 0.3 follows the last two poolings, of 0.5 the first dense layer. No normalisation. Weights
    are drawn as He et al. (2015, equation 10) advise for ReLU, without which the embeddings start out all alike.
    """

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, 96, 11), nn.ReLU(),  # (N, 96, 95, 95)
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
        return torch.relu(self.body(maps) + self.shortcut(maps))


class Compact(nn.Module):
    """A small residual network that keeps the layout of the signature: its last map is flattened, not averaged.

    Embeddings lie on a sphere of radius 1.5, so distances are at most 3: a margin of 2 leaves room beyond it, and no
    learning rate can blow the distances up.
    """

    radius = 1.5

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, 32, 5, 2, 2, bias=False), nn.BatchNorm2d(32), nn.ReLU(inplace=True),  # (N, 32, 48, 96)
            nn.MaxPool2d(3, 2, 1),  # (N, 32, 24, 48)
            _Block(32, 48, 1), _Block(48, 48, 1),
            _Block(48, 96, 2), _Block(96, 96, 1),  # (N, 96, 12, 24)
            _Block(96, 160, 2), _Block(160, 160, 1),  # (N, 160, 6, 12)
            nn.Conv2d(160, 48, 1, bias=False), nn.BatchNorm2d(48), nn.ReLU(inplace=True),  # (N, 48, 6, 12)
        )  # fmt: skip
        self.head = nn.Linear(48 * 6 * 12, 128)

    def forward(self, canvases: torch.Tensor) -> torch.Tensor:
        maps = self.features(canvases)
        directions = self.head(maps.flatten(1)).float()  # (N, 128); bfloat16 would blur close distances
        return self.radius * functional.normalize(directions, dim=1)


# The names, input and embedding sizes are shared.specs.NETWORKS'; a test holds the two together.
_BUILDERS: dict[str, Callable[[], nn.Module]] = {"compact": Compact, "seed": Seed}
