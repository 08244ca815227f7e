from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from shared.calibration import Calibration
from shared.errors import TrainingFailed
from worker.ml.calibrate import calibrate_model
from worker.ml.compare import euclidean
from worker.ml.metrics import cllr, equal_error_rate
from worker.ml.refsets import score_sets, shapes_of

Writers = tuple[np.ndarray[Any, Any], list[str], np.ndarray[Any, Any]]


def made(writers: int = 8, genuine: int = 14, forged: int = 6, seed: int = 3) -> Writers:
    """Points of the plane: each writer with a place and a spread of its own, forgeries three spreads away."""
    random = np.random.default_rng(seed)
    rows, names, kinds = [], [], []
    for number in range(writers):
        place, spread = random.normal(0, 20, 2), random.uniform(0.5, 2.0)
        away = random.normal(0, 1, (forged, 2))
        away *= 3 / np.linalg.norm(away, axis=1, keepdims=True)
        rows += [place + spread * random.normal(0, 1, (genuine, 2)), place + spread * away]
        names += [f"w{number}"] * (genuine + forged)
        kinds += [False] * genuine + [True] * forged
    return np.concatenate(rows).astype(np.float32), names, np.array(kinds)


def fitted(data: Writers, **options: Any) -> Calibration:
    return calibrate_model(*data, euclidean, data="sha256:0", **options)


def test_what_is_kept_of_a_calibration() -> None:
    ticks: list[int] = []
    found = fitted(made(), target_far=0.05, generated=True, tick=lambda: ticks.append(1))
    assert (found.population, found.generated, found.method, found.images) == ("skilled", True, "logistic", 160)
    assert found.writers == [f"w{number}" for number in range(8)]
    assert (found.data, found.target_far, found.target_frr) == ("sha256:0", 0.05, 0.01)
    assert [one.size for one in found.sets] == [1, 2, 4, 8, 12]
    assert list(found.sets[0].weights) == ["distance"]
    assert len(ticks) == 8
    for one in found.sets:
        assert all(weight <= 0 for weight in one.weights.values())
        assert one.bands.far <= 0.05
        assert one.bands.frr <= 0.01
        assert one.lowest < one.bands.reject_below <= one.bands.accept_from <= one.highest < 3
        assert sum(count for _, _, count in one.figures.reliability) == one.figures.genuine + one.figures.forged
    assert Calibration.model_validate_json(found.model_dump_json()) == found


def test_larger_sets_tell_more_where_spreads_differ() -> None:
    sets = fitted(made(writers=12)).sets
    assert sets[3].figures.eer < sets[0].figures.eer
    assert sets[3].figures.cllr < sets[0].figures.cllr < 1


def test_other_writers_are_told_apart_better_than_by_the_mean_distance() -> None:
    rows, names, forged = made(writers=16, seed=9)
    found = fitted(made(writers=12))
    llr, means, truth = [], [], []
    for name in sorted(set(names)):
        own = np.flatnonzero(np.array(names) == name)
        members, questioned = own[:8], own[8:]
        shape = shapes_of(rows, [tuple(members.tolist())], euclidean, found.pool)[tuple(members.tolist())]
        distances = euclidean(rows, np.repeat(questioned, 8), np.tile(members, len(questioned)))
        llr.append(score_sets(found, distances, np.full(len(questioned), 8), [shape] * len(questioned)))
        means.append(distances.reshape(-1, 8).mean(1))
        truth.append(forged[questioned])
    told, mean, fake = np.concatenate(llr), np.concatenate(means), np.concatenate(truth)
    assert cllr(told[~fake], told[fake]) < 0.75
    assert equal_error_rate(-told[~fake], -told[fake]).rate < equal_error_rate(mean[~fake], mean[fake]).rate - 0.05


def test_the_same_seed_gives_the_same_calibration() -> None:
    data = made(writers=4, genuine=4)
    assert fitted(data, seed=4) == fitted(data, seed=4)
    assert fitted(data, seed=4) != fitted(data, seed=5)


def test_without_forgeries_it_is_against_other_writers() -> None:
    found = fitted(made(forged=0))
    assert found.population == "random"
    assert found.sets[0].figures.eer < 0.05


def test_sizes_that_no_three_writers_can_fill_are_left_to_smaller_ones() -> None:
    found = fitted(made(genuine=5))
    assert [one.size for one in found.sets] == [1, 2, 4]
    assert found.of_size(100).size == 4
    assert found.of_size(3).size == 2
    with pytest.raises(ValueError, match="one reference"):
        found.of_size(0)


def test_the_isotonic_method() -> None:
    found = fitted(made(), method="isotonic")
    single = found.sets[0]
    assert single.curve is not None
    assert single.figures.cllr < 1
    assert single.curve.llr[0] < 0 < single.curve.llr[-1]


def test_distances_that_tell_nothing_give_no_evidence() -> None:
    """A model that sees one point everywhere: ratios of 1, and nothing is accepted or rejected beyond the targets."""
    _, names, forged = made()
    found = calibrate_model(np.zeros((len(names), 2), np.float32), names, forged, euclidean)
    for one in found.sets:
        assert set(one.weights.values()) == {0.0}
        assert (one.bands.far, one.bands.frr) == (0.0, 0.0)
        assert one.figures.cllr == pytest.approx(1.0)


def test_too_few_writers() -> None:
    with pytest.raises(TrainingFailed) as caught:
        fitted(made(writers=2))
    assert caught.value.code == "calibration_impossible"
    rows, names, forged = made(writers=3, genuine=1)
    with pytest.raises(TrainingFailed, match="there are 0"):
        fitted((rows, names, forged))
