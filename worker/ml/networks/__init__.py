"""The networks of the catalogue, one file a family: one canvas (float32 in 0..1) to one representation."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from torch import nn

from shared.errors import InvalidInput
from worker.ml.networks.compact import Compact
from worker.ml.networks.conv4 import Conv4
from worker.ml.networks.ink import Ink
from worker.ml.networks.resnets import ResNet
from worker.ml.networks.seed import Seed
from worker.ml.networks.signet import Signet


def build(name: str, channels: int = 1) -> nn.Module:
    """Make the network of that name with fresh random weights, in training mode.

    It maps (N, channels, height, width) to (N, representation), sizes as in ``shared.specs.NETWORKS``; ``channels``
    is 1 for grey, 3 for colours. The weights come from torch's global generator: seed that for weights that repeat.
    Raises InvalidInput with code network_unknown or channels_unfit.
    """
    if name not in _BUILDERS:
        known = ", ".join(sorted(_BUILDERS))
        raise InvalidInput("network_unknown", f"There is no network {name}. Known are: {known}.")
    if channels not in (1, 3):
        raise InvalidInput("channels_unfit", f"No network looks at {channels} channels. Use 1 (grey) or 3 (colours).")
    return _BUILDERS[name](channels)


# The names, input and embedding sizes are shared.specs.NETWORKS'; a test holds the two together.
_BUILDERS: dict[str, Callable[[int], nn.Module]] = {
    "ink": Ink,
    "compact": Compact,
    "seed": Seed,
    "signet": Signet,
    "signet-bn": partial(Signet, batch_norm=True),
    "conv4": Conv4,
    "resnet18": partial(ResNet, "resnet18"),
    "resnet34": partial(ResNet, "resnet34"),
    "resnet50": partial(ResNet, "resnet50"),
}
