"""Reading the answers of identifications, for the worker's figures, the pages and the API."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from enum import StrEnum

import sqlalchemy as sa
from sqlalchemy.orm import Session

from shared.db import Database
from shared.tables import Identification

STREAM_ROWS = 1000
IDENTICAL = "identical"  # the code of a test image that equals one of a category pixel for pixel


class AnswerKind(StrEnum):
    """What an answer may be; ``wrong`` ones are those of the first two that their label contradicts."""

    NAMED = "named"
    NONE = "none"
    ERROR = "error"
    WRONG = "wrong"


_CONDITIONS: dict[str, sa.ColumnElement[bool]] = {
    AnswerKind.NAMED: Identification.category.is_not(None),
    AnswerKind.NONE: Identification.category.is_(None) & Identification.nearest.is_not(None),
    AnswerKind.ERROR: Identification.nearest.is_(None),
    AnswerKind.WRONG: Identification.correct.is_(False),
}


def kind_of(answer: Identification) -> AnswerKind:
    """Whether a category was named, or none, or the image could not be used."""
    if answer.nearest is None:
        return AnswerKind.ERROR
    return AnswerKind.NONE if answer.category is None else AnswerKind.NAMED


def identifications(
    session: Session, job_id: int, after: int = 0, limit: int = 100, kind: str | None = None
) -> tuple[Sequence[Identification], int | None]:
    """A page of answers from the one after ordinal ``after``, and the next cursor (None at the end)."""
    query = sa.select(Identification).where(*_where(job_id, kind), Identification.ordinal > after)
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


def page_before(session: Session, job_id: int, after: int, limit: int, kind: str | None) -> int:
    """The cursor of the page that ends where the one after ordinal ``after`` begins; 0 is the first page."""
    column = sa.type_coerce(Identification.ordinal, sa.Integer)
    query = sa.select(column).where(*_where(job_id, kind), Identification.ordinal <= after)
    return session.scalar(query.order_by(column.desc()).offset(limit).limit(1)) or 0


def count_kinds(session: Session, job_id: int) -> dict[str, int]:
    """How many answers there are of each kind."""
    counts = [sa.func.count().filter(condition) for condition in _CONDITIONS.values()]
    row = session.execute(sa.select(*counts).where(Identification.job_id == job_id)).one()
    return {str(kind): int(count) for kind, count in zip(_CONDITIONS, row, strict=True)}


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


def _where(job_id: int, kind: str | None) -> list[sa.ColumnElement[bool]]:
    return [Identification.job_id == job_id, *([_CONDITIONS[kind]] if kind else [])]
