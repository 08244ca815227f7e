"""The pairs of a batch: which are of use, of what kind, and how far apart their embeddings are."""

from __future__ import annotations

from dataclasses import dataclass

import torch

GENUINE, SKILLED, RANDOM = 0, 1, 2


@dataclass(frozen=True, slots=True)
class GroupWeights:
    """How much each group of pairs counts, relative to the others, however many pairs it has.

    A balance: trained on 29 CEDAR writers, a weight of 0.5 for random pairs gave networks that tell skilled forgeries
    better and confuse new writers with each other; a weight of 2.0 gave the opposite.
    """

    genuine: float = 1.0  # two genuine signatures of one writer
    skilled: float = 1.0  # a genuine signature and a skilled forgery of it
    random: float = 1.0  # genuine signatures of two writers


@dataclass(frozen=True, slots=True, eq=False)
class Pairs:
    """P pairs of a batch: indices ``first`` < ``second`` (P,), and ``kinds`` (P,), one of the constants above."""

    first: torch.Tensor
    second: torch.Tensor
    kinds: torch.Tensor

    def take(self, chosen: torch.Tensor) -> Pairs:
        """The pairs that ``chosen``, a mask (P,) or indices, names."""
        return Pairs(self.first[chosen], self.second[chosen], self.kinds[chosen])


def useful_pairs(writers: torch.Tensor, forged: torch.Tensor) -> Pairs:
    """All pairs of the batch that are of a kind; ``writers`` (B,) and ``forged`` (B,) describe its images.

    Two forgeries are never a pair, nor are a forgery and another writer's signature: nothing is known of their hands.
    """
    first, second = torch.triu_indices(len(writers), len(writers), 1, device=writers.device)
    same = writers[first] == writers[second]
    forgeries = forged[first].int() + forged[second].int()  # of the pair: 0, 1 or 2
    kinds = torch.where(same & (forgeries == 1), SKILLED, torch.where(same, GENUINE, RANDOM))
    useful = (forgeries == 0) | (same & (forgeries == 1))
    return Pairs(first, second, kinds).take(useful)


def shares(kinds: torch.Tensor, weights: GroupWeights, dtype: torch.dtype) -> torch.Tensor:
    """What each pair of ``kinds`` (P,) counts, (P,): a group's weight, evenly over its pairs. They sum to 1, or 0."""
    share = torch.zeros(len(kinds), dtype=dtype, device=kinds.device)
    for kind, weight in ((GENUINE, weights.genuine), (SKILLED, weights.skilled), (RANDOM, weights.random)):
        members = kinds == kind
        share = torch.where(members, weight / members.sum().clamp(min=1).to(dtype), share)
    return share / share.sum().clamp(min=torch.finfo(dtype).tiny)


def pair_distances(embeddings: torch.Tensor) -> torch.Tensor:
    """Euclidean distances (B, B) between the rows of (B, D), by subtraction.

    The root has no derivative at zero; equal rows, the diagonal among them, get distance 0 and gradient 0.
    """
    square = (embeddings[:, None] - embeddings[None]).square().sum(2)  # (B, B)
    apart = square > 0
    return torch.where(apart, square, 1).sqrt() * apart


def widened(values: torch.Tensor) -> torch.Tensor:
    """Half precision to float32, in which sums of exponentials and the choice of triplets are made; others as is."""
    return values.float() if values.dtype.itemsize < 4 else values
