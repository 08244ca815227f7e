"""From scores to log10 likelihood ratios, and from these to verdict bands.

A likelihood ratio says how much more likely the score is under "one hand" than under "a forger": it is free of how many
genuine and forged comparisons the calibration data happened to hold. The method is the usual one of forensic voice
and signature comparison (Morrison 2013, "Tutorial on logistic-regression calibration and fusion").
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from shared.calibration import Bands, Curve
from worker.ml.metrics import pool_adjacent_violators

Doubles = NDArray[np.float64]
Flags = NDArray[np.bool_]

RIDGE = 0.1  # on standardised slopes; the weights of the comparisons are then counted in writers
_LN10 = float(np.log(10.0))
_STEPS, _SMALL = 100, 1e-10
_GRID = np.arange(0, 601) / 100  # llr at which bounds are tried; 6: no data set here could support more
_EDGE = 0.01  # between a band's bound and the llr that just fails it, where nothing was observed on the other side
_BINS = 10


def fit_logistic(features: Doubles, genuine: Flags, weights: Doubles, ridge: float = RIDGE) -> tuple[Doubles, float]:
    """Slopes (F,) and offset with features (N, F) @ slopes + offset = log10 likelihood ratio.

    Minimises the sum of ``weights`` (N,) times the negative log likelihood, plus half of ``ridge`` times the squared
    slopes of the standardised features, by Newton steps (iteratively reweighted least squares); then the log odds of
    the weights themselves, the prior of the training data, are subtracted. Raises ValueError unless both kinds weigh
    something.
    """
    total = weights[genuine].sum(), weights[~genuine].sum()
    if min(total) <= 0:
        raise ValueError("both genuine and forged comparisons are needed")
    centre = np.average(features, axis=0, weights=weights)
    scale = np.sqrt(np.average(np.square(features - centre), axis=0, weights=weights))
    scale[scale == 0] = 1.0
    design = np.column_stack([(features - centre) / scale, np.ones(len(features))])  # (N, F + 1)
    penalty = np.append(np.full(features.shape[1], ridge), 0.0)
    found = np.append(np.zeros(features.shape[1]), np.log(total[0] / total[1]))
    cost = _cost(design, genuine, weights, penalty, found)
    for _ in range(_STEPS):
        share = 1 / (1 + np.exp(-np.clip(design @ found, -500, 500)))
        gradient = design.T @ (weights * (share - genuine)) + penalty * found
        curvature = (design * (weights * share * (1 - share))[:, None]).T @ design + np.diag(penalty + _SMALL)
        step = np.linalg.solve(curvature, gradient)
        while (following := _cost(design, genuine, weights, penalty, found - step)) > cost and abs(step).max() > _SMALL:
            step /= 2  # a Newton step may overshoot where the kinds are far apart
        found, cost = found - step, min(cost, following)
        if abs(step).max() <= _SMALL:
            break
    slopes = found[:-1] / scale
    offset = found[-1] - slopes @ centre - np.log(total[0] / total[1])
    return slopes / _LN10, float(offset / _LN10)


def _cost(design: Doubles, genuine: Flags, weights: Doubles, penalty: Doubles, found: Doubles) -> float:
    odds = design @ found
    return float(weights @ np.logaddexp(0.0, np.where(genuine, -odds, odds)) + penalty @ np.square(found) / 2)


def fit_falling(features: Doubles, genuine: Flags, weights: Doubles, ridge: float = RIDGE) -> tuple[Doubles, float]:
    """:func:`fit_logistic`, but no slope rises: a feature that would have the wrong sign is left out.

    Few calibration writers can, by chance, make a larger distance look better. With no feature left every llr is 0.
    """
    slopes, kept = np.zeros(features.shape[1]), np.arange(features.shape[1])
    while len(kept):
        found, offset = fit_logistic(features[:, kept], genuine, weights, ridge)
        if (found <= 0).all():
            slopes[kept] = found
            return slopes, offset
        kept = kept[found <= 0]
    return slopes, 0.0


def fit_isotonic(scores: Doubles, genuine: Flags, weights: Doubles, limit: float) -> Curve:
    """The best non-decreasing llr of ``scores`` (N,), by pool-adjacent-violators, cut off at -limit and limit.

    The prior of the weights is removed. As a curve: the ends of each level are its knots.
    """
    levels, places = np.unique(scores, return_inverse=True)
    weight = np.bincount(places, weights)
    share = pool_adjacent_violators(np.bincount(places, weights * genuine) / weight, weight)
    prior = np.log10(weights[genuine].sum() / weights[~genuine].sum())
    with np.errstate(divide="ignore"):
        llr = np.clip(np.log10(share) - np.log10(1 - share) - prior, -limit, limit)
    edge = np.flatnonzero(np.diff(llr, prepend=np.nan, append=np.nan) != 0)  # where a level begins, and one past all
    knots = np.unique(np.concatenate([edge[:-1], edge[1:] - 1]))
    return Curve(scores=levels[knots].tolist(), llr=llr[knots].tolist())


def supported_range(genuine: Doubles, forged: Doubles, images: tuple[int, int]) -> tuple[float, float]:
    """The lowest and the highest llr that the data can support: the empirical bounds of Vergeer et al. 2016 (ELUB).

    A forensic likelihood ratio above the highest is extrapolation: 10^t may be claimed as long as exceeding t was
    itself seen at least 10^t times as often among genuine as among forged comparisons, after one more misleading
    comparison is added to each kind. ``genuine`` and ``forged`` are cross-validated llr, ``images`` the numbers of
    different questioned images behind them: comparisons that share an image are no independent evidence, so it is
    images that N counts. (Vergeer, van Es, de Jongh, Alberink and Stoel, "Numerical likelihood ratios outputted by LR
    systems are often based on extrapolation: when to stop extrapolating?", Science & Justice 56, 2016.)
    """
    return -_bound(-forged, -genuine, images[1], images[0]), _bound(genuine, forged, *images)


def _bound(right: Doubles, misled: Doubles, rights: int, misleds: int) -> float:
    """The last t of those from 0 on at which right comparisons exceed t 10^t times as often as misleading ones."""
    share = 1 - np.searchsorted(np.sort(right), _GRID, side="left") / len(right)
    misleading = 1 - np.searchsorted(np.sort(misled), _GRID, side="left") / len(misled)
    with np.errstate(divide="ignore"):
        seen = np.log10(rights * share / (rights + 1)) - np.log10((misleds * misleading + 1) / (misleds + 1))
    held = seen >= _GRID
    return float(_GRID[: int(np.argmin(held)) if not held.all() else len(_GRID)].max(initial=0.0))


def fit_bands(genuine: Doubles, forged: Doubles, target_far: float, target_frr: float) -> Bands:
    """Bounds by targets: the lowest accept_from with FAR <= target_far, the highest reject_below likewise for FRR.

    FAR is the share of ``forged`` with llr >= accept_from, FRR the share of ``genuine`` with llr < reject_below. Bounds
    lie midway between two llr seen. Where they cross, the model is better than both targets without any review:
    both become the middle between them.
    """
    accept_from = _upper_bound(forged, genuine, target_far)
    reject_below = -_upper_bound(-genuine, -forged, target_frr)
    if reject_below > accept_from:
        accept_from = reject_below = (accept_from + reject_below) / 2
    return Bands(
        accept_from=accept_from,
        reject_below=reject_below,
        far=float(np.mean(forged >= accept_from)),
        frr=float(np.mean(genuine < reject_below)),
    )


def _upper_bound(misled: Doubles, others: Doubles, target: float) -> float:
    """A number between two llr seen that at most ``target`` of ``misled`` exceed; none of them equals it."""
    falling = np.sort(misled)[::-1]
    allowed = int(np.floor(target * len(falling) + 1e-9))
    if allowed >= len(falling):
        return float(falling[-1]) - _EDGE
    failing = falling[allowed]  # the first that may not be exceeded
    above = np.concatenate([misled[misled > failing], others[others > failing]])
    return float((failing + above.min()) / 2 if len(above) else failing + _EDGE)


def reliability(genuine: Doubles, forged: Doubles) -> list[tuple[float, float, int]]:
    """Bins of the probability told at even prior odds: (mean told, share found genuine, comparisons), ascending.

    Genuine and forged comparisons weigh the same in all, as even odds have it. Empty bins are left out.
    """
    llr = np.concatenate([genuine, forged])
    truth = np.arange(len(llr)) < len(genuine)
    weight = np.where(truth, 1 / len(genuine), 1 / len(forged))
    told = 1 / (1 + np.power(10.0, -llr))
    place = np.minimum((told * _BINS).astype(int), _BINS - 1)
    bins = []
    for index in np.unique(place).tolist():
        inside = place == index
        total = weight[inside].sum()
        mean, share = (told * weight)[inside].sum() / total, weight[inside & truth].sum() / total
        bins.append((round(float(mean), 4), round(float(share), 4), int(inside.sum())))
    return bins
