"""Identification: test images against the images of categories; the best category for each, or none of these."""

from __future__ import annotations

from itertools import islice
from typing import Any

import numpy as np

from shared.categories import Folders, Probe, read_folders
from shared.db import insert_ignore
from shared.errors import Fault
from shared.jobs.identified import IDENTICAL, AnswerKind, count_code, count_kinds, last_ordinal, tally
from shared.jobs.lifecycle import succeed_job, tell
from shared.specs import IdentifySpec
from shared.tables import Embedding, Identification
from worker.ahead import ahead
from worker.context import Context
from worker.encoding import AHEAD, BATCH, PREPARE_THREADS, Floats
from worker.gallery import EntryReader, Gallery, Prepared, Representer, Rows, build_gallery
from worker.ml.identification import Classified, Tally, classify, distances_to, figures, nearest_strange, strangers
from worker.ml.images import ImageLimits
from worker.ml.trained import Stopped
from worker.models import shared_models
from worker.solo import SoloJob, run_solo

PAIRS = 1_000_000  # compared in one go: some 50 MB of indices, distances and sums
STRANGERS = 500  # images of categories at most, that stand for strangers to the others
SHOWN = 50  # entries that are left out, and empty categories, listed in the report
COMPARING = "comparing images with the categories"


def identify_job(context: Context, job_id: str) -> None:
    """Run a queued or abandoned identification to its end, unless it is cancelled or the worker is being stopped."""
    run_solo(context, job_id, lambda solo: _Identification(solo).run())


