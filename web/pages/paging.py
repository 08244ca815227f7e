"""Cursors of lists: read from the address, and found for the page before."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date

from flask import request
from sqlalchemy.orm import Session

from shared.errors import InvalidInput
from shared.jobs.listing import Order, Reviewed, Wish, ordinals
from shared.tables import Job, Verdict

MOST = 2**62
FIRST_YEAR, LAST_YEAR = 1900, 9000  # beyond, a day before or after may not exist


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


def day(name: str) -> date | None:
    """The day in the address under ``name``, as ``2026-11-23``; None where it names none.

    Raises:
        InvalidInput: code ``parameter_invalid``.
    """
    text = request.args.get(name, "")
    try:
        found = date.fromisoformat(text) if text else None
    except ValueError:
        found = date.min
    if found is not None and not FIRST_YEAR <= found.year <= LAST_YEAR:
        raise InvalidInput("parameter_invalid", f"{name} in the address must be a day, as 2026-01-31.")
    return found


def wish() -> Wish:
    """Which comparisons the address wants, in which order.

    Raises:
        InvalidInput: code ``parameter_invalid``.
    """
    return Wish(chosen("verdict", Verdict), chosen("order", Order), chosen("reviewed", Reviewed))


def page_before(session: Session, job: Job, after: int, limit: int, wanted: Wish) -> int:
    """The cursor of the page that ends where the one after ordinal ``after`` begins; 0 is the first page."""
    before = ordinals(session, job, wanted, after, limit, backwards=True)
    return before[limit - 1] if len(before) == limit else 0


def neighbours(session: Session, job: Job, ordinal: int, wanted: Wish) -> tuple[int | None, int | None]:
    """The comparisons before and after one, as wished; None at the ends."""
    before = ordinals(session, job, wanted, ordinal, 1, backwards=True)
    following = ordinals(session, job, wanted, ordinal, 1)
    return (before[0] if before else None), (following[0] if following else None)
