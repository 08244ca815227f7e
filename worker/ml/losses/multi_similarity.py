"""The multi-similarity loss (Wang, Han, Huang, Dong and Scott 2019)."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from worker.ml.losses.pairs import GroupWeights, pair_distances, widened
from worker.ml.networks.sphere import RADIUS

_EVEN = GroupWeights()


@dataclass(frozen=True, slots=True)
class Sharpness:
    """The loss's constants, as the paper sets them (section 4.1)."""

    positive: float = 2.0  # alpha
    negative: float = 50.0  # beta
    threshold: float = 0.5  # lambda
    mining: float = 0.1  # epsilon


_PAPERS = Sharpness()


def multi_similarity_loss(
    embeddings: torch.Tensor,
    writers: torch.Tensor,
    forged: torch.Tensor,
    weights: GroupWeights = _EVEN,
    sharpness: Sharpness = _PAPERS,
) -> torch.Tensor:
    """Mean over anchors of log(1 + sum exp(-alpha (S - lambda))) / alpha over the positives, and the like of negatives.

    Equation 15 of the paper, on pairs mined by its equations 11 and 12. ``embeddings`` (B, D), ``writers`` (B,) and
    ``forged`` (B,) describe the images. S is 1 - d^2 / (2 RADIUS^2) with the Euclidean distance d: the cosine of
    embeddings on the sphere of that radius, and a similarity that agrees with the distance for all others. Anchors and
    positives are genuine signatures of a writer; the writer's skilled forgeries and the genuine signatures of others
    are negatives with a sum each, which count by ``weights.skilled`` and ``.random``. An anchor needs a positive and a
    negative; a batch without one gives 0.
    """
    wide = widened(embeddings)
    similar = 1 - pair_distances(wide).square() / (2 * RADIUS**2)  # (B, B)
    same, genuine = writers[:, None] == writers, ~forged
    both = genuine[:, None] & genuine
    positives = same & both & ~torch.eye(len(wide), dtype=torch.bool, device=wide.device)
    groups = [(same & genuine[:, None] & forged, weights.skilled), (~same & both, weights.random)]
    negatives = torch.stack([members for members, weight in groups if weight > 0] or [positives & ~positives]).any(0)
    anchors = positives.any(1) & negatives.any(1)
    if not anchors.any():
        return wide.sum() * 0
    least = similar.masked_fill(~positives, torch.inf).amin(1, keepdim=True)
    most = similar.masked_fill(~negatives, -torch.inf).amax(1, keepdim=True)
    near = negatives & (similar > least - sharpness.mining)
    far = positives & (similar < most + sharpness.mining)
    total = _soft_sum(-similar, far, sharpness.positive, -sharpness.threshold)  # (B,)
    share, sums = torch.zeros_like(total), torch.zeros_like(total)
    for members, weight in groups:
        has = weight * members.any(1)
        share = share + has
        sums = sums + has * _soft_sum(similar, near & members, sharpness.negative, sharpness.threshold)
    return (total + sums / share.clamp(min=torch.finfo(share.dtype).tiny))[anchors].mean()


def _soft_sum(values: torch.Tensor, members: torch.Tensor, steepness: float, threshold: float) -> torch.Tensor:
    """log(1 + sum over the members of exp(steepness (value - threshold))) / steepness, for each row; stable."""
    powers = (steepness * (values - threshold)).masked_fill(~members, -torch.inf)
    one = torch.zeros_like(powers[:, :1])  # the 1 in the sum, as a power
    return torch.logsumexp(torch.cat([one, powers], 1), 1) / steepness
