from __future__ import annotations

import numpy as np
import pytest

from worker.ml.bootstrap import Resampled, Sample, resample
from worker.ml.evaluation import Bands, Scores, by_writer, floor, measure, reliability
from worker.ml.metrics import auc, equal_error_rate, error_rates
from worker.ml.trials import GENUINE, RANDOM, SKILLED


def scores_of(writers: int = 5, each: int = 12, seed: int = 1, llr: bool = False) -> Scores:
    """Comparisons of every kind; writers differ in how far apart their genuine signatures lie."""
    random = np.random.default_rng(seed)
    writer = np.repeat(np.arange(writers), 3 * each)
    kind = np.tile(np.repeat([GENUINE, SKILLED, RANDOM], each), writers)
    signer = np.where(kind == RANDOM, (writer + 1) % writers, writer)
    distance = random.normal(np.array([0.0, 1.2, 3.0])[kind] + 0.2 * writer, 1.0)
    return Scores(kind, writer, signer, distance, 1.0 - distance if llr else None)


def drawn_again(scores: Scores, forged: int, row: np.ndarray[tuple[int], np.dtype[np.float64]]) -> tuple[float, float]:
    """EER and AUC of one round by writing every comparison out as often as it counts."""
    sides = []
    for kind in (GENUINE, forged):
        chosen = scores.kind == kind
        first, second = row[scores.writer[chosen]], row[scores.signer[chosen]]
        times = np.where(scores.writer[chosen] == scores.signer[chosen], first, first * second)
        sides.append(np.repeat(scores.distance[chosen], times.astype(int)))
    return equal_error_rate(*sides).rate, auc(*sides)


@pytest.mark.parametrize("forged", [SKILLED, RANDOM])
def test_intervals_are_those_of_resampled_lists(forged: int) -> None:
    scores = scores_of()
    draws = resample(5, seed=3, rounds=60)
    drawn = Resampled(scores.sample(GENUINE, scores.distance), scores.sample(forged, scores.distance), draws)
    rows = [row for row in draws if forged == SKILLED or (row * np.roll(row, -1)).any()]
    rounds = np.array([drawn_again(scores, forged, row) for row in rows])
    assert drawn.rounds == len(rows)
    assert drawn.eer() == pytest.approx(np.quantile(rounds[:, 0], [0.025, 0.975]))
    assert drawn.auc() == pytest.approx(np.quantile(rounds[:, 1], [0.025, 0.975]))


def test_rates_at_a_threshold_are_resampled_exactly() -> None:
    scores, draws = scores_of(), resample(5, seed=4, rounds=50)
    sides = scores.sample(GENUINE, scores.distance), scores.sample(SKILLED, scores.distance)
    far, frr = Resampled(*sides, draws, [0.7]).rates(0.7)
    rounds = []
    for row in draws:
        genuine, forged = (np.repeat(side.distances, row[side.writer].astype(int)) for side in sides)
        rounds.append(error_rates(genuine, forged, 0.7))
    assert far == pytest.approx(np.quantile([one for one, _ in rounds], [0.025, 0.975]))
    assert frr == pytest.approx(np.quantile([two for _, two in rounds], [0.025, 0.975]))


def test_an_interval_covers_what_more_data_would_show() -> None:
    """Forty samples of 30 writers: the true EER of the population lies within most of their intervals."""
    truth = equal_error_rate(*(s.distances for s in _population(3000, 0))).rate
    inside = 0
    for seed in range(1, 41):
        genuine, forged = _population(30, seed)
        interval = Resampled(genuine, forged, resample(30, seed, rounds=200)).eer()
        assert interval is not None
        inside += interval[0] <= truth <= interval[1]
    assert 33 <= inside <= 40


def _population(writers: int, seed: int) -> tuple[Sample, Sample]:
    random = np.random.default_rng([7, seed])
    owner = np.repeat(np.arange(writers), 20)
    shift = random.normal(0, 0.7, writers)[owner]
    genuine = random.normal(0, 1, len(owner)) + shift
    forged = random.normal(2, 1, len(owner)) + shift
    return Sample(genuine, owner, owner), Sample(forged, owner, owner)


def test_many_distances_are_binned_to_nearly_the_same() -> None:
    genuine, forged = _population(300, 5)
    draws = np.ones((1, 300))
    drawn = Resampled(genuine, forged, draws)
    exact = equal_error_rate(genuine.distances, forged.distances).rate
    assert drawn.eer() == pytest.approx((exact, exact), abs=1e-3)


