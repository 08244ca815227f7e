from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from shared.calibration import Curve, Pool
from tests.factories import calibration
from worker.ml.compare import Floats, Integers, Representations, euclidean
from worker.ml.refsets import llr_of, score_sets, set_features, shape_of, shapes_of

POOL = Pool(mean=2.0, spread=0.5)
OWN = np.array([[0.0, 1.0, 3.0], [1.0, 0.0, 2.0], [3.0, 2.0, 0.0]])


def test_the_shape_of_a_set_by_hand() -> None:
    shape = shape_of(OWN, POOL)
    centre = (3 * 2.0 + 8 * 2.0) / 11
    expected = [(3 * own + 8 * centre) / 11 for own in (2.0, 1.5, 2.5)]
    assert shape.expected == pytest.approx(expected)
    assert shape.spread == pytest.approx((3 * np.std([1.0, 3.0, 2.0]) + 10 * 0.5) / 13)


def test_a_set_of_one_has_the_shape_of_the_pool() -> None:
    shape = shape_of(np.zeros((1, 1)), POOL)
    assert (shape.expected.tolist(), shape.spread) == ([2.0], 0.5)


def test_a_large_set_is_believed_more_than_a_small_one() -> None:
    """Means of 1 in a pool of 2: the larger the set, the nearer to its own."""
    means = [shape_of(1.0 - np.eye(size), POOL).expected[0] for size in (2, 4, 8, 12, 100)]
    assert means == sorted(means, reverse=True)
    assert 1.0 < means[-1] < 1.1 < means[0] < 2.0


def test_each_set_is_compared_with_itself_once() -> None:
    rows = np.array([[0.0], [1.0], [3.0], [7.0]], np.float32)
    asked: list[int] = []

    def counting(known: Representations, first: Integers, second: Integers) -> Floats:
        asked.append(len(first))
        return euclidean(known, first, second)

    shapes = shapes_of(rows, [(0, 1, 2), (3,), (0, 1, 2), (0, 1, 2)], counting, POOL)
    assert asked == [3]
    assert shapes[(0, 1, 2)].expected == pytest.approx(shape_of(OWN, POOL).expected)
    assert shapes[(3,)].expected.tolist() == [2.0]
    assert shapes_of(rows, [(2,)], counting, POOL)[(2,)].spread == 0.5


def test_the_features_of_several_sets_by_hand() -> None:
    three, one = shape_of(OWN, POOL), shape_of(np.zeros((1, 1)), POOL)
    found = set_features(np.array([4.0, 2.0, 3.0, 2.5]), np.array([3, 1]), [three, one])
    excess = np.array([4.0, 2.0, 3.0]) - three.expected
    assert found["distance"] == pytest.approx([3.0, 2.5])
    assert found["excess"] == pytest.approx([excess.mean(), 0.5])
    assert found["nearest_excess"] == pytest.approx([excess.min() / three.spread, 1.0])


def test_the_model_of_its_size_scores_a_set_and_one_reference_goes_by_the_plain_distance() -> None:
    fitted = calibration()
    shapes = [shape_of(np.zeros((1, 1)), fitted.pool)] * 2 + [shape_of(1.0 - np.eye(3), fitted.pool)]
    llr = score_sets(fitted, np.array([0.25, 2.0, 1.0, 1.0, 1.0]), np.array([1, 1, 3]), shapes)
    assert llr[:2].tolist() == [0.75, -1.0]
    assert llr[2] == pytest.approx(2 - 2 * (1.0 - shapes[2].expected.mean()))


def test_a_larger_distance_never_gives_a_larger_ratio() -> None:
    fitted = calibration()
    distances: NDArray[np.float64] = np.linspace(0, 6, 200)
    one = shape_of(np.zeros((1, 1)), fitted.pool)
    llr = score_sets(fitted, distances, np.ones(200, np.int64), [one] * 200)
    assert (np.diff(llr) <= 0).all()
    assert (llr.max(), llr.min()) == (1.0, -2.0)


def test_the_ratio_is_cut_off_where_the_data_end_and_follows_its_curve() -> None:
    single = calibration().sets[0]
    assert llr_of(single, {"distance": np.array([-9.0, 9.0])}).tolist() == [1.75, -2.0]
    bent = single.model_copy(update={"curve": Curve(scores=[0.0, 1.0], llr=[-0.5, 1.0])})
    assert llr_of(bent, {"distance": np.array([5.0, 0.5, 0.0])}).tolist() == [-0.5, 0.25, 1.0]
