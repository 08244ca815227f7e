"""Conditional requests, long polls, and when to ask again."""

from __future__ import annotations

import threading
from datetime import timedelta

import pytest
import sqlalchemy as sa

from shared.db import Database, utcnow
from shared.jobs.lifecycle import request_cancel
from shared.jobs.pace import seconds_left
from shared.tables import Job, JobState
from tests.factories import batch_job, unbacked_model
from tests.unit.web.conftest import Caller
from web.present import retry_after


def change(database: Database, job: Job, **values: object) -> Job:
    with database.write() as session:
        session.execute(sa.update(Job).where(Job.id == job.id).values(**values))
    with database.read() as session:
        return session.get_one(Job, job.id)


def test_an_answer_at_hand_is_not_sent_again(caller: Caller, database: Database) -> None:
    job = batch_job(database, unbacked_model(database), 2, 2)
    first = caller.get(f"/jobs/{job.public_id}")
    known = {"If-None-Match": first.headers["ETag"]}
    again = caller.get(f"/jobs/{job.public_id}", headers=known)
    assert (again.status_code, again.get_data(), again.headers["ETag"]) == (304, b"", first.headers["ETag"])
    change(database, job, done=1)
    changed = caller.get(f"/jobs/{job.public_id}", headers=known)
    assert (changed.status_code, changed.get_json()["done"]) == (200, 1)
    for path in ("/models", "/jobs", f"/jobs/{job.public_id}/results"):
        tag = caller.get(path).headers["ETag"]
        assert caller.get(path, headers={"If-None-Match": tag}).status_code == 304


def test_a_job_is_told_anew_whatever_of_it_changed(caller: Caller, database: Database) -> None:
    """Also what no other test looks at; what is nobody's business outside (a lease) is no change."""
    job = batch_job(database, unbacked_model(database), 2, 2)
    counts, texts = ("accept", "review", "reject", "unscorable", "done"), ("label", "tag", "external_id", "phase")
    each: list[tuple[str, object]] = [*((name, 1) for name in counts), *((name, "other") for name in texts)]
    changes: list[dict[str, object]] = [
        *({name: value} for name, value in each),
        {"total": 3, "attempt": 2},
        {"report": {"what": "came out"}},
        {"error_code": "some", "error_message": "Something."},
        {"error_message": "Something else."},
        {"error_code": "other"},
        {"faults": [{"code": "some", "message": "of it", "where": "line 1"}]},
        {"state": JobState.RUNNING, "started_at": utcnow()},
        {"state": JobState.CANCELLED, "finished_at": utcnow()},
    ]
    for values in changes:
        before = caller.get(f"/jobs/{job.public_id}")
        change(database, job, **values)
        after = caller.get(f"/jobs/{job.public_id}", headers={"If-None-Match": before.headers["ETag"]})
        assert after.status_code == 200, values
        assert after.get_json() != before.get_json(), values
    change(database, job, lease_until=1.0, fence=7, owner="somebody", rung_at=3.0)
    held = caller.get(f"/jobs/{job.public_id}", headers={"If-None-Match": after.headers["ETag"]})
    assert (held.status_code, held.get_data()) == (304, b"")


def test_who_has_the_answer_is_told_when_to_ask_again(caller: Caller, database: Database) -> None:
    started = utcnow() - timedelta(seconds=60)
    job = batch_job(database, unbacked_model(database), 2, 2)
    change(database, job, state=JobState.RUNNING, done=1, started_at=started)
    first = caller.get(f"/jobs/{job.public_id}")
    again = caller.get(f"/jobs/{job.public_id}", headers={"If-None-Match": first.headers["ETag"]})
    assert again.status_code == 304
    assert 29 <= int(first.headers["Retry-After"]) <= int(again.headers["Retry-After"]) <= 32
    change(database, job, state=JobState.SUCCEEDED, done=2, finished_at=utcnow())
    ended = caller.get(f"/jobs/{job.public_id}")
    known = caller.get(f"/jobs/{job.public_id}", headers={"If-None-Match": f'"other", {ended.headers["ETag"]}'})
    assert (known.status_code, known.headers.get("Retry-After")) == (304, None)


