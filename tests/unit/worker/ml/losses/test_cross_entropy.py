from __future__ import annotations

import math

import pytest
import torch

from tests.unit.worker.ml.losses.batches import LABELS, TOLERANCE, WITHOUT_LESSON, gradient_of, rows_of
from worker.ml.losses.cross_entropy import (
    pair_cross_entropy,
    scored_cross_entropy,
    scored_pairs,
    weighted_l1_cross_entropy,
)
from worker.ml.losses.pairs import GENUINE, RANDOM, SKILLED, GroupWeights
from worker.ml.weighted_l1 import WeightedL1


def learned(width: int = 5) -> WeightedL1:
    comparison = WeightedL1(width)
    with torch.no_grad():
        comparison.weights.copy_(torch.linspace(-1, 2, width))
    return comparison


def cost(logit: float, genuine: bool) -> float:
    probability = 1 / (1 + math.exp(-logit))
    return -math.log(probability if genuine else 1 - probability)


def kind_of(writers: list[int], forged: list[bool], i: int, j: int) -> int | None:
    same, forgeries = writers[i] == writers[j], forged[i] + forged[j]
    if forgeries == 2 or (forgeries and not same):
        return None
    return RANDOM if not same else SKILLED if forgeries else GENUINE


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("labels", LABELS)
def test_the_weighted_l1_cross_entropy_by_a_loop(dtype: torch.dtype, labels: str) -> None:
    writers, forged = LABELS[labels]
    rows, comparison, weights = rows_of(len(writers), dtype), learned().double(), GroupWeights(1.0, 3.0, 0.5)
    factors, offset = comparison.weights.tolist(), comparison.offset.item()
    groups: dict[int, list[float]] = {}
    for i in range(len(writers)):
        for j in range(i):
            kind = kind_of(writers, forged, i, j)
            if kind is not None:
                terms = zip(factors, rows[i].tolist(), rows[j].tolist(), strict=True)
                far = sum(abs(factor) * abs(one - other) for factor, one, other in terms)
                groups.setdefault(kind, []).append(cost(offset - far, kind == GENUINE))
    share = {GENUINE: 1.0, SKILLED: 3.0, RANDOM: 0.5}
    expected = sum(share[kind] * sum(terms) / len(terms) for kind, terms in groups.items())
    loss = weighted_l1_cross_entropy(rows, torch.tensor(writers), torch.tensor(forged), comparison, weights)
    assert loss.item() == pytest.approx(expected / sum(share[kind] for kind in groups), rel=TOLERANCE[dtype])


def test_its_weights_learn_and_equal_rows_have_a_finite_gradient() -> None:
    rows, comparison = torch.ones(6, 5, requires_grad=True), learned()
    writers, forged = LABELS["two writers with forgeries"]
    loss = weighted_l1_cross_entropy(rows, torch.tensor(writers), torch.tensor(forged), comparison)
    assert torch.isfinite(gradient_of(loss, rows)).all()
    different = rows_of(6, torch.float32)
    torch.autograd.backward(
        weighted_l1_cross_entropy(different, torch.tensor(writers), torch.tensor(forged), comparison)
    )
    assert comparison.weights.grad is not None
    assert comparison.weights.grad.abs().min() > 0


@pytest.mark.parametrize("labels", WITHOUT_LESSON)
def test_a_batch_without_pairs_costs_nothing(labels: str) -> None:
    writers, forged = WITHOUT_LESSON[labels]
    rows = rows_of(len(writers), torch.float32).requires_grad_()
    loss = weighted_l1_cross_entropy(rows, torch.tensor(writers), torch.tensor(forged), learned())
    loss = loss + scored_cross_entropy(rows, torch.tensor(writers), torch.tensor(forged), Scorer())
    assert loss.item() == 0
    assert not gradient_of(loss, rows).any()