def test_one_writer_gives_no_spread() -> None:
    genuine, forged = _population(1, 5)
    low, high = Resampled(genuine, forged, resample(1, 1)).eer() or (0.0, 1.0)
    assert low == high


def test_the_figures_are_counted() -> None:
    scores = scores_of(llr=True)
    found = measure(scores, SKILLED, resample(5, 1), 0.6, Bands(0.5, -0.5))
    genuine, forged = (scores.distance[scores.kind == kind] for kind in (GENUINE, SKILLED))
    far, frr = (forged <= 0.6).mean(), (genuine > 0.6).mean()
    assert (found["genuine"], found["forged"]) == (60, 60)
    assert (found["at_threshold"]["far"], found["at_threshold"]["frr"]) == (pytest.approx(far), pytest.approx(frr))
    for row in found["far_at_frr"]:
        passing = [(forged <= t).mean() for t in [-np.inf, *genuine, *forged] if (genuine > t).mean() <= row["frr"]]
        assert row["far"] == pytest.approx(min(passing))
        assert row["far_low"] <= row["far"] <= row["far_high"]
    for row in found["frr_at_far"]:
        failing = [(genuine > t).mean() for t in [-np.inf, *genuine, *forged] if (forged <= t).mean() <= row["far"]]
        assert row["frr"] == pytest.approx(min(failing))
    assert found["bands"]["genuine"]["accept"] == pytest.approx((1 - genuine >= 0.5).mean())
    assert sum(found["bands"]["forged"].values()) == pytest.approx(1)
    assert found["cllr"] >= found["cllr_min"]


def test_a_missing_side_is_said() -> None:
    scores = scores_of()
    only = scores.kind == GENUINE
    alone = Scores(scores.kind[only], scores.writer[only], scores.signer[only], scores.distance[only])
    found = measure(alone, SKILLED, resample(5, 1), 0.6, None)
    assert (found["eer"], found["genuine"], found["forged"]) == (None, 60, 0)
    assert found["note"] == "There are no skilled forged comparisons in these data."


def test_the_fused_score_ranks_and_the_mean_distance_stays_beside_it() -> None:
    scores = scores_of()
    perfect = np.where(scores.kind == GENUINE, -1.0, 1.0)
    fused = Scores(scores.kind, scores.writer, scores.signer, scores.distance, -perfect, perfect)
    found = measure(fused, SKILLED, resample(5, 1), 0.6, None)
    plain = measure(scores, SKILLED, resample(5, 1), 0.6, None)
    assert found["eer"] == 0
    assert found["mean_distance"] == {name: plain[name] for name in ("eer", "eer_low", "eer_high")}


def test_honest_ratios_lie_on_the_diagonal() -> None:
    bins = reliability(np.log10([9.0] * 90 + [1 / 9] * 10), np.log10([9.0] * 10 + [1 / 9] * 90))
    assert [(row["told"], row["found"], row["comparisons"]) for row in bins] == [
        (pytest.approx(0.1), pytest.approx(0.1), 100),
        (pytest.approx(0.9), pytest.approx(0.9), 100),
    ]


def test_the_worst_writer_comes_first_at_one_threshold_for_all() -> None:
    kind = np.array([GENUINE, GENUINE, SKILLED, SKILLED] * 2)
    writer = np.repeat([0, 1], 4)
    distance = np.array([0.1, 0.2, 0.8, 0.9, 0.1, 0.7, 0.3, 0.9])
    rows = by_writer(Scores(kind, writer, writer, distance), ["good", "bad"], 0.5, 1.0)
    assert [(row["writer"], row["frr"], row["far_skilled"], row["own_far_skilled"]) for row in rows] == [
        ("bad", 0.5, 0.5, 1.0),
        ("good", 0.0, 0.0, 1.0),
    ]
    assert {row["far_random"] for row in rows} == {None}


def test_the_floor_is_the_auc_of_each_difference() -> None:
    first, second = np.array([0, 0, 0]), np.array([1, 2, 3])
    kind = np.array([GENUINE, SKILLED, SKILLED])
    statistics = np.array([[5.0, 1.0], [5.0, 9.0], [7.0, 1.0], [3.0, 1.0]])
    assert floor(statistics, first, second, kind, SKILLED) == [1.0, 0.0]
    assert floor(statistics, first, second, kind, RANDOM) is None
