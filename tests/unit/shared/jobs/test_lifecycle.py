from __future__ import annotations

from collections.abc import Callable

import pytest
import sqlalchemy as sa

from shared.db import Database, utcnow
from shared.errors import Conflict, Fault, InvalidInput
from shared.jobs import lifecycle
from shared.jobs.chunks import claim_chunks, record
from shared.jobs.lifecycle import JobClaim, claim_job
from shared.tables import AuditEvent, Chunk, Job, JobState
from shared.tables.base import public_id
from tests.factories import batch_job, expire, reload, scores, unbacked_model

LEASE = 30.0
ENDED = (JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED)


def training(database: Database, state: JobState = JobState.QUEUED) -> Job:
    with database.write() as session:
        job = Job(public_id=public_id("job"), kind="train", spec={}, state=state, total=3, created_at=utcnow())
        session.add(job)
    return job


def claimed(database: Database, job: Job, owner: str = "worker-1") -> JobClaim:
    claim = claim_job(database, job.public_id, owner, LEASE)
    assert claim is not None
    return claim


def told(database: Database, claim: JobClaim, **values: object) -> bool:
    with database.write() as session:
        return lifecycle.tell(session, claim, **values)


def must_stop(database: Database, claim: JobClaim) -> bool:
    with database.read() as session:
        return lifecycle.must_stop(session, claim)


def succeeded(database: Database, claim: JobClaim) -> bool:
    with database.write() as session:
        return lifecycle.succeed_job(session, claim, done=3)


def test_one_claims_and_the_other_does_not(database: Database) -> None:
    job = training(database)
    claim = claimed(database, job)
    assert claim.fence == 1
    assert claim_job(database, job.public_id, "worker-2", LEASE) is None
    now = reload(database, job)
    assert (now.state, now.owner) == (JobState.RUNNING, "worker-1")
    assert now.started_at is not None


def test_no_such_job(database: Database) -> None:
    assert claim_job(database, "job_none", "worker-1", LEASE) is None


@pytest.mark.parametrize("state", [JobState.CANCELLING, *ENDED])
def test_only_queued_and_running_jobs_are_claimed(database: Database, state: JobState) -> None:
    assert claim_job(database, training(database, state).public_id, "worker-1", LEASE) is None


def test_a_silent_workers_job_is_taken_over_and_the_late_one_writes_nothing(database: Database) -> None:
    job = training(database)
    late = claimed(database, job)
    expire(database, Job)
    holder = claimed(database, job, "worker-2")
    assert holder.fence == late.fence + 1
    assert not told(database, late, done=2)
    assert not lifecycle.renew_job(database, late, LEASE)
    assert not succeeded(database, late)
    assert not lifecycle.fail_job(database, job.id, InvalidInput("late", "too late"), late.fence)
    lifecycle.release_job(database, late)
    lifecycle.stop_held(database, late)
    assert must_stop(database, late)
    now = reload(database, job)
    assert (now.state, now.done, now.owner, now.error_code) == (JobState.RUNNING, 0, "worker-2", None)
    assert not must_stop(database, holder)
    assert told(database, holder, done=1)
    assert succeeded(database, holder)


def test_the_start_is_the_first_claims(database: Database) -> None:
    job = training(database)
    claimed(database, job)
    first = reload(database, job).started_at
    expire(database, Job)
    claimed(database, job, "worker-2")
    assert reload(database, job).started_at == first


def test_renewal(database: Database) -> None:
    job = training(database)
    claim = claimed(database, job)
    expire(database, Job)
    assert lifecycle.renew_job(database, claim, LEASE)
    assert claim_job(database, job.public_id, "worker-2", LEASE) is None


def test_release_lets_another_go_on_at_once(database: Database) -> None:
    job = training(database)
    lifecycle.release_job(database, claimed(database, job))
    assert claimed(database, job, "worker-2").fence == 2


def test_success(database: Database) -> None:
    job = training(database)
    assert succeeded(database, claimed(database, job))
    now = reload(database, job)
    assert (now.state, now.done, now.owner) == (JobState.SUCCEEDED, 3, None)
    assert now.finished_at is not None


def test_failure_says_what_and_where(database: Database) -> None:
    job = training(database)
    claim = claimed(database, job)
    faults = tuple(Fault("f", f"fault {number}", "line 1") for number in range(150))
    assert lifecycle.fail_job(database, job.id, InvalidInput("a_code", "a sentence", faults), claim.fence)
    now = reload(database, job)
    assert (now.state, now.error_code, now.error_message) == (JobState.FAILED, "a_code", "a sentence")
    assert len(now.faults) == lifecycle.MAX_FAULTS
    assert now.faults[0] == {"code": "f", "message": "fault 0", "where": "line 1"}


@pytest.mark.parametrize("state", ENDED)
def test_a_job_that_ended_does_not_fail_afterwards(database: Database, state: JobState) -> None:
    job = training(database, state)
    assert not lifecycle.fail_job(database, job.id, InvalidInput("late", "too late"))
    assert reload(database, job).state == state


