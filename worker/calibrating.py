"""The last step of a training: the answers of the model that came out are calibrated, on writers kept for that."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from shared.calibration import Calibration
from shared.errors import TrainingFailed
from shared.specs import TrainSpec
from worker.dataset import Dataset
from worker.ml.calibrate import calibrate_model
from worker.ml.embedder import Embedder

BATCH = 64  # canvases encoded between two looks at whether to go on


def calibrate_training(
    embedder: Embedder,
    data: Dataset,
    writers: tuple[str, ...],
    spec: TrainSpec,
    digest: str,
    check: Callable[[], None],
) -> tuple[Calibration | None, str]:
    """The calibration on ``writers`` of ``data``, and a note for people, empty if there is nothing to say.

    There is none without enough writers: the model then judges by distance. ``digest`` is the data set's. ``check`` is
    called now and then; what it raises ends the work.
    """
    if not writers:
        return None, _why_none(spec)
    inside = np.flatnonzero(np.isin(data.writers, writers))
    try:
        calibration = calibrate_model(
            _encoded(embedder, data.canvases, inside, check),
            [data.writers[index] for index in inside],
            data.forged[inside],
            embedder.compare,
            target_far=spec.target_far,
            target_frr=spec.target_frr,
            data=digest,
            generated=spec.generated,
            method=spec.calibration_method,
            seed=spec.seed,
            tick=check,
        )
    except TrainingFailed as error:
        return None, f"The answers are not calibrated, verdicts go by distance. {error.message}"
    note = ""
    if calibration.population == "random":
        note = (
            "There are no skilled forgeries of the calibration writers: likelihood ratios are against other writers' "
            "own signatures. Expect skilled forgeries to get too high ones."
        )
    return calibration, note


def _why_none(spec: TrainSpec) -> str:
    if not spec.calibration_share:
        return "The answers are not calibrated, verdicts go by distance: no share of the writers was kept for it."
    return (
        "The answers are not calibrated, verdicts go by distance: with so few writers all are needed to learn from "
        "and to set the threshold. With 10 writers or more some are kept for calibration."
    )


def _encoded(
    embedder: Embedder, canvases: NDArray[np.uint8], rows: NDArray[np.int64], check: Callable[[], None]
) -> NDArray[np.float32]:
    parts = []
    for start in range(0, len(rows), BATCH):
        check()
        parts.append(embedder.embed(canvases[rows[start : start + BATCH]]))
    return np.concatenate(parts)
