"""Error rates of a verifier, from the distances of genuine and of forged comparisons.

The rule throughout: a comparison is accepted if its distance <= the threshold. FAR is the share of forged
comparisons accepted, FRR the share of genuine ones rejected, both in 0..1.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Doubles = NDArray[np.float64]


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


def _midpoint(thresholds: Doubles, index: int) -> float:
    following = thresholds[min(index + 1, len(thresholds) - 1)]
    return float((thresholds[index] + following) / 2)


def _sorted(distances: ArrayLike, side: str) -> Doubles:
    values = np.sort(np.asarray(distances, np.float64).ravel())
    if not len(values) or not np.isfinite(values).all():
        raise ValueError(f"the {side} distances must be finite, and one at least")
    return values