def test_cancel_a_queued_job(database: Database) -> None:
    job = training(database)
    lifecycle.request_cancel(database, job.public_id, None)
    now = reload(database, job)
    assert now.state == JobState.CANCELLED
    assert now.finished_at is not None
    with database.read() as session:
        assert session.scalars(sa.select(AuditEvent.action)).all() == ["job.cancel"]


def test_cancel_a_held_job_waits_for_its_holder(database: Database) -> None:
    job = training(database)
    claim = claimed(database, job)
    lifecycle.request_cancel(database, job.public_id, None)
    assert reload(database, job).state == JobState.CANCELLING
    assert must_stop(database, claim)
    lifecycle.stop_held(database, claim)
    assert reload(database, job).state == JobState.CANCELLED


def test_cancel_twice(database: Database) -> None:
    job = training(database)
    claimed(database, job)
    for _ in range(2):
        lifecycle.request_cancel(database, job.public_id, None)
    assert reload(database, job).state == JobState.CANCELLING


def test_cancel_a_job_whose_worker_is_silent(database: Database) -> None:
    job = training(database)
    claimed(database, job)
    expire(database, Job)
    lifecycle.request_cancel(database, job.public_id, None)
    assert reload(database, job).state == JobState.CANCELLED


@pytest.mark.parametrize("state", ENDED)
def test_cancel_a_job_that_ended(database: Database, state: JobState) -> None:
    job = training(database, state)
    with pytest.raises(Conflict) as caught:
        lifecycle.request_cancel(database, job.public_id, None)
    assert caught.value.code == "job_ended"
    assert reload(database, job).state == state


def test_a_training_that_was_done_when_the_cancel_came_has_succeeded(database: Database) -> None:
    job = training(database)
    claim = claimed(database, job)
    lifecycle.request_cancel(database, job.public_id, None)
    assert succeeded(database, claim)
    assert reload(database, job).state == JobState.SUCCEEDED


@pytest.mark.parametrize("state", [JobState.FAILED, JobState.CANCELLED])
def test_retry(database: Database, state: JobState) -> None:
    job = training(database, state)
    with database.write() as session:
        session.execute(sa.update(Job).values(error_code="e", error_message="m", faults=[1], finished_at=utcnow()))
    assert lifecycle.retry_job(database, job.public_id, None) == "train"
    now = reload(database, job)
    assert (now.state, now.attempt, now.error_code, now.faults) == (JobState.QUEUED, 2, None, [])
    assert now.finished_at is None
    assert claimed(database, job).fence == 2


@pytest.mark.parametrize("state", [JobState.QUEUED, JobState.RUNNING, JobState.CANCELLING, JobState.SUCCEEDED])
def test_what_cannot_be_retried(database: Database, state: JobState) -> None:
    with pytest.raises(Conflict) as caught:
        lifecycle.retry_job(database, training(database, state).public_id, None)
    assert caught.value.code == "job_not_retryable"


def test_a_late_worker_has_no_say_in_the_next_attempt(database: Database) -> None:
    """It slept through its lease, the job was cancelled and tried again, and nobody has taken that up yet."""
    job = training(database)
    late = claimed(database, job)
    expire(database, Job)
    lifecycle.request_cancel(database, job.public_id, None)
    assert not told(database, late, done=2), "a cancelled job's numbers stand"
    lifecycle.retry_job(database, job.public_id, None)
    assert not lifecycle.renew_job(database, late, LEASE)
    assert not lifecycle.fail_job(database, job.id, InvalidInput("late", "too late"), late.fence)
    now = reload(database, job)
    assert (now.state, now.done, now.lease_until) == (JobState.QUEUED, 0, 0.0)


def test_a_late_heartbeat_does_not_take_back_what_was_handed_back(database: Database) -> None:
    """It beats in a thread of its own: once more, perhaps, after the job was released."""
    job = training(database)
    claim = claimed(database, job)
    lifecycle.release_job(database, claim)
    assert not lifecycle.renew_job(database, claim, LEASE)
    assert claimed(database, job, "worker-2").fence == 2


def test_a_job_that_waits_for_the_host_is_cancelled_at_once(database: Database) -> None:
    job = training(database)
    lifecycle.release_job(database, claimed(database, job), pause=60, phase="waiting: the disk is full")
    lifecycle.request_cancel(database, job.public_id, None)
    assert reload(database, job).state == JobState.CANCELLED


@pytest.mark.parametrize("let_go", [lifecycle.release_job, lifecycle.finish_intake])
def test_whoever_lets_go_settles_a_cancellation(
    database: Database, let_go: Callable[[Database, JobClaim], None]
) -> None:
    """Or it would stay until the next sweep."""
    job = batch_job(database, unbacked_model(database), 4, 4, state=JobState.QUEUED)
    claim = claimed(database, job)
    lifecycle.request_cancel(database, job.public_id, None)
    assert reload(database, job).state == JobState.CANCELLING
    let_go(database, claim)
    assert reload(database, job).state == JobState.CANCELLED


def finish_asked(database: Database, claim: JobClaim) -> str | None:
    with database.read() as session:
        return lifecycle.finish_asked(session, claim)


