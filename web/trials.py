"""The trials of a tune job as JSON documents and CSV rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from shared.tables import Trial
from web.present import csv_pieces

COLUMNS = ("number", "state", "value", "folds", "seconds", "code")


def trial_json(trial: Trial) -> dict[str, Any]:
    """One trial. ``value`` is the mean validation EER of the folds begun so far, in 0..1; ``params`` of a training."""
    return {name: getattr(trial, name) for name in (*COLUMNS, "params")}


def trials_csv(trials: Sequence[Trial]) -> Iterator[str]:
    """All trials as CSV text, with a column for each setting that any of them tried."""
    settings = list(dict.fromkeys(name for trial in trials for name in trial.params))
    rows = (
        [*(getattr(trial, name) for name in COLUMNS), *(trial.params.get(name) for name in settings)]
        for trial in trials
    )
    return csv_pieces((*COLUMNS, *settings), rows)
