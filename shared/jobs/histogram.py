"""How the scores of a job spread, verdicts or answers, counted by the database."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import ceil, floor

import sqlalchemy as sa
from sqlalchemy.orm import InstrumentedAttribute, Session

from shared.jobs.identified import AnswerKind, answers_where
from shared.jobs.keyset import Where
from shared.jobs.listing import by_ratio
from shared.tables import Identification, Job, Result, Verdict

RATIO_WIDTH = 0.1  # of log10: finer than any bound is known
DISTANCE_BINS = 20  # up to the threshold
MOST_BINS = 200  # up to the farthest distance of an identification
LOOKED_AT = 500  # rows whose bounds are compared
SCORED = (Verdict.ACCEPT, Verdict.REVIEW, Verdict.REJECT)
ANSWERED = (AnswerKind.NAMED, AnswerKind.NONE, AnswerKind.WRONG)  # the last are some of the first two


@dataclass(frozen=True, slots=True)
class Bin:
    """What has a score from ``low`` to below ``high``, by the kinds of its histogram."""

    low: float
    high: float
    counts: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Histogram:
    """``scale`` is "llr" or "distance", ``kinds`` are verdicts or kinds of answers.

    ``bounds`` are those of all rows; empty where rows have different ones.
    """

    scale: str
    kinds: tuple[str, ...]
    bins: tuple[Bin, ...]
    bounds: tuple[float, ...]


def histogram(session: Session, job: Job) -> Histogram:
    """The scores of ``job`` so far, without gaps between the bins. Needs its model loaded.

    Each bin is a run of an index, which is counted without sorting: about a tenth of a second for a million.
    """
    ratio = by_ratio(job)
    width = RATIO_WIDTH if ratio else _width(session, job)
    score = Result.llr if ratio else Result.distance
    where = [Result.job_id == job.id, score.is_not(None), *(() if ratio else (Result.llr.is_(None),))]
    runs = [[*where, Result.verdict == verdict] for verdict in SCORED]
    bins = _bins(session, runs, score, width, 0.5)
    return Histogram("llr" if ratio else "distance", SCORED, bins, _bounds(session, job, ratio))


def answers_histogram(session: Session, job: Job) -> Histogram:
    """The distances of an identification's answers so far; wrong ones, some of the others, only where there are labels.

    The threshold is the bound between two bins; an answer exactly on it was named, and counts above it.
    """
    report = job.report or {}
    threshold = report.get("threshold")
    kinds = ANSWERED if report.get("labelled") else ANSWERED[:2]
    runs = [[*answers_where(job.id, kind), Identification.distance.is_not(None)] for kind in kinds]
    farthest = [session.scalar(sa.select(sa.func.max(Identification.distance)).where(*run)) or 0.0 for run in runs]
    bins = _bins(session, runs, Identification.distance, _even_width(threshold or 0.0, max(farthest)), 0.0)
    return Histogram("distance", kinds, bins, () if threshold is None else (threshold,))


def _even_width(threshold: float, farthest: float) -> float:
    """A width of which ``threshold``, set by anybody to anything, is a multiple; not too many make up ``farthest``."""
    least = farthest / MOST_BINS
    if threshold <= 0:
        return least or RATIO_WIDTH
    finer = DISTANCE_BINS * max(1, floor(threshold / farthest)) if farthest > 0 else DISTANCE_BINS
    parts = next((parts for parts in (finer, 10, 5, 4, 2, 1) if threshold / parts >= least), 0)
    return threshold / parts if parts else threshold * ceil(least / threshold)


def _bins(
    session: Session, runs: Sequence[Where], score: InstrumentedAttribute[float | None], width: float, lead: float
) -> tuple[Bin, ...]:
    """The rows of each of ``runs`` by ``score``; bin n begins at (n - lead) widths."""
    counts = {
        (number, place): count
        for place, run in enumerate(runs)
        for number, count in _counted(session, run, score, width, lead)
    }
    numbers = [number for number, _ in counts]
    return tuple(
        Bin((n - lead) * width, (n + 1 - lead) * width, tuple(counts.get((n, place), 0) for place in range(len(runs))))
        for n in range(min(numbers, default=0), max(numbers, default=-1) + 1)
    )


def _counted(
    session: Session, where: Where, score: InstrumentedAttribute[float | None], width: float, lead: float
) -> Iterator[tuple[int, int]]:
    """The number of each bin that is not empty, and what is in it."""
    low = sa.bindparam("low", type_=sa.Float)
    first = sa.select(score).where(*where, score >= low).order_by(score).limit(1)
    run = sa.select(sa.func.count()).where(*where, score >= low, score < sa.bindparam("high", type_=sa.Float))
    begin = session.scalar(first, {"low": -sys.float_info.max})
    while begin is not None:
        number = floor(begin / width + lead)
        number += begin >= (number + 1 - lead) * width  # what the division rounded down
        high = (number + 1 - lead) * width
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
