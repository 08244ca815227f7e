"""Webhooks: addresses that are told when jobs end, and the log of what they were told."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from flask import Blueprint, Response, jsonify, request, url_for
from pydantic import Field

from shared.jobs.idempotency import bind
from shared.tables import Delivery, DeliveryState, Webhook
from shared.webhooks import hooks
from shared.webhooks.hooks import WebhookSpec
from web import auth
from web.api import webhook_documents as documents
from web.api.idempotency import answer_once
from web.api.operations import MAX_ORDINAL, MAX_PAGE, Operation, Query, read_json, register
from web.services import services


class DeliveriesQuery(Query):
    """Which entries of the log."""

    before: int | None = Field(default=None, ge=0, le=MAX_ORDINAL, description="cursor: those before this one")
    limit: int = Field(default=50, ge=1, le=MAX_PAGE, description="most entries of a page")
    state: DeliveryState | None = Field(default=None, description="only in this state")
    job: str | None = Field(default=None, max_length=40, description="only of this job")


def add_routes(blueprint: Blueprint) -> None:
    """Add the routes."""
    one, sent, accepted = documents.Webhook, documents.Delivery, HTTPStatus.ACCEPTED
    log = "/webhooks/{webhook_id}/deliveries"
    once = ("Idempotency-Key",)
    tell, look = "Have an address told when jobs end", "What it was sent, and how that went"
    register(
        blueprint,
        Operation(
            "POST", "/webhooks", make_webhook, tell, one, status=HTTPStatus.CREATED, accepts=once, body=WebhookSpec
        ),
        Operation("GET", "/webhooks", list_webhooks, "Your webhooks, newest first", documents.WebhookList),
        Operation("GET", "/webhooks/{webhook_id}", get_webhook, "One of them", one),
        Operation("DELETE", "/webhooks/{webhook_id}", delete_webhook, "Tell it nothing more", status=204, media=()),
        Operation(
            "POST", "/webhooks/{webhook_id}/test", ping_webhook, "Send it a test", sent, status=accepted, accepts=once
        ),
        Operation("GET", log, list_deliveries, look, documents.DeliveryList, DeliveriesQuery),
        Operation("GET", log + "/{event_id}", get_delivery, "One event of the log", sent),
        Operation("POST", log + "/{event_id}/resend", send_again, "Send it again", sent, status=accepted, accepts=once),
    )


def make_webhook() -> Response:
    """Have an address told when jobs end. Only this answer holds the secret that signs what is sent."""
    return answer_once(_make, _made)


def _make(token: str | None) -> Response:
    spec, allowed = read_json(WebhookSpec), services().settings.webhook_networks_allowed
    with services().database.write() as session:
        webhook = hooks.make_webhook(session, spec, auth.current_person().id, allowed)
        bind(session, token, webhook.public_id)
    return _created(webhook)


def _made(webhook_id: str) -> Response:
    with services().database.read() as session:
        return _created(hooks.find_webhook(session, webhook_id, auth.current_person().id))


def _created(webhook: Webhook) -> Response:
    response = jsonify(webhook_json(webhook) | {"secret": webhook.secret})
    response.status_code = HTTPStatus.CREATED
    response.headers["Location"] = url_for("api.get_webhook", webhook_id=webhook.public_id)
    return response


def list_webhooks() -> Response:
    """Your webhooks, the newest first; their secrets are not told again."""
    with services().database.read() as session:
        found = hooks.list_webhooks(session, auth.current_person().id)
    return jsonify({"webhooks": [webhook_json(webhook) for webhook in found]})


def get_webhook(webhook_id: str) -> Response:
    """One of your webhooks."""
    with services().database.read() as session:
        return jsonify(webhook_json(hooks.find_webhook(session, webhook_id, auth.current_person().id)))


def delete_webhook(webhook_id: str) -> Response:
    """Tell it nothing more; what is still to be sent is given up."""
    with services().database.write() as session:
        hooks.delete_webhook(session, webhook_id, auth.current_person().id)
    return Response(status=HTTPStatus.NO_CONTENT)


def ping_webhook(webhook_id: str) -> Response:
    """Send an event ``webhook.test`` to it; look at the delivery, which is answered, for how it went."""
    person_id = auth.current_person().id

    def ping(token: str | None) -> Response:
        with services().database.write() as session:
            delivery = hooks.ping_webhook(session, webhook_id, person_id)
            bind(session, token, delivery.event_id)
        return _accepted(delivery, webhook_id)

    return answer_once(ping, lambda event_id: _asked(webhook_id, event_id))


def list_deliveries(webhook_id: str, query: DeliveriesQuery) -> Response:
    """What was sent to it in the last 30 days, the newest first, each with its last tries."""
    with services().database.read() as session:
        webhook = hooks.find_webhook(session, webhook_id, auth.current_person().id)
        found, cursor = hooks.list_deliveries(session, webhook, **query.model_dump())
    again: dict[str, Any] = request.args.to_dict() | {"before": cursor}
    following = url_for("api.list_deliveries", webhook_id=webhook_id, **again) if cursor else None
    rows = [delivery_json(delivery, webhook_id) for delivery in found]
    return jsonify({"deliveries": rows, "next": cursor, "links": {"next": following}})


def get_delivery(webhook_id: str, event_id: str) -> Response:
    """One event, and how each try to deliver it went."""
    with services().database.read() as session:
        webhook = hooks.find_webhook(session, webhook_id, auth.current_person().id)
        return jsonify(delivery_json(hooks.find_delivery(session, webhook, event_id), webhook_id))


def send_again(webhook_id: str, event_id: str) -> Response:
    """Send the event again under the same id, with all tries from the first on."""
    person_id = auth.current_person().id

    def resend(token: str | None) -> Response:
        with services().database.write() as session:
            webhook = hooks.find_webhook(session, webhook_id, person_id)
            delivery = hooks.send_again(session, webhook, event_id, person_id)
            bind(session, token, event_id)
        return _accepted(delivery, webhook_id)

    return answer_once(resend, lambda event_id: _asked(webhook_id, event_id))


def _asked(webhook_id: str, event_id: str) -> Response:
    with services().database.read() as session:
        webhook = hooks.find_webhook(session, webhook_id, auth.current_person().id)
        return _accepted(hooks.find_delivery(session, webhook, event_id), webhook_id)


def _accepted(delivery: Delivery, webhook_id: str) -> Response:
    document = delivery_json(delivery, webhook_id)
    response = jsonify(document)
    response.status_code = HTTPStatus.ACCEPTED
    response.headers["Location"] = document["links"]["self"]
    response.headers["Retry-After"] = "5"  # beat looks as often for what is due
    return response


def webhook_json(webhook: Webhook) -> dict[str, Any]:
    """A webhook without its secret."""
    links = {"self": url_for("api.get_webhook", webhook_id=webhook.public_id)}
    links["deliveries"] = url_for("api.list_deliveries", webhook_id=webhook.public_id)
    return {
        "id": webhook.public_id,
        "url": webhook.url,
        "label": webhook.label,
        "scope": webhook.scope,
        "created_at": webhook.created_at.isoformat(),
        "links": links,
    }


def delivery_json(delivery: Delivery, webhook_id: str) -> dict[str, Any]:
    """One entry of the log; the delivery's job is loaded."""
    own = url_for("api.get_delivery", webhook_id=webhook_id, event_id=delivery.event_id)
    links = {"self": own, "resend": url_for("api.send_again", webhook_id=webhook_id, event_id=delivery.event_id)}
    if delivery.job is not None:
        links["job"] = url_for("api.get_job", job_id=delivery.job.public_id)
    return {
        "id": delivery.event_id,
        "type": delivery.type,
        "job": delivery.job.public_id if delivery.job is not None else None,
        "state": delivery.state,
        "attempts": delivery.attempts,
        "created_at": delivery.created_at.isoformat(),
        "links": links,
    }
