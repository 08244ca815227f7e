"""``resnet18``, ``resnet34``, ``resnet50``: torchvision's residual networks with a head of their own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from worker.ml.networks.sphere import on_sphere

# Of ImageNet's red, green and blue in 0..1: what torchvision's weights were trained with.
_MEANS = (0.485, 0.456, 0.406)
_DEVIATIONS = (0.229, 0.224, 0.225)
_CLASSIFIER = ("fc.weight", "fc.bias")  # of ImageNet's 1,000 classes; the head takes its place


class ResNet(nn.Module):
    """A residual network (He et al. 2016) as torchvision builds it, its classifier replaced by 128 numbers.

    Embeddings lie on a sphere (:func:`on_sphere`). Pixels are normalised here, not in the canvas, by the means and
    deviations of the pretrained weights: so every network gets the same canvases. Grey takes the mean of both.
    """

    means: torch.Tensor
    deviations: torch.Tensor

    def __init__(self, name: str, channels: int = 1) -> None:
        super().__init__()
        # Imported here: torchvision takes a second to import, and most workers never need it.
        from torchvision.models import get_model

        backbone: Any = get_model(name, weights=None)
        width = backbone.fc.in_features  # 512, or 2,048 of resnet50
        backbone.fc = nn.Identity()
        if channels != 3:
            first = nn.Conv2d(channels, 64, 7, 2, 3, bias=False)
            nn.init.kaiming_normal_(first.weight, mode="fan_out", nonlinearity="relu")  # as torchvision draws it
            backbone.conv1 = first
        self.backbone: nn.Module = backbone
        self.head = nn.Linear(width, 128)
        # Part of the weights, so that a model file holds all that its embeddings depend on.
        self.register_buffer("means", _per_channel(_MEANS, channels))
        self.register_buffer("deviations", _per_channel(_DEVIATIONS, channels))

    def forward(self, canvases: torch.Tensor) -> torch.Tensor:
        maps = self.backbone((canvases - self.means) / self.deviations)  # (N, 512 or 2,048)
        return on_sphere(self.head(maps))  # (N, 128)

    @torch.no_grad()
    def take_pretrained(self, weights: Mapping[str, torch.Tensor]) -> None:
        """Start from a state dict of torchvision's network of this name; its classifier may be there or not.

        Of a grey network the first convolution becomes the sum over the colours: what the weights make of a picture
        whose colours are equal. ValueError or RuntimeError if they are not exactly this network's, and finite.
        """
        taken = {name: value for name, value in weights.items() if name not in _CLASSIFIER}
        if any(not value.isfinite().all() for value in taken.values()):
            raise ValueError("a weight is not finite")
        first = taken.get("conv1.weight")
        own = self.get_parameter("backbone.conv1.weight")
        if first is not None and first.dim() == 4 and first.shape[1] == 3 and own.shape[1] == 1:
            taken["conv1.weight"] = first.sum(dim=1, keepdim=True)
        self.backbone.load_state_dict(taken)


def _per_channel(values: tuple[float, ...], channels: int) -> torch.Tensor:
    """(channels, 1, 1); one channel gets the mean."""
    chosen = torch.tensor(values).view(-1, 1, 1)
    return chosen if channels == len(values) else chosen.mean(dim=0, keepdim=True)
