from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.ml.metrics import auc, equal_error_rate, error_rates, roc

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
