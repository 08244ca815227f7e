"""Verification: claimed comparisons in, results out."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

import numpy as np
import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError

from shared.errors import CountersignError, Fault
from shared.jobs.chunks import (
    ChunkClaim,
    Claim,
    Pending,
    Scored,
    claim_chunks,
    load_work,
    record,
    region_values,
    release_chunks,
    renew_chunks,
    split_chunk,
)
from shared.jobs.lifecycle import fail_job
from shared.tables import Job, JobState, ModelVersion, Verdict
from worker.context import Context
from worker.edge import ENVIRONMENT, PAUSE_SECONDS, trouble
from worker.encoding import Encoded, Interrupted, encode
from worker.heartbeat import Heartbeat
from worker.ml.compare import Comparer, euclidean, set_distances
from worker.models import ModelCache, shared_models

log = logging.getLogger(__name__)

CANCEL_CHECK_SECONDS = 2.0


def score_waiting(context: Context) -> None:
    """Score chunks until none is left, or the worker is being stopped."""
    settings = context.settings
    while not context.draining():
        claim = claim_chunks(context.database, context.owner, settings.lease_seconds, settings.claim_rows)
        if claim is None:
            return
        renew = partial(renew_chunks, context.database, claim, settings.lease_seconds)
        with Heartbeat(renew, settings.lease_seconds) as heartbeat:
            try:
                score_claim(context, shared_models(context), claim, heartbeat.progress)
            except ENVIRONMENT as error:
                with suppress(SQLAlchemyError):
                    release_chunks(context.database, claim, PAUSE_SECONDS, trouble(error))
                raise


def score_claim(
    context: Context, models: ModelCache, claim: Claim, progress: Callable[[], None] = lambda: None
) -> None:
    """Score one claim and record it; a claim that must stop is handed back, its new embeddings kept."""
    claim = Claim(claim.model, tuple(chunk for chunk in claim.chunks if not _set_aside(context, claim.model, chunk)))
    try:
        embedder = models.get(claim.model)
    except CountersignError as error:
        for job_id in {chunk.job_id for chunk in claim.chunks}:
            fail_job(context.database, job_id, error)
        release_chunks(context.database, claim)
        return
    with context.database.read() as session:
        work = load_work(session, claim)
    scored = Scored()
    try:
        encoded = encode(context, claim.model.id, embedder, work, scored, _stop_check(context, claim, progress))
    except Interrupted:
        record(context.database, Claim(claim.model, ()), scored)
        release_chunks(context.database, claim)
        return
    scored.results = judge(work.pending, encoded, claim.model, embedder.compare)
    record(context.database, claim, scored)


def _set_aside(context: Context, model: ModelVersion, chunk: ChunkClaim) -> bool:
    """Whether the chunk killed its workers too often: it is halved, and the row that is alone at last is answered."""
    tries = context.settings.chunk_tries
    if chunk.tries <= tries:
        return False
    if chunk.last > chunk.first:
        log.warning("chunk %s failed %s times, splitting it", chunk.id, chunk.tries - 1)
        return split_chunk(context.database, chunk, tries - 1)
    log.error("chunk %s is set aside: its only row ended its worker %s times", chunk.id, chunk.tries - 1)
    fault = Fault("crashed", "Scoring this comparison ended the worker each time. Its images may be damaged.")
    claim = Claim(model, (chunk,))
    with context.database.read() as session:
        work = load_work(session, claim)
    regions = [
        region_values(region_id, code=fault.code, message=fault.message)
        for region_id, source in work.sources.items()
        if source.region.digest is None and not source.region.code  # those that were decoded once are sound
    ]
    results = [_unscorable(pending, model, fault) for pending in work.pending]
    record(context.database, claim, Scored(results=results, regions=regions))
    return True


def _stop_check(context: Context, claim: Claim, progress: Callable[[], None]) -> Callable[[], None]:
    job_ids = {chunk.job_id for chunk in claim.chunks}
    wanted = sa.select(sa.func.count()).where(Job.id.in_(job_ids), Job.state == JobState.RUNNING)
    last = time.monotonic()

    def check() -> None:
        nonlocal last
        progress()
        if context.draining():
            raise Interrupted
        if time.monotonic() - last > CANCEL_CHECK_SECONDS:
            last = time.monotonic()
            with context.database.read() as session:
                if not session.scalar(wanted):
                    raise Interrupted

    return check


def judge(
    pending: list[Pending], encoded: Encoded, model: ModelVersion, compare: Comparer = euclidean
) -> list[dict[str, Any]]:
    """The results of comparisons whose regions are encoded: column values, in the order of ``pending``."""
    results: dict[int, dict[str, Any]] = {}
    scorable: list[tuple[int, Pending, list[int]]] = []  # index, comparison, positions of its usable references
    for index, comparison in enumerate(pending):
        usable = [i for i, region_id in enumerate(comparison.reference_ids) if region_id not in encoded.faults]
        fault = _why_unscorable(comparison, usable, encoded)
        if fault:
            results[index] = _unscorable(comparison, model, fault)
        else:
            scorable.append((index, comparison, usable))
    if scorable:
        results |= _judge_scorable(scorable, encoded, model, compare)
    return [results[index] for index in range(len(pending))]


def _why_unscorable(comparison: Pending, usable: list[int], encoded: Encoded) -> Fault | None:
    fault = encoded.faults.get(comparison.questioned_id)
    if fault:
        return Fault(fault.code, f"The questioned image cannot be used: {fault.message}")
    if not usable:
        fault = encoded.faults[comparison.reference_ids[0]]
        return Fault(fault.code, f"The reference cannot be used: {fault.message}")
    return None


def _judge_scorable(
    scorable: list[tuple[int, Pending, list[int]]], encoded: Encoded, model: ModelVersion, compare: Comparer
) -> dict[int, dict[str, Any]]:
    position = {digest: row for row, digest in enumerate(encoded.vectors)}
    rows = np.stack(list(encoded.vectors.values()))  # (K, R)

    def row(region_id: int) -> int:
        return position[encoded.digests[region_id]]

    questioned = np.array([row(comparison.questioned_id) for _, comparison, _ in scorable])  # (N,)
    references = np.array([row(c.reference_ids[i]) for _, c, usable in scorable for i in usable])  # (M,)
    counts = [len(usable) for _, _, usable in scorable]
    owner = np.repeat(np.arange(len(scorable), dtype=np.int64), counts)  # (M,)
    distances, sets, nearest = set_distances(rows, questioned, references, owner, compare)
    results, start = {}, 0
    for number, (index, comparison, usable) in enumerate(scorable):
        own = distances[start : start + len(usable)]
        start += len(usable)
        every: list[float | None] = [None] * len(comparison.reference_ids)
        for reference, value in zip(usable, own, strict=True):
            every[reference] = _short(value)
        distance = _short(sets[number])
        verdict, code, message = _verdict(comparison, usable, distance, encoded, model)
        results[index] = _result(comparison, model) | {
            "verdict": verdict,
            "code": code,
            "message": message,
            "distance": distance,
            "distances": every,
            "nearest": usable[int(nearest[number])],
        }
    return results


def _verdict(
    comparison: Pending, usable: list[int], distance: float, encoded: Encoded, model: ModelVersion
) -> tuple[Verdict, str | None, str | None]:
    digest = encoded.digests[comparison.questioned_id]
    same = [i + 1 for i in usable if encoded.digests[comparison.reference_ids[i]] == digest]
    if same:
        return (
            Verdict.REVIEW,
            "identical",
            f"The questioned image is pixel for pixel reference {same[0]}. Nobody signs twice alike: it may be a copy.",
        )
    verdict = Verdict.ACCEPT if distance <= model.threshold else Verdict.REJECT
    unusable = [i for i in range(len(comparison.reference_ids)) if i not in usable]
    if unusable:
        fault = encoded.faults[comparison.reference_ids[unusable[0]]]
        numbers = ", ".join(str(i + 1) for i in unusable)
        return verdict, "references_unusable", f"Scored without reference {numbers}: {fault.message}"
    return verdict, None, None


def _unscorable(comparison: Pending, model: ModelVersion, fault: Fault) -> dict[str, Any]:
    return _result(comparison, model) | {"verdict": Verdict.UNSCORABLE, "code": fault.code, "message": fault.message}


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
        "model_id": model.id,
    }


def _short(value: np.floating[Any]) -> float:
    """Seven digits are all that a float32 holds; the JSON columns need not carry seventeen."""
    return float(f"{value:.7g}")
