"""Evaluations: listed by model, each with the curves that it measured."""

from __future__ import annotations

import pytest

from shared.db import Database
from shared.storage import FolderStore
from tests.factories import unbacked_model
from tests.unit.web.api.test_jobs import assert_problem
from tests.unit.web.conftest import Caller
from tests.unit.web.pages.conftest import add_job
from tests.unit.web.pages.test_evaluate import HEADLINE
from tests.unit.web.pages.test_measured import REPORT, measured


def test_evaluations_are_listed_by_model(caller: Caller, database: Database, store: FolderStore) -> None:
    one, other = unbacked_model(database, "one"), unbacked_model(database, "other")
    for name, model in (("job_a", one), ("job_b", other), ("job_c", one)):
        measured(database, store, model, name)
    add_job(database, kind="evaluate", state="running", public_id="job_d", spec={"kind": "evaluate"})
    add_job(database, kind="train")
    found = caller.get("/evaluations").get_json()["evaluations"]
    assert [(row["id"], row["state"]) for row in found] == [
        ("job_d", "running"),
        ("job_c", "succeeded"),
        ("job_b", "succeeded"),
        ("job_a", "succeeded"),
    ]
    assert (found[0]["figures"], found[0]["model"]) == (None, None)
    assert (found[1]["figures"], found[1]["model"], found[1]["protocol"]) == (HEADLINE, "one@1", "grey-ink")
    page = caller.get("/evaluations?model=one&limit=1").get_json()
    rest = caller.get(page["links"]["next"].removeprefix("/api/v1")).get_json()
    assert [row["id"] for row in page["evaluations"] + rest["evaluations"]] == ["job_c", "job_a"]
    assert_problem(caller.get("/evaluations?model=nobody"), 404, "model_unknown")


def test_an_evaluation_has_its_curves(caller: Caller, database: Database, store: FolderStore) -> None:
    job = measured(database, store, unbacked_model(database), "job_a")
    told = caller.get(f"/evaluations/{job.public_id}").get_json()
    pair, sets = told["curves"]
    assert (pair["protocol"], pair["forgeries"], sets["protocol"], sets["forgeries"]) == (
        "pair",
        "skilled",
        "refs8",
        "random",
    )
    assert {point["frr"] for point in pair["points"] if point["far"] < 0.02} == {0.5}
    assert sets["points"][0] == {"far": pytest.approx(0.001), "frr": 0.125}
    assert [(one["scale"], len(one["bins"])) for one in told["histograms"]] == [("distance", 2), ("llr", 2)]
    assert told["floor"] == REPORT["floor"]
    for link in told["links"].values():
        assert link is None or caller.get(link.removeprefix("/api/v1")).status_code == 200


def test_one_that_runs_has_none_and_other_jobs_are_none(caller: Caller, database: Database) -> None:
    running = add_job(database, kind="evaluate", state="running", spec={"kind": "evaluate"})
    told = caller.get(f"/evaluations/{running.public_id}").get_json()
    assert (told["curves"], told["histograms"], told["floor"]) == ([], [], {})
    trained = add_job(database, kind="train")
    assert_problem(caller.get(f"/evaluations/{trained.public_id}"), 404, "evaluation_unknown")
    assert_problem(caller.get("/evaluations/job_none"), 404, "job_unknown")
