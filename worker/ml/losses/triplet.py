"""The triplet loss: a genuine signature shall be nearer to another of its writer than to any forgery, by a margin."""

from __future__ import annotations

import torch

from shared.specs import MiningName
from worker.ml.losses.pairs import GroupWeights, pair_distances, widened

_EVEN = GroupWeights()


def triplet_loss(
    embeddings: torch.Tensor,
    writers: torch.Tensor,
    forged: torch.Tensor,
    margin: float,
    mining: MiningName = "semi-hard",
    weights: GroupWeights = _EVEN,
) -> torch.Tensor:
    """Mean of max(0, d(a, p) - d(a, n) + margin) over triplets of a batch (Schroff et al. 2015, equation 2).

    ``embeddings`` (B, D), ``writers`` (B,) and ``forged`` (B,) describe the images. Anchors a and positives p are
    genuine signatures of one writer. Negatives n are of two groups: the writer's skilled forgeries, and genuine
    signatures of others; the loss is the mean of the groups' losses, weighted by ``weights.skilled`` and ``.random``
    and over the groups that are not empty. In each group, ``mining`` chooses

    - ``all``: every triplet, the mean over those that cost something (Hermans et al. 2017, "batch all", without 0);
    - ``hard``: for each anchor its farthest positive and nearest negative (the same, equation 5);
    - ``semi-hard``: for each anchor and positive, the nearest negative farther than the positive (Schroff et al.,
      section 3.2), or the farthest of all where none is, so that no anchor is left without a lesson.

    A batch without triplets gives 0.
    """
    wide = widened(embeddings)
    distances = pair_distances(wide)
    same, genuine = writers[:, None] == writers, ~forged
    both = genuine[:, None] & genuine
    anchors, positives = (same & both & ~torch.eye(len(wide), dtype=torch.bool, device=wide.device)).nonzero(
        as_tuple=True
    )  # (Q,) each
    groups = ((same & genuine[:, None] & forged, weights.skilled), (~same & both, weights.random))
    total, used = wide.sum() * 0, 0.0
    for negatives, weight in groups:
        some = negatives[anchors].any(1)  # (Q,): the anchor has a negative of this group
        if weight and some.any():
            a, p = anchors[some], positives[some]
            total = total + weight * _MINERS[mining](distances, a, p, negatives[a], margin)
            used += weight
    return total / used if used else total


def _all(
    distances: torch.Tensor, anchors: torch.Tensor, positives: torch.Tensor, negatives: torch.Tensor, margin: float
) -> torch.Tensor:
    terms = (distances[anchors, positives][:, None] - distances[anchors] + margin).clamp(min=0) * negatives  # (Q, B)
    return terms.sum() / (terms > 0).sum().clamp(min=1)


def _hard(
    distances: torch.Tensor, anchors: torch.Tensor, positives: torch.Tensor, negatives: torch.Tensor, margin: float
) -> torch.Tensor:
    nearest = distances[anchors].masked_fill(~negatives, torch.inf).min(1).values  # (Q,)
    own = torch.unique(anchors)  # (A,)
    of_anchor = anchors == own[:, None]  # (A, Q)
    farthest, place = torch.where(of_anchor, distances[anchors, positives], -torch.inf).max(1)  # (A,)
    return (farthest - nearest[place] + margin).clamp(min=0).mean()


def _semi_hard(
    distances: torch.Tensor, anchors: torch.Tensor, positives: torch.Tensor, negatives: torch.Tensor, margin: float
) -> torch.Tensor:
    near, others = distances[anchors, positives], distances[anchors]  # (Q,), (Q, B)
    farther = negatives & (others > near[:, None])
    nearest = others.masked_fill(~farther, torch.inf).min(1).values
    farthest = others.masked_fill(~negatives, -torch.inf).max(1).values
    chosen = torch.where(farther.any(1), nearest, farthest)  # (Q,)
    return (near - chosen + margin).clamp(min=0).mean()


_MINERS = {"all": _all, "hard": _hard, "semi-hard": _semi_hard}
