"""The runs taken together: means over the folds with their intervals, and all folds' scores in one heap."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.accuracy.recipe import REFERENCES
from benchmarks.accuracy.runs import Outcome
from worker.ml.bootstrap import resample
from worker.ml.evaluation import Figures, Scores, measure
from worker.ml.trials import RANDOM, SKILLED

# Student's t, quantile 0.975, by degrees of freedom: for the mean of 2, 3, 4 and 5 folds.
_T975 = {1: 12.706, 2: 4.303, 3: 3.182, 4: 2.776}
KINDS = {"skilled": SKILLED, "random": RANDOM}
SETS = f"refs{REFERENCES}"


@dataclass(frozen=True, slots=True, eq=False)
class Row:
    """One set under one protocol: what each of its runs found, in order; a single one where it is not in folds."""

    name: str
    protocol: str
    figures: Sequence[Figures]
    scores: Sequence[tuple[Scores, Scores]]


def rows_of(outcomes: Sequence[Outcome]) -> list[Row]:
    """The rows of the results: each set over its folds, then each run from one set to the other."""
    found: dict[tuple[str, str], list[tuple[Outcome, str]]] = {}
    for outcome in outcomes:
        for name in outcome.figures:
            run = outcome.about["run"]
            row = name if run.startswith(f"{name}-fold-") else run
            found.setdefault((row, outcome.about["protocol"]), []).append((outcome, name))
    return [
        Row(row, protocol, [one.figures[name] for one, name in own], [one.scores[name] for one, name in own])
        for (row, protocol), own in found.items()
    ]


def summary_of(row: Row) -> dict[str, Any]:
    """The figures of a row, rates in 0..1.

    ``eer`` is the mean over the folds, each with its own model and threshold, ``eer_low`` to ``eer_high`` its 95%
    interval by Student's t over the folds; of a single run it is that run's, with the bootstrap's over writers.
    ``pooled`` are the figures of all folds' log10 likelihood ratios in one heap, as if one model had made them.
    """
    found: dict[str, Any] = {"folds": len(row.figures)}
    for key, place in (("pair", 0), (SETS, 1)):
        pooled = _pooled([both[place] for both in row.scores])
        found[key] = {kind: _kind(row, key, kind) | {"pooled": pooled[kind]} for kind in KINDS}
    found |= {name: _mean([one[name] for one in row.figures]) for name in ("cllr", "cllr_min", "floor_model_auc")}
    found["floor"] = {
        name: {side: _mean([one["floor"][name][side] for one in row.figures]) for side in ("auc", "raw_auc")}
        for name in row.figures[0]["floor"]
    }
    found["curve"] = _curve(row)
    return found


def _kind(row: Row, key: str, kind: str) -> dict[str, Any]:
    own = [one[key][kind] for one in row.figures]
    found: dict[str, Any] = _interval(own, "eer") | {"by_fold": [one["eer"] for one in own]}
    found |= {name: _mean([one.get(name) for one in own]) for name in ("auc", "cllr", "cllr_min")}
    bands = [one.get("bands") for one in own]
    found["bands"] = {
        "far": _mean([one and one["forged"]["accept"] for one in bands]),
        "frr": _mean([one and one["genuine"]["reject"] for one in bands]),
        "review_genuine": _mean([one and one["genuine"]["review"] for one in bands]),
        "review_forged": _mean([one and one["forged"]["review"] for one in bands]),
    }
    for name in ("genuine", "forged"):
        found[name] = sum(one[name] for one in own)
    if all("mean_distance" in one for one in own):
        found["mean_distance"] = _interval([one["mean_distance"] for one in own], "eer")
    return found


def _interval(own: Sequence[Figures], name: str) -> dict[str, float | None]:
    """Mean and 95% interval over the folds."""
    values = [one[name] for one in own if one[name] is not None]
    if len(own) == 1:
        return {part: own[0][part] for part in (name, f"{name}_low", f"{name}_high")}
    if len(values) < 2:
        return {name: _mean(values), f"{name}_low": None, f"{name}_high": None}
    mean = statistics.fmean(values)
    reach = _T975[len(values) - 1] * statistics.stdev(values) / len(values) ** 0.5
    return {name: mean, f"{name}_low": max(0.0, mean - reach), f"{name}_high": min(1.0, mean + reach)}


def _pooled(parts: Sequence[Scores]) -> dict[str, Figures]:
    """Figures of all folds' log10 likelihood ratios, with intervals over all their writers."""
    counts = [int(max(one.writer.max(), one.signer.max())) + 1 for one in parts]
    starts = np.cumsum([0, *counts[:-1]])
    llr = np.concatenate([np.asarray(one.llr, np.float64) for one in parts])
    together = Scores(
        kind=np.concatenate([one.kind for one in parts]),
        writer=np.concatenate([one.writer + start for one, start in zip(parts, starts, strict=True)]),
        signer=np.concatenate([one.signer + start for one, start in zip(parts, starts, strict=True)]),
        distance=-llr,
        llr=llr,
    )
    draws = resample(sum(counts), seed=1)
    names = ("eer", "eer_low", "eer_high", "auc", "cllr", "cllr_min", "genuine", "forged")
    found = {kind: measure(together, code, draws, 0.0, None) for kind, code in KINDS.items()}
    return {kind: {name: one.get(name) for name in names} for kind, one in found.items()}


def _curve(row: Row) -> list[Figures]:
    points = []
    for own in zip(*(one["curve"] for one in row.figures), strict=True):
        told = {kind: _mean([one[kind] for one in own]) for kind in KINDS}
        points.append({"references": own[0]["references"], "writers": sum(one["writers"] for one in own)} | told)
    return points


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return statistics.fmean(known) if known else None
