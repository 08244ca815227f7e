from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from werkzeug.test import TestResponse

from shared.config import Settings
from shared.db import Database, utcnow
from shared.jobs.chunks import claim_chunks, record
from shared.queue import TaskNames
from shared.tables import Comparison, Epoch, Job, JobState, Region, Result, Upload
from tests.factories import Doorbells, batch_job, batch_of, png, reload, scores, unbacked_model, zip_of
from tests.unit.web.conftest import Caller


def batch() -> bytes:
    return batch_of(("1", "a.png", "b.png"), images={"a.png": png(), "b.png": png(1)})


def assert_problem(answer: TestResponse, status: int, code: str) -> dict[str, object]:
    """The problem document that the answer must be."""
    assert answer.status_code == status, answer.text
    assert answer.mimetype == "application/problem+json"
    document: dict[str, object] = answer.get_json()
    assert document["code"] == code
    assert document["status"] == status
    assert document["type"] == f"/problems#{code}"
    assert len(str(document["detail"])) > 15
    assert "Traceback" not in answer.text
    return document


def scored(database: Database, job: Job, verdict: str = "accept") -> None:
    claim = claim_chunks(database, "w", 30, 1000)
    assert claim is not None
    record(database, claim, scores(claim, verdict))


def blobs(settings: Settings) -> list[Path]:
    return [path for path in Path(settings.storage_url).rglob("*") if path.is_file()]


def test_a_batch_is_accepted(caller: Caller, database: Database, doorbell: Doorbells) -> None:
    unbacked_model(database)
    answer = caller.submit(archive=batch(), label="my batch")
    assert answer.status_code == 202
    job = answer.get_json()
    assert answer.headers["Location"] == f"/api/v1/jobs/{job['id']}"
    assert int(answer.headers["Retry-After"]) > 0
    assert (job["state"], job["done"], job["label"], job["submitted_by"]) == ("queued", 0, "my batch", "admin")
    assert job["model"] == "paper@1"
    assert doorbell.tasks == [TaskNames.INTAKE]
    assert caller.get(f"/jobs/{job['id']}").get_json() == job


def test_what_a_submitter_calls_its_job_by(caller: Caller, database: Database) -> None:
    unbacked_model(database)
    job = caller.submit(archive=batch(), tag="night", external_id="run-17").get_json()
    assert (job["tag"], job["external_id"]) == ("night", "run-17")
    assert_problem(caller.submit(archive=batch(), tag="x" * 81), 422, "field_invalid")


def test_two_images_are_accepted(caller: Caller, database: Database, doorbell: Doorbells) -> None:
    unbacked_model(database)
    answer = caller.submit(questioned=png(), reference=png(1), model="paper@1")
    assert (answer.status_code, answer.get_json()["total"]) == (202, 1)
    assert doorbell.tasks == [TaskNames.SCORE]


def test_a_training_is_accepted(caller: Caller, doorbell: Doorbells) -> None:
    answer = caller.submit("train", archive=zip_of({"a/genuine/1.png": png()}), epochs="3", network="seed")
    job = answer.get_json()
    assert (answer.status_code, job["kind"], job["total"]) == (202, "train", 3)
    assert (job["spec"]["network"], job["spec"]["margin"]) == ("seed", 2.0)
    assert doorbell.tasks == [TaskNames.TRAIN]


def test_refused_requests_leave_nothing(caller: Caller, database: Database, settings: Settings) -> None:
    unbacked_model(database)
    pair: dict[str, Any] = {"questioned": png(), "reference": png(1)}
    assert_problem(caller.submit(), 422, "file_missing")
    assert_problem(caller.submit(questioned=png()), 422, "file_missing")
    assert_problem(caller.submit("train"), 422, "file_missing")
    assert_problem(caller.submit("paint", **pair), 422, "kind_unknown")
    assert_problem(caller.submit(archive=png()), 422, "archive_not_zip")
    assert_problem(caller.submit(archive=zip_of({"a.png": png()})), 422, "manifest_missing")
    assert_problem(caller.submit(**pair, model="nobody"), 404, "model_unknown")
    assert_problem(caller.submit(**pair, model="a\0b"), 404, "model_unknown")
    assert_problem(caller.submit("train", archive=batch(), epochs="0"), 422, "field_invalid")
    assert blobs(settings) == []
    with database.read() as session:
        assert [session.scalar(sa.select(sa.func.count()).select_from(t)) for t in (Job, Upload, Region)] == [0, 0, 0]