def test_a_long_poll_is_answered_when_the_job_ends(caller: Caller, database: Database) -> None:
    job = batch_job(database, unbacked_model(database), 1, 1)
    ending = threading.Timer(0.3, request_cancel, (database, job.public_id, None))
    ending.start()
    answer = caller.get(f"/jobs/{job.public_id}", headers={"Prefer": "respond-async, Wait=30"})
    ending.join()
    assert answer.get_json()["state"] == "cancelled"
    assert answer.headers["Preference-Applied"] == "wait=30"


def test_a_long_poll_is_answered_when_the_job_changes(caller: Caller, database: Database) -> None:
    job = batch_job(database, unbacked_model(database), 2, 2)
    tag = caller.get(f"/jobs/{job.public_id}").headers["ETag"]
    changing = threading.Timer(0.3, change, (database, job), {"done": 1})
    changing.start()
    answer = caller.get(f"/jobs/{job.public_id}", headers={"Prefer": "wait=30", "If-None-Match": tag})
    changing.join()
    assert (answer.status_code, answer.get_json()["done"], answer.get_json()["state"]) == (200, 1, "queued")


def test_a_long_poll_ends_with_its_time(caller: Caller, database: Database) -> None:
    job = batch_job(database, unbacked_model(database), 1, 1)
    tag = caller.get(f"/jobs/{job.public_id}").headers["ETag"]
    answer = caller.get(f"/jobs/{job.public_id}", headers={"Prefer": "wait=1", "If-None-Match": tag})
    assert (answer.status_code, answer.headers["Preference-Applied"]) == (304, "wait=1")


def test_who_finds_no_place_to_wait_is_answered_at_once(caller: Caller, database: Database) -> None:
    job = batch_job(database, unbacked_model(database), 1, 1)
    places = caller.app.extensions["countersign"].places_to_wait
    while places.acquire(blocking=False):
        pass
    answer = caller.get(f"/jobs/{job.public_id}", headers={"Prefer": "wait=60"})
    assert answer.get_json()["state"] == "queued"
    assert "Preference-Applied" not in answer.headers


def test_what_is_left_of_a_job_is_measured(database: Database) -> None:
    model, now = unbacked_model(database), utcnow()

    def left(job: Job) -> float | None:
        with database.read() as session:
            return seconds_left(session, job, now)

    waiting = batch_job(database, model, 50, 50)
    assert left(waiting) is None
    assert [retry_after(waiting, None), retry_after(batch_job(database, model, 1, 1), None)] == [5, 1]

    ended = batch_job(database, model, 100, 100, JobState.SUCCEEDED)
    change(database, ended, done=100, started_at=now - timedelta(seconds=60), finished_at=now - timedelta(seconds=10))
    assert left(waiting) == 25.0  # half a second for each
    behind = batch_job(database, model, 10, 10)
    assert left(behind) == 0.5 * (50 + 1 + 10)

    running = change(database, waiting, state="running", done=40, started_at=now - timedelta(seconds=120))
    assert left(running) == 30.0
    assert retry_after(running, 30.0) == 15
    assert retry_after(running, 10_000.0) == 60
    assert retry_after(running, 0.1) == 1
    assert retry_after(change(database, ended, done=100), 0.0) == 0


def test_small_jobs_that_were_done_together_are_not_counted_one_after_another(database: Database) -> None:
    model, now = unbacked_model(database), utcnow()
    for first, last in ((9, 1), (8, 1), (7, 5), (20, 18)):  # seconds ago
        ended = batch_job(database, model, 1, 1, JobState.SUCCEEDED)
        times = {"started_at": now - timedelta(seconds=first), "finished_at": now - timedelta(seconds=last)}
        change(database, ended, done=1, **times)
    waiting = batch_job(database, model, 6, 6)
    with database.read() as session:
        assert seconds_left(session, waiting, now) == pytest.approx(6 * (8 + 2) / 4)
