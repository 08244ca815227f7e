"""Reading the trials of a tune job."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.orm import Session

from shared.tables import Trial, TrialState


@dataclass(frozen=True, slots=True)
class Progress:
    """A complete trial: its value, and the lowest of those up to it (mean validation EERs, 0..1)."""

    number: int
    value: float
    best: float


def list_trials(session: Session, job_id: int) -> Sequence[Trial]:
    """The trials of a tune job so far, in the order they were begun."""
    return session.scalars(sa.select(Trial).where(Trial.job_id == job_id).order_by(Trial.number)).all()


def ranked(trials: Sequence[Trial]) -> list[Trial]:
    """The same, best first: what is at work, then the complete by value, the pruned by value, and the rest."""
    order = (TrialState.RUNNING, TrialState.COMPLETE, TrialState.PRUNED, TrialState.STOPPED, TrialState.FAILED)
    return sorted(
        trials,
        key=lambda trial: (
            order.index(TrialState(trial.state)),
            trial.value if trial.value is not None else 1.0,
            trial.number,
        ),
    )


def progress_of_best(trials: Sequence[Trial]) -> list[Progress]:
    """How the best value fell, from complete trial to complete trial in their order."""
    lowest, found = 1.0, []
    for trial in trials:
        if trial.state == TrialState.COMPLETE and trial.value is not None:
            lowest = min(lowest, trial.value)
            found.append(Progress(trial.number, trial.value, lowest))
    return found
