"""Which plots an evaluation's report has."""

from __future__ import annotations

from typing import Any

from worker.ml.evaluation import Scores
from worker.ml.metrics import Roc
from worker.reporting import plots
from worker.reporting.document import Measured
from worker.reporting.spreads import shown, spread
from worker.reporting.svg import Plot

_LABELS = {"distance": "distance", "llr": "log10 likelihood ratio"}


def draw(measured: Measured, report: dict[str, Any], curves: dict[str, dict[int, Roc]]) -> dict[str, Plot]:
    """The plots by name, first those of one reference, then those of a set (their names end in ``_sets``)."""
    sets = f"refs{measured.references}"
    words = f"{measured.references} references"
    return {
        **_of_protocol("", "one reference", measured.pair_scores, report["pair"], curves.get("pair"), measured),
        **_of_protocol("_sets", words, measured.set_scores, report[sets], curves.get(sets), measured),
    }


def _of_protocol(
    ending: str,
    words: str,
    scores: Scores,
    found: dict[str, Any],
    curves: dict[int, Roc] | None,
    measured: Measured,
) -> dict[str, Plot]:
    if not curves:
        return {}
    drawn = {f"det{ending}": plots.det(curves, f"Errors traded off, {words} (DET)")}
    scale, values = shown(scores)
    marks = [measured.threshold]
    if scale == "llr":
        bands = measured.bands[1] if measured.bands else None
        marks = [bands.reject_below, bands.accept_from] if bands else []
    drawn[f"scores{ending}"] = plots.histograms(spread(scores, values), _LABELS[scale], marks, f"Scores, {words}")
    told = [(kind, found[kind].get("reliability")) for kind in ("skilled", "random")]
    for kind, bins in told:
        if bins:
            name = f"Reliability, {words}, {kind} forgeries"
            drawn[f"reliability_{kind}{ending}"] = plots.reliability(bins, name)
    return drawn
