"""Cursors of lists: read from the address, and found for the page before."""

from __future__ import annotations

from collections.abc import Iterable

import sqlalchemy as sa
from flask import request
from sqlalchemy.orm import Session

from shared.errors import InvalidInput
from shared.tables import Comparison, Result

MOST = 2**62


def whole(name: str) -> int | None:
    """The whole number in the address under ``name``.

    Raises:
        InvalidInput: code ``parameter_invalid``.
    """
    text = request.args.get(name, "")
    if not text:
        return None
    if not text.isascii() or not text.isdigit() or int(text[:20]) > MOST:
        raise InvalidInput("parameter_invalid", f"{name} in the address must be a whole number.")
    return int(text)


def chosen(name: str, values: Iterable[str]) -> str | None:
    """One of ``values``, as the address names it under ``name``; None when it names none.

    Raises:
        InvalidInput: code ``parameter_invalid``.
    """
    text = request.args.get(name, "")
    known = [str(value) for value in values]
    if text and text not in known:
        raise InvalidInput("parameter_invalid", f"{name} in the address must be one of: {', '.join(known)}.")
    return text or None


def page_before(session: Session, job_id: int, after: int, limit: int, verdict: str | None) -> int:
    """The cursor of the page that ends where the one after ordinal ``after`` begins; 0 is the first page."""
    column, where = _ordinals(job_id, verdict)
    query = sa.select(column).where(*where, column <= after).order_by(column.desc()).offset(limit).limit(1)
    return session.scalar(query) or 0


def neighbours(session: Session, job_id: int, ordinal: int, verdict: str | None) -> tuple[int | None, int | None]:
    """The comparisons before and after one, among all or among those with ``verdict``; None at the ends."""
    column, where = _ordinals(job_id, verdict)
    before = session.scalar(sa.select(sa.func.max(column)).where(*where, column < ordinal))
    following = session.scalar(sa.select(sa.func.min(column)).where(*where, column > ordinal))
    return before, following


def _ordinals(job_id: int, verdict: str | None) -> tuple[sa.ColumnElement[int], tuple[sa.ColumnElement[bool], ...]]:
    if verdict:
        return sa.type_coerce(Result.ordinal, sa.Integer), (Result.job_id == job_id, Result.verdict == verdict)
    return sa.type_coerce(Comparison.ordinal, sa.Integer), (Comparison.job_id == job_id,)
