"""Two signatures' statistics of the ink held against each other: the features of a pair, and what it is measured by."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from worker.ml.inkpoints import FOUND, find_pieces
from worker.ml.inkshape import MATCHES, match
from worker.ml.inkstats import BLOCKS, LENGTH, SLICES, STRENGTH_BLOCKS

Doubles = NDArray[np.float64]
Rows = NDArray[np.floating[Any]]

SMALL = 40  # numbers; of larger blocks only the distance between two of them counts, not each number
_SMALL_BLOCKS = [(name, size) for name, size, _ in BLOCKS if size <= SMALL]
_SINGLE = np.concatenate([np.arange(LENGTH)[SLICES[name]] for name, _ in _SMALL_BLOCKS])
# Told by the distance of two; the others by a search for what fits.
WHOLE_BLOCKS = tuple(name for name, _, _ in BLOCKS if name not in {"shape_grid", "pieces"})
WHOLES = len(WHOLE_BLOCKS) + MATCHES + FOUND
DIFFERENCES = len(_SINGLE) + WHOLES
# Which differences say how dark the ink runs: (DIFFERENCES,).
OF_STRENGTH = np.array(
    [name in STRENGTH_BLOCKS for name, size in _SMALL_BLOCKS for _ in range(size)]
    + [name in STRENGTH_BLOCKS for name in WHOLE_BLOCKS]
    + [False] * (MATCHES + FOUND)
)
# What kind of signature a pair is, by its means: how large, how wide and curved its line, how dense, how dark.
KIND_BLOCKS = (
    "geometry", "widths", "turning_4", "turning_8", "turning_16", "clearness", "half_widths", "pattern_kinds_2",
    "pattern_kinds_4", "runs_across", "runs_down", "gaps_across", "gaps_down", "orientations_4", "strength",
    "relative_ink",
)  # fmt: skip
_KIND = np.concatenate([np.arange(LENGTH)[SLICES[name]] for name in KIND_BLOCKS])
FEATURES = DIFFERENCES + len(_KIND)
_KIND_OF_STRENGTH = [name in STRENGTH_BLOCKS for name in KIND_BLOCKS for _ in range(LENGTH)[SLICES[name]]]
_STRENGTH_FEATURES = np.append(OF_STRENGTH, np.array(_KIND_OF_STRENGTH))

_WHOLE_WEIGHT = 6.0  # of what is told of a block, a shape or pieces as a whole, against single numbers
_FAR_FROM_MEAN = 3.0  # standard deviations: a kind of signature that training never saw is taken for its extreme
_LEAST_SPREAD, _LEAST_SCALE = 1e-3, 1e-2
AT_ONCE = 1024  # pairs compared at a time: 70 MiB
COHORT, COHORT_EACH = 128, 4  # most signatures that others are held against, and of one writer
_NEAREST, _SKIPPED = 12, COHORT_EACH  # of the cohort
_FROM_PIECES = 0.3  # of how far a signature lies from everybody


@dataclass(frozen=True, slots=True, eq=False)
class Norm:
    """What differences are measured by.

    ``centre`` and ``spread`` (LENGTH,) are the mean and the standard deviation of each statistic, ``within`` (LENGTH,)
    its standard deviation among one writer's genuine signatures, ``scale`` (WHOLES,) what two of these usually differ
    by in each block, in shape and in pieces.
    """

    centre: Doubles
    spread: Doubles
    within: Doubles
    scale: Doubles

    @classmethod
    def of(cls, rows: Rows, writers: NDArray[np.int64], forged: NDArray[np.bool_], seed: int = 0) -> Norm:
        """Measured on statistics (N, LENGTH) of training images; ``writers`` (N,) and ``forged`` (N,) are theirs."""
        variances, pairs = [np.zeros(LENGTH)], [np.zeros((0, 2), np.int64)]
        random = np.random.default_rng([seed, 3])
        for writer in np.unique(writers):
            own = np.flatnonzero((writers == writer) & ~forged)
            if len(own) > 1:
                variances.append(rows[own].astype(np.float64).var(0, ddof=1))
                every = np.stack(np.triu_indices(len(own), 1), 1)
                pairs.append(own[random.permutation(every)[:60]])
        within = np.sqrt(sum(variances) / max(1, len(variances) - 1))
        chosen = np.concatenate(pairs)
        first, second = rows[chosen[:, 0]], rows[chosen[:, 1]]
        wholes = (
            np.concatenate([_wholes(first, second), _pieces(first, second)], 1) if len(chosen) else np.ones((1, WHOLES))
        )
        return cls(
            rows.mean(0, dtype=np.float64),
            rows.std(0, dtype=np.float64) + _LEAST_SPREAD,
            np.asarray(within) + _LEAST_SPREAD,
            np.maximum(wholes.mean(0), _LEAST_SCALE),
        )


def pair_features(first: Rows, second: Rows, norm: Norm) -> Doubles:
    """Features (P, FEATURES) of pairs of statistics (P, LENGTH) and (P, LENGTH): 0 where the two are equal.

    ln(1 + |a - b| / within) of each number of the small blocks, then the Euclidean distance between each block's two
    sets of numbers (of histograms: their Hellinger distance), what :func:`match` says of the shapes and
    :func:`find_pieces` of the pieces, over their usual size. The logarithm keeps one odd number from deciding all.
    Behind these DIFFERENCES stands their mean times the kind of signature, the standardised mean of both statistics in
    KIND_BLOCKS: so their slopes make the distance of one kind count for more than that of another.
    """
    differences = _differences(first, second, norm)
    kind = (first[:, _KIND].astype(np.float64) + second[:, _KIND]) / 2
    kind = np.clip((kind - norm.centre[_KIND]) / norm.spread[_KIND], -_FAR_FROM_MEAN, _FAR_FROM_MEAN)
    return np.concatenate([differences, kind * differences.mean(1, keepdims=True)], axis=1)


def usual_features(
    rows: Rows, cohort: Rows, norm: Norm, strangers: NDArray[np.bool_] | None = None
) -> tuple[Doubles, Doubles]:
    """What signatures (N, LENGTH) differ by from those of a ``cohort`` (C, LENGTH) that resemble them most.

    The features (N, FEATURES) of a signature with the nearest of the cohort, in the mean, without those of how dark
    the ink runs; and how far these lie, (N,), seven tenths by the mean of the other differences among the features and
    three by how far the pieces are from their like. Pieces have no say in who is nearest. A large distance to a
    reference says less of a signature that lies far from everybody: the idea of score normalisation with a cohort
    (Auckenthaler et al., Digital Signal Processing 2000). The very nearest are skipped: a customer who is in the
    cohort is not measured by his own signatures. ``strangers`` (N, C) leaves out, one by one, who is not a stranger.
    """
    far = np.empty((len(rows), len(cohort)))
    each = max(1, AT_ONCE // max(1, len(cohort)))
    for start in range(0, len(rows), each):
        part = rows[start : start + each]
        first, second = np.repeat(part, len(cohort), 0), np.tile(cohort, (len(part), 1))
        told = _without_pieces(first, second, norm)[:, ~OF_STRENGTH[:-FOUND]].mean(1)
        far[start : start + each] = told.reshape(len(part), len(cohort))
    if strangers is not None:
        far[~strangers] = np.inf
    order = np.argsort(far, 1, kind="stable")
    means = np.zeros((len(rows), FEATURES))
    for row, (places, known) in enumerate(zip(order, np.isfinite(far).sum(1).tolist(), strict=True)):
        if known:
            taken = min(_NEAREST, max(1, known // 4))
            skipped = min(_SKIPPED, known - taken)
            near = cohort[places[skipped : skipped + taken]]
            means[row] = pair_features(np.repeat(rows[row : row + 1], taken, 0), near, norm).mean(0)
    means[:, _STRENGTH_FEATURES] = 0
    differences = means[:, :DIFFERENCES]
    pieces = differences[:, -FOUND:].mean(1) / _WHOLE_WEIGHT
    others = differences[:, :-FOUND][:, ~OF_STRENGTH[:-FOUND]].mean(1)
    distances = (1 - _FROM_PIECES) * others + _FROM_PIECES * pieces
    return means, np.where(distances > 0, np.maximum(distances, _LEAST_SCALE), 1.0)


def _differences(first: Rows, second: Rows, norm: Norm) -> Doubles:
    pieces = _WHOLE_WEIGHT * _pieces(first, second) / norm.scale[-FOUND:]
    return np.concatenate([_without_pieces(first, second, norm), pieces], axis=1)


def _without_pieces(first: Rows, second: Rows, norm: Norm) -> Doubles:
    """All that differs but pieces: finding those takes as long as all the rest."""
    difference = np.abs(first[:, _SINGLE].astype(np.float64) - second[:, _SINGLE])
    wholes = _WHOLE_WEIGHT * _wholes(first, second) / norm.scale[:-FOUND]
    return np.concatenate([np.log1p(difference / norm.within[_SINGLE]), wholes], axis=1)


def _wholes(first: Rows, second: Rows) -> Doubles:
    apart = [
        np.linalg.norm(first[:, SLICES[name]].astype(np.float64) - second[:, SLICES[name]], axis=1)
        for name in WHOLE_BLOCKS
    ]
    shapes = match(first[:, SLICES["shape_grid"]], second[:, SLICES["shape_grid"]])
    return np.concatenate([np.stack(apart, 1), shapes], axis=1)


def _pieces(first: Rows, second: Rows) -> Doubles:
    return find_pieces(first[:, SLICES["pieces"]], second[:, SLICES["pieces"]])
