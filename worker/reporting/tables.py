"""The CSV tables of an evaluation by name: columns, and rows as they are asked for."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from worker.ml.evaluation import Scores
from worker.ml.metrics import Roc
from worker.ml.trials import KINDS
from worker.reporting.document import Measured
from worker.reporting.plots import thinned
from worker.reporting.spreads import shown, spread

Table = tuple[Sequence[str], Iterable[Sequence[object]]]

DET_POINTS = 2000
WRITER_COLUMNS = (
    "writer", "genuine", "skilled", "random",
    "frr", "far_skilled", "far_random", "own_frr", "own_far_skilled", "own_far_random",
)  # fmt: skip


def tables(
    measured: Measured, entries: Sequence[str], curves: dict[str, dict[int, Roc]], rows: list[dict[str, Any]]
) -> dict[str, Table]:
    """``entries`` name the images; ``curves`` are by protocol and kind of forgery; ``rows`` are by writer."""
    pairs, sets = measured.pairs, measured.sets
    first, second, questioned = pairs.first.tolist(), pairs.second.tolist(), sets.questioned.tolist()
    common = ("kind", "writer", "signer")
    return {
        "pairs.csv": (
            (*common, "first", "second", "distance", "llr"),
            _scored(measured.pair_scores, measured.writers, [_named(first, entries), _named(second, entries)]),
        ),
        "sets.csv": (
            (*common, "questioned", "mean_distance", "llr"),
            _scored(measured.set_scores, measured.writers, [_named(questioned, entries)]),
        ),
        "det.csv": (("protocol", "forgeries", "threshold", "far", "frr"), _det(curves)),
        "histograms.csv": (("protocol", "scale", "low", "high", *KINDS), _spreads(measured)),
        "writers.csv": (WRITER_COLUMNS, ([row[name] for name in WRITER_COLUMNS] for row in rows)),
    }


def _named(rows: list[int], entries: Sequence[str]) -> Iterator[str]:
    return (entries[row] for row in rows)


def _scored(scores: Scores, writers: Sequence[str], names: list[Iterator[str]]) -> Iterator[Sequence[object]]:
    llr: list[float | None] = [None] * len(scores.distance) if scores.llr is None else scores.llr.tolist()
    columns: list[Iterable[object]] = [
        (KINDS[kind] for kind in scores.kind.tolist()),
        (writers[number] for number in scores.writer.tolist()),
        (writers[number] for number in scores.signer.tolist()),
        *names,
        scores.distance.tolist(),
        llr,
    ]
    return zip(*columns, strict=True)


def _det(curves: dict[str, dict[int, Roc]]) -> Iterator[Sequence[object]]:
    for protocol, by_kind in curves.items():
        for kind, points in by_kind.items():
            for index in thinned(points, DET_POINTS):
                rates = (float(side[index]) for side in (points.thresholds, points.far, points.frr))
                yield (protocol, KINDS[kind], *rates)


def _spreads(measured: Measured) -> Iterator[Sequence[object]]:
    for protocol, scores in (("pair", measured.pair_scores), (f"refs{measured.references}", measured.set_scores)):
        if len(scores.kind):
            scale, values = shown(scores)
            found = spread(scores, values)
            for low, high, *counts in zip(found.edges[:-1], found.edges[1:], *found.counts.tolist(), strict=True):
                yield (protocol, scale, float(low), float(high), *counts)
