"""What an evaluation measured, read from its stored files for the charts and tables of the pages."""

from __future__ import annotations

import csv
import io
import json
from bisect import bisect_right
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from statistics import NormalDist
from typing import Any

from shared.calibration import calibration_of
from shared.errors import NotFound
from shared.jobs.files import file_key, list_files
from shared.storage import BlobStore
from shared.tables import Job

LOWEST, HIGHEST = 0.001, 0.6  # rates on the axes of the DET plot; those below lie on its edge
STEPS = 120  # of the false acceptances, even on the normal deviate's scale
TICKS = (0.001, 0.005, 0.02, 0.05, 0.1, 0.2, 0.4, 0.6)
TOLD = (0.001, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2)  # false acceptances at which the table tells the rejections
KINDS = ("genuine", "skilled", "random")

_deviate = NormalDist().inv_cdf
FARS = tuple(
    NormalDist().cdf(_deviate(LOWEST) + step * (_deviate(HIGHEST) - _deviate(LOWEST)) / STEPS)
    for step in range(STEPS + 1)
)


@dataclass(frozen=True, slots=True)
class Curve:
    """The operating points against one kind of forgery, false acceptances rising, false rejections falling."""

    protocol: str
    kind: str
    fars: tuple[float, ...]
    frrs: tuple[float, ...]

    def frr_at(self, far: float) -> float:
        """The least share of genuine signatures rejected where at most ``far`` of the forgeries pass."""
        return self.frrs[bisect_right(self.fars, far) - 1]


@dataclass(frozen=True, slots=True)
class Spread:
    """Counts in bins from ``low`` to ``high`` by kind; ``scale`` is "llr" or "distance", ``bounds`` the verdicts'."""

    protocol: str
    scale: str
    bins: tuple[Mapping[str, float], ...]
    bounds: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Evaluated:
    """One evaluation: its curves, its histograms, and the shortcut floor with what it is compared with.

    ``spreads`` is empty where the evaluation was made before histograms were kept. ``floor`` is by statistic: its AUC
    as the protocol leaves the images and on the scans.
    """

    curves: tuple[Curve, ...]
    spreads: tuple[Spread, ...]
    floor: Mapping[str, Mapping[str, float]]
    model_auc: float | None

    @property
    def protocols(self) -> list[str]:
        """``pair`` and ``refsN``, those that were measured."""
        return list(dict.fromkeys(curve.protocol for curve in self.curves))

    def told(self) -> list[tuple[float, list[float]]]:
        """The table of the curves: the false rejections of each at rising false acceptances."""
        return [(far, [curve.frr_at(far) for curve in self.curves]) for far in TOLD]


def evaluated(store: BlobStore, job: Job) -> Evaluated | None:
    """What ``job`` measured; None where it is not done, or its files are gone. Needs its model loaded."""
    names = frozenset(file.name for file in list_files(job))
    if not {"det.csv", "report.json"} <= names or job.model is None:
        return None
    calibration = calibration_of(job.model.summary)
    references = int(((job.report or {}).get("headline") or {}).get("references") or 1)
    bands = calibration.of_size(references).bands if calibration else None
    bounds = {
        "distance": (job.model.threshold,),
        "llr": (bands.reject_below, bands.accept_from) if bands else (),
    }
    try:
        return _read(store, job.public_id, bounds, spread="histograms.csv" in names)
    except NotFound:
        return None


def _read(store: BlobStore, job: str, bounds: Mapping[str, tuple[float, ...]], spread: bool) -> Evaluated:
    with store.open(file_key(job, "report.json")) as stream:
        report: dict[str, Any] = json.load(stream)
    return Evaluated(
        curves=tuple(_curves(_rows(store, job, "det.csv"))),
        spreads=tuple(_spreads(_rows(store, job, "histograms.csv"), bounds)) if spread else (),
        floor=report.get("floor") or {},
        model_auc=report.get("floor_model_auc"),
    )


def _rows(store: BlobStore, job: str, name: str) -> Iterator[dict[str, str]]:
    with store.open(file_key(job, name)) as stream, io.TextIOWrapper(stream, "utf-8", newline="") as text:
        yield from csv.DictReader(text)


def _curves(rows: Iterator[dict[str, str]]) -> Iterator[Curve]:
    for (protocol, kind), own in groupby(rows, itemgetter("protocol", "forgeries")):
        points = [(float(row["far"]), float(row["frr"])) for row in own]
        yield Curve(protocol, kind, tuple(far for far, _ in points), tuple(frr for _, frr in points))


def _spreads(rows: Iterator[dict[str, str]], bounds: Mapping[str, tuple[float, ...]]) -> Iterator[Spread]:
    for (protocol, scale), own in groupby(rows, itemgetter("protocol", "scale")):
        bins = tuple(
            {"low": float(row["low"]), "high": float(row["high"])} | {kind: int(row[kind]) for kind in KINDS}
            for row in own
        )
        yield Spread(protocol, scale, bins, bounds[scale])


def charts(found: Evaluated) -> dict[str, Any]:
    """What the browser draws: rates from ``LOWEST`` on with their normal deviates, and the histograms."""
    return {
        "ticks": [_point(rate) for rate in TICKS],
        "fars": [_point(rate) for rate in FARS],
        "curves": [
            {"protocol": curve.protocol, "kind": curve.kind, "frrs": [_point(curve.frr_at(far)) for far in FARS]}
            for curve in found.curves
        ],
        "spreads": [
            {"protocol": one.protocol, "scale": one.scale, "bins": one.bins, "bounds": one.bounds}
            for one in found.spreads
        ],
    }


def _point(rate: float) -> dict[str, float]:
    return {"rate": rate, "at": _deviate(min(max(rate, LOWEST), HIGHEST))}
