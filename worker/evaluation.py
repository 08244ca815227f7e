"""Evaluation: a model version and labelled writers that it never saw in, a report out."""

from __future__ import annotations

import json
import platform
import time
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from shared.calibration import Calibration, calibration_of
from shared.db import utcnow
from shared.errors import InvalidInput
from shared.jobs.files import file_key, told
from shared.jobs.lifecycle import succeed_job
from shared.specs import EvaluateSpec, ProtocolName
from worker.comparing import Told, represent, score_pairs, score_reference_sets
from worker.context import Context
from worker.dataset import Dataset
from worker.digests import load, refuse_seen
from worker.ml.evaluation import Bands
from worker.ml.images import Pixels
from worker.ml.sampling import Labels
from worker.ml.shortcuts import left_by, shortcut_statistics
from worker.ml.trials import choose_pairs, choose_sets, listed_pairs
from worker.models import shared_models
from worker.reporting import page, svg
from worker.reporting.document import SCHEMA, Measured, curves_of, figures, headline, method
from worker.reporting.drawings import draw
from worker.reporting.sheets import csv_pieces
from worker.reporting.tables import tables
from worker.solo import SoloJob, run_solo

TELL_SECONDS = 0.5
LIBRARIES = ("torch", "numpy", "opencv-python-headless", "countersign")
UNCHECKED = (
    "It could not be checked whether the model has seen these images: this model version has no record of the images "
    "it was made with. If it was trained on any of them, the figures are worthless."
)


def evaluate_job(context: Context, job_id: str) -> None:
    """Run a queued or abandoned evaluation to its end, unless it is cancelled or the worker is being stopped."""
    run_solo(context, job_id, lambda solo: _Evaluation(solo).run())