def test_a_training_is_asked_to_finish_once_it_has_something_to_keep(database: Database) -> None:
    job = training(database)
    claim = claimed(database, job)
    with pytest.raises(Conflict) as caught:
        lifecycle.request_finish(database, job.public_id, None, "ann")
    assert (caught.value.code, finish_asked(database, claim)) == ("nothing_to_keep", None)
    assert told(database, claim, done=1)
    for name in ("ann", "ben"):
        lifecycle.request_finish(database, job.public_id, None, name)
    assert finish_asked(database, claim) == "ann"
    assert not must_stop(database, claim), "it goes on to calibrate"
    assert reload(database, job).phase == "ending with the best epoch so far"
    with database.read() as session:
        assert session.scalars(sa.select(AuditEvent.action)).all() == ["job.finish"] * 2


@pytest.mark.parametrize("state", [JobState.CANCELLING, *ENDED])
def test_what_has_ended_is_not_finished(database: Database, state: JobState) -> None:
    job = training(database, state)
    with database.write() as session:
        session.get_one(Job, job.id).done = 2
    with pytest.raises(Conflict) as caught:
        lifecycle.request_finish(database, job.public_id, None, "ann")
    assert caught.value.code == "job_ended"


def test_other_kinds_are_not_finished(database: Database) -> None:
    job = batch_job(database, unbacked_model(database))
    with pytest.raises(Conflict) as caught:
        lifecycle.request_finish(database, job.public_id, None, "ann")
    assert caught.value.code == "job_not_finishable"


def test_a_retry_goes_on_to_the_end(database: Database) -> None:
    """What was asked of the attempt before is not asked of this one."""
    job = training(database)
    told(database, claimed(database, job), done=1)
    lifecycle.request_finish(database, job.public_id, None, "ann")
    expire(database, Job)
    lifecycle.request_cancel(database, job.public_id, None)
    lifecycle.retry_job(database, job.public_id, None)
    assert finish_asked(database, claimed(database, job)) is None


def test_a_retry_scores_only_what_is_missing(database: Database) -> None:
    job = batch_job(database, unbacked_model(database), 8, 4)
    first = claim_chunks(database, "worker-1", LEASE, 4)
    assert first is not None
    record(database, first, scores(first))
    lifecycle.request_cancel(database, job.public_id, None)
    assert reload(database, job).state == JobState.CANCELLED
    lifecycle.retry_job(database, job.public_id, None)
    rest = claim_chunks(database, "worker-1", LEASE, 100)
    assert rest is not None
    assert [(chunk.first, chunk.last, chunk.tries) for chunk in rest.chunks] == [(5, 8, 1)]
    record(database, rest, scores(rest))
    now = reload(database, job)
    assert (now.state, now.done) == (JobState.SUCCEEDED, 8)


def test_a_retry_of_a_job_of_which_nothing_is_missing_succeeds(database: Database) -> None:
    """It was cancelled while its last chunk was scored: nobody would ever ring for it again."""
    job = batch_job(database, unbacked_model(database), 4, 4)
    claim = claim_chunks(database, "worker-1", LEASE, 4)
    assert claim is not None
    lifecycle.request_cancel(database, job.public_id, None)
    record(database, claim, scores(claim))
    assert reload(database, job).state == JobState.CANCELLED
    lifecycle.retry_job(database, job.public_id, None)
    assert reload(database, job).state == JobState.SUCCEEDED


def test_a_retry_takes_work_from_a_worker_that_still_holds_it(database: Database) -> None:
    job = batch_job(database, unbacked_model(database), 4, 4)
    late = claim_chunks(database, "worker-1", LEASE, 4)
    assert late is not None
    lifecycle.fail_job(database, job.id, InvalidInput("e", "m"))
    lifecycle.retry_job(database, job.public_id, None)
    holder = claim_chunks(database, "worker-2", LEASE, 4)
    assert holder is not None
    assert record(database, late, scores(late)) == 0
    assert record(database, holder, scores(holder)) == 1
    assert reload(database, job).state == JobState.SUCCEEDED


def test_intake_that_ends_last_ends_the_job(database: Database) -> None:
    job = batch_job(database, unbacked_model(database), 4, 4)
    with database.write() as session:
        session.execute(sa.update(Job).values(intake_done=False))
    intake = claimed(database, job)
    claim = claim_chunks(database, "worker-2", LEASE, 4)
    assert claim is not None
    record(database, claim, scores(claim))
    assert reload(database, job).state == JobState.RUNNING
    lifecycle.finish_intake(database, intake)
    assert reload(database, job).state == JobState.SUCCEEDED


def test_intake_that_lost_its_lease_ends_nothing(database: Database) -> None:
    job = batch_job(database, unbacked_model(database), 4, 4)
    with database.write() as session:
        session.execute(sa.update(Job).values(intake_done=False))
        session.execute(sa.delete(Chunk))
        session.execute(sa.update(Job).values(chunks_left=0))
    late = claimed(database, job)
    expire(database, Job)
    claimed(database, job, "worker-2")
    lifecycle.finish_intake(database, late)
    now = reload(database, job)
    assert (now.intake_done, now.state) == (False, JobState.RUNNING)
