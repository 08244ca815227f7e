"""Verification: claimed comparisons in, results out."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial

import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError

from shared.errors import CountersignError, Fault
from shared.jobs.chunks import (
    ChunkClaim,
    Claim,
    Scored,
    claim_chunks,
    record,
    region_values,
    release_chunks,
    renew_chunks,
    split_chunk,
)
from shared.jobs.lifecycle import fail_job
from shared.jobs.work import load_sources, load_work
from shared.tables import Job, JobState, ModelVersion
from worker.context import Context
from worker.edge import ENVIRONMENT, PAUSE_SECONDS, trouble
from worker.encoding import Interrupted, encode
from worker.heartbeat import Heartbeat
from worker.judging import judge, unscorable
from worker.models import ModelCache, shared_models
from worker.regions import RegionReader

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
        # Those that were decoded once are sound; of the others only the one that kills is to be blamed.
        suspects = load_sources(session, work.unread)
    with RegionReader(context.settings, context.store) as reader:
        regions = [
            region_values(region_id, code=fault.code, message=fault.message)
            for region_id, source in suspects.items()
            if reader.is_deadly(source)
        ]
    results = [unscorable(pending, model, fault) for pending in work.pending]
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
