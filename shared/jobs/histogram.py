"""How the scores of a job spread, counted by the database."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from math import floor

import sqlalchemy as sa
from sqlalchemy.orm import InstrumentedAttribute, Session

from shared.jobs.listing import by_ratio
from shared.tables import Job, Result, Verdict

RATIO_WIDTH = 0.1  # of log10: finer than any bound is known
DISTANCE_BINS = 20  # up to the threshold
LOOKED_AT = 500  # rows whose bounds are compared
SCORED = (Verdict.ACCEPT, Verdict.REVIEW, Verdict.REJECT)


@dataclass(frozen=True, slots=True)
class Bin:
    """The comparisons whose score lies from ``low`` to below ``high``, by verdict in the order of ``SCORED``."""

    low: float
    high: float
    counts: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Histogram:
    """``scale`` is "llr" or "distance". ``bounds`` are those of all rows; empty where rows have different ones."""

    scale: str
    bins: tuple[Bin, ...]
    bounds: tuple[float, ...]


def histogram(session: Session, job: Job) -> Histogram:
    """The scores of ``job`` so far, without gaps between the bins. Needs its model loaded.

    Each bin is a run of an index, which is counted without sorting: about a tenth of a second for a million.
    """
    ratio = by_ratio(job)
    width = RATIO_WIDTH if ratio else _width(session, job)
    counts = {
        (number, verdict): count
        for verdict in SCORED
        for number, count in _runs(session, job, verdict, Result.llr if ratio else Result.distance, width)
    }
    numbers = [number for number, _ in counts]
    found = tuple(
        Bin((n - 0.5) * width, (n + 0.5) * width, tuple(counts.get((n, verdict), 0) for verdict in SCORED))
        for n in range(min(numbers, default=0), max(numbers, default=-1) + 1)
    )
    return Histogram("llr" if ratio else "distance", found, _bounds(session, job, ratio))


def _runs(
    session: Session, job: Job, verdict: str, score: InstrumentedAttribute[float | None], width: float
) -> Iterator[tuple[int, int]]:
    """The number of each bin that is not empty, and what is in it; a bin lies around its multiple of ``width``."""
    where = [Result.job_id == job.id, Result.verdict == verdict, score.is_not(None)]
    if score is Result.distance:
        where.append(Result.llr.is_(None))
    low = sa.bindparam("low", type_=sa.Float)
    first = sa.select(score).where(*where, score >= low).order_by(score).limit(1)
    run = sa.select(sa.func.count()).where(*where, score >= low, score < sa.bindparam("high", type_=sa.Float))
    begin = session.scalar(first, {"low": -sys.float_info.max})
    while begin is not None:
        number = floor(begin / width + 0.5)
        number += begin >= (number + 0.5) * width  # what the division rounded down
        high = (number + 0.5) * width
        yield number, session.scalar(run, {"low": begin, "high": high}) or 0
        begin = session.scalar(first, {"low": high})


def _width(session: Session, job: Job) -> float:
    threshold = session.scalar(
        sa.select(Result.threshold).where(Result.job_id == job.id, Result.threshold.is_not(None)).limit(1)
    )
    return threshold / DISTANCE_BINS if threshold else RATIO_WIDTH


def _bounds(session: Session, job: Job, ratio: bool) -> tuple[float, ...]:
    columns = (Result.reject_below, Result.accept_from) if ratio else (Result.threshold,)
    query = sa.select(*columns).where(Result.job_id == job.id, Result.verdict.in_(SCORED)).limit(LOOKED_AT)
    found = {tuple(row) for row in session.execute(query)}
    only = found.pop() if len(found) == 1 else ()
    return tuple(bound for bound in only if bound is not None)
