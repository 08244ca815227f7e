"""Error rates of a verifier, from the distances of genuine and of forged comparisons.

The rule throughout: a comparison is accepted if its distance <= the threshold. FAR is the share of forged
comparisons accepted, FRR the share of genuine ones rejected, both in 0..1.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Doubles = NDArray[np.float64]

_LN10 = float(np.log(10))
_ROUNDING = 1e-12  # 1 - 0.99 is a little more than 0.01


@dataclass(frozen=True, slots=True)
class EqualErrorRate:
    """The rate in 0..1 at which FAR and FRR are equal, and the threshold (a distance) to use for it."""

    rate: float
    threshold: float


@dataclass(frozen=True, slots=True)
class Roc:
    """All operating points, from rejecting everything to accepting everything; arrays of equal length."""

    thresholds: Doubles  # -inf first, then every distinct distance, ascending
    far: Doubles
    frr: Doubles


def roc(genuine: ArrayLike, forged: ArrayLike) -> Roc:
    """Operating points at every distinct distance. Raises ValueError for an empty or non-finite side."""
    accept, imposter = _sorted(genuine, "genuine"), _sorted(forged, "forged")
    levels = np.unique(np.concatenate([accept, imposter]))
    far = np.searchsorted(imposter, levels, side="right") / len(imposter)
    frr = 1 - np.searchsorted(accept, levels, side="right") / len(accept)
    return Roc(np.append(-np.inf, levels), np.append(0.0, far), np.append(1.0, frr))


def equal_error_rate(genuine: ArrayLike, forged: ArrayLike) -> EqualErrorRate:
    """Where FAR and FRR cross, exactly: every distinct distance is tried, ties move as one.

    Let k be the first operating point with FAR >= FRR. If they are equal there, that is the rate. Otherwise the
    rate is where the straight line between the points k - 1 and k of the ROC meets FAR = FRR (the line that a
    random choice between the two thresholds would follow).

    The threshold belongs to whichever of the two points has the smaller |FAR - FRR| (k when they tie), and lies
    midway between that point's distance and the next larger one, so that it does not sit upon a distance seen
    (unless that is the largest of all).
    """
    points = roc(genuine, forged)
    k = int(np.argmax(points.far >= points.frr))
    gap_before = points.frr[k - 1] - points.far[k - 1]
    gap_after = points.far[k] - points.frr[k]
    share = gap_before / (gap_before + gap_after)
    rate = points.far[k - 1] + share * (points.far[k] - points.far[k - 1])
    chosen = k if gap_after <= gap_before else k - 1
    return EqualErrorRate(float(rate), _midpoint(points.thresholds, chosen))


def error_rates(genuine: ArrayLike, forged: ArrayLike, threshold: float) -> tuple[float, float]:
    """(FAR, FRR) at a threshold."""
    return float(np.mean(np.asarray(forged) <= threshold)), float(np.mean(np.asarray(genuine) > threshold))


def auc(genuine: ArrayLike, forged: ArrayLike) -> float:
    """Probability that a forged comparison has the larger distance of a genuine/forged pair; ties count half."""
    accept, imposter = _sorted(genuine, "genuine"), _sorted(forged, "forged")
    below = np.searchsorted(accept, imposter, side="left") + np.searchsorted(accept, imposter, side="right")
    return float(below.mean() / (2 * len(accept)))


def far_at_frr(points: Roc, most: float) -> float:
    """The lowest FAR of an operating point whose FRR is at most ``most``, 0..1."""
    return float(points.far[int(np.argmax(points.frr <= most + _ROUNDING))])


def frr_at_far(points: Roc, most: float) -> float:
    """The lowest FRR of an operating point whose FAR is at most ``most``, 0..1."""
    return float(points.frr[int(np.flatnonzero(points.far <= most + _ROUNDING)[-1])])


def cllr(genuine: ArrayLike, forged: ArrayLike) -> float:
    """Cost in bits of log10 likelihood ratios, of same writer against different writer; always saying 0 costs 1.

    Brümmer and du Preez, "Application-independent evaluation of speaker detection" (2006): half the mean of
    log2(1 + 1 / LR) over the genuine comparisons, and half that of log2(1 + LR) over the forged. Infinite where a
    ratio is infinite on the wrong side. Raises ValueError for an empty side or a ratio that is not a number.
    """
    same, different = (np.asarray(side, np.float64) for side in (genuine, forged))
    if not same.size or not different.size or np.isnan(same).any() or np.isnan(different).any():
        raise ValueError("both sides need likelihood ratios")
    cost = np.logaddexp(0.0, -same * _LN10).mean() + np.logaddexp(0.0, different * _LN10).mean()
    return float(cost / (2 * np.log(2)))


def min_cllr(genuine: ArrayLike, forged: ArrayLike) -> float:
    """The Cllr of the best likelihood ratios that fall as the distance grows: what discrimination alone costs, 0..1.

    The best ones are found by pool-adjacent-violators, as Brümmer and du Preez (2006) do, the prior of the counts
    removed. Raises ValueError for an empty or non-finite side.
    """
    return cllr(*best_llr(genuine, forged))


def best_llr(genuine: ArrayLike, forged: ArrayLike) -> tuple[Doubles, Doubles]:
    """The log10 likelihood ratios behind :func:`min_cllr`, for both sides in ascending order of distance."""
    accept, imposter = _sorted(genuine, "genuine"), _sorted(forged, "forged")
    levels = np.unique(np.concatenate([accept, imposter]))
    places = np.searchsorted(levels, accept), np.searchsorted(levels, imposter)
    same, different = (np.bincount(place, minlength=len(levels)).astype(np.float64) for place in places)
    weights = same + different
    share = 1 - pool_adjacent_violators(different / weights, weights)  # of genuine ones at each distance; falls
    with np.errstate(divide="ignore"):
        ratio = np.log10(share) - np.log10(1 - share) - np.log10(len(accept) / len(imposter))
    return ratio[places[0]], ratio[places[1]]


def pool_adjacent_violators(values: ArrayLike, weights: ArrayLike) -> Doubles:
    """The non-decreasing numbers (N,) nearest to ``values`` (N,) in the weighted sum of squares.

    Pool-adjacent-violators (Ayer et al. 1955): neighbours in the wrong order are replaced by their weighted mean.
    ``weights`` are positive.
    """
    blocks: list[tuple[float, float, int]] = []  # mean, weight, members
    pairs = zip(np.asarray(values, np.float64).tolist(), np.asarray(weights, np.float64).tolist(), strict=True)
    for value, weight in pairs:
        members = 1
        while blocks and blocks[-1][0] >= value:
            mean, more, others = blocks.pop()
            # A mean of equals is that number: rounding must not part 0 or 1 from themselves.
            value = value if mean == value else (mean * more + value * weight) / (more + weight)
            weight, members = weight + more, members + others
        blocks.append((value, weight, members))
    return np.repeat([block[0] for block in blocks], [block[2] for block in blocks]).astype(np.float64)


def _midpoint(thresholds: Doubles, index: int) -> float:
    following = thresholds[min(index + 1, len(thresholds) - 1)]
    return float((thresholds[index] + following) / 2)


def _sorted(distances: ArrayLike, side: str) -> Doubles:
    values = np.sort(np.asarray(distances, np.float64).ravel())
    if not len(values) or not np.isfinite(values).all():
        raise ValueError(f"the {side} distances must be finite, and one at least")
    return values
