"""How long a job will still take, by what its kind was measured to take here."""

from __future__ import annotations

from datetime import datetime
from functools import cache

import sqlalchemy as sa
from sqlalchemy.orm import Session

from shared.jobs.queries import Glance
from shared.queue import QUEUE_OF, SOLO_TASKS, TaskNames
from shared.tables import Job, JobState

RECENT = 10  # ended jobs of a kind that its rate is measured on
OPEN = (JobState.QUEUED, JobState.RUNNING, JobState.CANCELLING)

# Made once: each submission is told when to ask for its job.
_BEFORE = (
    sa.select(Job.kind, sa.func.sum(Job.total - Job.done))
    .where(Job.state.in_(OPEN), Job.kind.in_(sa.bindparam("kinds", expanding=True)), Job.id <= sa.bindparam("job"))
    .group_by(Job.kind)
)
_RECENT = (
    sa.select(Job.total, Job.started_at, Job.finished_at)
    .where(Job.state == JobState.SUCCEEDED, Job.kind == sa.bindparam("kind"))
    .where(Job.total > 0, Job.started_at.is_not(None))
    .order_by(Job.id.desc())
    .limit(RECENT)
)


def seconds_left(session: Session, job: Job | Glance, now: datetime) -> float | None:
    """Seconds until the job should end; None where nothing was measured yet, 0 when it has ended.

    A job that has begun is measured by itself: what is left of it, at the rate of what is done. One that waits, by
    the seconds that one unit (comparison, epoch ...) took in the last jobs of each kind, for its own units and those
    of the jobs before it in its queue.
    """
    if JobState(job.state).ended:
        return 0.0
    if job.started_at and 0 < job.done < job.total:
        return (now - job.started_at).total_seconds() * (job.total - job.done) / job.done
    before = session.execute(_BEFORE, {"kinds": _beside(job.kind), "job": job.id})
    ahead = {kind: units for kind, units in before if units}
    costs = {kind: _seconds_a_unit(session, kind) for kind in ahead}
    if not ahead or not all(costs.values()):
        return None
    return sum(float(units) * (costs[kind] or 0.0) for kind, units in ahead.items())


@cache
def _beside(kind: str) -> list[str]:
    """The kinds of job that the same workers do."""
    queues = {each: QUEUE_OF[task] for each, task in (SOLO_TASKS | {"verify": TaskNames.SCORE}).items()}
    return [each for each, queue in queues.items() if queue == queues[kind]]


def _seconds_a_unit(session: Session, kind: str) -> float | None:
    rows = session.execute(_RECENT, {"kind": kind}).all()
    seconds = _seconds_of_any([(row.started_at, row.finished_at) for row in rows if row.finished_at])
    units = sum(row.total for row in rows)
    return max(seconds, 0.001) / units if units else None


def _seconds_of_any(spans: list[tuple[datetime, datetime]]) -> float:
    """How long at least one of these times lasted: small jobs are done many at a time, each of them for as long."""
    seconds, until = 0.0, None
    for begin, end in sorted(spans):
        begin = begin if until is None else max(begin, until)
        if end > begin:
            seconds += (end - begin).total_seconds()
            until = end
    return seconds
