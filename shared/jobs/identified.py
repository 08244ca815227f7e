"""Reading the answers of identifications, for the worker's figures, the pages and the API."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from enum import StrEnum

import sqlalchemy as sa
from sqlalchemy.orm import Session

from shared.db import Database
from shared.jobs.keyset import Walk, Where
from shared.tables import Identification, Job

STREAM_ROWS = 1000
IDENTICAL = "identical"  # the code of a test image that equals one of a category pixel for pixel


class AnswerKind(StrEnum):
    """What an answer is, as its row has it; ``wrong`` are those of the first two that their label contradicts."""

    NAMED = "named"
    NONE = "none"
    ERROR = "error"
    WRONG = "wrong"


class Nearness(StrEnum):
    """By the distance to the nearest category; what has none comes last."""

    NEAR = "near"
    FAR = "far"


def identifications(
    session: Session, job_id: int, after: int = 0, limit: int = 100, kind: str | None = None
) -> tuple[Sequence[Identification], int | None]:
    """A page of answers from the one after ordinal ``after``, and the next cursor (None at the end)."""
    query = sa.select(Identification).where(*answers_where(job_id, kind), Identification.ordinal > after)
    rows = session.scalars(query.order_by(Identification.ordinal).limit(limit + 1)).all()
    return rows[:limit], rows[limit - 1].ordinal if len(rows) > limit else None


def stream_identifications(
    database: Database, job_id: int, kind: str | None = None, after: int = 0
) -> Iterator[Identification]:
    """All answers in order, in short reads: memory stays flat and no transaction stays open."""
    cursor: int | None = after
    while cursor is not None:
        with database.read() as session:
            page, cursor = identifications(session, job_id, cursor, STREAM_ROWS, kind)
        yield from page


def ordinals(
    session: Session,
    job_id: int,
    kind: str | None,
    order: str | None,
    after: int = 0,
    limit: int = 100,
    backwards: bool = False,
) -> list[int]:
    """The ordinals of the answers of a kind that follow ``after`` (0: from the start) in an order, at most ``limit``.

    With ``backwards`` those that stand before it, the nearest first. ``order`` is a :class:`Nearness`, or None: as the
    images were answered. Every step reads a handful of index entries, whatever the size of the job.
    """
    start = session.get(Identification, (job_id, after)) if after else None
    if order is None or kind == AnswerKind.ERROR:
        return _by_ordinal(session, answers_where(job_id, kind), after, limit, backwards)
    if after and start is None:
        return []
    runs = [
        [*answers_where(job_id, name), Identification.distance.is_not(None)]
        for name in ([kind] if kind else [AnswerKind.NAMED, AnswerKind.NONE])
    ]
    walk = Walk(Identification.distance, Identification.ordinal, (order == Nearness.FAR) != backwards, backwards)
    last = [] if kind else answers_where(job_id, AnswerKind.ERROR)
    if start is None or start.distance is not None:
        found = walk.ordinals(session, runs, (start.distance, after) if start else None, limit)
        more = limit - len(found) if last and not backwards else 0
        return found + (_by_ordinal(session, last, 0, more, backwards) if more else [])
    found = _by_ordinal(session, last, after, limit, backwards) if last else []
    more = limit - len(found) if backwards else 0
    return found + (walk.ordinals(session, runs, None, more) if more else [])


def _by_ordinal(session: Session, where: Where, after: int, limit: int, backwards: bool) -> list[int]:
    column = sa.type_coerce(Identification.ordinal, sa.Integer)
    beyond = column < after if backwards else column > after
    query = sa.select(column).where(*where, beyond).order_by(column.desc() if backwards else column)
    return list(session.scalars(query.limit(limit)))


def answers_at(session: Session, job_id: int, wanted: Sequence[int]) -> list[Identification]:
    """The answers at these ordinals, in their order."""
    query = sa.select(Identification).where(Identification.job_id == job_id, Identification.ordinal.in_(wanted))
    found = {answer.ordinal: answer for answer in session.scalars(query)}
    return [found[ordinal] for ordinal in wanted]


def count_kinds(session: Session, job_id: int) -> dict[str, int]:
    """How many answers there are of each kind."""
    kinds = sa.select(Identification.answer, sa.func.count().label("images"))
    rows = session.execute(kinds.where(Identification.job_id == job_id).group_by(Identification.answer))
    found: dict[str, int] = {row.answer: row.images for row in rows}
    wrong = sa.select(sa.func.count()).where(*answers_where(job_id, AnswerKind.WRONG))
    found[AnswerKind.WRONG] = session.scalar(wrong) or 0
    return {str(kind): found.get(kind, 0) for kind in AnswerKind}


def answered(session: Session, job: Job) -> dict[str, int]:
    """The same of a job: what its worker has counted when it is done, else what there is now."""
    told: dict[str, int] | None = (job.report or {}).get("answers")
    return told or count_kinds(session, job.id)


def count_code(session: Session, job_id: int, code: str) -> int:
    """How many answers bear ``code``."""
    query = sa.select(sa.func.count()).where(Identification.job_id == job_id, Identification.code == code)
    return session.scalar(query) or 0


def last_ordinal(session: Session, job_id: int) -> int:
    """The last test image answered; 0 when none is. They are answered in order."""
    return session.scalar(sa.select(sa.func.max(Identification.ordinal)).where(Identification.job_id == job_id)) or 0


def tally(session: Session, job_id: int) -> list[tuple[str, str | None, str, int]]:
    """(truth, category named, nearest category, how many) of all labelled images that have an answer."""
    columns = (Identification.truth, Identification.category, Identification.nearest)
    query = (
        sa.select(*columns, sa.func.count())
        .where(Identification.job_id == job_id, columns[0].is_not(None), columns[2].is_not(None))
        .group_by(*columns)
    )
    return [(str(truth), category, str(nearest), count) for truth, category, nearest, count in session.execute(query)]


def answers_where(job_id: int, kind: str | None) -> list[sa.ColumnElement[bool]]:
    """The conditions of a job's answers of a kind; None: of any."""
    where = [Identification.job_id == job_id]
    if kind == AnswerKind.WRONG:
        where.append(Identification.correct == sa.false())
    elif kind:
        where.append(Identification.answer == kind)
    return where
