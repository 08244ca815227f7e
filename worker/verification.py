"""Verification: claimed comparisons in, results out."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial

from sqlalchemy.exc import SQLAlchemyError

from shared.errors import CountersignError, Fault, Unavailable
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
from shared.tables import ModelVersion
from worker.between import BetweenBatches
from worker.claim_size import ClaimSize
from worker.context import Context
from worker.edge import ENVIRONMENT, PAUSE_SECONDS, trouble
from worker.encoding import Interrupted, encode
from worker.heartbeat import Heartbeat
from worker.judging import judge, unscorable
from worker.models import ModelCache, shared_models
from worker.regions import RegionReader

log = logging.getLogger(__name__)


def score_waiting(context: Context) -> None:
    """Score chunks until none is left, or the worker is being stopped."""
    settings = context.settings
    size = ClaimSize(settings.claim_rows)
    while not context.draining():
        claim = claim_chunks(context.database, context.owner, settings.lease_seconds, size.rows)
        if claim is None:
            return
        seconds = _score_held(context, claim)
        size.after(sum(chunk.last - chunk.first + 1 for chunk in claim.chunks), seconds)


def _score_held(context: Context, claim: Claim, outer: Callable[[], None] = lambda: None) -> float:
    """Score a claim and keep its lease meanwhile. ``outer`` is told that the work moves on, too.

    Returns what :func:`score_claim` does.
    """
    lease = context.settings.lease_seconds
    with Heartbeat(partial(renew_chunks, context.database, claim, lease), lease) as heartbeat:

        def progress() -> None:
            heartbeat.progress()
            outer()

        try:
            return score_claim(context, shared_models(context), claim, progress)
        except ENVIRONMENT as error:
            with suppress(SQLAlchemyError):
                release_chunks(context.database, claim, PAUSE_SECONDS, trouble(error))
            raise


def score_claim(
    context: Context, models: ModelCache, claim: Claim, progress: Callable[[], None] = lambda: None
) -> float:
    """Score one claim and record it; a claim that must stop is handed back, its new embeddings kept.

    Small jobs that come meanwhile are scored between its batches: nobody waits for one comparison behind a night's.

    Returns the seconds that the work itself took. Waiting for other writers of the database is none of it: claims
    that shrank because of that would have more to wait for.
    """
    started = time.monotonic()
    claim = Claim(claim.model, tuple(chunk for chunk in claim.chunks if not _set_aside(context, claim.model, chunk)))
    try:
        embedder = models.get(claim.model)
    except Unavailable:
        raise  # the host's trouble: the work waits for it
    except CountersignError as error:
        for job_id in {chunk.job_id for chunk in claim.chunks}:
            fail_job(context.database, job_id, error)
        release_chunks(context.database, claim)
        return 0.0
    with context.database.read() as session:
        work = load_work(session, claim)
    scored = Scored()
    between = BetweenBatches(context, claim, scored, partial(_score_urgent, context, progress))

    def check() -> None:
        progress()
        between()

    try:
        encoded = encode(context, claim.model.id, embedder, work, scored, check)
    except Interrupted:
        record(context.database, Claim(claim.model, ()), scored)
        release_chunks(context.database, claim)
        return 0.0
    scored.results = judge(work.pending, encoded, claim.model, embedder.compare)
    seconds = time.monotonic() - started
    record(context.database, claim, scored)
    return seconds


def _score_urgent(context: Context, progress: Callable[[], None]) -> None:
    """Score what waits of small jobs, at most one claim."""
    settings = context.settings
    claim = claim_chunks(context.database, context.owner, settings.lease_seconds, settings.claim_rows, only_urgent=True)
    if claim is not None:
        _score_held(context, claim, progress)


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