def test_every_bad_field_is_named(caller: Caller) -> None:
    document = assert_problem(
        caller.submit("train", archive=batch(), epochs="many", margin="-1", epcohs="3"), 422, "field_invalid"
    )
    errors = document["errors"]
    assert isinstance(errors, list)
    assert {error["where"] for error in errors} == {"epochs", "margin", "epcohs"}


def test_an_absent_queue(caller: Caller, database: Database, doorbell: Doorbells, settings: Settings) -> None:
    unbacked_model(database)
    doorbell.away = True
    answer = caller.submit(archive=batch())
    assert_problem(answer, 503, "queue_unavailable")
    assert answer.headers["Retry-After"] == "30"
    assert blobs(settings) == []


def test_a_queue_that_goes_away_after_the_check(caller: Caller, database: Database, doorbell: Doorbells) -> None:
    unbacked_model(database)
    doorbell.deaf = True
    assert caller.submit(archive=batch()).status_code == 202


def test_an_upload_over_the_limit(caller: Caller, settings: Settings) -> None:
    caller.app.config["MAX_CONTENT_LENGTH"] = 1000
    assert_problem(caller.submit(archive=bytes(2000)), 413, "upload_too_large")
    assert blobs(settings) == []


def test_pages_of_jobs(caller: Caller, database: Database) -> None:
    model = unbacked_model(database)
    made = [batch_job(database, model, 1, 1).public_id for _ in range(3)]
    first = caller.get("/jobs?limit=2").get_json()
    rest = caller.get(f"/jobs?limit=2&before={first['next']}").get_json()
    assert [job["id"] for job in first["jobs"] + rest["jobs"]] == made[::-1]
    assert rest["next"] is None


def test_pages_of_results(caller: Caller, database: Database) -> None:
    job = batch_job(database, unbacked_model(database), 5, 5)
    scored(database, job)
    seen, address = [], f"/jobs/{job.public_id}/results?limit=2"
    while address:
        page = caller.get(address.removeprefix("/api/v1")).get_json()
        seen += page["results"]
        address = page["links"]["next"]
    assert [answer["ordinal"] for answer in seen] == [1, 2, 3, 4, 5]
    assert seen[0]["id"] == "id-1"
    assert (seen[0]["verdict"], seen[0]["distance"], seen[0]["distances"], seen[0]["nearest"]) == (
        "accept",
        0.5,
        [0.5],
        1,
    )
    assert (seen[0]["model"], seen[0]["threshold"], seen[0]["questioned"]["image"]) == ("paper@1", 1.0, "q.png")


def test_results_not_yet_scored(caller: Caller, database: Database) -> None:
    job = batch_job(database, unbacked_model(database), 2, 2)
    page = caller.get(f"/jobs/{job.public_id}/results").get_json()
    assert [answer["verdict"] for answer in page["results"]] == [None, None]
    assert caller.get(f"/jobs/{job.public_id}/results?format=csv").text.count("\r\n") == 1


def test_results_of_one_verdict(caller: Caller, database: Database) -> None:
    job = batch_job(database, unbacked_model(database), 2, 2)
    scored(database, job, "reject")
    path = f"/jobs/{job.public_id}/results"
    assert len(caller.get(f"{path}?verdict=reject").get_json()["results"]) == 2
    assert caller.get(f"{path}?verdict=accept").get_json()["results"] == []
    assert_problem(caller.get(f"{path}?verdict=perhaps"), 422, "parameter_invalid")


def test_one_result(caller: Caller, database: Database) -> None:
    job = batch_job(database, unbacked_model(database), 2, 2)
    assert caller.get(f"/jobs/{job.public_id}/results/2").get_json()["id"] == "id-2"
    assert_problem(caller.get(f"/jobs/{job.public_id}/results/3"), 404, "comparison_unknown")
    assert_problem(caller.get(f"/jobs/{job.public_id}/results/0"), 404, "comparison_unknown")
    assert caller.get(f"/jobs/{job.public_id}/results/{10**30}").status_code == 404


@pytest.mark.parametrize("query", ["after=x", "after=-1", "limit=1001", "limit=²", f"after={10**25}", "limit="])
def test_bad_cursors(caller: Caller, database: Database, query: str) -> None:
    job = batch_job(database, unbacked_model(database), 1, 1)
    assert_problem(caller.get(f"/jobs/{job.public_id}/results?{query}"), 422, "parameter_invalid")


