"""Pages by score: rows from several runs of an index, merged. No page sorts or scans more than it shows.

A run is what one index has in the order of a score: the results with one verdict, the answers of one kind.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import InstrumentedAttribute, Session

Row = tuple[float | None, int]  # score and ordinal
Where = Sequence[sa.ColumnElement[bool]]


@dataclass(frozen=True, slots=True)
class Walk:
    """By ``score``, ``falling`` or rising; equal ones by ``ordinal``, which falls when one goes ``backwards``."""

    score: InstrumentedAttribute[Any]
    ordinal: InstrumentedAttribute[Any]
    falling: bool
    backwards: bool

    def ordinals(self, session: Session, runs: Iterable[Where], start: Row | None, limit: int) -> list[int]:
        """The ordinals of the rows of all ``runs`` beyond ``start`` (None: from the first), at most ``limit``."""
        found: list[Row] = []
        for run in runs:
            query = sa.select(self.score, self.ordinal).where(*run, *self._beyond(start))
            found += [(score, ordinal) for score, ordinal in session.execute(query.order_by(*self._order).limit(limit))]
        found.sort(key=lambda row: row[1], reverse=self.backwards)
        found.sort(key=lambda row: row[0] or 0.0, reverse=self.falling)
        return [ordinal for _, ordinal in found[:limit]]

    def _beyond(self, start: Row | None) -> Where:
        if start is None:
            return ()
        score, ordinal = start
        further = self.ordinal < ordinal if self.backwards else self.ordinal > ordinal
        if self.falling:  # the first bound is what the index can begin at
            return self.score <= score, sa.or_(self.score < score, further)
        return self.score >= score, sa.or_(self.score > score, further)

    @property
    def _order(self) -> tuple[sa.ColumnElement[Any], sa.ColumnElement[Any]]:
        score = self.score.desc() if self.falling else self.score.asc()
        return score, self.ordinal.desc() if self.backwards else self.ordinal.asc()
