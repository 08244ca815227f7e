from __future__ import annotations

import pytest
import torch

from shared.specs import MiningName
from tests.unit.worker.ml.losses.batches import LABELS, TOLERANCE, WITHOUT_LESSON, gradient_of, rows_of
from worker.ml.losses.pairs import GroupWeights, pair_distances
from worker.ml.losses.triplet import triplet_loss

MINING: tuple[MiningName, ...] = ("all", "hard", "semi-hard")
MARGIN = 0.7


def loop_group(far: list[list[float]], pairs: list[tuple[int, int]], rivals: dict[int, list[int]], how: str) -> float:
    """The loss of one group of negatives, ``rivals`` of each anchor."""
    terms: list[float] = []
    if how == "hard":
        for a in {a for a, _ in pairs if rivals[a]}:
            positive = max(far[a][p] for b, p in pairs if b == a)
            terms.append(max(0.0, positive - min(far[a][n] for n in rivals[a]) + MARGIN))
    for a, p in pairs if how != "hard" else []:
        others = [far[a][n] for n in rivals[a]]
        if how == "all":
            terms += [cost for other in others if (cost := far[a][p] - other + MARGIN) > 0]
        elif others:
            farther = [other for other in others if other > far[a][p]]
            terms.append(max(0.0, far[a][p] - (min(farther) if farther else max(others)) + MARGIN))
    return sum(terms) / max(len(terms), 1)


def loop_loss(rows: torch.Tensor, writers: list[int], forged: list[bool], how: str, weights: GroupWeights) -> float:
    far = pair_distances(rows.float() if rows.dtype == torch.bfloat16 else rows).tolist()
    everybody = range(len(writers))
    genuine = [i for i in everybody if not forged[i]]
    pairs = [(a, p) for a in genuine for p in genuine if a != p and writers[a] == writers[p]]
    skilled = {a: [n for n in everybody if forged[n] and writers[n] == writers[a]] for a in genuine}
    random = {a: [n for n in genuine if writers[n] != writers[a]] for a in genuine}
    total = used = 0.0
    for rivals, weight in ((skilled, weights.skilled), (random, weights.random)):
        if any(rivals[a] for a, _ in pairs):
            total += weight * loop_group(far, pairs, rivals, how)
            used += weight
    return total / used


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("mining", MINING)
@pytest.mark.parametrize("labels", LABELS)
def test_the_loss_by_a_loop(dtype: torch.dtype, mining: MiningName, labels: str) -> None:
    writers, forged = LABELS[labels]
    rows = rows_of(len(writers), dtype)
    weights = GroupWeights(skilled=2.0, random=0.5)
    loss = triplet_loss(rows, torch.tensor(writers), torch.tensor(forged), MARGIN, mining, weights)
    assert loss.item() > 0
    assert loss.item() == pytest.approx(loop_loss(rows, writers, forged, mining, weights), rel=TOLERANCE[dtype])


@pytest.mark.parametrize("mining", MINING)
def test_equal_rows_have_a_finite_gradient(mining: MiningName) -> None:
    rows = torch.ones(6, 3, requires_grad=True)
    writers, forged = LABELS["two writers with forgeries"]
    loss = triplet_loss(rows, torch.tensor(writers), torch.tensor(forged), MARGIN, mining)
    assert loss.item() == pytest.approx(MARGIN)
    assert torch.isfinite(gradient_of(loss, rows)).all()


@pytest.mark.parametrize("mining", MINING)
@pytest.mark.parametrize("labels", WITHOUT_LESSON)
def test_a_batch_without_triplets_costs_nothing(mining: MiningName, labels: str) -> None:
    writers, forged = WITHOUT_LESSON[labels]
    rows = rows_of(len(writers), torch.float32).requires_grad_()
    loss = triplet_loss(rows, torch.tensor(writers), torch.tensor(forged), MARGIN, mining)
    assert loss.item() == 0
    assert not gradient_of(loss, rows).any()


def test_a_weight_of_nothing_leaves_skilled_forgeries_out() -> None:
    writers, forged = (torch.tensor(part) for part in LABELS["mixed"])
    rows = rows_of(10, torch.float32)
    without = triplet_loss(rows[~forged], writers[~forged], forged[~forged], MARGIN, "all")
    ignored = triplet_loss(rows, writers, forged, MARGIN, "all", GroupWeights(skilled=0))
    assert ignored.item() == pytest.approx(without.item())


def test_it_draws_genuine_together_and_pushes_the_forgery_away() -> None:
    rows = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.5, 0.5]], requires_grad=True)
    loss = triplet_loss(rows, torch.zeros(3), torch.tensor([False, False, True]), MARGIN, "hard")
    change = gradient_of(loss, rows)
    assert change[2, 1] < 0
    assert change[0, 0] < 0 < change[1, 0]
