"""How the scores of a job spread, counted by the database."""

from __future__ import annotations

from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.orm import Session

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

    Reads one entry of an index for each result: half a second for a million.
    """
    ratio = by_ratio(job)
    score = Result.llr if ratio else Result.distance
    width = RATIO_WIDTH if ratio else _width(session, job)
    rows = Result.llr.is_not(None) if ratio else Result.llr.is_(None)
    place = sa.func.round(score / width)  # each bin lies around a multiple of its width
    query = (
        sa.select(place, Result.verdict, sa.func.count())
        .where(Result.job_id == job.id, Result.verdict.in_(SCORED), rows, score.is_not(None))
        .group_by(place, Result.verdict)
    )
    counts = {(round(number), verdict): count for number, verdict, count in session.execute(query)}
    numbers = [number for number, _ in counts]
    found = tuple(
        Bin((n - 0.5) * width, (n + 0.5) * width, tuple(counts.get((n, verdict), 0) for verdict in SCORED))
        for n in range(min(numbers, default=0), max(numbers, default=-1) + 1)
    )
    return Histogram("llr" if ratio else "distance", found, _bounds(session, job, ratio))


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
