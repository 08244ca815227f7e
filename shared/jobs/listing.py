"""In which order the comparisons of a job are gone through, and which of them: pages and neighbours by one rule.

Every step reads a handful of index entries, whatever the size of the job. A cursor is the ordinal of a comparison; its
place in the order is looked up.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from shared.calibration import calibration_of
from shared.jobs.keyset import Row, Walk
from shared.tables import Comparison, Job, Result, Review, Verdict


class Order(StrEnum):
    ALIKE = "alike"  # the most alike first, those without a score last
    UNLIKE = "unlike"


class Reviewed(StrEnum):
    OPEN = "open"  # nobody has decided yet
    DECIDED = "decided"


@dataclass(frozen=True, slots=True)
class Wish:
    """Which comparisons, in which order; None: all, in the order of the batch."""

    verdict: str | None = None
    order: str | None = None
    reviewed: str | None = None

    @property
    def arguments(self) -> dict[str, Any]:
        """What an address must carry to wish the same."""
        named = (("verdict", self.verdict), ("order", self.order), ("reviewed", self.reviewed))
        return {name: value for name, value in named if value}


def ordinals(
    session: Session, job: Job, wish: Wish, after: int = 0, limit: int = 100, backwards: bool = False
) -> list[int]:
    """The ordinals that follow ``after`` (0: from the start) as wished, at most ``limit``.

    With ``backwards`` those that stand before it, the nearest first.
    """
    if wish.order:
        return _by_score(session, job, wish, after, limit, backwards)
    column: sa.ColumnElement[int] = sa.type_coerce(Comparison.ordinal, sa.Integer)
    where: list[sa.ColumnElement[bool]] = [Comparison.job_id == job.id]
    if wish.verdict or wish.reviewed:
        column = sa.type_coerce(Result.ordinal, sa.Integer)
        where = [Result.job_id == job.id, *_reviewed(job, wish)]
        where += [Result.verdict == wish.verdict] if wish.verdict else []
    beyond = column < after if backwards else column > after
    query = sa.select(column).where(*where, beyond).order_by(column.desc() if backwards else column)
    return list(session.scalars(query.limit(limit)))


def _reviewed(job: Job, wish: Wish) -> list[sa.ColumnElement[bool]]:
    if wish.reviewed == Reviewed.OPEN:
        return [~sa.exists().where(Review.job_id == Result.job_id, Review.ordinal == Result.ordinal)]
    if wish.reviewed == Reviewed.DECIDED:
        return [Result.ordinal.in_(sa.select(Review.ordinal).where(Review.job_id == job.id))]
    return []


def by_ratio(job: Job) -> bool:
    """Whether the comparisons of ``job`` are ordered by likelihood ratio; else by distance. Needs its model loaded."""
    return bool(job.model and calibration_of(job.model.summary))


class _Scores:
    """The order by score of one job, one run of the index for each verdict."""

    def __init__(self, session: Session, job: Job, wish: Wish, backwards: bool) -> None:
        self._session = session
        ratio = by_ratio(job)
        self.score = Result.llr if ratio else Result.distance
        # High ratios and low distances are alike; going backwards turns either round.
        self.falling = (ratio == (wish.order == Order.ALIKE)) != backwards
        self._backwards = backwards
        self._verdicts = [wish.verdict] if wish.verdict else list(Verdict)
        self._where = [Result.job_id == job.id, *_reviewed(job, wish)]
        self._scored = [Result.llr.is_not(None)] if ratio else [Result.llr.is_(None), Result.distance.is_not(None)]

    def scored(self, start: Row | None, limit: int) -> list[int]:
        """Those with a score beyond ``start``, at most ``limit``."""
        runs = [[*self._where, *self._scored, Result.verdict == verdict] for verdict in self._verdicts]
        walk = Walk(self.score, Result.ordinal, self.falling, self._backwards)
        return walk.ordinals(self._session, runs, start, limit)

    def unscored(self, start: int | None, limit: int) -> list[int]:
        """Those without a score, in the order of the batch, beyond the ordinal ``start``."""
        where = [*self._where, Result.llr.is_(None), self.score.is_(None), Result.verdict.in_(self._verdicts)]
        if start is not None:
            where.append(Result.ordinal < start if self._backwards else Result.ordinal > start)
        ordering = Result.ordinal.desc() if self._backwards else Result.ordinal.asc()
        return list(self._session.scalars(sa.select(Result.ordinal).where(*where).order_by(ordering).limit(limit)))


def _by_score(session: Session, job: Job, wish: Wish, after: int, limit: int, backwards: bool) -> list[int]:
    scores = _Scores(session, job, wish, backwards)
    result = session.get(Result, (job.id, after)) if after else None
    if result is None:
        if backwards:
            return []
        found = scores.scored(None, limit)
        return found + (scores.unscored(None, limit - len(found)) if len(found) < limit else [])
    score = result.llr if scores.score is Result.llr else result.distance
    if score is None:
        found = scores.unscored(after, limit)
        return found + (scores.scored(None, limit - len(found)) if backwards and len(found) < limit else [])
    found = scores.scored((score, after), limit)
    return found + (scores.unscored(None, limit - len(found)) if not backwards and len(found) < limit else [])
