"""From the end of a job to the receiver, and what becomes of deliveries that do not arrive."""

from __future__ import annotations

import json
import socket
import subprocess
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from shared.db import Database, epoch_now, utcnow
from shared.errors import Conflict, CountersignError, NotFound
from shared.jobs.chunks import claim_chunks, record
from shared.jobs.lifecycle import claim_job, fail_job, request_cancel, retry_job, succeed_job
from shared.tables import Delivery, DeliveryState, Job, Person, Webhook
from shared.webhooks.hooks import (
    WebhookSpec,
    delete_webhook,
    deliveries_of_job,
    find_webhook,
    list_deliveries,
    make_webhook,
    ping_webhook,
    send_again,
)
from shared.webhooks.sending import PAUSES, Attempt, claim_due, forget_old, settle
from shared.webhooks.signing import verify_webhook
from tests.factories import batch_job, scores, unbacked_model
from tests.servers import Receiver
from web.api.webhook_documents import Event
from worker.context import Context
from worker.webhooks import THREADS, Sender, deliver_due


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver().running() as receiver:
        yield receiver


@pytest.fixture
def allowing(context: Context) -> Context:
    """A worker that may send to this host."""
    return replace(context, settings=context.settings.model_copy(update={"webhook_networks": "127.0.0.0/8, ::1"}))


def person(database: Database, name: str = "admin") -> int:
    with database.write() as session:
        row = Person(name=name, password_hash="", session_stamp="1", created_at=utcnow())
        session.add(row)
        session.flush()
        return row.id


def hook(context: Context, url: str, owner: int, **fields: Any) -> Webhook:
    spec = WebhookSpec(url=url, **fields)
    with context.database.write() as session:
        return make_webhook(session, spec, owner, context.settings.webhook_networks_allowed)


def job_of(database: Database, owner: int | None) -> Job:
    job = batch_job(database, unbacked_model(database), comparisons=4)
    with database.write() as session:
        session.execute(sa.update(Job).where(Job.id == job.id).values(person_id=owner, tag="night"))
    return job


def ended(database: Database, owner: int | None) -> Job:
    job = job_of(database, owner)
    claim = claim_chunks(database, "worker-1", 30, 100)
    assert claim is not None
    record(database, claim, scores(claim))
    return job


def log_of(database: Database) -> list[Delivery]:
    with database.read() as session:
        return list(session.scalars(sa.select(Delivery).order_by(Delivery.id)))


def make_due(database: Database) -> None:
    with database.write() as session:
        session.execute(sa.update(Delivery).values(due=1.0))


def test_the_end_of_a_job_is_told(allowing: Context, receiver: Receiver) -> None:
    owner = person(allowing.database)
    webhook = hook(allowing, receiver.url, owner, label="desk")
    job = ended(allowing.database, owner)
    assert deliver_due(allowing) == 1
    ((path, headers, body),) = receiver.got
    assert path == "/hook?desk=1"
    assert headers["Host"] == f"localhost:{receiver.server_port}"
    event = verify_webhook(webhook.secret, headers, body)
    assert Event.model_validate_json(body).data.id == job.public_id
    assert (event["type"], event["id"]) == ("job.succeeded", headers["webhook-id"])
    assert (event["data"]["tag"], event["data"]["counts"]["accept"]) == ("night", 4)
    (delivery,) = log_of(allowing.database)
    assert (delivery.state, delivery.tries, delivery.attempts[0]["status"]) == ("delivered", 1, 204)
    assert deliver_due(allowing) == 0


def test_every_way_to_end_is_told(context: Context) -> None:
    database = context.database
    owner = person(database)
    hook(context, "https://1.1.1.1/", owner)
    cancelled, failed, solo = (job_of(database, owner) for _ in range(3))
    request_cancel(database, cancelled.public_id, owner)
    fail_job(database, failed.id, CountersignError("crashed", "It crashed."))
    assert not fail_job(database, failed.id, CountersignError("crashed", "It crashed."))
    claim = claim_job(database, solo.public_id, "worker-1", 30)
    assert claim is not None
    with database.write() as session:
        succeed_job(session, claim)
    retry_job(database, cancelled.public_id, owner)
    request_cancel(database, cancelled.public_id, owner)
    told = [json.loads(one.body) for one in log_of(database)]
    assert [one["type"] for one in told] == ["job.cancelled", "job.failed", "job.succeeded", "job.cancelled"]
    assert [one["data"]["attempt"] for one in told] == [1, 1, 1, 2]
    assert told[1]["data"]["error"] == {"code": "crashed", "message": "It crashed."}


def test_what_rolls_back_is_not_told(context: Context) -> None:
    owner = person(context.database)
    hook(context, "https://1.1.1.1/", owner)
    claim = claim_job(context.database, job_of(context.database, owner).public_id, "worker-1", 30)
    assert claim is not None
    with suppress(RuntimeError), context.database.write() as session:
        assert succeed_job(session, claim)
        raise RuntimeError("the transaction is not kept")
    assert log_of(context.database) == []


