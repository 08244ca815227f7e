from __future__ import annotations

import math

import pytest
import torch

from tests.unit.worker.ml.losses.batches import LABELS, TOLERANCE, WITHOUT_LESSON, gradient_of, rows_of
from worker.ml.losses.multi_similarity import multi_similarity_loss
from worker.ml.losses.pairs import GroupWeights

ALPHA, BETA, THRESHOLD, EPSILON = 2.0, 50.0, 0.5, 0.1  # the paper's


def loop_anchor(near: list[float], positives: list[int], groups: list[tuple[list[int], float]]) -> float | None:
    rivals = [n for members, weight in groups if weight for n in members]
    if not positives or not rivals:
        return None
    least, most = min(near[p] for p in positives), max(near[n] for n in rivals)
    drawn = sum(math.exp(-ALPHA * (near[p] - THRESHOLD)) for p in positives if near[p] < most + EPSILON)
    total, share, pushed = math.log(1 + drawn) / ALPHA, 0.0, 0.0
    for members, weight in groups:
        mined = sum(math.exp(BETA * (near[n] - THRESHOLD)) for n in members if near[n] > least - EPSILON)
        if members:
            pushed += weight * math.log(1 + mined) / BETA
            share += weight
    return total + pushed / share


def loop_loss(rows: torch.Tensor, writers: list[int], forged: list[bool], weights: GroupWeights) -> float:
    places = rows.double().tolist()
    everybody = range(len(writers))
    genuine = [i for i in everybody if not forged[i]]
    terms = []
    for a in genuine:
        near = [1 - math.dist(places[a], places[i]) ** 2 / (2 * 1.5**2) for i in everybody]
        positives = [i for i in genuine if i != a and writers[i] == writers[a]]
        skilled = [i for i in everybody if forged[i] and writers[i] == writers[a]]
        random = [i for i in genuine if writers[i] != writers[a]]
        terms.append(loop_anchor(near, positives, [(skilled, weights.skilled), (random, weights.random)]))
    used = [term for term in terms if term is not None]
    return sum(used) / len(used)


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("labels", LABELS)
@pytest.mark.parametrize("skilled", [0.5, 3.0])
def test_the_loss_by_a_loop(dtype: torch.dtype, labels: str, skilled: float) -> None:
    writers, forged = LABELS[labels]
    rows = rows_of(len(writers), dtype)
    weights = GroupWeights(skilled=skilled)
    loss = multi_similarity_loss(rows, torch.tensor(writers), torch.tensor(forged), weights)
    assert loss.item() == pytest.approx(loop_loss(rows, writers, forged, weights), rel=TOLERANCE[dtype])


@pytest.mark.parametrize("scale", [0.0, 1.0, 1000.0])
def test_equal_and_far_rows_have_a_finite_loss_and_gradient(scale: float) -> None:
    rows = (scale * torch.ones(6, 3) * torch.arange(6.0)[:, None]).requires_grad_()
    writers, forged = LABELS["two writers with forgeries"]
    loss = multi_similarity_loss(rows, torch.tensor(writers), torch.tensor(forged))
    assert math.isfinite(loss.item())
    assert torch.isfinite(gradient_of(loss, rows)).all()


@pytest.mark.parametrize("labels", WITHOUT_LESSON)
def test_a_batch_without_pairs_costs_nothing(labels: str) -> None:
    writers, forged = WITHOUT_LESSON[labels]
    rows = rows_of(len(writers), torch.float32).requires_grad_()
    loss = multi_similarity_loss(rows, torch.tensor(writers), torch.tensor(forged))
    assert loss.item() == 0
    assert not gradient_of(loss, rows).any()


def test_without_weight_skilled_forgeries_change_nothing() -> None:
    writers, forged = (torch.tensor(part) for part in LABELS["mixed"])
    rows = rows_of(10, torch.float32)
    without = multi_similarity_loss(rows[~forged], writers[~forged], forged[~forged])
    ignored = multi_similarity_loss(rows, writers, forged, GroupWeights(skilled=0))
    assert ignored.item() == pytest.approx(without.item())