def loop_pairs(logits: list[float], kinds: list[int], writers: list[int], weights: GroupWeights) -> float:
    groups = {kind: [x for x, other in zip(logits, kinds, strict=True) if other == kind] for kind in range(3)}
    means = {
        kind: sum(cost(x, kind == GENUINE) for x in members) / len(members)
        for kind, members in groups.items()
        if members
    }
    halves = [means[GENUINE]] if GENUINE in means else []
    forged = {kind: weight for kind, weight in ((SKILLED, weights.skilled), (RANDOM, weights.random)) if kind in means}
    if sum(forged.values()):
        halves.append(sum(weight * means[kind] for kind, weight in forged.items()) / sum(forged.values()))
    ranks = [
        math.log1p(math.exp(theirs - mine))
        for mine, kind, writer in zip(logits, kinds, writers, strict=True)
        for theirs, other, owner in zip(logits, kinds, writers, strict=True)
        if (kind, other) == (GENUINE, SKILLED) and writer == owner
    ]
    ranking = 0.5 * sum(ranks) / len(ranks) if ranks and weights.skilled else 0.0
    return sum(halves) / len(halves) + ranking


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("there", [(0, 1, 2), (0, 1), (0, 2), (1, 2), (0,), (1,)])
@pytest.mark.parametrize("skilled", [0.0, 2.0])
def test_pair_cross_entropy_by_a_loop(dtype: torch.dtype, there: tuple[int, ...], skilled: float) -> None:
    generator = torch.Generator().manual_seed(5)
    logits = (2 * torch.randn(24, generator=generator, dtype=torch.float64)).to(dtype)
    kinds = torch.tensor(there)[torch.arange(24) % len(there)]
    writers = torch.randint(0, 3, (24,), generator=generator)
    weights = GroupWeights(skilled=skilled)
    loss = pair_cross_entropy(logits, kinds, writers, weights)
    expected = (
        0.0
        if (there, skilled) == ((1,), 0.0)
        else loop_pairs(logits.tolist(), kinds.tolist(), writers.tolist(), weights)
    )
    assert loss.item() == pytest.approx(expected, rel=TOLERANCE[dtype])


def test_genuine_pairs_count_as_much_as_both_kinds_of_forgeries() -> None:
    logits = torch.zeros(7, requires_grad=True)
    kinds = torch.tensor([GENUINE, GENUINE, SKILLED, SKILLED, SKILLED, SKILLED, RANDOM])
    writers = torch.tensor([1, 1, 2, 2, 2, 2, 3])  # no rivals: the ranking term is away
    change = gradient_of(pair_cross_entropy(logits, kinds, writers), logits)
    assert (4 * change).tolist() == pytest.approx([-0.5, -0.5, 0.125, 0.125, 0.125, 0.125, 0.5])


def test_huge_logits_have_a_finite_gradient() -> None:
    logits = torch.tensor([-1e4, 1e4, 0.0, 1e4], requires_grad=True)
    loss = pair_cross_entropy(logits, torch.tensor([GENUINE, SKILLED, SKILLED, RANDOM]), torch.ones(4))
    assert torch.isfinite(gradient_of(loss, logits)).all()
    assert math.isfinite(loss.item())


class Scorer:
    """Scores pairs by their negative squared distance."""

    def pair_logits(self, representations: torch.Tensor, first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
        return 1 - (representations[first] - representations[second]).square().sum(1)


def test_the_pairs_to_score_are_all_of_a_writer_and_as_many_random_ones() -> None:
    writers = torch.arange(6).repeat_interleave(5)
    forged = torch.tensor([False, False, False, True, True]).repeat(6)
    pairs = scored_pairs(writers, forged)
    counts = [int((pairs.kinds == kind).sum()) for kind in (GENUINE, SKILLED, RANDOM)]
    assert counts == [6 * 3, 6 * 6, 54]
    random = pairs.take(pairs.kinds == RANDOM)
    assert set(writers[random.first].tolist()) == set(range(5)), "they come from all over the batch"
    assert len({*zip(random.first.tolist(), random.second.tolist(), strict=True)}) == 54


def test_without_pairs_of_one_writer_random_ones_are_still_scored() -> None:
    assert scored_pairs(torch.tensor([1, 2, 3]), torch.zeros(3, dtype=torch.bool)).kinds.tolist() == [RANDOM]


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("labels", LABELS)
def test_the_cross_entropy_of_a_networks_own_scores_by_a_loop(dtype: torch.dtype, labels: str) -> None:
    writers, forged = (torch.tensor(part) for part in LABELS[labels])
    rows, weights = rows_of(len(writers), dtype), GroupWeights(skilled=3.0, random=0.5)
    pairs, places = scored_pairs(writers, forged), rows.tolist()
    couples = list(zip(pairs.first.tolist(), pairs.second.tolist(), strict=True))
    logits = [1 - math.dist(places[i], places[j]) ** 2 for i, j in couples]
    kinds = [kind for i, j in couples if (kind := kind_of(writers.tolist(), forged.tolist(), i, j)) is not None]
    expected = loop_pairs(logits, kinds, writers[pairs.first].tolist(), weights)
    loss = scored_cross_entropy(rows, writers, forged, Scorer(), weights)
    assert loss.item() == pytest.approx(expected, rel=TOLERANCE[dtype])
