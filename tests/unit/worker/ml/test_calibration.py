from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from worker.ml.calibration import (
    fit_bands,
    fit_falling,
    fit_isotonic,
    fit_logistic,
    reliability,
    supported_range,
)
from worker.ml.metrics import cllr

Doubles = NDArray[np.float64]
LN10 = math.log(10)


def normals(count: int, gap: float = 2.0, seed: int = 1) -> tuple[Doubles, NDArray[np.bool_]]:
    """Distances (2 * count, 1) of genuine N(0, 1) and forged N(gap, 1) comparisons."""
    random = np.random.default_rng(seed)
    values = np.concatenate([random.normal(0, 1, count), random.normal(gap, 1, count)])
    return values[:, None], np.arange(2 * count) < count


def test_the_fit_is_the_optimum_that_brute_force_finds() -> None:
    features, genuine = normals(30)
    weights = np.where(genuine, 0.5, 2.0)
    slopes, offset = fit_logistic(features, genuine, weights, ridge=0.3)
    centre = np.average(features, axis=0, weights=weights)[0]
    scale = math.sqrt(np.average(np.square(features[:, 0] - centre), weights=weights))

    def cost(slope: Doubles, base: Doubles) -> Doubles:
        odds = slope[..., None] * (features[:, 0] - centre) / scale + base[..., None]
        loss = np.logaddexp(0, np.where(genuine, -odds, odds)) @ weights
        return np.asarray(loss + 0.3 * np.square(slope) / 2)

    best, width = (0.0, 0.0), 8.0
    for _ in range(30):  # a grid that closes in
        steps = np.linspace(-width, width, 21)
        slope, base = np.meshgrid(best[0] + steps, best[1] + steps)
        place = np.argmin(cost(slope, base))
        best, width = (float(slope.ravel()[place]), float(base.ravel()[place])), width / 2
    prior = math.log(weights[genuine].sum() / weights[~genuine].sum())
    assert slopes[0] * scale * LN10 == pytest.approx(best[0], abs=1e-5)
    assert (offset + slopes[0] * centre) * LN10 + prior == pytest.approx(best[1], abs=1e-5)


def test_the_prior_of_the_training_data_is_removed() -> None:
    features, genuine = normals(400)
    even = fit_logistic(features, genuine, np.ones(800), ridge=0.0)
    thrice = np.concatenate([features, features[~genuine], features[~genuine]])
    more_forged = fit_logistic(thrice, np.append(genuine, np.zeros(800, bool)), np.ones(1600), ridge=0.0)
    weighted = fit_logistic(features, genuine, np.where(genuine, 1.0, 3.0), ridge=0.0)
    assert more_forged[0] == pytest.approx(weighted[0])
    assert more_forged[1] == pytest.approx(weighted[1])
    assert more_forged[0] == pytest.approx(even[0], rel=0.1)
    assert more_forged[1] == pytest.approx(even[1], abs=0.1)


def test_normal_scores_get_their_analytic_ratios_and_cllr() -> None:
    """Of N(0, 1) against N(2, 1) the log ratio of densities is 2 - 2 * d, and its Cllr an integral."""
    features, genuine = normals(20_000)
    slopes, offset = fit_logistic(features, genuine, np.ones(40_000))
    assert slopes[0] * LN10 == pytest.approx(-2, rel=0.03)
    assert offset * LN10 == pytest.approx(2, rel=0.03)
    grid = np.linspace(-8, 8, 20_001)
    density = np.exp(-np.square(grid) / 2) / math.sqrt(2 * math.pi)
    analytic = float(np.sum(density * np.log2(1 + np.exp(2 * grid - 2))) * (grid[1] - grid[0]))  # both halves alike
    llr = features[:, 0] * slopes[0] + offset
    assert cllr(llr[genuine], llr[~genuine]) == pytest.approx(analytic, rel=0.03)


def test_kinds_far_apart_end_in_finite_weights() -> None:
    features = np.array([[0.0], [0.1], [100.0], [100.1]])
    slopes, offset = fit_logistic(features, np.array([True, True, False, False]), np.ones(4))
    assert np.isfinite([slopes[0], offset]).all()
    assert slopes[0] * 0.05 + offset > 0 > slopes[0] * 100 + offset


def test_one_kind_alone_cannot_be_fitted() -> None:
    with pytest.raises(ValueError, match="both genuine and forged"):
        fit_logistic(np.ones((3, 1)), np.ones(3, bool), np.ones(3))


