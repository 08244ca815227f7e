"""The score of a questioned image against a reference set: its distances, seen against the set's own.

People differ in how much their signatures vary, and so do single references: one that lies far from its fellows lies
far from a genuine signature too. What counts is therefore how much farther the questioned image is from each
reference than a fellow reference would be. A set tells that of itself, a small one unreliably: its own means and
spread are shrunk towards those of the calibration writers, as in empirical Bayes estimation (Efron and Morris 1973):
(n * own + n0 * pooled) / (n + n0).

Features by name, of k references with the distances d_i (i = 1..k) of the questioned image, the shrunk mean distance
m_i of reference i to its fellows, and the set's shrunk spread s:

- ``distance``: mean of d_i. The only one of a set of one.
- ``excess``: mean of d_i - m_i.
- ``nearest_excess``: the least d_i - m_i, over s.

benchmarks/NOTES.md tells what else was tried.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shared.calibration import Calibration, Curve, Pool, SetCalibration
from worker.ml.compare import Comparer, Integers, Representations

Doubles = NDArray[np.float64]

FEATURES = {True: ("distance",), False: ("excess", "nearest_excess")}  # by whether the set is of one
PRIOR_REFERENCES = 8.0  # the weight of the pooled mean, in references
PRIOR_PAIRS = 10.0  # the weight of the pooled spread, in pairs of references


@dataclass(frozen=True, slots=True, eq=False)
class SetShape:
    """What a set of k references tells of itself: ``expected`` (k,) distances of a fellow, and their ``spread``."""

    expected: Doubles
    spread: float


def features_of(size: int) -> tuple[str, ...]:
    """The names of the features that score a set of ``size`` references."""
    return FEATURES[size == 1]


def shape_of(own: NDArray[np.floating[Any]], pool: Pool) -> SetShape:
    """The shape of a set from the distances (k, k) among its members, zero on the diagonal."""
    size = len(own)
    if size == 1:
        return SetShape(np.array([pool.mean]), pool.spread)
    pairs = size * (size - 1) / 2
    mean = own.sum(dtype=np.float64) / (2 * pairs)
    spread = float(np.sqrt(max(0.0, np.square(own, dtype=np.float64).sum() / (2 * pairs) - mean**2)))
    centre = _shrunk(mean, size, pool.mean, PRIOR_REFERENCES)
    expected = _shrunk(own.sum(1, dtype=np.float64) / (size - 1), size, centre, PRIOR_REFERENCES)
    return SetShape(expected, _shrunk(spread, pairs, pool.spread, PRIOR_PAIRS))


def shapes_of(
    rows: Representations, sets: Sequence[tuple[int, ...]], compare: Comparer, pool: Pool
) -> dict[tuple[int, ...], SetShape]:
    """The shapes of sets of indices into ``rows`` (K, R); every two members are compared once a set."""
    different = list(dict.fromkeys(sets))
    pairs = [np.triu_indices(len(members), 1) for members in different]
    none = [np.zeros(0, np.int64)]
    first, second = (
        np.concatenate(
            none + [np.array(members, np.int64)[pair[side]] for members, pair in zip(different, pairs, strict=True)]
        )
        for side in (0, 1)
    )
    distances = compare(rows, first, second) if len(first) else np.zeros(0, np.float32)
    shapes, start = {}, 0
    for members, pair in zip(different, pairs, strict=True):
        own = np.zeros((len(members), len(members)))
        own[pair] = distances[start : start + len(pair[0])]
        start += len(pair[0])
        shapes[members] = shape_of(own + own.T, pool)
    return shapes


def set_features(
    distances: NDArray[np.floating[Any]], sizes: Integers, shapes: Sequence[SetShape]
) -> dict[str, Doubles]:
    """The features (N,) of N comparisons. ``distances`` (M,) are theirs one after the other, ``sizes`` (N,) each."""
    starts = np.concatenate([[0], np.cumsum(sizes)[:-1]]).astype(np.int64)
    wide = distances.astype(np.float64)
    excess = wide - np.concatenate([shape.expected for shape in shapes])
    return {
        "distance": np.add.reduceat(wide, starts) / sizes,
        "excess": np.add.reduceat(excess, starts) / sizes,
        "nearest_excess": np.minimum.reduceat(excess, starts) / np.array([shape.spread for shape in shapes]),
    }


def score_sets(
    calibration: Calibration,
    distances: NDArray[np.floating[Any]],
    sizes: Integers,
    shapes: Sequence[SetShape],
) -> Doubles:
    """The log10 likelihood ratios (N,) of N comparisons; the arguments are as in :func:`set_features`."""
    return rank_sets(calibration, distances, sizes, shapes)[1]


def rank_sets(
    calibration: Calibration,
    distances: NDArray[np.floating[Any]],
    sizes: Integers,
    shapes: Sequence[SetShape],
) -> tuple[Doubles, Doubles]:
    """The scores (N,) of N comparisons as :func:`score_sets` takes them, and their log10 likelihood ratios (N,).

    Higher scores are more alike. They are in the order of the ratios, but go on where those stop at their bounds or
    stand on a step of the curve, so that nothing is tied that differs.
    """
    features = set_features(distances, sizes, shapes)
    score, llr = np.zeros(len(sizes)), np.zeros(len(sizes))
    for size in np.unique(sizes).tolist():
        fitted, which = calibration.of_size(size), sizes == size
        own = {name: features[name][which] for name in fitted.weights}
        score[which] = llr_before_clipping(fitted.weights, fitted.offset, None, own)
        llr[which] = llr_of(fitted, own)
    return score, llr


def llr_of(fitted: SetCalibration, features: dict[str, Doubles]) -> Doubles:
    """The log10 likelihood ratios (N,) of features (N,), clipped to what the calibration data support."""
    llr = llr_before_clipping(fitted.weights, fitted.offset, fitted.curve, features)
    return np.clip(llr, fitted.lowest, fitted.highest)


def llr_before_clipping(
    weights: dict[str, float], offset: float, curve: Curve | None, features: dict[str, Doubles]
) -> Doubles:
    """The weighted sum of features (N,), and the curve of it where there is one."""
    score = sum((weight * features[name] for name, weight in weights.items()), np.array(offset))
    return np.asarray(score if curve is None else np.interp(score, curve.scores, curve.llr), np.float64)


def _shrunk(own: Any, weight: float, pooled: float, prior: float) -> Any:
    return (weight * own + prior * pooled) / (weight + prior)