@pytest.mark.parametrize("asked", [{"query_string": {"format": "csv"}}, {"headers": {"Accept": "text/csv"}}])
def test_csv(caller: Caller, database: Database, asked: dict[str, dict[str, str]]) -> None:
    job = batch_job(database, unbacked_model(database), 3, 3)
    scored(database, job)
    answer = caller.get(f"/jobs/{job.public_id}/results", **asked)
    assert answer.mimetype == "text/csv"
    assert f"{job.public_id}.csv" in answer.headers["Content-Disposition"]
    assert answer.text.startswith("id,verdict,distance,")
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    assert [(row["id"], row["verdict"], row["distance"], row["line"]) for row in rows] == [
        (f"id-{number}", "accept", "0.5", str(number + 1)) for number in (1, 2, 3)
    ]


@pytest.mark.parametrize("start", ["=", "+", "-", "@"])
def test_a_spreadsheet_runs_no_formula(caller: Caller, database: Database, start: str) -> None:
    formula = f"{start}HYPERLINK(1)"
    job = batch_job(database, unbacked_model(database), 1, 1)
    scored(database, job)
    with database.write() as session:
        session.execute(sa.update(Comparison).values(external_id=formula))
        session.execute(sa.update(Region).values(entry=formula))
        session.execute(sa.update(Result).values(message=formula))
    (row,) = csv.DictReader(io.StringIO(caller.get(f"/jobs/{job.public_id}/results?format=csv").text))
    assert {row[name] for name in ("id", "questioned", "reference", "message")} == {f"'{formula}"}
    assert caller.get(f"/jobs/{job.public_id}/results").get_json()["results"][0]["id"] == formula


def test_cells_with_separators_and_quotes(caller: Caller, database: Database) -> None:
    job = batch_job(database, unbacked_model(database), 1, 1)
    scored(database, job)
    odd = 'a "b", c;\nd ä'
    with database.write() as session:
        session.execute(sa.update(Comparison).values(external_id=odd))
    (row,) = csv.DictReader(io.StringIO(caller.get(f"/jobs/{job.public_id}/results?format=csv").text, newline=""))
    assert row["id"] == odd


def test_cancel_and_retry(caller: Caller, database: Database, doorbell: Doorbells) -> None:
    job = batch_job(database, unbacked_model(database), 1, 1)
    answer = caller.post(f"/jobs/{job.public_id}/cancel")
    assert (answer.status_code, answer.get_json()["state"]) == (202, "cancelled")
    assert_problem(caller.post(f"/jobs/{job.public_id}/cancel"), 409, "job_ended")
    answer = caller.post(f"/jobs/{job.public_id}/retry")
    assert (answer.status_code, answer.get_json()["state"], answer.get_json()["attempt"]) == (202, "queued", 2)
    assert doorbell.tasks == [TaskNames.INTAKE, TaskNames.SCORE]
    assert_problem(caller.post(f"/jobs/{job.public_id}/retry"), 409, "job_not_retryable")
    assert reload(database, job).state == JobState.QUEUED


def test_finish(caller: Caller, database: Database) -> None:
    with database.write() as session:
        job = Job(
            public_id="job_t", kind="train", spec={"kind": "train"}, state="running", total=9, created_at=utcnow()
        )
        session.add(job)
    assert_problem(caller.post("/jobs/job_t/finish"), 409, "nothing_to_keep")
    with database.write() as session:
        session.get_one(Job, job.id).done = 4
    answer = caller.post("/jobs/job_t/finish")
    assert (answer.status_code, answer.get_json()["state"]) == (202, "running")
    assert answer.get_json()["phase"] == "ending with the best epoch so far"
    assert reload(database, job).finish_by == "admin"


def test_epochs(caller: Caller, database: Database) -> None:
    job = batch_job(database, unbacked_model(database), 1, 1)
    with database.write() as session:
        session.add_all(
            Epoch(job_id=job.id, epoch=n, loss=1 / n, validation_eer=0.25, learning_rate=1e-3, images=8, seconds=1.0)
            for n in (1, 2)
        )
    epochs = caller.get(f"/jobs/{job.public_id}/epochs").get_json()["epochs"]
    assert [(epoch["epoch"], epoch["loss"], epoch["validation_loss"]) for epoch in epochs] == [
        (1, 1.0, None),
        (2, 0.5, None),
    ]


@pytest.mark.parametrize("path", ["", "/results", "/results/1", "/epochs"])
def test_no_such_job(caller: Caller, path: str) -> None:
    assert_problem(caller.get(f"/jobs/job_none{path}"), 404, "job_unknown")
    assert_problem(caller.get(f"/jobs/a%00b{path}"), 404, "job_unknown")


@pytest.mark.parametrize("act", ["cancel", "finish", "retry"])
def test_no_such_job_to_act_upon(caller: Caller, act: str) -> None:
    assert_problem(caller.post(f"/jobs/job_none/{act}"), 404, "job_unknown")
