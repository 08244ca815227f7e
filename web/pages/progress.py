"""How far a job is, how fast it goes, and how long it will take."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from shared.db import utcnow
from shared.tables import Epoch, Job, JobState

RECENT = 3  # epochs whose mean duration foretells the next ones


@dataclass(frozen=True, slots=True)
class Progress:
    """``rate`` is in comparisons or epochs each second; ``left`` and ``elapsed`` are in seconds. None: not known."""

    rate: float | None
    left: float | None
    elapsed: float | None


def progress_of(job: Job, epochs: Sequence[Epoch] = ()) -> Progress:
    """The progress of ``job`` now; of one that has ended, as it was."""
    if job.started_at is None:
        return Progress(None, None, None)
    elapsed = max(0.0, ((job.finished_at or utcnow()) - job.started_at).total_seconds())
    rate = _rate(job, epochs, elapsed)
    running = job.state == JobState.RUNNING and job.total > job.done
    return Progress(rate, (job.total - job.done) / rate if running and rate else None, elapsed)


def _rate(job: Job, epochs: Sequence[Epoch], elapsed: float) -> float | None:
    if job.kind == "train":
        seconds = [epoch.seconds for epoch in epochs[-RECENT:]]
        return len(seconds) / total if (total := sum(seconds)) else None
    if job.kind == "evaluate":
        return None  # its steps count different things
    # A job that was retried lay idle in between, for nobody knows how long: no rate is better than a wrong one.
    return job.done / elapsed if job.attempt == 1 and job.done and elapsed else None
