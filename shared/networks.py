"""The catalogue of networks: the one place where a network is named, with the sizes of its input and its output."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

ComparerName = Literal["euclidean", "cosine", "weighted-l1", "local"]


@dataclass(frozen=True, slots=True)
class NetworkInfo:
    """One network of the catalogue. ``height`` and ``width`` are of its input canvas, in pixels.

    ``representation`` is the length of what it makes of one canvas. ``comparer`` is how two of those are compared
    when the recipe does not say: ``local`` networks know no other way. ``pretrained`` networks can start from a file
    of torchvision's weights. ``scale`` is how ink meets the canvas (see ``shared.specs.Preprocessing``). A
    ``closed_form`` network is solved in one step, not trained by descent.
    """

    name: str
    title: str
    height: int
    width: int
    representation: int
    comparer: ComparerName = "euclidean"
    pretrained: bool = False
    scale: Literal["fit", "keep"] = "fit"
    closed_form: bool = False


NETWORKS = {
    info.name: info
    for info in (
        NetworkInfo(
            "ink",
            "Statistics of the ink, compared by learned weights; trains in seconds",
            704,
            1280,
            8668,
            "local",
            scale="keep",
            closed_form=True,
        ),
        NetworkInfo("compact", "Compact residual network, under 2 million weights", 96, 192, 128),
        NetworkInfo("seed", "The article's network: 4 convolutions, 3 poolings, 2 dense layers", 105, 105, 128),
        NetworkInfo("signet", "SigNet (Dey et al. 2017) with local response norm; 114 million weights", 155, 220, 128),
        NetworkInfo("signet-bn", "SigNet with batch norm in place of local response norm", 155, 220, 128),
        NetworkInfo("conv4", "Four blocks of 64 channels (Vinyals et al. 2016), for small pictures", 64, 64, 128),
        NetworkInfo("resnet18", "ResNet of 18 layers, 11 million weights", 224, 224, 128, pretrained=True),
        NetworkInfo("resnet34", "ResNet of 34 layers, 21 million weights", 224, 224, 128, pretrained=True),
        NetworkInfo("resnet50", "ResNet of 50 layers, 24 million weights", 224, 224, 128, pretrained=True),
    )
}

NetworkName = Literal["ink", "compact", "seed", "signet", "signet-bn", "conv4", "resnet18", "resnet34", "resnet50"]
