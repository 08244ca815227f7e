"""What training minimises: the contrastive loss over all the pairs of a batch."""

from __future__ import annotations

from dataclasses import dataclass

import torch


@dataclass(frozen=True, slots=True)
class GroupWeights:
    """How much each group of pairs counts, relative to the others, however many pairs it has.

    A balance: trained on 29 CEDAR writers, a weight of 0.5 for random pairs gave networks that tell skilled forgeries
    better and confuse new writers with each other; a weight of 2.0 gave the opposite.
    """

    genuine: float = 1.0  # two genuine signatures of one writer
    skilled: float = 1.0  # a genuine signature and a skilled forgery of it
    random: float = 1.0  # genuine signatures of two writers


_GROUP_WEIGHTS = GroupWeights()


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


def pair_distances(embeddings: torch.Tensor) -> torch.Tensor:
    """Euclidean distances (B, B) between the rows of (B, D), by subtraction.

    The root has no derivative at zero; equal rows, the diagonal among them, get distance 0 and gradient 0.
    """
    square = (embeddings[:, None] - embeddings[None]).square().sum(2)  # (B, B)
    apart = square > 0
    return torch.where(apart, square, 1).sqrt() * apart


def batch_loss(
    embeddings: torch.Tensor,
    writers: torch.Tensor,
    forged: torch.Tensor,
    margin: float,
    weights: GroupWeights = _GROUP_WEIGHTS,
) -> torch.Tensor:
    """Contrastive loss over all useful pairs of a batch, each image embedded once.

    ``embeddings`` (B, D), ``writers`` (B,) and ``forged`` (B,) describe the images. Three groups of pairs count:
    genuine with genuine of a writer (y = 0), genuine with skilled forgery of a writer (y = 1), and genuine with
    genuine of another writer (y = 1, a random forgery). Two forgeries are never a pair: nothing is known of their
    hands. The loss is the weighted mean of the groups' means, over the groups that are not empty. A batch without
    any pair gives 0.
    """
    distances = pair_distances(embeddings)
    first, second = torch.triu_indices(len(embeddings), len(embeddings), 1, device=embeddings.device)
    same = writers[first] == writers[second]
    forgeries = forged[first].int() + forged[second].int()  # of the pair: 0, 1 or 2
    groups = (
        (same & (forgeries == 0), weights.genuine),
        (same & (forgeries == 1), weights.skilled),
        (~same & (forgeries == 0), weights.random),
    )
    share = torch.zeros(len(first), dtype=distances.dtype, device=distances.device)
    for members, weight in groups:
        share = torch.where(members, weight / members.sum().clamp(min=1).to(share.dtype), share)
    used = share > 0
    if not used.any():
        return embeddings.sum() * 0
    different = ~(same & (forgeries == 0))
    return contrastive_loss(distances[first, second][used], different[used], margin, share[used])
