from __future__ import annotations

import csv
import io
from typing import Any

import pytest

from shared.db import Database, insert_ignore
from shared.jobs.identified import STREAM_ROWS
from shared.queue import TaskNames
from shared.tables import Identification, Job
from tests.factories import Doorbells, identification_row, png, unbacked_model, zip_of
from tests.unit.web.api.test_jobs import assert_problem
from tests.unit.web.conftest import Caller
from tests.unit.web.pages.conftest import add_job


def archive() -> bytes:
    return zip_of({"categories/a/1.png": png(1), "test/1.png": png(2), "test/a/2.png": png(3)})


def job_with(database: Database, rows: list[dict[str, Any]]) -> Job:
    job = add_job(database, kind="identify")
    with database.write() as session:
        insert_ignore(session, Identification, [identification_row(job, n, **row) for n, row in enumerate(rows, 1)])
    return job


def test_an_identification_is_accepted(caller: Caller, database: Database, doorbell: Doorbells) -> None:
    unbacked_model(database)
    answer = caller.submit("identify", archive=archive(), threshold="0.25")
    job = answer.get_json()
    assert (answer.status_code, job["kind"], job["total"], job["model"]) == (202, "identify", 2, "paper@1")
    assert job["spec"] == {"kind": "identify", "model": None, "threshold": 0.25}
    assert job["links"]["results"] == f"/api/v1/jobs/{job['id']}/identifications"
    assert caller.get(job["links"]["results_csv"].removeprefix("/api/v1")).text.startswith("image,answer,")
    assert doorbell.tasks == [TaskNames.IDENTIFY]


def test_refused_requests(caller: Caller, database: Database) -> None:
    assert_problem(caller.submit("identify", archive=archive()), 422, "model_none")
    unbacked_model(database)
    assert_problem(caller.submit("identify"), 422, "file_missing")
    assert_problem(caller.submit("identify", archive=zip_of({"a.png": png()})), 422, "no_categories")
    assert_problem(caller.submit("identify", archive=zip_of({"categories/a/1.png": png()})), 422, "no_test_images")
    assert_problem(caller.submit("identify", archive=archive(), threshold="-0.1"), 422, "field_invalid")
    assert_problem(caller.submit("identify", archive=archive(), threshold="nan"), 422, "field_invalid")


def test_pages_of_answers(caller: Caller, database: Database) -> None:
    job = job_with(database, [{"truth": "anna", "correct": True}, {"category": None}, {}, {"nearest": None}, {}])
    seen, address = [], f"/jobs/{job.public_id}/identifications?limit=2"
    while address:
        page = caller.get(address.removeprefix("/api/v1")).get_json()
        seen += page["identifications"]
        address = page["links"]["next"]
    assert [row["ordinal"] for row in seen] == [1, 2, 3, 4, 5]
    assert [row["answer"] for row in seen] == ["named", "none", "named", "error", "named"]
    assert seen[0] == {
        "ordinal": 1,
        "image": "test/1.png",
        "answer": "named",
        "category": "anna",
        "distance": 0.5,
        "nearest": "anna",
        "runner_up": "bert",
        "runner_up_distance": 0.9,
        "truth": "anna",
        "correct": True,
        "code": None,
        "message": None,
    }


@pytest.mark.parametrize(
    ("kind", "ordinals"), [("named", [1, 4]), ("none", [2]), ("error", [3]), ("wrong", [2, 4]), ("", [1, 2, 3, 4])]
)
def test_answers_of_one_kind(caller: Caller, database: Database, kind: str, ordinals: list[int]) -> None:
    none, error = {"category": None, "correct": False}, {"category": None, "nearest": None}
    job = job_with(database, [{"correct": True}, none, error, {"correct": False}])
    page = caller.get(f"/jobs/{job.public_id}/identifications{kind and f'?answer={kind}'}").get_json()
    assert [row["ordinal"] for row in page["identifications"]] == ordinals


def test_bad_queries(caller: Caller, database: Database) -> None:
    path = f"/jobs/{job_with(database, []).public_id}/identifications"
    assert_problem(caller.get(f"{path}?answer=perhaps"), 422, "parameter_invalid")
    assert_problem(caller.get(f"{path}?after=x"), 422, "parameter_invalid")
    assert_problem(caller.get(f"{path}?limit=1001"), 422, "parameter_invalid")
    assert_problem(caller.get("/jobs/job_none/identifications"), 404, "job_unknown")


@pytest.mark.parametrize("asked", [{"query_string": {"format": "csv"}}, {"headers": {"Accept": "text/csv"}}])
def test_csv_of_more_answers_than_one_read_brings(
    caller: Caller, database: Database, asked: dict[str, dict[str, str]]
) -> None:
    rows: list[dict[str, Any]] = [{} for _ in range(STREAM_ROWS + 2)]
    rows[0] = {"entry": '=cmd|"a",b', "truth": "@anna", "correct": False}
    rows[1] = {"category": None, "runner_up": None, "runner_up_distance": None}
    job = job_with(database, rows)
    answer = caller.get(f"/jobs/{job.public_id}/identifications", **asked)
    assert answer.mimetype == "text/csv"
    found = list(csv.DictReader(io.StringIO(answer.text, newline="")))
    assert len(found) == STREAM_ROWS + 2
    assert (found[0]["image"], found[0]["truth"], found[0]["correct"]) == ('\'=cmd|"a",b', "'@anna", "no")
    assert (found[1]["answer"], found[1]["category"], found[1]["nearest"], found[1]["runner_up_distance"]) == (
        "none",
        "",
        "anna",
        "",
    )
    assert found[-1]["image"] == f"test/{STREAM_ROWS + 2}.png"
