"""A job watched by server-sent events."""

from __future__ import annotations

import json

import sqlalchemy as sa

from shared.db import Database
from shared.jobs.lifecycle import request_cancel
from shared.tables import Job
from tests.factories import batch_job, unbacked_model
from tests.unit.web.api.test_jobs import assert_problem
from tests.unit.web.conftest import Caller
from web.api import documents


def told(text: str) -> tuple[str, documents.Job]:
    """The id and the job of one event."""
    fields = dict(line.split(": ", 1) for line in text.strip().splitlines())
    assert fields["event"] == "job"
    return fields["id"], documents.Job.model_validate(json.loads(fields["data"]))


def test_each_change_is_told_until_the_end(caller: Caller, database: Database) -> None:
    job = batch_job(database, unbacked_model(database), 2, 2)
    headers = {"Authorization": f"Bearer {caller.key}", "Accept-Encoding": "gzip"}
    answer = caller.app.test_client().get(f"/api/v1/jobs/{job.public_id}/events", headers=headers)
    assert (answer.mimetype, "Content-Encoding" in answer.headers) == ("text/event-stream", False)
    stream = (piece.decode() for piece in answer.iter_encoded())
    assert next(stream).startswith("retry: ")
    assert told(next(stream))[1].done == 0
    with database.write() as session:
        session.execute(sa.update(Job).values(done=1))
    assert told(next(stream))[1].done == 1
    request_cancel(database, job.public_id, None)
    last, ended = told(next(stream))
    assert ended.state == "cancelled"
    assert list(stream) == []
    answer.close()
    again = caller.get(f"/jobs/{job.public_id}/events", headers={"Last-Event-ID": last})
    assert again.text == "retry: 2000\n\n"


def test_places_are_given_back_and_run_out(caller: Caller, database: Database) -> None:
    job = batch_job(database, unbacked_model(database), 1, 1)
    request_cancel(database, job.public_id, None)
    places = caller.app.extensions["countersign"].places_to_wait
    for _ in range(20):
        assert caller.get(f"/jobs/{job.public_id}/events").status_code == 200
    while places.acquire(blocking=False):
        pass
    assert_problem(caller.get(f"/jobs/{job.public_id}/events"), 503, "streams_busy")
    assert_problem(caller.get("/jobs/job_none/events"), 404, "job_unknown")
