"""Intervals by resampling writers: the signatures of one writer are not independent, writers are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from worker.ml.metrics import Doubles

Integers = NDArray[np.int64]
Interval = tuple[float, float]

ROUNDS = 1000
COVERAGE = 0.95
_LEVELS = 1024  # of each side at which the error rates of a round are exact; between them they are read from below
_ROUNDING = 1e-12


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """P comparisons: their ``distances`` (P,) and the writers whom they hang on, as numbers from 0.

    ``writer`` (P,) is whose references were used; ``signer`` (P,) whose signatures the questioned are filed under: the
    same, except for a random forgery.
    """

    distances: Doubles
    writer: Integers
    signer: Integers

    def __len__(self) -> int:
        return len(self.distances)


def resample(writers: int, seed: int, rounds: int = ROUNDS) -> Doubles:
    """How often each of W writers is drawn in each round: (rounds, W), the sum of a row is W."""
    draws = np.random.default_rng([seed, 2]).multinomial(writers, np.full(writers, 1 / writers), size=rounds)
    return draws.astype(np.float64)


class Resampled:
    """The operating points of all rounds, for the comparisons of one protocol and kind of forgery.

    A comparison within a writer counts as often as the writer was drawn; one between two writers counts the product.
    Rounds in which a side is empty are left out.
    """

    def __init__(self, genuine: Sample, forged: Sample, draws: Doubles, thresholds: Sequence[float] = ()) -> None:
        """``draws`` (rounds, W) are of :func:`resample`; at ``thresholds`` the error rates are exact."""
        parts = [_some(genuine.distances), _some(forged.distances), np.asarray(thresholds, np.float64)]
        self._levels = np.unique(np.concatenate(parts))
        accepted, imposters = (_histograms(side, self._levels, draws) for side in (genuine, forged))
        usable = (accepted.sum(1) > 0) & (imposters.sum(1) > 0)
        accepted, imposters = (side[usable] / side[usable].sum(1, keepdims=True) for side in (accepted, imposters))
        self.rounds = len(accepted)
        start = np.zeros((self.rounds, 1))
        # (rounds, levels + 1): first, nothing is accepted. Rounding may pass the ends.
        self._far = np.hstack([start, np.minimum(1, np.cumsum(imposters, 1))])
        self._frr = np.hstack([start + 1, np.maximum(0, 1 - np.cumsum(accepted, 1))])
        below = np.cumsum(accepted, 1) - accepted / 2
        self._auc = (imposters * below).sum(1)

    def eer(self) -> Interval | None:
        """Of the equal error rate."""
        k = np.argmax(self._far >= self._frr - _ROUNDING, axis=1)
        every = np.arange(self.rounds)
        before = self._frr[every, k - 1] - self._far[every, k - 1]
        after = self._far[every, k] - self._frr[every, k]
        low = self._far[every, k - 1]
        return _interval(low + before / (before + after) * (self._far[every, k] - low))

    def auc(self) -> Interval | None:
        """Of the area under the ROC curve."""
        return _interval(self._auc)

    def rates(self, threshold: float) -> tuple[Interval | None, Interval | None]:
        """Of FAR and FRR at a threshold."""
        column = int(np.searchsorted(self._levels, threshold, side="right"))
        return _interval(self._far[:, column]), _interval(self._frr[:, column])

    def far_at_frr(self, most: float) -> Interval | None:
        """Of the lowest FAR whose FRR is at most ``most``."""
        columns = np.argmax(self._frr <= most + _ROUNDING, axis=1)
        return _interval(self._far[np.arange(self.rounds), columns])

    def frr_at_far(self, most: float) -> Interval | None:
        """Of the lowest FRR whose FAR is at most ``most``."""
        columns = (self._far <= most + _ROUNDING).sum(1) - 1
        return _interval(self._frr[np.arange(self.rounds), columns])


def _some(distances: Doubles) -> Doubles:
    """All distances, or as many of them as there are levels, evenly by rank; always the largest."""
    levels = np.unique(distances)
    if len(levels) <= _LEVELS:
        return levels
    return np.quantile(distances, np.linspace(0, 1, _LEVELS), method="inverted_cdf")


def _histograms(side: Sample, levels: Doubles, draws: Doubles) -> Doubles:
    """Weight at each level in each round (rounds, levels); a distance counts at the level at or above it."""
    places = np.searchsorted(levels, side.distances)
    if np.array_equal(side.writer, side.signer):
        count = draws.shape[1]
        own = np.bincount(side.writer * len(levels) + places, minlength=count * len(levels))
        return draws @ own.reshape(count, len(levels)).astype(np.float64)
    same = side.writer == side.signer
    weights = (np.where(same, row[side.writer], row[side.writer] * row[side.signer]) for row in draws)
    return np.array([np.bincount(places, weight, minlength=len(levels)) for weight in weights])


def _interval(values: Doubles) -> Interval | None:
    if not len(values):
        return None
    low, high = np.quantile(values, [(1 - COVERAGE) / 2, (1 + COVERAGE) / 2])
    return float(low), float(high)
