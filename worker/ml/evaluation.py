"""Comparisons and their scores to the figures of an evaluation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from worker.ml.bootstrap import Interval, Resampled, Sample
from worker.ml.metrics import (
    Doubles,
    auc,
    cllr,
    equal_error_rate,
    error_rates,
    far_at_frr,
    frr_at_far,
    min_cllr,
    roc,
)
from worker.ml.trials import GENUINE, KINDS, RANDOM, SKILLED

Integers = NDArray[np.int64]
Figures = dict[str, Any]  # fit for JSON

FIXED = (0.01, 0.05, 0.10)  # rates at which the other rate is told
BINS = 10  # of the reliability plot


@dataclass(frozen=True, slots=True, eq=False)
class Bands:
    """Verdicts on log10 likelihood ratios: accept from ``accept_from`` on, reject below ``reject_below``."""

    accept_from: float
    reject_below: float


@dataclass(frozen=True, slots=True, eq=False)
class Scores:
    """P comparisons of one protocol, (P,) each. ``kind`` is GENUINE, SKILLED or RANDOM (``worker.ml.trials``).

    ``writer`` is whose references were used, ``signer`` whom the questioned image is filed under, as numbers from 0.
    ``distance`` is the model's, of a set the mean. ``llr`` is its log10 likelihood ratio, None before it is calibrated.
    ``fused`` is the set score that ``llr`` is made of, lower is more alike; None where that is the distance.
    """

    kind: Integers
    writer: Integers
    signer: Integers
    distance: Doubles
    llr: Doubles | None = None
    fused: Doubles | None = None

    def sample(self, kind: int, values: Doubles) -> Sample:
        """The comparisons of one kind, with their share of ``values`` (P,)."""
        chosen = self.kind == kind
        return Sample(values[chosen], self.writer[chosen], self.signer[chosen])

    def side(self, kind: int, values: Doubles) -> Doubles:
        """The share of ``values`` (P,) that is of one kind."""
        return np.asarray(values[self.kind == kind], np.float64)

    @property
    def score(self) -> Doubles:
        """What ranks the comparisons, lower is more alike: the fused score where there is one, else the distance."""
        return self.distance if self.fused is None else self.fused


def measure(scores: Scores, forged: int, draws: Doubles, threshold: float, bands: Bands | None) -> Figures:
    """The figures of genuine comparisons against one kind of forgery, with 95% intervals over writers.

    ``draws`` (rounds, W) are of ``bootstrap.resample``; ``threshold`` is a distance. Without either side all figures
    are None, and ``note`` says why.
    """
    counts = {"genuine": int((scores.kind == GENUINE).sum()), "forged": int((scores.kind == forged).sum())}
    if not all(counts.values()):
        missing = "genuine" if not counts["genuine"] else f"{KINDS[forged]} forged"
        return _with("eer", None, None) | counts | {"note": f"There are no {missing} comparisons in these data."}
    found: Figures = counts | _discrimination(scores, scores.score, forged, draws)
    found["at_threshold"] = _at_threshold(scores, forged, draws, threshold)
    if scores.fused is not None:
        raw = Resampled(*_sides(scores, scores.distance, forged), draws)
        rate = equal_error_rate(*_distances(scores, scores.distance, forged)).rate
        found["mean_distance"] = _with("eer", rate, raw.eer())
    found["cllr"] = None
    found["cllr_min"] = min_cllr(*_distances(scores, scores.score, forged))
    if scores.llr is not None:
        told = _distances(scores, scores.llr, forged)
        found["cllr"] = cllr(*told)
        found["reliability"] = reliability(*told)
        found["bands"] = _in_bands(*told, bands) if bands else None
    return found


def _discrimination(scores: Scores, values: Doubles, forged: int, draws: Doubles) -> Figures:
    sides, drawn = _distances(scores, values, forged), Resampled(*_sides(scores, values, forged), draws)
    crossing, points = equal_error_rate(*sides), roc(*sides)
    return (
        _with("eer", crossing.rate, drawn.eer())
        | {"eer_threshold": crossing.threshold}
        | _with("auc", auc(*sides), drawn.auc())
        | {
            "far_at_frr": [{"frr": x} | _with("far", far_at_frr(points, x), drawn.far_at_frr(x)) for x in FIXED],
            "frr_at_far": [{"far": x} | _with("frr", frr_at_far(points, x), drawn.frr_at_far(x)) for x in FIXED],
        }
    )


def _at_threshold(scores: Scores, forged: int, draws: Doubles, threshold: float) -> Figures:
    """FAR and FRR where the model itself would part the distances."""
    far, frr = error_rates(*_distances(scores, scores.distance, forged), threshold)
    drawn = Resampled(*_sides(scores, scores.distance, forged), draws, [threshold]).rates(threshold)
    return {"threshold": threshold} | _with("far", far, drawn[0]) | _with("frr", frr, drawn[1])


def _in_bands(genuine: Doubles, forged: Doubles, bands: Bands) -> Figures:
    """The verdicts that the calibrated model would give, as shares of each side."""

    def verdicts(llr: Doubles) -> dict[str, float]:
        accept, reject = float((llr >= bands.accept_from).mean()), float((llr < bands.reject_below).mean())
        return {"accept": accept, "review": max(0.0, 1 - accept - reject), "reject": reject}

    return {
        "accept_from": bands.accept_from,
        "reject_below": bands.reject_below,
        "genuine": verdicts(genuine),
        "forged": verdicts(forged),
    }


def reliability(genuine: Doubles, forged: Doubles) -> list[Figures]:
    """Whether log10 likelihood ratios mean what they say: ten bins of the probability that they give at even odds.

    Each side weighs one half, whatever its count. ``told`` is the mean probability of "genuine" in the bin, ``found``
    the share (by weight) that is, ``comparisons`` how many it holds. Empty bins are left out.
    """
    ratio = np.clip(np.concatenate([genuine, forged]), -30, 30)
    told = 1 / (1 + 10**-ratio)
    truth = np.repeat([1.0, 0.0], [len(genuine), len(forged)])
    weight = np.repeat([0.5 / len(genuine), 0.5 / len(forged)], [len(genuine), len(forged)])
    place = np.minimum((told * BINS).astype(np.int64), BINS - 1)
    heaps = [np.bincount(place, values, minlength=BINS) for values in (weight, weight * told, weight * truth)]
    counts = np.bincount(place, minlength=BINS)
    return [
        {
            "told": float(heaps[1][k] / heaps[0][k]),
            "found": float(heaps[2][k] / heaps[0][k]),
            "comparisons": int(counts[k]),
        }
        for k in np.flatnonzero(counts)
    ]


def by_writer(scores: Scores, names: Sequence[str], at_eer: float, at_own: float) -> list[Figures]:
    """Error rates of each writer at two thresholds that are the same for all, worst first.

    ``at_eer`` is on the scale of ``scores.score``, and the order is by the mean of FRR and FAR there (of skilled
    forgeries, or of random ones where a writer has no others); ``at_own`` is the model's own, a distance.
    """
    rows = []
    for number, name in enumerate(names):
        own = scores.writer == number
        row: Figures = {"writer": name}
        for label, values, threshold in (("", scores.score, at_eer), ("own_", scores.distance, at_own)):
            accepted = values <= threshold
            row[f"{label}frr"] = _share(~accepted[own & (scores.kind == GENUINE)])
            row[f"{label}far_skilled"] = _share(accepted[own & (scores.kind == SKILLED)])
            row[f"{label}far_random"] = _share(accepted[own & (scores.kind == RANDOM)])
        for kind, word in enumerate(KINDS):
            row[word] = int((own & (scores.kind == kind)).sum())
        rates = [row["frr"], row["far_skilled"] if row["far_skilled"] is not None else row["far_random"]]
        known = [rate for rate in rates if rate is not None]
        row["error"] = sum(known) / len(known) if known else None
        rows.append(row)
    return sorted(rows, key=lambda row: (-(row["error"] or 0.0), row["writer"]))


def floor(statistics: Doubles, first: Integers, second: Integers, kind: Integers, forged: int) -> list[float] | None:
    """AUC of each statistic (N images, S) alone: its absolute difference as the distance of a pair. (S,), in order.

    None without pairs of both kinds. 0.5 says nothing; below it, the forged pairs are the nearer ones.
    """
    genuine, other = kind == GENUINE, kind == forged
    if not genuine.any() or not other.any():
        return None
    found = []
    for column in statistics.T:
        apart = np.abs(column[first] - column[second])
        found.append(auc(apart[genuine], apart[other]))
    return found


def _sides(scores: Scores, values: Doubles, forged: int) -> tuple[Sample, Sample]:
    return scores.sample(GENUINE, values), scores.sample(forged, values)


def _distances(scores: Scores, values: Doubles, forged: int) -> tuple[Doubles, Doubles]:
    return scores.side(GENUINE, values), scores.side(forged, values)


def _with(name: str, value: float | None, interval: Interval | None) -> Figures:
    low, high = interval or (None, None)
    return {name: value, f"{name}_low": low, f"{name}_high": high}


def _share(chosen: NDArray[np.bool_]) -> float | None:
    return float(chosen.mean()) if len(chosen) else None