def test_whose_jobs_are_told_to_whom(context: Context) -> None:
    anna, bert = person(context.database, "anna"), person(context.database, "bert")
    own, every = hook(context, "https://1.1.1.1/", anna), hook(context, "https://1.1.1.1/", bert, scope="all")
    gone = hook(context, "https://1.1.1.1/", anna)
    with context.database.write() as session:
        delete_webhook(session, gone.public_id, anna)
    ended(context.database, anna)
    ended(context.database, bert)
    ended(context.database, None)
    told = [one.webhook_id for one in log_of(context.database)]
    assert sorted(told) == sorted([own.id, every.id, every.id, every.id])


@pytest.mark.parametrize("status", [500, 404, 302])
def test_a_refusal_is_tried_again_later(allowing: Context, receiver: Receiver, status: int) -> None:
    owner = person(allowing.database)
    hook(allowing, receiver.url, owner)
    ended(allowing.database, owner)
    receiver.status, receiver.location = status, receiver.url  # a redirect is not followed
    assert deliver_due(allowing) == 1
    assert len(receiver.got) == 1
    assert deliver_due(allowing) == 0, "not before the pause is over"
    receiver.status, receiver.location = 200, ""
    make_due(allowing.database)
    assert deliver_due(allowing) == 1
    assert receiver.got[0][1]["webhook-id"] == receiver.got[1][1]["webhook-id"]
    (delivery,) = log_of(allowing.database)
    assert delivery.state == DeliveryState.DELIVERED
    assert [one["status"] for one in delivery.attempts] == [status, 200]


def test_a_receiver_that_is_away_is_given_up_and_can_be_asked_again(allowing: Context) -> None:
    database, owner = allowing.database, person(allowing.database)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        webhook = hook(allowing, f"http://127.0.0.1:{taken.getsockname()[1]}/", owner)
        job = ended(database, owner)
        for _ in range(len(PAUSES) + 1):
            assert deliver_due(allowing) == 1
            make_due(database)
        assert deliver_due(allowing) == 0
    (delivery,) = log_of(database)
    assert (delivery.state, len(delivery.attempts)) == ("failed", len(PAUSES) + 1)
    assert "refused" in delivery.attempts[-1]["error"]
    with database.write() as session:
        mine = find_webhook(session, webhook.public_id, owner)
        assert send_again(session, mine, delivery.event_id, owner).state == "waiting"
        with pytest.raises(NotFound):
            send_again(session, mine, "evt_none", owner)
    with database.read() as session:
        assert [one.tries for one in deliveries_of_job(session, job.id, owner)] == [0]
        assert deliveries_of_job(session, job.id, owner + 1) == []
    assert len(claim_due(database)) == 1


def test_a_sender_that_died_is_replaced_and_has_no_say_afterwards(context: Context) -> None:
    database, owner = context.database, person(context.database)
    webhook = hook(context, "https://1.1.1.1/", owner)
    ended(database, owner)
    (first,) = claim_due(database)
    assert claim_due(database) == []
    with database.write() as session, pytest.raises(Conflict) as caught:
        send_again(session, find_webhook(session, webhook.public_id, owner), first.event_id, owner)
    assert caught.value.code == "event_sending"
    make_due(database)
    (second,) = claim_due(database)
    settle(database, first, Attempt(500, "", 0.1))
    assert log_of(database)[0].state == DeliveryState.SENDING
    settle(database, second, Attempt(200, "", 0.1))
    assert log_of(database)[0].state == DeliveryState.DELIVERED


def test_one_silent_receiver_does_not_hold_up_the_others(context: Context) -> None:
    owner = person(context.database)
    busy, quiet = (hook(context, "https://1.1.1.1/", owner) for _ in range(2))
    with context.database.write() as session:
        for _ in range(40):
            ping_webhook(session, busy.public_id, owner)
        ping_webhook(session, quiet.public_id, owner)
    claimed = [one.id for one in claim_due(context.database)]
    assert len(claimed) == 9
    assert log_of(context.database)[-1].id in claimed


def test_a_name_that_changes_its_address_leads_nowhere(context: Context, receiver: Receiver) -> None:
    """When the webhook was made its name led elsewhere: it is looked up again for each try."""
    owner = person(context.database)
    webhook = hook(context, "https://1.1.1.1/", owner)
    with context.database.write() as session:
        session.execute(sa.update(Webhook).where(Webhook.id == webhook.id).values(url=receiver.url))
        ping_webhook(session, webhook.public_id, owner)
    assert deliver_due(context) == 1
    assert receiver.got == []
    assert "not public" in log_of(context.database)[0].attempts[0]["error"]


