from __future__ import annotations

import io
import threading
from typing import Any

import pytest
import sqlalchemy as sa
from werkzeug.test import TestResponse

from shared.config import Settings
from shared.db import Database, utcnow
from shared.errors import Conflict
from shared.jobs import idempotency
from shared.tables import IdempotencyKey, Job, Person, Upload
from tests.factories import Doorbells, batch_job, png, unbacked_model
from tests.unit.web.api.test_jobs import assert_problem, blobs
from tests.unit.web.conftest import Caller
from web.services import EXTENSION

KEY = {"Idempotency-Key": "night-2026-11-23-0001"}


def submit(caller: Caller, seed: int = 0, headers: dict[str, str] = KEY, **fields: Any) -> TestResponse:
    images = {"questioned": (io.BytesIO(png(seed)), "q.png"), "reference": (io.BytesIO(png(1)), "r.png")}
    return caller.post("/jobs?kind=verify", data=images | fields, headers=headers)


def jobs(database: Database) -> int:
    with database.read() as session:
        return session.scalar(sa.select(sa.func.count()).select_from(Job)) or 0


def test_the_same_request_gets_the_same_answer(caller: Caller, database: Database, doorbell: Doorbells) -> None:
    unbacked_model(database)
    first, again = submit(caller, tag="night"), submit(caller, tag="night")
    assert (first.status_code, again.status_code) == (202, 202)
    assert again.get_data() == first.get_data()
    assert again.headers["Location"] == first.headers["Location"]
    assert "Idempotent-Replayed" not in first.headers
    assert again.headers["Idempotent-Replayed"] == "true"
    assert (jobs(database), len(doorbell.tasks)) == (1, 1)


def test_without_a_key_every_request_counts(caller: Caller, database: Database) -> None:
    unbacked_model(database)
    submit(caller, headers={})
    submit(caller, headers={})
    assert jobs(database) == 2


@pytest.mark.parametrize("changed", [{"seed": 7}, {"tag": "day"}, {"model": "paper@1"}])
def test_another_body_is_refused(caller: Caller, database: Database, changed: dict[str, Any]) -> None:
    unbacked_model(database)
    submit(caller)
    assert_problem(submit(caller, **changed), 422, "idempotency_key_reused")
    assert jobs(database) == 1


def test_another_address_is_refused(caller: Caller, database: Database) -> None:
    job = batch_job(database, unbacked_model(database), 1, 1)
    submit(caller)
    assert_problem(caller.post(f"/jobs/{job.public_id}/cancel", headers=KEY), 422, "idempotency_key_reused")


def test_a_request_in_flight(caller: Caller, database: Database) -> None:
    """The second is sent while the first has its key and has queued nothing: its files are being stored."""
    unbacked_model(database)
    answers: list[TestResponse] = []
    store = caller.app.extensions[EXTENSION].store
    put_all = store.put_all

    def send_again(blobs: Any) -> Any:
        thread = threading.Thread(target=lambda: answers.append(submit(caller)))
        thread.start()
        thread.join()
        return put_all(blobs)

    store.put_all = send_again  # a store that takes its time
    assert submit(caller).status_code == 202
    assert_problem(answers[0], 409, "idempotency_in_flight")
    assert jobs(database) == 1


def test_a_request_whose_job_is_queued_is_answered_at_once(
    caller: Caller, database: Database, doorbell: Doorbells
) -> None:
    """Its server may have died before it could answer; the lease of the key is long."""
    unbacked_model(database)
    answers: list[TestResponse] = []

    def send_again(*_: object, **__: object) -> bool:
        thread = threading.Thread(target=lambda: answers.append(submit(caller)))
        thread.start()
        thread.join()
        return True

    doorbell.ring = send_again  # type: ignore[method-assign]  # a doorbell that takes its time
    first = submit(caller)
    assert (answers[0].status_code, answers[0].get_json()["id"]) == (202, first.get_json()["id"])
    assert jobs(database) == 1


def test_a_clock_that_is_set_back_does_not_hold_a_key(database: Database) -> None:
    """The lease of a request that was cut off lies an hour further ahead than any is given."""
    owner = person(database)
    begun = idempotency.begin(database, owner, "key", "print")
    with pytest.raises(Conflict):
        idempotency.begin(database, owner, "key", "print")
    with database.write() as session:
        session.execute(sa.update(IdempotencyKey).values(lease_until=IdempotencyKey.lease_until + 3600))
    again = idempotency.begin(database, owner, "key", "print")
    assert isinstance(begun, idempotency.Begun)
    assert isinstance(again, idempotency.Begun)
    assert again.token != begun.token


