"""An image that ends the process that decodes it, among those of an identification."""

from __future__ import annotations

from pathlib import Path

import pytest

from shared.jobs.lifecycle import claim_job
from shared.tables import Job, JobState
from tests.factories import ModelFile, expire, reload
from tests.faults.test_poison import deadly_png
from tests.unit.worker.test_identification import CATEGORIES, FAR, again, answers, submit
from worker.context import Context
from worker.identification import identify_job

POISON = Path(__file__).parents[2] / "faults" / "poison"


def test_an_image_that_kills_its_decoder_has_the_answer_of_a_damaged_one(
    sqlite_context: Context, tiny_model: ModelFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once a worker died of the job, images are tried out in another process: all the others are answered."""
    monkeypatch.setenv("PYTHONPATH", str(POISON), prepend=":")
    context = sqlite_context
    files = CATEGORIES | {"categories/ben/0.png": deadly_png(), "test/p.png": again(2), "test/q.png": deadly_png()}
    job = submit(context, tiny_model, files, threshold=FAR)
    assert claim_job(context.database, job.public_id, "a worker that dies", 600) is not None
    expire(context.database, Job)
    identify_job(context, job.public_id)
    now = reload(context.database, job)
    assert (now.state, now.claims) == (JobState.SUCCEEDED, 2)
    assert [(row.entry, row.category, row.code) for row in answers(context, job)] == [
        ("test/p.png", "ben", None),
        ("test/q.png", None, "crashed"),
    ]
    assert [(item["entry"], item["code"]) for item in now.report["skipped_list"]] == [
        ("categories/ben/0.png", "crashed")
    ]
    assert now.report["answers"] == {"named": 1, "none": 0, "error": 1, "wrong": 0}