def test_what_is_left_for_a_deleted_webhook_is_given_up(allowing: Context, receiver: Receiver) -> None:
    owner = person(allowing.database)
    webhook = hook(allowing, receiver.url, owner)
    with allowing.database.write() as session:
        ping_webhook(session, webhook.public_id, owner)
        delete_webhook(session, webhook.public_id, owner)
    assert deliver_due(allowing) == 0
    assert log_of(allowing.database)[0].state == DeliveryState.FAILED


def test_the_log_is_paged_and_old_entries_go(context: Context) -> None:
    database, owner = context.database, person(context.database)
    webhook = hook(context, "https://1.1.1.1/", owner)
    with database.write() as session:
        for _ in range(3):
            ping_webhook(session, webhook.public_id, owner)
    with database.read() as session:
        page, cursor = list_deliveries(session, webhook, limit=2)
        rest, end = list_deliveries(session, webhook, before=cursor, limit=2)
        assert ([len(page), len(rest)], end) == ([2, 1], None)
        assert list_deliveries(session, webhook, state=DeliveryState.FAILED)[0] == []
        assert list_deliveries(session, webhook, job="job_none")[0] == []
    assert forget_old(database) == 0
    with database.write() as session:
        session.execute(
            sa.update(Delivery).where(Delivery.id == rest[0].id).values(created_at=utcnow() - timedelta(31))
        )
    assert forget_old(database) == 1
    assert len(log_of(database)) == 2


def test_a_receiver_that_says_nothing_is_not_waited_for(allowing: Context) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        hook(allowing, f"http://127.0.0.1:{silent.getsockname()[1]}/", owner := person(allowing.database))
        ended(allowing.database, owner)
        (outgoing,) = claim_due(allowing.database)
        attempt = Sender(allowing.settings.webhook_networks_allowed, 0.2).post(outgoing)
    assert (attempt.status, attempt.error) == (None, "no answer in time")


def test_https_is_checked(allowing: Context, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pem = tmp_path / "own.pem"
    made = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]
    made += ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-keyout", str(pem), "-out", str(pem)]
    key = subprocess.run(made, check=True, capture_output=True)
    assert key.returncode == 0
    owner = person(allowing.database)
    with Receiver(pem).running() as receiver:
        hook(allowing, receiver.url, owner)
        ended(allowing.database, owner)
        assert deliver_due(allowing) == 1
        assert "CERTIFICATE_VERIFY_FAILED" in log_of(allowing.database)[0].attempts[0]["error"]
        monkeypatch.setenv("SSL_CERT_FILE", str(pem))
        make_due(allowing.database)
        assert deliver_due(allowing) == 1
    assert log_of(allowing.database)[0].state == DeliveryState.DELIVERED


@pytest.mark.parametrize("tries", [0, 1, 8])
def test_a_clock_that_is_set_back_holds_no_delivery(allowing: Context, receiver: Receiver, tries: int) -> None:
    """An hour back: what was due, and what was left to a sender that died, seems to have an hour to go."""
    owner = person(allowing.database)
    hook(allowing, receiver.url, owner)
    for _ in range(2):
        ended(allowing.database, owner)
    lost = claim_due(allowing.database)[0].id
    with allowing.database.write() as session:
        pause = PAUSES[tries - 1] if tries else 0
        session.execute(sa.update(Delivery).values(due=Delivery.due + 3600))
        others = sa.update(Delivery).where(Delivery.id != lost)
        session.execute(others.values(state="waiting", tries=tries, due=epoch_now() + pause + 3600))
    assert deliver_due(allowing) == 2
    assert {delivery.state for delivery in log_of(allowing.database)} == {"delivered"}


def test_a_worker_that_is_stopped_begins_no_other_try(allowing: Context, receiver: Receiver) -> None:
    """What it had claimed and not begun waits for the next worker as if nobody had taken it."""
    owner = person(allowing.database)
    for _ in range(3):
        hook(allowing, receiver.url, owner)
    for _ in range(8):
        ended(allowing.database, owner)
    receiver.pause = 0.3
    tried = deliver_due(replace(allowing, draining=lambda: bool(receiver.got)))
    assert 1 <= tried <= THREADS
    with allowing.database.read() as session:
        found = session.execute(sa.select(Delivery.state, Delivery.tries)).all()
    assert Counter(map(tuple, found)) == {("delivered", 1): tried, ("waiting", 0): 24 - tried}
    receiver.pause = 0.0
    assert deliver_due(allowing) == 24 - tried
    events = [json.loads(body)["id"] for _, _, body in receiver.got]
    assert len(events) == len(set(events)) == 24


def test_a_pause_is_kept_where_the_clock_can_be_believed(allowing: Context, receiver: Receiver) -> None:
    owner = person(allowing.database)
    hook(allowing, receiver.url, owner)
    ended(allowing.database, owner)
    with allowing.database.write() as session:
        session.execute(sa.update(Delivery).values(tries=8, due=epoch_now() + PAUSES[-1] - 1))
    assert deliver_due(allowing) == 0
