from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.ml.metrics import (
    auc,
    best_llr,
    cllr,
    equal_error_rate,
    error_rates,
    far_at_frr,
    frr_at_far,
    min_cllr,
    pool_adjacent_violators,
    roc,
)

# Few distinct values, so that ties within and across the sides are common.
tied = st.lists(st.integers(1, 8).map(float), min_size=1, max_size=12)
apart = st.lists(st.floats(0.0078125, 10, allow_nan=False, width=32), min_size=1, max_size=12)
sides = st.tuples(tied, tied) | st.tuples(apart, apart)


def operating_points(genuine: list[float], forged: list[float]) -> list[tuple[float, float, float]]:
    """(threshold, FAR, FRR) by counting."""
    points = []
    for threshold in [-1.0, *sorted({*genuine, *forged})]:
        far = sum(distance <= threshold for distance in forged) / len(forged)
        frr = sum(distance > threshold for distance in genuine) / len(genuine)
        points.append((threshold, far, frr))
    return points


@given(sides)
def test_roc_counts(pair: tuple[list[float], list[float]]) -> None:
    genuine, forged = pair
    points, counted = roc(genuine, forged), operating_points(genuine, forged)
    assert points.thresholds[0] == -np.inf
    assert points.thresholds[1:].tolist() == [threshold for threshold, _, _ in counted[1:]]
    assert points.far == pytest.approx([far for _, far, _ in counted])
    assert points.frr == pytest.approx([frr for _, _, frr in counted])


@given(sides)
def test_equal_error_rate_by_walking_the_points(pair: tuple[list[float], list[float]]) -> None:
    genuine, forged = pair
    counted = operating_points(genuine, forged)
    for (_, far, frr), (_, next_far, next_frr) in pairwise(counted):
        if next_far >= next_frr:
            slope = (frr - far) / ((frr - far) + (next_far - next_frr))
            expected = far + slope * (next_far - far)
            break
    assert equal_error_rate(genuine, forged).rate == pytest.approx(expected)


@given(sides)
def test_no_threshold_balances_the_errors_better(pair: tuple[list[float], list[float]]) -> None:
    genuine, forged = pair
    far, frr = error_rates(genuine, forged, equal_error_rate(genuine, forged).threshold)
    best = min(abs(far - frr) for _, far, frr in operating_points(genuine, forged))
    assert abs(far - frr) == pytest.approx(best)


@given(sides)
def test_exchanging_the_sides_mirrors_auc(pair: tuple[list[float], list[float]]) -> None:
    genuine, forged = pair
    pairs = [(one < other) + 0.5 * (one == other) for one in genuine for other in forged]
    assert auc(genuine, forged) == pytest.approx(np.mean(pairs))
    assert auc(forged, genuine) == pytest.approx(1 - np.mean(pairs))


def test_apart_the_threshold_lies_in_the_middle_of_the_gap() -> None:
    result = equal_error_rate([0.1, 0.2, 0.4], [1.0, 1.5])
    assert result.rate == 0
    assert result.threshold == pytest.approx(0.7)
    assert auc([0.1, 0.2, 0.4], [1.0, 1.5]) == 1


def test_a_known_crossing() -> None:
    result = equal_error_rate([1, 2, 3, 6], [4, 5, 7, 8])
    assert result.rate == pytest.approx(0.25)
    assert result.threshold == pytest.approx(4.5)
    assert error_rates([1, 2, 3, 6], [4, 5, 7, 8], result.threshold) == (0.25, 0.25)


def test_the_wrong_way_round_is_worse_than_chance() -> None:
    assert equal_error_rate([5, 6], [1, 2]).rate == 1
    assert equal_error_rate([3, 3], [3, 3]).rate == pytest.approx(0.5)


def test_a_distance_on_the_threshold_is_accepted() -> None:
    assert error_rates([1.0], [1.0], 1.0) == (1.0, 0.0)


@pytest.mark.parametrize(("genuine", "forged"), [([], [1.0]), ([1.0], []), ([np.nan], [1.0]), ([1.0], [np.inf])])
def test_an_empty_or_infinite_side_is_refused(genuine: list[float], forged: list[float]) -> None:
    with pytest.raises(ValueError, match="finite"):
        equal_error_rate(genuine, forged)


@given(sides, st.sampled_from([0.0, 0.01, 0.1, 0.25, 0.5]))
def test_one_rate_where_the_other_is_fixed(pair: tuple[list[float], list[float]], most: float) -> None:
    genuine, forged = pair
    points, counted = roc(genuine, forged), operating_points(genuine, forged)
    assert far_at_frr(points, most) == pytest.approx(min(far for _, far, frr in counted if frr <= most))
    assert frr_at_far(points, most) == pytest.approx(min(frr for _, far, frr in counted if far <= most))


@given(st.lists(st.tuples(st.integers(-4, 4).map(float), st.integers(1, 3).map(float)), min_size=1, max_size=9))
def test_pooling_is_the_best_rising_fit(rows: list[tuple[float, float]]) -> None:
    """By the min-max formula of isotonic regression: the largest of all means to the right's smallest."""
    values, weights = (np.array(side) for side in zip(*rows, strict=True))
    count = len(values)
    means = [
        [np.average(values[i : j + 1], weights=weights[i : j + 1]) if j >= i else np.nan for j in range(count)]
        for i in range(count)
    ]
    best = [max(min(means[i][j] for j in range(k, count)) for i in range(k + 1)) for k in range(count)]
    assert pool_adjacent_violators(values, weights) == pytest.approx(best)


def test_cllr_of_known_ratios() -> None:
    assert cllr([0.0, 0.0], [0.0]) == 1
    assert cllr([np.inf], [-np.inf]) == 0
    assert cllr([-np.inf], [0.0]) == np.inf
    expected = (np.log2(1 + 1 / 3) + (np.log2(1 + 1 / 9) + np.log2(1 + 3)) / 2) / 2
    assert cllr(np.log10([3]), np.log10([1 / 9, 3])) == pytest.approx(expected)


@pytest.mark.parametrize(("genuine", "forged"), [([], [1.0]), ([1.0], []), ([np.nan], [0.0])])
def test_cllr_needs_numbers_on_both_sides(genuine: list[float], forged: list[float]) -> None:
    with pytest.raises(ValueError, match="likelihood ratios"):
        cllr(genuine, forged)


@given(sides)
def test_no_other_falling_ratios_cost_less(pair: tuple[list[float], list[float]]) -> None:
    genuine, forged = pair
    least = min_cllr(genuine, forged)
    assert -1e-9 <= least <= 1 + 1e-9
    for slope, offset in ((0.3, 1.0), (1.0, 3.0), (4.0, 10.0)):
        told = [offset - slope * np.array(side) for side in pair]
        assert least <= cllr(*told) + 1e-9
    falling = best_llr(genuine, forged)[0]
    assert np.all(falling[1:] <= falling[:-1])


def test_distances_that_part_cost_nothing_and_equal_ones_all() -> None:
    assert min_cllr([1.0, 2.0], [3.0, 4.0]) == 0
    assert min_cllr([1.0, 1.0, 1.0], [1.0]) == pytest.approx(1)
