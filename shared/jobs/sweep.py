"""The sweep: rings again for work that nobody holds. It makes the queue's losses harmless."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from shared.config import Settings
from shared.db import Database, epoch_now, passed
from shared.jobs.lifecycle import settle_cancel
from shared.queue import Doorbell, task_of
from shared.tables import Chunk, Job, JobState
from shared.tables.jobs import ChunkState

MOST_RINGS = 8  # of one kind in one sweep: each wakes one worker, and a worker takes all it can
RING_AGAIN = 6  # sweeps between two rings for the same job, so that a long queue is not filled with repeats


def requeue_stalled(settings: Settings, database: Database, doorbell: Doorbell) -> int:
    """Ring for every job that waits while nobody works on it, and settle cancelled ones. Returns the rings sent."""
    pause = RING_AGAIN * settings.sweep_seconds
    waiting = sa.exists().where(
        Chunk.job_id == Job.id,
        Chunk.state.in_((ChunkState.WAITING, ChunkState.CLAIMED)),
        passed(Chunk.lease_until),
    )
    stalled = (
        sa.select(Job.id, Job.public_id, Job.kind, Job.intake_done)
        .where(
            Job.state.in_((JobState.QUEUED, JobState.RUNNING)),
            sa.or_(Job.rung_at < epoch_now() - pause, Job.rung_at > epoch_now()),  # the latter: the clock was set back
            sa.or_(sa.and_(~Job.intake_done, passed(Job.lease_until)), sa.and_(Job.intake_done, waiting)),
        )
        .order_by(Job.id)
        .limit(500)
    )
    with database.read() as session:
        jobs = session.execute(stalled).all()
        cancelling = session.scalars(sa.select(Job.id).where(Job.state == JobState.CANCELLING)).all()
    rung = [job.id for job in _some_of_each(jobs) if doorbell.ring(task_of(job.kind, job.intake_done), job.public_id)]
    if rung:
        with database.write() as session:
            session.execute(sa.update(Job).where(Job.id.in_(rung)).values(rung_at=epoch_now()))
    for job_id in cancelling:
        settle_cancel(database, job_id)
    return len(rung)


def _some_of_each(jobs: Sequence[Any]) -> list[Any]:
    """The oldest jobs of each task: the rest are rung for when these have moved on."""
    rings: dict[str, list[Any]] = {}
    for job in jobs:
        rings.setdefault(task_of(job.kind, job.intake_done), []).append(job)
    return [job for waiting in rings.values() for job in waiting[:MOST_RINGS]]
