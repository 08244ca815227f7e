"""How a job moves between its states: by a guarded UPDATE that names the states it may start from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from shared import audit
from shared.db import Database, epoch_now, passed, utcnow
from shared.errors import Conflict, CountersignError
from shared.tables import Chunk, Job, JobState
from shared.tables.base import table_of
from shared.tables.jobs import ChunkState
from shared.webhooks.outbox import note_ended

MAX_CLAIMS = 10  # a job that ended this many workers is not given to an eleventh
MAX_FAULTS = 100  # kept on the job; every row's own fault is in its result

_JOBS = table_of(Job)
_COMPLETE = (
    sa.update(_JOBS)
    .where(
        _JOBS.c.id.in_(sa.bindparam("ids", expanding=True)),
        _JOBS.c.state.in_((JobState.QUEUED, JobState.RUNNING)),
        _JOBS.c.intake_done,
        _JOBS.c.chunks_left == 0,
    )
    .values(state=JobState.SUCCEEDED, finished_at=sa.bindparam("now", type_=_JOBS.c.finished_at.type), phase="")
    .returning(_JOBS.c.id)
)


@dataclass(frozen=True, slots=True)
class JobClaim:
    """The right to do the part of a job that one worker does alone, until the lease runs out."""

    job_id: int
    fence: int
    tries: int = 1  # workers that took it in this attempt without handing it back, this one included


def _changed(session: Session, statement: sa.Update) -> bool:
    return bool(session.connection().execute(statement).rowcount)


def _ended(session: Session, statement: sa.Update, job_id: int) -> bool:
    """Do what ends the job, and have it told of in the same transaction."""
    ended = _changed(session, statement)
    if ended:
        note_ended(session, job_id)
    return ended


def claim_job(database: Database, public_id: str, owner: str, lease: float) -> JobClaim | None:
    """Take a queued or stalled job; None when it has ended, is gone, or somebody holds its lease."""
    statement = (
        sa.update(Job)
        .where(
            Job.public_id == public_id,
            Job.state.in_((JobState.QUEUED, JobState.RUNNING)),
            passed(Job.lease_until),
        )
        .values(
            state=JobState.RUNNING,
            fence=Job.fence + 1,
            claims=Job.claims + 1,
            lease_until=epoch_now() + lease,
            owner=owner,
            started_at=sa.func.coalesce(Job.started_at, utcnow()),
        )
        .returning(Job.id, Job.fence, Job.claims)
    )
    with database.write() as session:
        row = session.connection().execute(statement).first()
    if row is None:
        return None
    if row.claims > MAX_CLAIMS:
        error = CountersignError("crashed", f"The job ended {MAX_CLAIMS} workers. The server's log may say why.")
        fail_job(database, row.id, error, row.fence)
        return None
    return JobClaim(row.id, row.fence, row.claims)


def _held(claim: JobClaim) -> tuple[sa.ColumnElement[bool], ...]:
    going_on = Job.state.in_((JobState.RUNNING, JobState.CANCELLING))
    return Job.id == claim.job_id, Job.fence == claim.fence, going_on


def renew_job(database: Database, claim: JobClaim, lease: float) -> bool:
    """Keep the lease; False when it was lost to another worker, or handed back."""
    kept = sa.update(Job).where(*_held(claim), Job.owner.is_not(None)).values(lease_until=epoch_now() + lease)
    with database.write() as session:
        return _changed(session, kept)


def release_job(database: Database, claim: JobClaim, pause: float = 0.0, phase: str = "") -> None:
    """Hand the job back, for another worker to go on with; with ``pause``, not for as many seconds."""
    values = {"lease_until": epoch_now() + pause, "owner": None, "rung_at": 0.0, "claims": Job.claims - 1}
    with database.write() as session:
        tell(session, claim, phase=phase[:80], **values)
    settle_cancel(database, claim.job_id)


def tell(session: Session, claim: JobClaim, **values: Any) -> bool:
    """Write progress (``phase``, ``done``, ``total``, ``report`` ...) of a job that is held."""
    return _changed(session, sa.update(Job).where(*_held(claim)).values(**values))


def must_stop(session: Session, claim: JobClaim) -> bool:
    """Whether the holder should stop: cancelled, or the lease was lost."""
    row = session.execute(sa.select(Job.state, Job.fence).where(Job.id == claim.job_id)).first()
    return row is None or row.fence != claim.fence or row.state != JobState.RUNNING


def finish_intake(database: Database, claim: JobClaim) -> None:
    """All rows are in. Ends the job if its last chunk is done already (or there was none)."""
    with database.write() as session:
        if tell(session, claim, intake_done=True, lease_until=0.0, owner=None, phase=""):
            end_if_complete(session, claim.job_id)
    settle_cancel(database, claim.job_id)


def end_if_complete(session: Session, *job_ids: int) -> set[int]:
    """Succeed those of the jobs of which nothing is left; they are returned.

    Called in the transaction that did their last part, or retried it.
    """
    if not job_ids:
        return set()
    values = {"ids": sorted(job_ids), "now": utcnow()}
    ended = set(session.connection().execute(_COMPLETE, values).scalars())
    note_ended(session, *ended)
    return ended


def succeed_job(session: Session, claim: JobClaim, **values: Any) -> bool:
    """The holder has done it all; False when the lease was lost meanwhile."""
    statement = (
        sa.update(Job)
        .where(*_held(claim))
        .values(state=JobState.SUCCEEDED, finished_at=utcnow(), phase="", lease_until=0.0, owner=None, **values)
    )
    return _ended(session, statement, claim.job_id)


def fail_job(database: Database, job_id: int, error: CountersignError, fence: int | None = None) -> bool:
    """End the job with what went wrong. With ``fence``, only if the lease is still that one."""
    guards = [Job.id == job_id, Job.state.in_((JobState.QUEUED, JobState.RUNNING, JobState.CANCELLING))]
    if fence is not None:
        guards.append(Job.fence == fence)
    statement = (
        sa.update(Job)
        .where(*guards)
        .values(
            state=JobState.FAILED,
            finished_at=utcnow(),
            error_code=error.code,
            error_message=error.message,
            faults=[fault.told() for fault in error.faults[:MAX_FAULTS]],
            lease_until=0.0,
            owner=None,
            phase="",
        )
    )
    with database.write() as session:
        _lock_chunks(session, job_id)
        failed = _ended(session, statement, job_id)
        if failed:
            _shelve_chunks(session, job_id)
        return failed


def _lock_chunks(session: Session, job_id: int | sa.ScalarSelect[int]) -> None:
    """Before the job's row is locked, lock those of its chunks that are not done: workers lock both in this order."""
    left = sa.select(Chunk.id).where(Chunk.job_id == job_id, Chunk.state != ChunkState.DONE)
    session.execute(left.order_by(Chunk.id).with_for_update()).all()