class _Evaluation:
    """One evaluation while this worker holds it. It begins anew when it is taken up again."""

    def __init__(self, solo: SoloJob) -> None:
        if solo.model is None:
            raise TypeError("an evaluation is queued with its model")
        self._solo, self._model = solo, solo.model
        self._spec = EvaluateSpec.model_validate(solo.spec)
        self._embedder = shared_models(solo.context).get(solo.model)
        self._calibration = calibration_of(solo.model.summary)
        self._protocol: ProtocolName = (
            "binary-ink" if self._embedder.preprocessing.ink == "binary" else self._spec.protocol
        )
        self._statistics: dict[int, list[list[float]]] = {}

    def run(self) -> None:
        """Read, check for leaks, represent, compare, measure, and store the report."""
        with self._solo.folder() as folder:
            data = self._read(folder)
            self._solo.tell(report=data.summary)
            checked = self._refuse_leak(data)
            measured = self._measure(folder, data)
            self._solo.tell(phase="writing the report")
            self._solo.check()
            report = self._report(data, measured, checked)
            self._finish(data, measured, report)

    def _read(self, folder: Path) -> Dataset:
        writers = self._spec.chosen_writers()
        preprocessing = self._embedder.preprocessing
        observe = self._observe if preprocessing.preset == "signature" else None
        return self._solo.read_dataset(folder, preprocessing, self._protocol, writers, observe)

    def _observe(self, row: int, pixels: Pixels) -> None:
        """Take the trivial statistics of an image: as the protocol leaves it, and as it came."""
        both = left_by(pixels, self._protocol), pixels
        self._statistics[row] = [list(shortcut_statistics(image).values()) for image in both]

    def _refuse_leak(self, data: Dataset) -> bool:
        """Whether it could be checked that the model has seen none of these images."""
        seen = load(self._solo.context.store, self._model)
        if seen is None:
            return False
        refuse_seen(seen, data.entries, data.digests, self._model.label)
        return True

    def _measure(self, folder: Path, data: Dataset) -> Measured:
        names = sorted(set(data.writers))
        number = {name: index for index, name in enumerate(names)}
        labels = Labels(np.array([number[name] for name in data.writers], np.int64), data.forged)
        if data.pairs:
            pairs = listed_pairs(labels, data.pairs.first, data.pairs.second, data.pairs.genuine)
        else:
            pairs = choose_pairs(labels, self._spec.seed)
        sets = choose_sets(labels, self._spec.references, self._spec.seed)
        _refuse_empty(np.bincount(pairs.kind, minlength=3).tolist())
        rows = represent(self._embedder, data.canvases, folder, self._told("encoding images"))
        compare, fitted = self._embedder.compare, self._calibration
        statistics = [self._statistics[row] for row in range(len(data.entries))] if self._statistics else None
        return Measured(
            writers=names,
            pairs=pairs,
            listed=bool(data.pairs),
            sets=sets,
            references=self._spec.references,
            pair_scores=score_pairs(pairs, labels, rows, compare, fitted, self._told("comparing pairs")),
            set_scores=score_reference_sets(sets, labels, rows, compare, fitted, self._told("comparing sets")),
            threshold=self._model.threshold,
            bands=None if fitted is None else (_bands(fitted, 1), _bands(fitted, self._spec.references)),
            statistics=None if statistics is None else np.array(statistics).swapaxes(0, 1),
            seed=self._spec.seed,
        )

    def _told(self, words: str) -> Told:
        """Tells the progress of one step as the job's phase, now and then."""
        last = 0.0

        def progress(done: int, total: int) -> None:
            nonlocal last
            self._solo.check()
            if time.monotonic() - last > TELL_SECONDS or done == total:
                last = time.monotonic()
                self._solo.tell(phase=f"{words}: {done:,} of {total:,}", done=done, total=total)

        return progress

    def _report(self, data: Dataset, measured: Measured, checked: bool) -> dict[str, Any]:
        model, upload = self._model, self._solo.upload
        found = figures(measured)
        counts = {name: data.summary[name] for name in ("genuine", "forged")} | {"writers": len(measured.writers)}
        libraries = {"python": platform.python_version()} | {name: version(name) for name in LIBRARIES}
        warnings = found.pop("warnings") + self._generated() + ([] if checked else [UNCHECKED])
        return {
            "schema": SCHEMA,
            "date": utcnow().isoformat(timespec="seconds"),
            "job": self._solo.public_id,
            "model": {
                "label": model.label,
                "digest": model.digest,
                "network": model.network,
                "threshold": model.threshold,
                "calibrated": self._calibration is not None,
            },
            "data": {"name": upload.filename, "digest": upload.digest, "layout": data.summary["layout"]},
            "protocol": self._protocol,
            "references": self._spec.references,
            "seed": self._spec.seed,
            "writers": list(measured.writers),
            "warnings": warnings,
            "leak": {"checked": checked, "images": len(data.entries), "note": "" if checked else UNCHECKED},
            **found,
            "counts": counts | found["counts"],
            "method": [*method(self._protocol, measured), *self._own_ink(), _leak_told(checked)],
            "libraries": libraries,
        }

    def _own_ink(self) -> list[str]:
        """What is to be said where the model's own ink and the protocol asked for are not the same."""
        if self._protocol != self._spec.protocol:
            return [f"Asked was {self._spec.protocol}. The model makes all ink black by itself: this is binary-ink."]
        if self._protocol == "binary-ink" and self._embedder.preprocessing.ink == "grey":
            return ["The model was trained and calibrated on grey ink: one of binary ink may do better on such images."]
        return []

    def _generated(self) -> list[str]:
        if self._calibration is None or not self._calibration.generated:
            return []
        return ["The likelihood ratios of this model were calibrated on generated signatures, not on people's."]

    def _finish(self, data: Dataset, measured: Measured, report: dict[str, Any]) -> None:
        """Store the files and end the job."""
        curves = curves_of(measured)
        drawn = draw(measured, report, curves)
        files: dict[str, Iterable[bytes]] = {
            "report.html": [page.render(report, drawn).encode()],
            "report.json": [json.dumps(report, indent=1, ensure_ascii=False, allow_nan=False).encode()],
            "det.svg": [drawn["det"].render(svg.STYLE).encode()],
        }
        made = tables(measured, data.entries, curves, report["by_writer"])
        files |= {name: csv_pieces(columns, rows) for name, (columns, rows) in made.items()}
        stored = {}
        for name, pieces in files.items():
            stored[name] = self._solo.context.store.put(file_key(self._solo.public_id, name), pieces)
            self._solo.check()
        summary = data.summary | {"headline": headline(report), "files": told(stored)}
        with self._solo.context.database.write() as session:
            succeed_job(session, self._solo.claim, report=summary)


def _bands(calibration: Calibration, references: int) -> Bands:
    fitted = calibration.of_size(references).bands
    return Bands(fitted.accept_from, fitted.reject_below)


def _refuse_empty(counts: list[int]) -> None:
    genuine, skilled, random = counts
    if not genuine:
        raise InvalidInput(
            "no_genuine_pairs", "No writer has 2 genuine signatures, so none can be compared. Add genuine signatures."
        )
    if not skilled + random:
        raise InvalidInput(
            "no_forged_pairs", "There is nothing to tell genuine signatures from. Add writers or forgeries."
        )


def _leak_told(checked: bool) -> str:
    if not checked:
        return UNCHECKED
    return (
        "No image is among those that the model was trained, selected or calibrated with (by the digest of its pixels)."
    )
