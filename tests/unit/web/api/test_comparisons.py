"""Comparisons by their sender's id, and decisions about them."""

from __future__ import annotations

import re

import pytest
import sqlalchemy as sa

from shared.db import Database
from shared.jobs.queries import find_comparisons
from shared.tables import AuditEvent
from tests.factories import batch_job, unbacked_model
from tests.unit.web.api.test_jobs import assert_problem
from tests.unit.web.conftest import Caller
from tests.unit.web.pages.conftest import add_job, add_results


def test_a_row_is_found_in_every_job_that_has_it(caller: Caller, database: Database) -> None:
    jobs = [add_job(database) for _ in range(3)]
    for job, verdicts in zip(jobs, (["accept"], ["reject", "review"], ["accept", "reject"]), strict=True):
        add_results(database, job, verdicts)
    page = caller.get("/comparisons?id=row-2").get_json()
    found = [(row["job"], row["ordinal"], row["verdict"]) for row in page["comparisons"]]
    assert found == [(jobs[2].public_id, 2, "reject"), (jobs[1].public_id, 2, "review")]
    one = caller.get(page["comparisons"][0]["links"]["self"].removeprefix("/api/v1")).get_json()
    assert one["id"] == "row-2"
    first = caller.get("/comparisons?id=row-1&limit=2").get_json()
    rest = caller.get(first["links"]["next"].removeprefix("/api/v1")).get_json()
    assert [row["job"] for row in first["comparisons"] + rest["comparisons"]] == [job.public_id for job in jobs[::-1]]
    assert rest["next"] is None
    assert caller.get("/comparisons?id=nobody").get_json()["comparisons"] == []
    assert_problem(caller.get("/comparisons"), 422, "parameter_invalid")


def test_a_job_is_asked_by_its_index(sqlite_database: Database) -> None:
    """A million rows of a job are not read for one of them."""
    said: list[str] = []
    engine = sqlite_database.engine
    note = lambda c, k, statement, parameters, *rest: said.append(statement)  # noqa: E731
    sa.event.listen(engine, "before_cursor_execute", note)
    with sqlite_database.read() as session:
        find_comparisons(session, "row-1")
        asked = next(each for each in said if "comparisons" in each)
        plan = session.execute(sa.text("EXPLAIN QUERY PLAN " + asked.replace("?", "1"))).all()
    sa.event.remove(engine, "before_cursor_execute", note)
    told = "\n".join(row.detail for row in plan)
    assert re.search(r"SEARCH comparisons USING (COVERING )?INDEX ix_comparisons_external", told), told
    assert "SCAN comparisons" not in told


def test_a_decision_is_kept_beside_the_answer(caller: Caller, database: Database) -> None:
    job = add_job(database)
    add_results(database, job, ["accept", "review"])
    address = f"/jobs/{job.public_id}/results/1/review"
    answer = caller.put(address, json={"verdict": "reject", "reason": "drawn slowly"})
    assert answer.get_json()["review"] | {"reviewed_at": ""} == {
        "decision": "overrule",
        "verdict": "reject",
        "reason": "drawn slowly",
        "reviewer": "admin",
        "reviewed_at": "",
    }
    assert answer.get_json()["verdict"] == "accept"
    assert caller.put(address, json={"verdict": "accept"}).get_json()["review"]["decision"] == "agree"
    for _ in range(2):
        assert caller.delete(address).status_code == 204
    assert caller.get(address.removesuffix("/review")).get_json()["review"] is None
    with database.read() as session:
        acts = session.scalars(sa.select(AuditEvent.action).where(AuditEvent.action.like("review%"))).all()
    assert acts == ["review.decide", "review.decide", "review.take_back"]


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"verdict": "reject"}, 422, "review_reason"),
        ({"verdict": "unscorable"}, 422, "review_verdict"),
        ({"verdict": "review"}, 422, "field_invalid"),
        ({"verdict": "reject", "reason": "x" * 1001}, 422, "field_invalid"),
        ({"verdict": "reject", "why": "x"}, 422, "field_invalid"),
        ({}, 422, "field_invalid"),
    ],
)
def test_decisions_that_are_refused(
    caller: Caller, database: Database, body: dict[str, str], status: int, code: str
) -> None:
    job = add_job(database)
    add_results(database, job, ["accept"])
    assert_problem(caller.put(f"/jobs/{job.public_id}/results/1/review", json=body), status, code)


def test_only_what_is_there_and_scored_can_be_decided(caller: Caller, database: Database) -> None:
    job = add_job(database)
    add_results(database, job, ["accept"])
    for act in (lambda path: caller.put(path, json={"verdict": "accept"}), caller.delete):
        assert_problem(act(f"/jobs/{job.public_id}/results/2/review"), 404, "comparison_unknown")
        assert_problem(act("/jobs/job_none/results/1/review"), 404, "job_unknown")
    waiting = batch_job(database, unbacked_model(database), 1, 1)
    answer = caller.put(f"/jobs/{waiting.public_id}/results/1/review", json={"verdict": "accept"})
    assert_problem(answer, 409, "not_scored")