class _Identification:
    """One identification while this worker holds it."""

    def __init__(self, solo: SoloJob) -> None:
        if solo.model is None:
            raise TypeError("an identification is queued with its model")
        self._solo = solo
        self._database = solo.context.database
        self._embedder = shared_models(solo.context).get(solo.model)
        self._representer = Representer(solo.context, solo.model, self._embedder)
        self._given = IdentifySpec.model_validate(solo.spec).threshold
        self._threshold = solo.model.threshold if self._given is None else self._given

    def run(self) -> None:
        """Represent the categories, answer what is not answered yet batch by batch, and tell how often rightly."""
        limits = ImageLimits(max_pixels=self._solo.context.settings.max_pixels)
        with self._solo.archive() as archive, self._solo.folder() as folder, self._solo.prober() as prober:
            folders = read_folders(archive.names())
            self._solo.tell(total=len(folders.tests))
            reader = EntryReader(archive, self._embedder.preprocessing, limits, prober)
            gallery = build_gallery(folders.categories, reader, self._representer, folder, self._on_category_images)
            detected = self._detected(folders, gallery)
            self._solo.tell(report=detected)
            self._answer(reader, folders.tests, gallery)
        self._succeed(gallery, detected)

    def _on_category_images(self, done: int, total: int) -> None:
        self._solo.check()
        self._solo.tell(phase=f"reading categories: {done:,} of {total:,} images")

    def _answer(self, reader: EntryReader, tests: tuple[Probe, ...], gallery: Gallery) -> None:
        with self._database.read() as session:
            done = last_ordinal(session, self._solo.claim.job_id)
        size = max(1, min(BATCH, PAIRS // len(gallery.owner)))
        entries = [test.entry for test in tests[done:]]
        with ahead(reader, entries, PREPARE_THREADS, AHEAD) as prepared:
            while batch := list(islice(prepared, size)):
                self._solo.check()
                vectors, fresh = self._representer.represent(batch)
                rows = self._judge(done, tests[done : done + len(batch)], batch, vectors, gallery)
                done += len(batch)
                self._write(rows, fresh, done)

    def _write(self, rows: Rows, fresh: Rows, done: int) -> None:
        with self._database.write() as session:
            if not tell(session, self._solo.claim, done=done, phase=COMPARING):
                raise Stopped  # the lease was lost: another worker goes on, from what is written
            insert_ignore(session, Embedding, fresh)
            insert_ignore(session, Identification, rows)

    def _judge(
        self, done: int, tests: tuple[Probe, ...], batch: list[Prepared], vectors: dict[str, Floats], gallery: Gallery
    ) -> Rows:
        """The column values of a batch's answers; ``done`` test images came before them."""
        usable = [item for item in batch if not item.fault]
        first = len(gallery.owner)
        for row, item in enumerate(usable, first):
            gallery.rows[row] = vectors[item.digest]
        numbers = np.arange(first, first + len(usable))
        distances = distances_to(gallery.rows, numbers, np.arange(first), self._embedder.compare)
        found = classify(distances, gallery.owner, self._threshold)
        places = {item.entry: place for place, item in enumerate(usable)}
        rows = []
        for ordinal, (test, item) in enumerate(zip(tests, batch, strict=True), done + 1):
            values = {"job_id": self._solo.claim.job_id, "ordinal": ordinal} | _no_answer(test, item.fault)
            if not item.fault:
                values |= _answer(test, found, places[item.entry], gallery) | _warning(item, gallery)
            rows.append(values)
        return rows

    def _detected(self, folders: Folders, gallery: Gallery) -> dict[str, Any]:
        """What was found in the archive, for people, and the threshold used."""
        shots = np.bincount(gallery.owner)
        skipped = sorted((*gallery.faults, *folders.skipped), key=lambda fault: fault.where)
        return {
            "categories": len(gallery.names),
            "shots": [int(shots.min()), int(shots.max())],
            "test_images": len(folders.tests),
            "labelled": sum(test.truth is not None for test in folders.tests),
            "threshold": self._threshold,
            "threshold_of": "model" if self._given is None else "job",
            "strangers": self._strangers(gallery),
            "empty_categories": gallery.empty[:SHOWN],
            "skipped": len(skipped),
            "skipped_list": [
                {"entry": fault.where, "code": fault.code, "reason": fault.message} for fault in skipped[:SHOWN]
            ],
        }

    def _strangers(self, gallery: Gallery) -> dict[str, Any] | None:
        """How many images of nobody would be named, as the categories' own images are among the other categories."""
        images = len(gallery.owner)
        if len(gallery.names) < 2:
            return None
        chosen = np.arange(0, images, max(1, -(-images // STRANGERS)))
        nearest = []
        for part in np.array_split(chosen, -(-len(chosen) * images // PAIRS)):
            self._solo.check()
            distances = distances_to(gallery.rows, part, np.arange(images), self._embedder.compare)
            nearest.append(nearest_strange(distances, gallery.owner, gallery.owner[part]))
        return strangers(np.concatenate(nearest), len(gallery.names), self._threshold)

    def _succeed(self, gallery: Gallery, detected: dict[str, Any]) -> None:
        job_id = self._solo.claim.job_id
        with self._database.write() as session:
            tallies = [Tally(*row) for row in tally(session, job_id)]
            report = detected | {
                "answers": count_kinds(session, job_id),
                "identical": count_code(session, job_id, IDENTICAL),
                "figures": figures(tallies, gallery.numbers) if tallies else None,
            }
            succeed_job(session, self._solo.claim, report=report)


def _no_answer(test: Probe, fault: Fault | None) -> dict[str, Any]:
    return {
        "entry": test.entry,
        "truth": test.truth,
        "correct": None,
        "answer": AnswerKind.ERROR,
        "category": None,
        "nearest": None,
        "distance": None,
        "runner_up": None,
        "runner_up_distance": None,
        "code": fault.code if fault else None,
        "message": fault.message if fault else None,
    }


def _answer(test: Probe, found: Classified, place: int, gallery: Gallery) -> dict[str, Any]:
    nearest = gallery.names[found.nearest[place]]
    category = None if found.none[place] else nearest
    alone = len(gallery.names) == 1
    right = test.truth if test.truth in gallery.numbers else None
    return {
        "correct": None if test.truth is None else category == right,
        "answer": AnswerKind.NONE if category is None else AnswerKind.NAMED,
        "category": category,
        "nearest": nearest,
        "distance": _short(found.distance[place]),
        "runner_up": None if alone else gallery.names[found.runner_up[place]],
        "runner_up_distance": None if alone else _short(found.runner_up_distance[place]),
    }


def _warning(item: Prepared, gallery: Gallery) -> dict[str, Any]:
    """A test image that equals one of a category was not recognised but found again: its answer says so."""
    entry = gallery.entries.get(item.digest)
    return {"code": IDENTICAL, "message": f"It is pixel for pixel {entry}."} if entry else {}


def _short(value: np.floating[Any]) -> float:
    """Seven digits are all that a float32 holds."""
    return float(f"{value:.7g}")
