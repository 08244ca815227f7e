"""Cross-entropy over pairs: of a weighted L1 distance that is learned, and of a network's own pair logits."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import torch
from torch.nn import functional

from worker.ml.losses.pairs import GENUINE, RANDOM, SKILLED, GroupWeights, Pairs, shares, useful_pairs, widened
from worker.ml.weighted_l1 import WeightedL1

_EVEN = GroupWeights()
RANKING = 0.5  # weight of the ranking term in the pair cross-entropy


@runtime_checkable
class PairScorer(Protocol):
    """A network that scores pairs of its representations by itself."""

    def pair_logits(self, representations: torch.Tensor, first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
        """Logits (P,), higher is more alike, of rows ``first`` (P,) and ``second`` (P,) of (B, R)."""


def weighted_l1_cross_entropy(
    embeddings: torch.Tensor,
    writers: torch.Tensor,
    forged: torch.Tensor,
    comparison: WeightedL1,
    weights: GroupWeights = _EVEN,
) -> torch.Tensor:
    """Cross-entropy of sigmoid(offset - distance) over all useful pairs of a batch (Koch et al. 2015, section 3.2).

    ``embeddings`` (B, D), ``writers`` (B,) and ``forged`` (B,) describe the images; the distance is ``comparison``'s,
    whose weights are learned with the network's. The paper's L2 penalty is the optimiser's weight decay. Groups of
    pairs count as in the contrastive loss. A batch without any pair gives 0.
    """
    wide = widened(embeddings)
    pairs = useful_pairs(writers, forged)
    share = shares(pairs.kinds, weights, wide.dtype)
    if not share.any():
        return wide.sum() * 0
    logits = comparison.offset - comparison(wide[pairs.first], wide[pairs.second])  # (P,)
    return (share * _cross_entropy(logits, pairs.kinds)).sum()


def pair_cross_entropy(
    logits: torch.Tensor, kinds: torch.Tensor, writers: torch.Tensor, weights: GroupWeights = _EVEN
) -> torch.Tensor:
    """Balanced cross-entropy of ``logits`` (P,), and half the cost of forgeries that are ranked before the genuine.

    ``kinds`` (P,) are GENUINE, SKILLED or RANDOM, ``writers`` (P,) the writer of each pair's reference. Genuine pairs
    count as much as all forged ones together; those are parted between skilled and random by ``weights`` (its
    ``genuine`` is not used), each over what is there. The ranking term is the mean of softplus(forged - genuine) over
    all genuine and skilled pairs of the same writer. No pair at all gives 0.
    """
    wide = widened(logits)
    forged = shares(kinds, GroupWeights(0.0, weights.skilled, weights.random), wide.dtype)
    genuine = shares(kinds, GroupWeights(1.0, 0.0, 0.0), wide.dtype)
    share = genuine + forged
    entropy = (share * _cross_entropy(wide, kinds)).sum() / share.sum().clamp(min=1)
    rivals = (kinds == GENUINE)[:, None] & (kinds == SKILLED) & (writers[:, None] == writers)  # (P, P)
    mine, theirs = rivals.nonzero(as_tuple=True)
    if weights.skilled and len(mine):
        entropy = entropy + RANKING * functional.softplus(wide[theirs] - wide[mine]).mean()
    return entropy


def scored_pairs(writers: torch.Tensor, forged: torch.Tensor) -> Pairs:
    """The pairs of a batch to score: all genuine and skilled ones, and as many random ones, evenly from all there are.

    Scoring a pair may cost far more than subtracting two embeddings, and most pairs of a batch are random.
    """
    pairs = useful_pairs(writers, forged)
    random = (pairs.kinds == RANDOM).nonzero().flatten()
    wanted = min(len(random), max(len(pairs.kinds) - len(random), 1))
    evenly = (torch.arange(wanted, device=random.device) * len(random)) // max(wanted, 1)
    own = (pairs.kinds != RANDOM).nonzero().flatten()
    return pairs.take(torch.cat([own, random[evenly]]))


def scored_cross_entropy(
    representations: torch.Tensor,
    writers: torch.Tensor,
    forged: torch.Tensor,
    scorer: PairScorer,
    weights: GroupWeights = _EVEN,
) -> torch.Tensor:
    """The pair cross-entropy of a batch of representations (B, R), scored by the network that made them."""
    pairs = scored_pairs(writers, forged)
    if not len(pairs.kinds):
        return representations.float().sum() * 0
    logits = scorer.pair_logits(representations, pairs.first, pairs.second)
    return pair_cross_entropy(logits, pairs.kinds, writers[pairs.first], weights)


def _cross_entropy(logits: torch.Tensor, kinds: torch.Tensor) -> torch.Tensor:
    """Cost (P,) of each pair: -log sigmoid of the logit for a genuine one, of its negative for a forged one."""
    return functional.softplus(torch.where(kinds == GENUINE, -logits, logits))
