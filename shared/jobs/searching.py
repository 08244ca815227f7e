"""Finding jobs: by kind, state, submitter, tag, day, and words of their name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo

import sqlalchemy as sa
from sqlalchemy.orm import Session, joinedload

from shared.tables import Job, Person


@dataclass(frozen=True, slots=True)
class JobSearch:
    """What is looked for; None or empty: anything. Days are those of ``zone``, both inclusive."""

    kind: str | None = None
    state: str | None = None
    submitter: str | None = None
    tag: str | None = None
    words: str = ""  # each must stand in the name or be the beginning of the id
    since: date | None = None
    until: date | None = None
    zone: tzinfo = UTC


def find_jobs(
    session: Session, search: JobSearch, before: int | None = None, limit: int = 50
) -> tuple[Sequence[Job], int | None]:
    """A page of the jobs that are looked for, newest first, and the cursor of the next page (None at the end)."""
    query = sa.select(Job).options(joinedload(Job.model), joinedload(Job.person)).order_by(Job.id.desc())
    if before is not None:
        query = query.where(Job.id < before)
    jobs = session.scalars(query.where(*_conditions(search)).limit(limit + 1)).all()
    return jobs[:limit], jobs[limit - 1].id if len(jobs) > limit else None


def _conditions(search: JobSearch) -> list[sa.ColumnElement[bool]]:
    found: list[sa.ColumnElement[bool]] = []
    for column, value in ((Job.kind, search.kind), (Job.state, search.state), (Job.tag, search.tag)):
        if value:
            found.append(column == value)
    if search.submitter:
        found.append(Job.person_id.in_(sa.select(Person.id).where(Person.name == search.submitter)))
    if search.since:
        found.append(Job.created_at >= _midnight(search.since, search.zone))
    if search.until:
        found.append(Job.created_at < _midnight(search.until + timedelta(days=1), search.zone))
    for word in search.words.replace("\0", "\ufffd").split():  # PostgreSQL takes no NUL
        named = Job.label.icontains(word, autoescape=True)
        found.append(sa.or_(named, Job.public_id.startswith(word, autoescape=True)))
    return found


def _midnight(day: date, zone: tzinfo) -> datetime:
    return datetime.combine(day, time(), zone)


def submitters(session: Session) -> Sequence[str]:
    """The names of all people, in order."""
    return session.scalars(sa.select(Person.name).order_by(Person.name)).all()
