from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from shared.errors import TrainingFailed
from worker.ml.compare import cosine, euclidean
from worker.ml.losses import batch_loss
from worker.ml.metrics import equal_error_rate
from worker.ml.sampling import Labels, Split, WriterBatches
from worker.ml.validation import MOST_PAIRS, ValidationPairs, loss_over


def labels_of(counts: list[tuple[int, int]]) -> Labels:
    """Labels of writers 0, 1, ... with so many genuine and forged signatures each."""
    writer = [index for index, (genuine, forged) in enumerate(counts) for _ in range(genuine + forged)]
    flags = [place >= genuine for genuine, forged in counts for place in range(genuine + forged)]
    return Labels(np.array(writer, np.int64), np.array(flags, bool))


def named(pairs: ValidationPairs, group: NDArray[np.int64]) -> set[tuple[int, int]]:
    return {(int(pairs.rows[one]), int(pairs.rows[other])) for one, other in group}


def test_all_genuine_and_all_forged_pairs_of_the_validation_writers() -> None:
    labels = labels_of([(2, 2), (3, 1), (2, 1)])  # rows 0-3, 4-7, 8-10
    pairs = ValidationPairs.choose(labels, Split(training=(0,), validation=(1, 2)), seed=1)
    assert named(pairs, pairs.genuine) == {(4, 5), (4, 6), (5, 6), (8, 9)}
    assert named(pairs, pairs.skilled) == {(4, 7), (5, 7), (6, 7), (8, 10), (9, 10)}
    assert named(pairs, pairs.random) <= {(one, other) for one in (4, 5, 6, 8, 9) for other in (4, 5, 6, 8, 9)}
    assert all(labels.writer[one] != labels.writer[other] for one, other in named(pairs, pairs.random))
    assert pairs.rows.min() >= 4
    assert (pairs.forgeries, pairs.note) == ("skilled", "")


def test_judging_by_plain_loops() -> None:
    labels = labels_of([(2, 0), (3, 3), (4, 2)])
    pairs = ValidationPairs.choose(labels, Split(training=(0,), validation=(1, 2)), seed=1)
    rows = np.random.default_rng(2).normal(0, 0.7, (len(pairs.rows), 3)).astype(np.float32)
    far = {
        name: [float(np.linalg.norm(rows[one] - rows[other])) for one, other in getattr(pairs, name)]
        for name in ("genuine", "skilled", "random")
    }
    judgement = pairs.judge(rows, euclidean)
    expected = {name: equal_error_rate(far["genuine"], far[name]) for name in ("skilled", "random")}
    assert judgement.threshold == pytest.approx(expected["skilled"].threshold)
    assert judgement.eer == pytest.approx(expected["skilled"].rate)
    assert judgement.eers == pytest.approx({name: one.rate for name, one in expected.items()})
    assert judgement.error == pytest.approx((expected["skilled"].rate + expected["random"].rate) / 2)
    assert pairs.judge(rows, cosine).threshold <= 2


def test_the_loss_is_the_batches_weighted_mean() -> None:
    labels = labels_of([(4, 2), (3, 3), (5, 0)])
    rows = np.random.default_rng(2).normal(0, 0.7, (17, 3)).astype(np.float32)

    def loss(rows: torch.Tensor, writers: torch.Tensor, forged: torch.Tensor) -> torch.Tensor:
        return batch_loss(rows, writers, forged, 2.0)

    def batches() -> WriterBatches:
        return WriterBatches(labels, 2, 2, 1, 1, 0)

    singly = [
        (loss(*(torch.from_numpy(part[batch]) for part in (rows, labels.writer, labels.forged))).item(), len(batch))
        for batch in batches()
    ]
    assert len(singly) > 2
    expected = sum(value * count for value, count in singly) / sum(count for _, count in singly)
    assert loss_over(rows, labels, batches(), loss, torch.device("cpu")) == pytest.approx(expected, rel=1e-5)


def test_without_forgeries_other_writers_serve_and_it_is_said() -> None:
    pairs = ValidationPairs.choose(labels_of([(3, 0)] * 4), Split(training=(0, 1), validation=(2, 3)), seed=1)
    assert pairs.forgeries == "random"
    assert "other writers' own" in pairs.note
    assert len(pairs.skilled) == 0
    assert pairs.rows.min() >= 6
    judgement = pairs.judge(np.eye(len(pairs.rows), dtype=np.float32), euclidean)
    assert judgement.eers == {"random": judgement.eer}
    assert judgement.error == judgement.eer


def test_a_single_validation_writer_without_forgeries_meets_the_others() -> None:
    pairs = ValidationPairs.choose(labels_of([(3, 0)] * 3), Split(training=(0, 1), validation=(2,)), seed=1)
    assert "that training saw" in pairs.note
    assert len(pairs.random) > 0
    assert all(one >= 6 > other for one, other in named(pairs, pairs.random))


def test_forgeries_of_the_validation_side_alone_are_mentioned() -> None:
    pairs = ValidationPairs.choose(labels_of([(3, 0), (3, 2)]), Split(training=(0,), validation=(1,)), seed=1)
    assert pairs.forgeries == "skilled"
    assert "no skilled forgeries" in pairs.note


def test_very_many_pairs_are_thinned_out() -> None:
    pairs = ValidationPairs.choose(labels_of([(700, 5), (3, 3)]), Split(training=(1,), validation=(0,)), seed=1)
    assert len(pairs.genuine) == MOST_PAIRS  # of 244,650
    assert len(np.unique(pairs.genuine, axis=0)) == MOST_PAIRS
    assert len(pairs.skilled) == 3500


@pytest.mark.parametrize(
    ("counts", "code"),
    [
        ([(5, 5), (1, 5)], "no_genuine_pairs"),
        ([(5, 5), (0, 5)], "no_genuine_pairs"),
        ([(0, 4), (3, 0)], "too_few_writers"),
    ],
)
def test_validation_writers_that_cannot_judge(counts: list[tuple[int, int]], code: str) -> None:
    with pytest.raises(TrainingFailed) as caught:
        ValidationPairs.choose(labels_of(counts), Split(training=(0,), validation=(1,)), seed=1)
    assert caught.value.code == code
