"""What training minimises. Each loss takes a batch's embeddings, its writers and its forgeries to one number."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import nn
from torch.nn import functional

from shared.specs import LossName, TrainSpec
from worker.ml.losses.contrastive import batch_loss, contrastive_loss
from worker.ml.losses.cross_entropy import (
    PairScorer,
    pair_cross_entropy,
    scored_cross_entropy,
    weighted_l1_cross_entropy,
)
from worker.ml.losses.multi_similarity import multi_similarity_loss
from worker.ml.losses.pairs import GroupWeights, pair_distances
from worker.ml.losses.triplet import triplet_loss
from worker.ml.networks.sphere import RADIUS
from worker.ml.weighted_l1 import comparison_of

__all__ = [
    "BatchLoss",
    "GroupWeights",
    "PairScorer",
    "batch_loss",
    "contrastive_loss",
    "loss_name",
    "loss_of",
    "multi_similarity_loss",
    "pair_cross_entropy",
    "pair_distances",
    "triplet_loss",
    "weighted_l1_cross_entropy",
]

# embeddings (B, D), writers (B,), forged (B,) -> a scalar
BatchLoss = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]


def loss_name(recipe: TrainSpec, network: nn.Module) -> LossName:
    """The loss that ``recipe`` means for ``network``: one that scores pairs by itself has its own."""
    if isinstance(network, PairScorer):
        return "pair-cross-entropy"
    return "contrastive" if recipe.loss == "auto" else recipe.loss


def loss_of(recipe: TrainSpec, network: nn.Module) -> BatchLoss:
    """That loss, with the recipe's settings and whatever of it is learned with ``network``.

    For cosine similarity the embeddings are first put on the sphere of radius ``RADIUS``, where margins mean what
    they mean for networks whose embeddings lie there anyway. The two cross-entropies have a distance of their own.
    """
    name = loss_name(recipe, network)
    loss = _LOSSES[name](recipe, network)
    return _on_sphere(loss) if recipe.similarity == "cosine" and not name.endswith("cross-entropy") else loss


def _weights(recipe: TrainSpec) -> GroupWeights:
    return GroupWeights(skilled=recipe.skilled_weight)


def _contrastive(recipe: TrainSpec, network: nn.Module) -> BatchLoss:
    return partial(batch_loss, margin=recipe.margin, weights=_weights(recipe))


def _triplet(recipe: TrainSpec, network: nn.Module) -> BatchLoss:
    return partial(triplet_loss, margin=recipe.triplet_margin, mining=recipe.mining, weights=_weights(recipe))


def _cross_entropy(recipe: TrainSpec, network: nn.Module) -> BatchLoss:
    comparison = comparison_of(network)
    if comparison is None:
        raise ValueError("the network has not been given a distance to learn")
    return partial(weighted_l1_cross_entropy, comparison=comparison, weights=_weights(recipe))


def _multi_similarity(recipe: TrainSpec, network: nn.Module) -> BatchLoss:
    return partial(multi_similarity_loss, weights=_weights(recipe))


def _scored(recipe: TrainSpec, network: nn.Module) -> BatchLoss:
    if not isinstance(network, PairScorer):
        raise TypeError("the network does not score pairs by itself")
    return partial(scored_cross_entropy, scorer=network, weights=_weights(recipe))


def _on_sphere(loss: BatchLoss) -> BatchLoss:
    def normalised(embeddings: torch.Tensor, writers: torch.Tensor, forged: torch.Tensor) -> torch.Tensor:
        return loss(RADIUS * functional.normalize(embeddings, dim=1, eps=1e-6), writers, forged)

    return normalised


_LOSSES: dict[LossName, Callable[[TrainSpec, nn.Module], BatchLoss]] = {
    "contrastive": _contrastive,
    "triplet": _triplet,
    "cross-entropy": _cross_entropy,
    "multi-similarity": _multi_similarity,
    "pair-cross-entropy": _scored,
}