def test_a_feature_of_the_wrong_sign_is_left_out() -> None:
    features, genuine = normals(200)
    both = np.column_stack([features[:, 0], -features[:, 0] + np.random.default_rng(2).normal(0, 3, 400)])
    slopes, offset = fit_falling(both, genuine, np.ones(400))
    assert slopes[1] == 0.0
    alone = fit_logistic(features, genuine, np.ones(400))
    assert [slopes[0], offset] == pytest.approx([alone[0][0], alone[1]])
    wrong, base = fit_falling(-features, genuine, np.ones(400))
    assert (wrong.tolist(), base) == ([0.0], 0.0)


def test_the_isotonic_curve_is_the_levels_of_the_counts() -> None:
    scores = np.array([1.0, 1.0, 2.0, 2.0, 3.0, 3.0, 3.0, 4.0])
    genuine = np.array([False, False, True, False, False, True, True, True])
    curve = fit_isotonic(scores, genuine, np.ones(8), limit=1.5)
    found = np.interp([1, 2, 3, 4], curve.scores, curve.llr)
    assert found == pytest.approx([-1.5, 0.0, math.log10(2), 1.5])
    steep = fit_isotonic(scores, genuine, np.where(genuine, 2.0, 1.0), limit=1.5)
    assert np.interp(2, steep.scores, steep.llr) == pytest.approx(0.0)  # the prior of the weights is removed


def test_no_ratio_is_told_that_the_number_of_images_cannot_support() -> None:
    """Perfectly parted sides: all of N images on the right side, one imagined on the wrong one."""
    far, near = np.full(50, -9.0), np.full(200, 9.0)
    lowest, highest = supported_range(near, far, (200, 50))
    assert highest == pytest.approx(math.log10(200 / 201 * 51), abs=0.01)
    assert lowest == pytest.approx(-math.log10(50 / 51 * 201), abs=0.01)
    fewer = supported_range(near, far, (20, 5))
    assert fewer[1] == pytest.approx(math.log10(20 / 21 * 6), abs=0.01)


def test_scores_that_mislead_are_not_believed() -> None:
    overconfident = np.array([5.0] * 8 + [-5.0] * 2)
    lowest, highest = supported_range(overconfident, -overconfident, (10, 10))
    assert highest == pytest.approx(math.log10((8 / 11) / (3 / 11)), abs=0.01)
    assert lowest == -highest
    assert supported_range(-overconfident, overconfident, (10, 10)) == (0.0, 0.0)


@pytest.mark.parametrize(("far", "frr"), [(0.01, 0.01), (0.1, 0.02), (0.0, 0.0), (0.3, 0.3)])
def test_bands_keep_their_targets_and_no_more_than_they_must(far: float, frr: float) -> None:
    features, genuine = normals(500, gap=1.5)
    llr = 1 - features[:, 0]
    bands = fit_bands(llr[genuine], llr[~genuine], far, frr)
    assert np.mean(llr[~genuine] >= bands.accept_from) == bands.far <= far
    assert np.mean(llr[genuine] < bands.reject_below) == bands.frr <= frr
    assert bands.reject_below <= bands.accept_from
    if bands.reject_below < bands.accept_from:  # the next llr seen would break the target
        below = llr[llr < bands.accept_from].max()
        assert np.mean(llr[~genuine] >= below) > far
        above = llr[llr >= bands.reject_below].min()
        assert np.mean(llr[genuine] <= above) > frr


def test_a_model_better_than_its_targets_needs_no_review() -> None:
    bands = fit_bands(np.array([1.0, 2.0]), np.array([-2.0, -1.0]), 0.01, 0.01)
    assert (bands.accept_from, bands.reject_below) == (0.0, 0.0)
    assert (bands.far, bands.frr) == (0.0, 0.0)


def test_reliability_compares_what_is_told_with_what_is_found() -> None:
    """Ratios of 4 to 1 that hold: 80% told, 80% found; and the mirror image."""
    genuine = np.log10([4.0] * 8 + [0.25] * 2)
    bins = reliability(genuine, -genuine)
    assert bins == [(0.2, 0.2, 10), (0.8, 0.8, 10)]
    lopsided = reliability(np.tile(genuine, 5), -genuine)
    assert [(told, found) for told, found, _ in lopsided] == [(0.2, 0.2), (0.8, 0.8)]