def person(database: Database) -> int:
    with database.write() as session:
        row = Person(name="ann", password_hash="", session_stamp="1", created_at=utcnow())
        session.add(row)
        session.flush()
        return row.id


def test_a_refused_request_frees_its_key(caller: Caller, database: Database, settings: Settings) -> None:
    assert_problem(submit(caller), 422, "model_none")
    assert blobs(settings) == []
    unbacked_model(database)
    assert submit(caller, seed=3).status_code == 202


@pytest.mark.parametrize("key", ["", "x" * 256, "ä", "a\tb"])
def test_keys_that_cannot_be_used(caller: Caller, database: Database, key: str) -> None:
    unbacked_model(database)
    assert_problem(submit(caller, headers={"Idempotency-Key": key}), 422, "idempotency_key_invalid")


def test_answers_are_kept_for_48_hours(caller: Caller, database: Database) -> None:
    unbacked_model(database)
    submit(caller)
    with database.write() as session:
        session.execute(sa.update(IdempotencyKey).values(created_at=utcnow() - idempotency.KEPT_FOR))
    assert "Idempotent-Replayed" not in submit(caller).headers
    assert jobs(database) == 2


def test_a_try_that_was_cut_off_after_it_queued_its_job(caller: Caller, database: Database) -> None:
    unbacked_model(database)
    first = submit(caller).get_json()
    with database.write() as session:
        session.execute(sa.update(IdempotencyKey).values(status=None, body=None, location=None, lease_until=0.0))
    again = submit(caller)
    assert (again.status_code, again.get_json()["id"]) == (202, first["id"])
    assert jobs(database) == 1
    assert submit(caller).headers["Idempotent-Replayed"] == "true"


def test_a_slow_try_whose_place_was_taken_queues_nothing(database: Database) -> None:
    with database.write() as session, pytest.raises(Conflict) as refused:
        idempotency.bind(session, "a token that is gone", "job_1")
    assert refused.value.code == "idempotency_in_flight"


def test_cancelling_twice_with_one_key(caller: Caller, database: Database) -> None:
    job = batch_job(database, unbacked_model(database), 1, 1)
    first = caller.post(f"/jobs/{job.public_id}/cancel", headers=KEY)
    again = caller.post(f"/jobs/{job.public_id}/cancel", headers=KEY)
    assert (again.status_code, again.get_data()) == (202, first.get_data())


def test_uploads_of_a_replayed_request_are_not_kept(caller: Caller, database: Database) -> None:
    unbacked_model(database)
    submit(caller)
    submit(caller)
    with database.read() as session:
        assert session.scalar(sa.select(sa.func.count()).select_from(Upload)) == 2


def test_a_webhook_a_test_and_a_resend_are_made_once(caller: Caller, database: Database) -> None:
    asked = {"url": "https://1.1.1.1/hook"}
    first, again = (caller.post("/webhooks", json=asked, headers=KEY) for _ in range(2))
    assert (first.status_code, again.status_code) == (201, 201)
    assert (again.get_json(), again.headers["Location"]) == (first.get_json(), first.headers["Location"])
    assert again.headers["Idempotent-Replayed"] == "true"
    assert len(caller.get("/webhooks").get_json()["webhooks"]) == 1
    changed = caller.post("/webhooks", json=asked | {"label": "desk"}, headers=KEY)
    assert_problem(changed, 422, "idempotency_key_reused")
    hook = f"/webhooks/{first.get_json()['id']}"
    told = [caller.post(f"{hook}/test", headers={"Idempotency-Key": "test"}).get_json()["id"] for _ in range(2)]
    assert told[0] == told[1]
    log = caller.get(f"{hook}/deliveries").get_json()["deliveries"]
    assert [each["id"] for each in log] == told[:1]
    resend = f"{hook}/deliveries/{told[0]}/resend"
    sent = [caller.post(resend, headers={"Idempotency-Key": "resend"}) for _ in range(2)]
    assert [each.headers.get("Idempotent-Replayed") for each in sent] == [None, "true"]


def test_a_webhook_of_a_try_that_was_cut_off_is_found_again(caller: Caller, database: Database) -> None:
    """The server died between making it and keeping the answer."""
    asked = {"url": "https://1.1.1.1/hook"}
    made = caller.post("/webhooks", json=asked, headers=KEY).get_json()
    with database.write() as session:
        session.execute(sa.update(IdempotencyKey).values(status=None, body=None, location=None))
    again = caller.post("/webhooks", json=asked, headers=KEY)
    assert (again.status_code, again.get_json()) == (201, made)
    assert len(caller.get("/webhooks").get_json()["webhooks"]) == 1