def _shelve_chunks(session: Session, job_id: int) -> None:
    """Take what is left of an ended job out of the workers' way; a retry brings it back."""
    left = sa.update(Chunk).where(Chunk.job_id == job_id, Chunk.state.in_((ChunkState.WAITING, ChunkState.CLAIMED)))
    session.execute(left.values(state=ChunkState.SHELVED, lease_until=0.0, owner=None))


def request_cancel(database: Database, public_id: str, person_id: int | None) -> None:
    """Ask a job to stop; what is done is kept. A job nobody works on is cancelled at once.

    Raises:
        Conflict: code ``job_ended``.
    """
    statement = (
        sa.update(Job)
        .where(Job.public_id == public_id, Job.state.in_((JobState.QUEUED, JobState.RUNNING, JobState.CANCELLING)))
        .values(state=JobState.CANCELLING)
        .returning(Job.id)
    )
    with database.write() as session:
        row = session.connection().execute(statement).first()
        if row is None:
            raise Conflict("job_ended", "The job has ended already; there is nothing to cancel.")
        audit.note(session, person_id, "job.cancel", public_id)
    settle_cancel(database, row.id)


def request_finish(database: Database, public_id: str, person_id: int | None, name: str) -> None:
    """Ask a training to end now with the best weights so far; ``name`` is of the person, for the report.

    Raises:
        Conflict: code ``job_ended``, ``job_not_finishable`` (no training) or ``nothing_to_keep`` (no epoch is done).
    """
    guards = (Job.kind == "train", Job.state.in_((JobState.QUEUED, JobState.RUNNING)), Job.done > 0)
    statement = (
        sa.update(Job)
        .where(Job.public_id == public_id, *guards)
        .values(finish_by=sa.func.coalesce(Job.finish_by, name), phase="ending with the best epoch so far")
    )
    with database.write() as session:
        if not _changed(session, statement):
            raise _not_to_be_finished(session.scalars(sa.select(Job).where(Job.public_id == public_id)).one())
        audit.note(session, person_id, "job.finish", public_id)


