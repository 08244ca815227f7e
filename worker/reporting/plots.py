"""The plots of an evaluation: DET curve, score histograms, reliability."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist
from typing import Any

import numpy as np

from worker.ml.metrics import Roc
from worker.ml.trials import GENUINE, RANDOM, SKILLED
from worker.reporting.spreads import Spread
from worker.reporting.svg import Plot, Scale, Tick, linear

_PROBIT = NormalDist().inv_cdf
_LOWEST, _HIGHEST = 0.001, 0.6  # rates on the axes of the DET plot
_RATES = (0.001, 0.01, 0.05, 0.1, 0.2, 0.4, 0.6)
_DET_POINTS = 400
_CLASSES = {GENUINE: "a", SKILLED: "b", RANDOM: "c"}
_WORDS = {GENUINE: "genuine", SKILLED: "skilled", RANDOM: "random"}


def det(curves: dict[int, Roc], title: str) -> Plot:
    """The detection error trade-off (Martin et al. 1997): FRR against FAR, both on the normal deviate's scale.

    ``curves`` are by kind of forgery. Rates are shown up to 60%; those below 0.1% lie on the edge.
    """
    plot = Plot(title, _deviate, _deviate)
    ticks: list[Tick] = [(rate, _percent(rate)) for rate in _RATES]
    plot.axes(ticks, ticks, "false acceptances (FAR)", "false rejections (FRR)")
    plot.line([(_LOWEST, _LOWEST), (_HIGHEST, _HIGHEST)], "even")
    for kind, points in curves.items():
        chosen = thinned(points, _DET_POINTS)
        pairs = zip(points.far[chosen].tolist(), points.frr[chosen].tolist(), strict=True)
        seen = [(far, frr) for far, frr in pairs if max(far, frr) <= _HIGHEST]
        plot.line(_unrepeated(seen), f"line {_CLASSES[kind]}", f"{_WORDS[kind]} forgeries")
    return plot


def histograms(found: Spread, label: str, marks: Sequence[float], title: str) -> Plot:
    """How scores spread for each kind of comparison, as shares of the kind; ``marks`` are upright lines."""
    low, high = float(found.edges[0]), float(found.edges[-1])
    shares = {kind: found.shares(kind) for kind in _CLASSES if found.counts[kind].any()}
    most = max(float(share.max()) for share in shares.values())
    plot = Plot(title, linear(low, high), linear(0, 1.05 * most))
    heights: list[Tick] = [(level, _percent(level)) for level in nice_ticks(0, most) if level <= most]
    plot.axes([(v, f"{v:g}") for v in nice_ticks(low, high)], heights, label, "share of comparisons")
    for kind, share in shares.items():
        plot.outline(found.edges.tolist(), share.tolist(), _CLASSES[kind], _WORDS[kind])
    for mark in marks:
        if low <= mark <= high:
            plot.line([(mark, 0), (mark, 1.05 * most)], "mark")
    return plot


def reliability(bins: Sequence[dict[str, Any]], title: str) -> Plot:
    """Whether probabilities mean what they say: the share found genuine against the probability told."""
    scale = linear(0, 1)
    plot = Plot(title, scale, scale)
    ticks: list[Tick] = [(share, _percent(share)) for share in (0, 0.2, 0.4, 0.6, 0.8, 1)]
    plot.axes(ticks, ticks, "probability told, at even odds", "share found genuine")
    plot.line([(0, 0), (1, 1)], "even")
    plot.line([(one["told"], one["found"]) for one in bins], "line a")
    most = max(one["comparisons"] for one in bins)
    for one in bins:
        words = f"told {one['told']:.1%}, found {one['found']:.1%}, {one['comparisons']:,} comparisons"
        plot.dot(one["told"], one["found"], 2.5 + 5 * math.sqrt(one["comparisons"] / most), words)
    return plot


def thinned(points: Roc, most: int) -> list[int]:
    """Indices of at most ``most`` operating points, evenly along the curve as the DET plot shows it; both ends kept."""
    if len(points.far) <= most:
        return list(range(len(points.far)))
    along = np.array([_deviate(far) - _deviate(frr) for far, frr in zip(points.far, points.frr, strict=True)])
    wanted = np.linspace(along[0], along[-1], most)
    found = np.unique(np.searchsorted(along, wanted).clip(0, len(along) - 1))
    return sorted({0, *found.tolist(), len(along) - 1})


def nice_ticks(low: float, high: float) -> list[float]:
    """Four to eight round numbers from ``low`` to ``high``."""
    step = 10 ** math.floor(math.log10((high - low) / 4))
    step *= next(times for times in (1, 2, 5, 10) if (high - low) / (step * times) <= 8)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [round(number * step, 12) for number in range(first, last + 1)]


def _probit_scale(low: float, high: float) -> Scale:
    start, end = _PROBIT(low), _PROBIT(high)
    return lambda rate: (_PROBIT(min(high, max(low, rate))) - start) / (end - start)


_deviate = _probit_scale(_LOWEST, _HIGHEST)


def _unrepeated(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Points of the plot without those that lie where the one before does, as all beyond its edges do."""
    kept: list[tuple[float, float]] = []
    places: set[tuple[float, float]] = set()
    for far, frr in points:
        place = (round(_deviate(far), 4), round(_deviate(frr), 4))
        if place not in places:
            places.add(place)
            kept.append((far, frr))
    return kept


def _percent(share: float) -> str:
    return f"{share * 100:g}%"
