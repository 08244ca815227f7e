from __future__ import annotations

import pytest
import sqlalchemy as sa

from shared.config import Settings
from shared.db import Database, epoch_now, utcnow
from shared.jobs.chunks import claim_chunks
from shared.jobs.lifecycle import claim_job, request_cancel
from shared.jobs.sweep import requeue_stalled
from shared.queue import TaskNames
from shared.tables import Chunk, Job, JobState
from shared.tables.base import public_id
from tests.factories import Doorbells, batch_job, expire, reload, unbacked_model


def queued(database: Database, kind: str) -> Job:
    with database.write() as session:
        job = Job(public_id=public_id("job"), kind=kind, spec={}, created_at=utcnow())
        session.add(job)
    return job


def swept(settings: Settings, database: Database) -> list[tuple[str, str]]:
    doorbell = Doorbells()
    assert requeue_stalled(settings, database, doorbell) == len(doorbell.rung)
    return [(task, ids[0]) for task, ids, _ in doorbell.rung]


def forget_rings(database: Database) -> None:
    with database.write() as session:
        session.execute(sa.update(Job).values(rung_at=0.0))


@pytest.mark.parametrize(("kind", "task"), [("verify", TaskNames.INTAKE), ("train", TaskNames.TRAIN)])
def test_jobs_that_nobody_took_are_rung_for(settings: Settings, database: Database, kind: str, task: str) -> None:
    job = queued(database, kind)
    assert swept(settings, database) == [(task, job.public_id)]


def test_chunks_that_nobody_took_are_rung_for(settings: Settings, database: Database) -> None:
    job = batch_job(database, unbacked_model(database))
    assert swept(settings, database) == [(TaskNames.SCORE, job.public_id)]


def test_what_is_held_is_left_alone_until_its_holder_is_silent(settings: Settings, database: Database) -> None:
    job = queued(database, "train")
    claim_job(database, job.public_id, "worker-1", 30)
    batch = batch_job(database, unbacked_model(database), 4, 4)
    claim_chunks(database, "worker-1", 30, 100)
    assert swept(settings, database) == []
    expire(database, Job)
    expire(database, Chunk)
    assert swept(settings, database) == [(TaskNames.TRAIN, job.public_id), (TaskNames.SCORE, batch.public_id)]


def test_it_does_not_ring_at_every_sweep(settings: Settings, database: Database) -> None:
    queued(database, "train")
    assert len(swept(settings, database)) == 1
    assert swept(settings, database) == []
    forget_rings(database)
    assert len(swept(settings, database)) == 1


def test_it_rings_again_after_six_sweeps(settings: Settings, database: Database) -> None:
    queued(database, "train")
    swept(settings, database)
    for ago, rings in ((5.5, 0), (6.5, 1)):
        with database.write() as session:
            session.execute(sa.update(Job).values(rung_at=epoch_now() - ago * settings.sweep_seconds))
        assert len(swept(settings, database)) == rings


@pytest.mark.parametrize("state", [JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED])
def test_ended_jobs_are_left_alone(settings: Settings, database: Database, state: JobState) -> None:
    batch_job(database, unbacked_model(database), state=state)
    assert swept(settings, database) == []


def test_a_cancellation_is_settled_when_the_holder_is_silent(settings: Settings, database: Database) -> None:
    job = batch_job(database, unbacked_model(database), 4, 4)
    claim_chunks(database, "worker-1", 30, 100)
    request_cancel(database, job.public_id, None)
    swept(settings, database)
    assert reload(database, job).state == JobState.CANCELLING
    expire(database, Chunk)
    swept(settings, database)
    assert reload(database, job).state == JobState.CANCELLED


def test_an_absent_queue_is_counted_as_no_ring(settings: Settings, database: Database) -> None:
    queued(database, "train")
    assert requeue_stalled(settings, database, Doorbells(deaf=True)) == 0