def _not_to_be_finished(job: Job) -> Conflict:
    if job.kind != "train":
        return Conflict(
            "job_not_finishable", "Only a training can be ended with the best so far; others are cancelled."
        )
    if JobState(job.state).ended or job.state == JobState.CANCELLING:
        return Conflict("job_ended", "The job has ended already, or is being cancelled; there is nothing to end early.")
    return Conflict(
        "nothing_to_keep", "No epoch is done yet, so there is nothing to keep. Wait for the first, or cancel."
    )


def finish_asked(session: Session, claim: JobClaim) -> str | None:
    """The name of who asked that the job end early with what it has; None when nobody did."""
    return session.scalar(sa.select(Job.finish_by).where(Job.id == claim.job_id))


def settle_cancel(database: Database, job_id: int) -> bool:
    """Cancel a job that was asked to stop, once no worker holds any part of it; nothing happens to any other.

    Called after the transaction that let go of a part; where that never comes to it, the sweep does it.
    """
    with database.read() as session:
        if session.scalar(sa.select(Job.state).where(Job.id == job_id)) != JobState.CANCELLING:
            return False
    held = sa.exists().where(Chunk.job_id == Job.id, Chunk.state == ChunkState.CLAIMED, ~passed(Chunk.lease_until))
    free = sa.or_(passed(Job.lease_until), Job.owner.is_(None))  # handed back for a while, it has no owner
    statement = (
        sa.update(Job)
        .where(Job.id == job_id, Job.state == JobState.CANCELLING, free, ~held)
        .values(state=JobState.CANCELLED, finished_at=utcnow(), phase="")
    )
    with database.write() as session:
        _lock_chunks(session, job_id)
        cancelled = _ended(session, statement, job_id)
        if cancelled:
            _shelve_chunks(session, job_id)
    return cancelled


def stop_held(database: Database, claim: JobClaim) -> None:
    """The holder of a cancelled job lets go of it."""
    with database.write() as session:
        tell(session, claim, lease_until=0.0, owner=None)
    settle_cancel(database, claim.job_id)


def retry_job(database: Database, public_id: str, person_id: int | None) -> str:
    """Queue a failed or cancelled job again, with only what is missing; returns its kind.

    Raises:
        Conflict: code ``job_not_retryable``.
    """
    statement = (
        sa.update(Job)
        .where(Job.public_id == public_id, Job.state.in_((JobState.FAILED, JobState.CANCELLED)))
        .values(
            state=JobState.QUEUED,
            attempt=Job.attempt + 1,
            fence=Job.fence + 1,  # a worker that still believes it holds the job has no say in this attempt
            error_code=None,
            error_message=None,
            faults=[],
            finished_at=None,
            lease_until=0.0,
            claims=0,
            finish_by=None,
        )
        .returning(Job.kind, Job.id)
    )
    with database.write() as session:
        _lock_chunks(session, sa.select(Job.id).where(Job.public_id == public_id).scalar_subquery())
        row = session.connection().execute(statement).first()
        if row is None:
            raise Conflict("job_not_retryable", "Only a failed or cancelled job can be retried.")
        session.execute(
            sa.update(Chunk)
            .where(Chunk.job_id == row.id, Chunk.state != ChunkState.DONE)
            .values(state=ChunkState.WAITING, tries=0, lease_until=0.0)
        )
        end_if_complete(session, row.id)  # it may have been cancelled while its last chunk was scored
        audit.note(session, person_id, "job.retry", public_id)
        return str(row.kind)
