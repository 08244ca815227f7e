"""What a worker does between two batches of images of one claim."""

from __future__ import annotations

import time
from collections.abc import Callable

import sqlalchemy as sa

from shared.jobs.chunks import Claim, Scored, record, release_chunks, urgent_waiting
from shared.tables import Job, JobState
from worker.context import Context
from worker.encoding import Interrupted

NEWS_SECONDS = 2.0  # how often it is looked whether anybody still waits for the claim
KEEP_SECONDS = 5.0  # how much work a kill may cost, at most one batch more


class BetweenBatches:
    """Called between batches: what was encoded is kept, small jobs are let through, and news is heard.

    Small jobs are let through by ``urgent``, unless the claim is of small jobs itself.
    """

    def __init__(self, context: Context, claim: Claim, scored: Scored, urgent: Callable[[], None]) -> None:
        self._context = context
        self._claim = claim
        self._scored = scored
        self._urgent = None if any(chunk.urgent for chunk in claim.chunks) else urgent
        self._heard = self._kept = time.monotonic()

    def __call__(self) -> None:
        """Raises Interrupted where the worker is being stopped, or nobody waits for the results any more."""
        if self._context.draining():
            raise Interrupted
        if time.monotonic() - self._kept > KEEP_SECONDS:
            self._keep()
        if self._urgent is not None and urgent_waiting(self._context.database):
            self._urgent()
        if time.monotonic() - self._heard > NEWS_SECONDS:
            self._hear()

    def _keep(self) -> None:
        record(self._context.database, Claim(self._claim.model, ()), self._scored)
        self._scored.regions.clear()
        self._scored.embeddings.clear()
        self._kept = time.monotonic()

    def _hear(self) -> None:
        """Stop where no job of the claim goes on; let go of the chunks of those that do not."""
        chunks = self._claim.chunks
        going_on = sa.select(Job.id).where(
            Job.id.in_({chunk.job_id for chunk in chunks}), Job.state == JobState.RUNNING
        )
        with self._context.database.read() as session:
            wanted = set(session.scalars(going_on))
        if not wanted:
            raise Interrupted
        unwanted = tuple(chunk for chunk in chunks if chunk.job_id not in wanted)
        if unwanted:
            release_chunks(self._context.database, Claim(self._claim.model, unwanted))
            self._claim = Claim(self._claim.model, tuple(chunk for chunk in chunks if chunk.job_id in wanted))
        self._heard = time.monotonic()
