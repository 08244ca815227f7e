from __future__ import annotations

import csv
import io
from typing import Any

import pytest

from shared.db import Database
from shared.queue import TaskNames
from shared.specs import TuneSpec
from tests.factories import Doorbells, png, tune_job, zip_of
from tests.unit.web.api.test_jobs import assert_problem
from tests.unit.web.conftest import Caller

ROWS: list[dict[str, Any]] = [
    {"value": 0.3, "params": {"optimiser": "sgd", "margin": 2.0}},
    {"value": 0.2, "params": {"optimiser": "=cmd", "mining": "hard"}},
    {"value": None, "state": "failed", "folds": 0, "code": "loss_not_finite"},
]


def test_a_search_is_accepted(caller: Caller, doorbell: Doorbells) -> None:
    answer = caller.submit("tune", archive=zip_of({"a/genuine/1.png": png(1)}), trials="7", folds="4")
    job = answer.get_json()
    assert (answer.status_code, job["kind"], job["total"]) == (202, "tune", 7)
    assert job["spec"] == TuneSpec(trials=7, folds=4).model_dump(mode="json")
    assert job["links"]["trials"] == f"/api/v1/jobs/{job['id']}/trials"
    assert "epochs" not in job["links"]
    assert caller.get(job["links"]["trials"].removeprefix("/api/v1")).get_json() == {"trials": []}
    assert doorbell.tasks == [TaskNames.TUNE]


@pytest.mark.parametrize(
    "fields", [{"trials": "0"}, {"folds": "1"}, {"network": "huge"}, {"learning_rate": "0.1"}, {"preset": "none"}]
)
def test_bad_fields_are_refused(caller: Caller, fields: dict[str, str]) -> None:
    assert_problem(caller.submit("tune", archive=zip_of({"a/genuine/1.png": png(1)}), **fields), 422, "field_invalid")


def test_trials_come_in_their_order(caller: Caller, database: Database) -> None:
    job = tune_job(database, ROWS)
    trials = caller.get(f"/jobs/{job.public_id}/trials").get_json()["trials"]
    assert [trial["number"] for trial in trials] == [1, 2, 3]
    assert trials[0] == {
        "number": 1,
        "state": "complete",
        "value": 0.3,
        "folds": 3,
        "seconds": 60.0,
        "code": None,
        "params": {"optimiser": "sgd", "margin": 2.0},
    }
    assert_problem(caller.get("/jobs/job_none/trials"), 404, "job_unknown")


def test_the_table_has_a_column_for_each_setting(caller: Caller, database: Database) -> None:
    job = tune_job(database, ROWS)
    answer = caller.get(f"/jobs/{job.public_id}/trials?format=csv")
    assert answer.headers["Content-Disposition"].endswith(f'filename="{job.public_id}-trials.csv"')
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    assert list(rows[0]) == ["number", "state", "value", "folds", "seconds", "code", "optimiser", "margin", "mining"]
    assert [row["margin"] for row in rows] == ["2.0", "", ""]
    assert [row["code"] for row in rows] == ["", "", "loss_not_finite"]
    assert rows[1]["optimiser"] == "'=cmd", "no spreadsheet runs it"
