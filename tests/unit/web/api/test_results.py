"""Results in every form, compressed, and read while the job runs."""

from __future__ import annotations

import gzip
import json

import pytest
import sqlalchemy as sa

from shared.db import Database
from shared.jobs.chunks import claim_chunks, record
from shared.tables import Comparison, Job
from tests.factories import batch_job, scores, unbacked_model
from tests.unit.web.conftest import Caller
from web.api import documents


def score_next(database: Database, verdict: str = "accept") -> None:
    """One chunk of four."""
    claim = claim_chunks(database, "w", 30, 4)
    assert claim is not None
    record(database, claim, scores(claim, verdict))


def running(database: Database) -> Job:
    """Twelve comparisons in three chunks: the first is being scored, the second is done, the third waits."""
    job = batch_job(database, unbacked_model(database), 12, 4)
    held = claim_chunks(database, "slow", 300, 4)
    assert held is not None
    score_next(database, "reject")
    return job


def test_ndjson_is_a_document_a_line(caller: Caller, database: Database) -> None:
    job = batch_job(database, unbacked_model(database), 4, 4)
    score_next(database)
    for asked in ({"query_string": {"format": "ndjson"}}, {"headers": {"Accept": "application/x-ndjson"}}):
        answer = caller.get(f"/jobs/{job.public_id}/results", **asked)
        assert answer.mimetype == "application/x-ndjson"
        rows = [documents.Comparison.model_validate_json(line) for line in answer.text.splitlines()]
        assert [(row.ordinal, row.verdict) for row in rows] == [(n, "accept") for n in (1, 2, 3, 4)]
    later = caller.get(f"/jobs/{job.public_id}/results?format=ndjson&after=3").text.splitlines()
    assert [json.loads(line)["ordinal"] for line in later] == [4]


def test_a_reader_of_scored_results_misses_none(caller: Caller, database: Database) -> None:
    job = running(database)
    page = caller.get(f"/jobs/{job.public_id}/results?scored=true").get_json()
    assert (page["results"], page["next"]) == ([], 0)
    with database.write() as session:  # the slow one lets go
        session.execute(sa.text("UPDATE chunks SET lease_until = 0"))
    score_next(database)
    page = caller.get(f"/jobs/{job.public_id}/results?scored=true&limit=5").get_json()
    assert [row["ordinal"] for row in page["results"]] == [1, 2, 3, 4, 5]
    page = caller.get(page["links"]["next"].removeprefix("/api/v1")).get_json()
    assert ([row["ordinal"] for row in page["results"]], page["next"]) == ([6, 7, 8], 8)
    page = caller.get(page["links"]["next"].removeprefix("/api/v1")).get_json()
    assert (page["results"], page["next"]) == ([], 8)
    score_next(database)
    page = caller.get(page["links"]["next"].removeprefix("/api/v1")).get_json()
    assert ([row["ordinal"] for row in page["results"]], page["next"]) == ([9, 10, 11, 12], None)


def test_the_cursor_goes_past_what_the_filter_leaves_out(caller: Caller, database: Database) -> None:
    job = batch_job(database, unbacked_model(database), 8, 4)
    score_next(database)
    page = caller.get(f"/jobs/{job.public_id}/results?scored=true&verdict=unscorable").get_json()
    assert (page["results"], page["next"]) == ([], 4)


def test_a_stream_of_a_running_job_says_where_to_go_on(caller: Caller, database: Database) -> None:
    job = batch_job(database, unbacked_model(database), 8, 4)
    score_next(database)
    for form in ("ndjson", "csv"):
        path = f"/jobs/{job.public_id}/results?format={form}&scored=true"
        link = caller.get(path).headers["Link"]
        assert "after=4" in link
        assert link.endswith('rel="next"')
    score_next(database)
    assert "Link" not in caller.get(path).headers


def test_what_a_cancelled_job_has(caller: Caller, database: Database) -> None:
    job = running(database)
    with database.write() as session:
        session.execute(sa.text("UPDATE jobs SET state = 'cancelled'"))
    page = caller.get(f"/jobs/{job.public_id}/results?scored=true").get_json()
    assert ([row["ordinal"] for row in page["results"]], page["next"]) == ([5, 6, 7, 8], None)


@pytest.mark.parametrize("form", ["json", "ndjson", "csv"])
def test_answers_are_compressed_for_who_asks(caller: Caller, database: Database, form: str) -> None:
    job = batch_job(database, unbacked_model(database), 8, 4)
    score_next(database)
    path = f"/jobs/{job.public_id}/results?format={form}&limit=8"
    plain, packed = caller.get(path), caller.get(path, headers={"Accept-Encoding": "br, gzip"})
    assert "Content-Encoding" not in plain.headers
    assert packed.headers["Content-Encoding"] == "gzip"
    assert "Accept-Encoding" in packed.headers["Vary"]
    assert gzip.decompress(packed.get_data()) == plain.get_data()
    assert len(packed.get_data()) < len(plain.get_data())
    assert "Content-Encoding" not in caller.get(path, headers={"Accept-Encoding": "gzip;q=0"}).headers


@pytest.mark.parametrize("form", ["ndjson", "csv"])
def test_many_results_are_sent_as_they_are_read(caller: Caller, database: Database, form: str) -> None:
    job = batch_job(database, unbacked_model(database), 4, 4)
    headers = {"Authorization": f"Bearer {caller.key}", "Accept-Encoding": "gzip"}
    answer = caller.app.test_client().get(f"/api/v1/jobs/{job.public_id}/results?format={form}", headers=headers)
    assert answer.is_streamed
    assert "Content-Length" not in answer.headers
    answer.close()


def test_short_answers_are_not_compressed(caller: Caller) -> None:
    assert "Content-Encoding" not in caller.get("/models", headers={"Accept-Encoding": "gzip"}).headers


def test_rows_carry_their_tags(caller: Caller, database: Database) -> None:
    job = batch_job(database, unbacked_model(database), 4, 4)
    score_next(database)
    with database.write() as session:
        session.execute(sa.update(Comparison).values(tag="branch 7"))
    assert {row["tag"] for row in caller.get(f"/jobs/{job.public_id}/results").get_json()["results"]} == {"branch 7"}
    assert caller.get(f"/jobs/{job.public_id}/results?format=csv").text.splitlines()[1].endswith(",branch 7,,,,,")


def test_jobs_are_found_by_tag_and_id(caller: Caller, database: Database) -> None:
    model = unbacked_model(database)
    jobs = [batch_job(database, model, 1, 1) for _ in range(3)]
    with database.write() as session:
        session.execute(sa.update(Job).where(Job.id == jobs[0].id).values(tag="night", external_id="run-1"))
        session.execute(sa.update(Job).where(Job.id == jobs[2].id).values(tag="night", external_id="run-2"))

    def found(query: str) -> list[str]:
        return [job["id"] for job in caller.get(f"/jobs?{query}").get_json()["jobs"]]

    assert found("tag=night") == [jobs[2].public_id, jobs[0].public_id]
    assert found("external_id=run-1") == [jobs[0].public_id]
    assert found("tag=night&state=failed") == []
    page = caller.get("/jobs?tag=night&limit=1").get_json()
    assert [job["id"] for job in caller.get(page["links"]["next"].removeprefix("/api/v1")).get_json()["jobs"]] == [
        jobs[0].public_id
    ]
