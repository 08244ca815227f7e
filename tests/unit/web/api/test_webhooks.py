"""Webhooks over the API; what is sent, and how, is tested with the worker."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from shared.db import Database, utcnow
from shared.jobs.lifecycle import request_cancel
from shared.tables import AuditEvent, Delivery, Person
from shared.webhooks.hooks import MOST_WEBHOOKS
from tests.unit.web.api.test_jobs import assert_problem
from tests.unit.web.conftest import Caller
from tests.unit.web.pages.conftest import add_job
from web.api.webhook_documents import Event
from web.people import create_key

HOOK = {"url": "https://1.1.1.1/hook", "label": "desk"}


def made(caller: Caller) -> str:
    return str(caller.post("/webhooks", json=HOOK).get_json()["id"])


def test_the_secret_is_told_once(caller: Caller) -> None:
    answer = caller.post("/webhooks", json=HOOK)
    webhook = answer.get_json()
    assert webhook.pop("secret").startswith("whsec_")
    assert caller.get(answer.headers["Location"].removeprefix("/api/v1")).get_json() == webhook
    assert caller.get("/webhooks").get_json() == {"webhooks": [webhook]}


def test_the_end_of_a_job_stands_in_the_log_and_is_sent_again(caller: Caller, database: Database) -> None:
    hook = made(caller)
    with database.read() as session:
        person_id = session.scalars(sa.select(Person.id)).one()
    first, second = (add_job(database, state="queued", person_id=person_id).public_id for _ in range(2))
    for job in (first, second):
        request_cancel(database, job, person_id)
    page = caller.get(f"/webhooks/{hook}/deliveries?limit=1").get_json()
    assert page["deliveries"][0]["job"] == second
    rest = caller.get(page["links"]["next"].removeprefix("/api/v1")).get_json()
    assert ([one["job"] for one in rest["deliveries"]], rest["next"]) == ([first], None)
    (entry,) = caller.get(f"/webhooks/{hook}/deliveries?job={second}&state=waiting").get_json()["deliveries"]
    again = caller.post(entry["links"]["resend"].removeprefix("/api/v1"))
    assert (again.status_code, again.get_json()["id"]) == (202, entry["id"])
    assert caller.get(again.headers["Location"].removeprefix("/api/v1")).get_json() == entry
    with database.read() as session:
        bodies = session.scalars(sa.select(Delivery.body)).all()
        assert session.scalar(sa.select(AuditEvent.action).order_by(AuditEvent.id.desc())) == "webhook.resend"
    assert {Event.model_validate_json(body).data.id for body in bodies} == {first, second}


def test_a_test_is_sent_and_a_webhook_is_deleted(caller: Caller) -> None:
    hook = made(caller)
    assert caller.post(f"/webhooks/{hook}/test").get_json()["job"] is None
    assert caller.delete(f"/webhooks/{hook}").status_code == 204
    assert_problem(caller.get(f"/webhooks/{hook}"), 404, "webhook_unknown")
    assert_problem(caller.post(f"/webhooks/{hook}/test"), 404, "webhook_unknown")


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({}, "field_invalid"),
        ({"url": "https://1.1.1.1/", "secret": "mine"}, "field_invalid"),
        ({"url": "https://1.1.1.1/", "scope": "some"}, "field_invalid"),
        ({"url": "https://127.0.0.1/"}, "webhook_private"),
        ({"url": "http://1.1.1.1/"}, "webhook_insecure"),
        ({"url": "here"}, "webhook_url"),
    ],
)
def test_what_cannot_be_told_is_refused(caller: Caller, body: dict[str, str], code: str) -> None:
    assert_problem(caller.post("/webhooks", json=body), 422, code)
    assert_problem(caller.post("/webhooks", data=b"{"), 422, "field_invalid")


def test_a_webhook_is_its_makers_own(caller: Caller, database: Database) -> None:
    hook = made(caller)
    event = caller.post(f"/webhooks/{hook}/test").get_json()["id"]
    assert_problem(caller.get(f"/webhooks/{hook}/deliveries/evt_none"), 404, "event_unknown")
    with database.write() as session:
        other = Person(name="bert", password_hash="", session_stamp="1", created_at=utcnow())
        session.add(other)
        session.flush()
        bert = Caller(caller.app, create_key(session, other.id, "his"))
    assert bert.get("/webhooks").get_json() == {"webhooks": []}
    for path in (f"/webhooks/{hook}", f"/webhooks/{hook}/deliveries", f"/webhooks/{hook}/deliveries/{event}"):
        assert_problem(bert.get(path), 404, "webhook_unknown")
    assert_problem(bert.delete(f"/webhooks/{hook}"), 404, "webhook_unknown")
    assert_problem(bert.post(f"/webhooks/{hook}/deliveries/{event}/resend"), 404, "webhook_unknown")


def test_a_person_has_so_many_webhooks(caller: Caller) -> None:
    for _ in range(MOST_WEBHOOKS):
        hook = made(caller)
    assert_problem(caller.post("/webhooks", json=HOOK), 409, "webhooks_too_many")
    caller.delete(f"/webhooks/{hook}")
    assert caller.post("/webhooks", json=HOOK).status_code == 201
