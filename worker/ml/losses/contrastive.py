"""The contrastive loss over all the pairs of a batch."""

from __future__ import annotations

import torch

from worker.ml.losses.pairs import GENUINE, GroupWeights, pair_distances, shares, useful_pairs

_EVEN = GroupWeights()


def contrastive_loss(
    distance: torch.Tensor, forged: torch.Tensor, margin: float, weight: torch.Tensor | None = None
) -> torch.Tensor:
    """Mean of (1 - y) d^2 + y max(0, margin - d)^2 (Hadsell, Chopra and LeCun 2006, without their halves).

    ``distance`` d (P,) is Euclidean; ``forged`` y (P,) is 0 for a genuine pair and 1 for a forged one. With
    ``weight`` (P,) the mean is weighted: the weights are divided by their sum. Returns a scalar.
    """
    y = forged.to(distance.dtype)
    losses = (1 - y) * distance.square() + y * (margin - distance).clamp(min=0).square()  # (P,)
    if weight is None:
        return losses.mean()
    return (losses * weight).sum() / weight.sum()


def batch_loss(
    embeddings: torch.Tensor,
    writers: torch.Tensor,
    forged: torch.Tensor,
    margin: float,
    weights: GroupWeights = _EVEN,
) -> torch.Tensor:
    """Contrastive loss over all useful pairs of a batch, each image embedded once.

    ``embeddings`` (B, D), ``writers`` (B,) and ``forged`` (B,) describe the images. Three groups of pairs count:
    genuine with genuine of a writer (y = 0), genuine with skilled forgery of a writer (y = 1), and genuine with
    genuine of another writer (y = 1, a random forgery). The loss is the weighted mean of the groups' means, over the
    groups that are not empty. A batch without any pair gives 0.
    """
    pairs = useful_pairs(writers, forged)
    share = shares(pairs.kinds, weights, embeddings.dtype)
    if not share.any():
        return embeddings.sum() * 0
    distances = pair_distances(embeddings)[pairs.first, pairs.second]
    return contrastive_loss(distances, pairs.kinds != GENUINE, margin, share)
