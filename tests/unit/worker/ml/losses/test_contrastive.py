from __future__ import annotations

import math

import pytest
import torch

from worker.ml.losses.contrastive import batch_loss, contrastive_loss
from worker.ml.losses.pairs import GroupWeights, pair_distances

TOLERANCE = {torch.float64: 1e-12, torch.float32: 1e-5, torch.bfloat16: 2e-2}


@pytest.mark.parametrize("dtype", TOLERANCE)
def test_contrastive_loss_by_a_loop(dtype: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(1)
    distance = (torch.rand(20, generator=generator) * 4).to(dtype)
    forged = torch.rand(20, generator=generator) < 0.5
    weight = torch.rand(20, generator=generator).to(dtype)
    terms = [max(0.0, 1.5 - d) ** 2 if y else d**2 for d, y in zip(distance.tolist(), forged.tolist(), strict=True)]
    weighted = sum(w * term for w, term in zip(weight.tolist(), terms, strict=True)) / sum(weight.tolist())
    plain = contrastive_loss(distance, forged, 1.5)
    assert plain.dtype == dtype
    assert plain.item() == pytest.approx(sum(terms) / 20, rel=TOLERANCE[dtype])
    assert contrastive_loss(distance, forged, 1.5, weight).item() == pytest.approx(weighted, rel=TOLERANCE[dtype])


def test_contrastive_loss_of_the_plain_cases() -> None:
    distance = torch.tensor([0.5, 0.5, 3.0])
    forged = torch.tensor([0, 1, 1])
    singly = [contrastive_loss(distance[i : i + 1], forged[i : i + 1], 2.0).item() for i in range(3)]
    assert singly == pytest.approx([0.25, 2.25, 0])


@pytest.mark.parametrize("dtype", TOLERANCE)
def test_pair_distances_by_a_loop(dtype: torch.dtype) -> None:
    rows = torch.randn(5, 4, generator=torch.Generator().manual_seed(2)).to(dtype)
    distances = pair_distances(rows)
    for i in range(5):
        for j in range(5):
            expected = math.dist(rows[i].tolist(), rows[j].tolist())
            assert distances[i, j].item() == pytest.approx(expected, rel=TOLERANCE[dtype])


def test_equal_rows_have_a_finite_gradient() -> None:
    rows = torch.tensor([[1.0, 2.0], [1.0, 2.0], [4.0, 6.0]], requires_grad=True)
    torch.autograd.backward(pair_distances(rows).sum())
    assert rows.grad is not None
    assert rows.grad[0].tolist() == pytest.approx([-1.2, -1.6])  # from the third row alone: twice -(3, 4) / 5
    assert torch.isfinite(rows.grad).all()


def test_nearby_rows_keep_their_small_distance() -> None:
    rows = torch.full((2, 128), 100.0)
    rows[1, 7] += 1e-3
    assert pair_distances(rows)[0, 1].item() == pytest.approx(rows[1, 7].item() - 100, rel=1e-6)


def loop_loss(rows: torch.Tensor, writers: list[int], forged: list[bool], weights: GroupWeights) -> float:
    groups: dict[str, list[float]] = {"genuine": [], "skilled": [], "random": []}
    for i in range(len(writers)):
        for j in range(i):
            d = math.dist(rows[i].tolist(), rows[j].tolist())
            if forged[i] and forged[j]:
                continue
            if writers[i] == writers[j] and not (forged[i] or forged[j]):
                groups["genuine"].append(d**2)
            elif writers[i] == writers[j]:
                groups["skilled"].append(max(0.0, 2.0 - d) ** 2)
            elif not (forged[i] or forged[j]):
                groups["random"].append(max(0.0, 2.0 - d) ** 2)
    used = {name: terms for name, terms in groups.items() if terms}
    total = math.fsum(getattr(weights, name) * sum(terms) / len(terms) for name, terms in used.items())
    return total / math.fsum(getattr(weights, name) for name in used)


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize(
    ("writers", "forged"),
    [
        ([1, 1, 1, 2, 2, 2], [False, False, True, False, False, True]),
        ([1, 1, 2, 2], [False, False, False, False]),  # no forgeries
        ([1, 1, 1], [False, True, True]),  # nothing but skilled pairs
        ([3, 1, 2, 2, 1], [False, True, True, False, False]),
    ],
)
def test_batch_loss_by_a_loop(dtype: torch.dtype, writers: list[int], forged: list[bool]) -> None:
    rows = torch.randn(len(writers), 4, generator=torch.Generator().manual_seed(3)).to(dtype)
    weights = GroupWeights(genuine=1.0, skilled=2.0, random=0.25)
    loss = batch_loss(rows, torch.tensor(writers), torch.tensor(forged), 2.0, weights)
    assert loss.item() == pytest.approx(loop_loss(rows, writers, forged, weights), rel=TOLERANCE[dtype])


@pytest.mark.parametrize("forged", [[True, True], [True, False]])
def test_a_batch_without_pairs_costs_nothing(forged: list[bool]) -> None:
    rows = torch.randn(2, 4, requires_grad=True)
    loss = batch_loss(rows, torch.tensor([1, 2]), torch.tensor(forged), 2.0)
    torch.autograd.backward(loss)
    assert loss.item() == 0
    assert rows.grad is not None
    assert not rows.grad.any()


def test_the_loss_draws_genuine_together_and_pushes_forgeries_away() -> None:
    rows = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.5, 0.5]], requires_grad=True)
    torch.autograd.backward(batch_loss(rows, torch.zeros(3), torch.tensor([False, False, True]), 2.0))
    assert rows.grad is not None
    assert rows.grad[2, 1] < 0  # a step against it moves the forgery up, away from both
    assert abs(rows.grad[2, 0]) < 1e-6
