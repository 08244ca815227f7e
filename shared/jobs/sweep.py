"""The sweep: rings again for work that nobody holds. It makes the queue's losses harmless."""

from __future__ import annotations

import sqlalchemy as sa

from shared.config import Settings
from shared.db import Database, epoch_now
from shared.jobs.lifecycle import settle_cancel
from shared.queue import Doorbell, TaskNames
from shared.tables import Chunk, Job, JobState
from shared.tables.jobs import ChunkState

RING_AGAIN = 6  # sweeps between two rings for the same job, so that a long queue is not filled with repeats


def requeue_stalled(settings: Settings, database: Database, doorbell: Doorbell) -> int:
    """Ring for every job that waits while nobody works on it, and settle cancelled ones. Returns the rings sent."""
    pause = RING_AGAIN * settings.sweep_seconds
    waiting = sa.exists().where(Chunk.job_id == Job.id, Chunk.state != ChunkState.DONE, Chunk.lease_until < epoch_now())
    stalled = (
        sa.select(Job.id, Job.public_id, Job.kind, Job.intake_done)
        .where(
            Job.state.in_((JobState.QUEUED, JobState.RUNNING)),
            Job.rung_at < epoch_now() - pause,
            sa.or_(sa.and_(~Job.intake_done, Job.lease_until < epoch_now()), sa.and_(Job.intake_done, waiting)),
        )
        .order_by(Job.id)
        .limit(500)
    )
    with database.write() as session:
        jobs = session.execute(stalled).all()
        session.execute(sa.update(Job).where(Job.id.in_([job.id for job in jobs])).values(rung_at=epoch_now()))
        for job_id in session.scalars(sa.select(Job.id).where(Job.state == JobState.CANCELLING)):
            settle_cancel(session, job_id)
    rings = [(_task(job.kind, job.intake_done), job.public_id) for job in jobs]
    # One ring wakes a scoring worker for all that waits, whosever it is: more would only fill the queue.
    scoring = [ring for ring in rings if ring[0] == TaskNames.SCORE][:1]
    return sum(doorbell.ring(*ring) for ring in [r for r in rings if r[0] != TaskNames.SCORE] + scoring)


def _task(kind: str, intake_done: bool) -> str:
    if kind == "train":
        return TaskNames.TRAIN
    return TaskNames.SCORE if intake_done else TaskNames.INTAKE
