"""How scores spread, counted in bins: what the histograms draw and ``histograms.csv`` holds."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from worker.ml.evaluation import Integers, Scores
from worker.ml.metrics import Doubles
from worker.ml.trials import KINDS

BINS = 40


@dataclass(frozen=True, slots=True, eq=False)
class Spread:
    """``edges`` (BINS + 1,) of the bins, and the comparisons in each by kind, in the order of ``KINDS``: (3, BINS)."""

    edges: Doubles
    counts: Integers

    def shares(self, kind: int) -> Doubles:
        """The counts of one kind as shares of it, (BINS,); there must be some."""
        own = self.counts[kind]
        return np.asarray(own / own.sum(), np.float64)


def shown(scores: Scores) -> tuple[str, Doubles]:
    """What verdicts go by, as people are shown it: "llr" or "distance", and its values (P,)."""
    if scores.fused is None or scores.llr is None:
        return "distance", scores.distance
    return "llr", scores.llr


def spread(scores: Scores, values: Doubles) -> Spread:
    """``values`` (P,), at least one, in bins of one width from the least to the greatest."""
    low, high = float(values.min()), float(values.max())
    if low == high:
        low, high = low - 0.5, high + 0.5
    edges = np.linspace(low, high, BINS + 1)
    counts = [np.histogram(scores.side(kind, values), edges)[0] for kind in range(len(KINDS))]
    return Spread(edges, np.array(counts, np.int64))
