"""Optuna's journal in our own database: a study lives where its job does, and any worker can go on with it.

Optuna's relational storage would bring tables and an ``alembic_version`` of its own, which clashes with ours.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import sqlalchemy as sa
from optuna.storages.journal import BaseJournalBackend

from shared.db import Database
from shared.jobs.lifecycle import JobClaim
from shared.tables import Job, StudyEvent
from worker.ml.trained import Stopped


class JobJournal(BaseJournalBackend):
    """The events of one job's study. Written only while ``claim`` is held, so by one worker at a time."""

    def __init__(self, database: Database, claim: JobClaim) -> None:
        self._database = database
        self._claim = claim

    def read_logs(self, log_number_from: int) -> Iterable[dict[str, Any]]:
        """The events in order, without the first ``log_number_from``."""
        query = (
            sa.select(StudyEvent.event)
            .where(StudyEvent.job_id == self._claim.job_id, StudyEvent.number > log_number_from)
            .order_by(StudyEvent.number)
        )
        with self._database.read() as session:
            return list(session.scalars(query))

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """Write events after the last. Raises Stopped when the lease was lost to another worker."""
        job_id = self._claim.job_id
        # The row's lock (on SQLite the whole file's) makes another writer wait, and shows who has the lease.
        held = sa.select(Job.id).where(Job.id == job_id, Job.fence == self._claim.fence).with_for_update()
        last = sa.select(sa.func.coalesce(sa.func.max(StudyEvent.number), 0)).where(StudyEvent.job_id == job_id)
        with self._database.write() as session:
            if session.scalar(held) is None:
                raise Stopped
            number = session.scalars(last).one()
            session.add_all(
                StudyEvent(job_id=job_id, number=number + place, event=event) for place, event in enumerate(logs, 1)
            )
