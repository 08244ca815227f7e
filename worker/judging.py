"""Comparisons whose regions are encoded become answers: distances, likelihood ratio, verdict."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from shared.calibration import Calibration, calibration_of
from shared.errors import Fault
from shared.jobs.work import Pending
from shared.tables import ModelVersion, Verdict
from worker.encoding import Encoded
from worker.ml.compare import Comparer, Floats, Integers, Representations, euclidean, set_distances
from worker.ml.refsets import score_sets, shapes_of

DISTANCE, LLR = "distance", "llr"  # scales that a verdict is judged on

Scorable = tuple[int, Pending, list[int]]
"""Index, comparison, positions of its usable references."""


def judge(
    pending: list[Pending], encoded: Encoded, model: ModelVersion, compare: Comparer = euclidean
) -> list[dict[str, Any]]:
    """The results of comparisons whose regions are encoded: column values, in the order of ``pending``."""
    results: dict[int, dict[str, Any]] = {}
    scorable: list[Scorable] = []
    for index, comparison in enumerate(pending):
        usable = [i for i, region_id in enumerate(comparison.reference_ids) if region_id not in encoded.faults]
        fault = _why_unscorable(comparison, usable, encoded)
        if fault:
            results[index] = unscorable(comparison, model, fault)
        else:
            scorable.append((index, comparison, usable))
    if scorable:
        results |= _judge_scorable(scorable, encoded, model, compare)
    return [results[index] for index in range(len(pending))]


def unscorable(comparison: Pending, model: ModelVersion, fault: Fault) -> dict[str, Any]:
    """The result of a comparison that has no score, with the reason."""
    return _result(comparison, model) | {"verdict": Verdict.UNSCORABLE, "code": fault.code, "message": fault.message}


def _why_unscorable(comparison: Pending, usable: list[int], encoded: Encoded) -> Fault | None:
    fault = encoded.faults.get(comparison.questioned_id)
    if fault:
        return Fault(fault.code, f"The questioned image cannot be used: {fault.message}")
    if not usable:
        fault = encoded.faults[comparison.reference_ids[0]]
        return Fault(fault.code, f"The reference cannot be used: {fault.message}")
    return None


def _judge_scorable(
    scorable: list[Scorable], encoded: Encoded, model: ModelVersion, compare: Comparer
) -> dict[int, dict[str, Any]]:
    position = {digest: row for row, digest in enumerate(encoded.vectors)}
    rows = np.stack(list(encoded.vectors.values()))  # (K, R)

    def row(region_id: int) -> int:
        return position[encoded.digests[region_id]]

    questioned = np.array([row(comparison.questioned_id) for _, comparison, _ in scorable])  # (N,)
    sets = [tuple(row(c.reference_ids[i]) for i in usable) for _, c, usable in scorable]
    sizes = np.array([len(members) for members in sets], np.int64)  # (N,)
    references = np.concatenate([np.array(members, np.int64) for members in sets])  # (M,)
    owner = np.repeat(np.arange(len(scorable), dtype=np.int64), sizes)  # (M,)
    distances, means, nearest = set_distances(rows, questioned, references, owner, compare)
    calibration = calibration_of(model.summary)
    ratios = _ratios(calibration, rows, sets, sizes, distances, compare)
    results, start = {}, 0
    for number, (index, comparison, usable) in enumerate(scorable):
        own = distances[start : start + len(usable)]
        start += len(usable)
        every: list[float | None] = [None] * len(comparison.reference_ids)
        for reference, value in zip(usable, own, strict=True):
            every[reference] = _short(value)
        found = _result(comparison, model) | {
            "distance": _short(means[number]),
            "distances": every,
            "nearest": usable[int(nearest[number])],
        }
        if calibration is not None:
            bands = calibration.of_size(len(usable)).bands
            found |= {"llr": ratios[number], "accept_from": bands.accept_from, "reject_below": bands.reject_below}
        verdict, code, message = _verdict(comparison, usable, found, encoded)
        results[index] = found | {"verdict": verdict, "code": code, "message": message}
    return results


def _ratios(
    calibration: Calibration | None,
    rows: Representations,
    sets: Sequence[tuple[int, ...]],
    sizes: Integers,
    distances: Floats,
    compare: Comparer,
) -> list[float]:
    """The log10 likelihood ratios (N,); none for a model that is not calibrated."""
    if calibration is None:
        return []
    shapes = shapes_of(rows, sets, compare, calibration.pool)  # each set once, however often it is questioned
    return [_short(llr) for llr in score_sets(calibration, distances, sizes, [shapes[members] for members in sets])]


def _verdict(
    comparison: Pending, usable: list[int], found: dict[str, Any], encoded: Encoded
) -> tuple[Verdict, str | None, str | None]:
    """Verdict, code and message. Identical pixels come before every score."""
    digest = encoded.digests[comparison.questioned_id]
    same = [i + 1 for i in usable if encoded.digests[comparison.reference_ids[i]] == digest]
    if same:
        return (
            Verdict.REVIEW,
            "identical",
            f"The questioned image is pixel for pixel reference {same[0]}. Nobody signs twice alike: it may be a copy.",
        )
    verdict = _judged(found)
    left_out = _left_out(comparison, usable, encoded)
    if verdict == Verdict.REVIEW:
        message = "The evidence is too weak for accept and too weak for reject: somebody should look at both."
        return verdict, "between_bands", f"{message} {left_out}" if left_out else message
    return verdict, "references_unusable" if left_out else None, left_out


def _judged(found: dict[str, Any]) -> Verdict:
    if found["scale"] == DISTANCE:
        return Verdict.ACCEPT if found["distance"] <= found["threshold"] else Verdict.REJECT
    if found["llr"] >= found["accept_from"]:
        return Verdict.ACCEPT
    return Verdict.REJECT if found["llr"] < found["reject_below"] else Verdict.REVIEW


def _left_out(comparison: Pending, usable: list[int], encoded: Encoded) -> str | None:
    if len(usable) == len(comparison.reference_ids):
        return None
    unusable = [i for i in range(len(comparison.reference_ids)) if i not in usable]
    fault = encoded.faults[comparison.reference_ids[unusable[0]]]
    return f"Scored without reference {', '.join(str(i + 1) for i in unusable)}: {fault.message}"


def _result(comparison: Pending, model: ModelVersion) -> dict[str, Any]:
    return {
        "job_id": comparison.job_id,
        "ordinal": comparison.ordinal,
        "verdict": None,
        "code": None,
        "message": None,
        "distance": None,
        "distances": None,
        "nearest": None,
        "threshold": model.threshold,
        "llr": None,
        "scale": LLR if (model.summary or {}).get("calibration") else DISTANCE,
        "accept_from": None,
        "reject_below": None,
        "model_id": model.id,
    }


def _short(value: Any) -> float:
    """Seven digits are all that a float32 holds; the JSON columns need not carry seventeen."""
    return float(f"{value:.7g}")
