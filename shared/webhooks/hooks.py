"""Webhooks as their owner sees them: made, tested, deleted, and the log of what was sent."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import sqlalchemy as sa
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy.orm import Session, joinedload

from shared import audit
from shared.db import epoch_now, utcnow
from shared.errors import Conflict, NotFound
from shared.jobs.uploads import storable
from shared.tables import Delivery, DeliveryState, Job, Webhook
from shared.tables.base import public_id
from shared.webhooks.outbox import TEST, add_event
from shared.webhooks.signing import new_secret
from shared.webhooks.targets import MAX_URL, Network, find_target

MOST_WEBHOOKS = 20  # of one person


class WebhookSpec(BaseModel):
    """What a webhook is made of."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, str_strip_whitespace=True)

    url: str = Field(min_length=1, max_length=MAX_URL, description="where events are sent by POST; https")
    label: str = Field(default="", max_length=80, description="what it is for, for people")
    scope: Literal["own", "all"] = Field(default="own", description="whose jobs are told of: your own, or all")


def make_webhook(session: Session, spec: WebhookSpec, person_id: int, allowed: tuple[Network, ...]) -> Webhook:
    """Make a webhook; its secret is to be shown once.

    Raises:
        InvalidInput: the address cannot be sent to, see :func:`shared.webhooks.targets.find_target`.
        Conflict: code ``webhooks_too_many``.
    """
    find_target(spec.url, allowed)
    if len(list_webhooks(session, person_id)) >= MOST_WEBHOOKS:
        raise Conflict("webhooks_too_many", f"You have {MOST_WEBHOOKS} webhooks. Delete one that is not needed.")
    webhook = Webhook(
        public_id=public_id("hook"),
        person_id=person_id,
        url=spec.url,
        label=storable(spec.label),
        scope=spec.scope,
        secret=new_secret(),
        created_at=utcnow(),
    )
    session.add(webhook)
    audit.note(session, person_id, "webhook.create", webhook.public_id, url=spec.url, scope=spec.scope)
    return webhook


def list_webhooks(session: Session, person_id: int) -> Sequence[Webhook]:
    """A person's webhooks, the newest first."""
    query = sa.select(Webhook).where(Webhook.person_id == person_id, Webhook.deleted_at.is_(None))
    return session.scalars(query.order_by(Webhook.id.desc())).all()


def find_webhook(session: Session, webhook: str, person_id: int) -> Webhook:
    """A person's webhook by its public id.

    Raises:
        NotFound: code ``webhook_unknown``.
    """
    query = sa.select(Webhook).where(Webhook.public_id == webhook, Webhook.person_id == person_id)
    found = session.scalars(query.where(Webhook.deleted_at.is_(None))).first()
    if found is None:
        raise NotFound("webhook_unknown", f"You have no webhook {webhook[:80]!r}.")
    return found


def delete_webhook(session: Session, webhook: str, person_id: int) -> None:
    """Send nothing more to it; what is still to be sent is given up.

    Raises:
        NotFound: code ``webhook_unknown``.
    """
    found = find_webhook(session, webhook, person_id)
    found.deleted_at = utcnow()
    left = sa.update(Delivery).where(Delivery.webhook_id == found.id, Delivery.state == DeliveryState.WAITING)
    session.execute(left.values(state=DeliveryState.FAILED))
    audit.note(session, person_id, "webhook.delete", found.public_id)


def ping_webhook(session: Session, webhook: str, person_id: int) -> Delivery:
    """Have a test event sent to it.

    Raises:
        NotFound: code ``webhook_unknown``.
    """
    found = find_webhook(session, webhook, person_id)
    delivery = add_event(session, found.id, TEST, {"webhook": found.public_id}, None)
    session.flush()
    return find_delivery(session, found, delivery.event_id)


def list_deliveries(
    session: Session,
    webhook: Webhook,
    before: int | None = None,
    limit: int = 50,
    state: DeliveryState | None = None,
    job: str | None = None,
) -> tuple[Sequence[Delivery], int | None]:
    """A page of the log, the newest first, and the cursor for ``before``; of one ``job`` (its public id) if named."""
    query = _deliveries().where(Delivery.webhook_id == webhook.id)
    if before is not None:
        query = query.where(Delivery.id < before)
    if state is not None:
        query = query.where(Delivery.state == state)
    if job is not None:
        query = query.where(Delivery.job_id.in_(sa.select(Job.id).where(Job.public_id == job)))
    found = session.scalars(query.limit(limit + 1)).all()
    return found[:limit], found[limit - 1].id if len(found) > limit else None


def deliveries_of_job(session: Session, job_id: int, person_id: int) -> Sequence[Delivery]:
    """What was told of a job to this person's webhooks, the newest first."""
    mine = Delivery.webhook_id.in_(sa.select(Webhook.id).where(Webhook.person_id == person_id))
    return session.scalars(_deliveries().where(Delivery.job_id == job_id, mine).limit(50)).all()


def find_delivery(session: Session, webhook: Webhook, event: str) -> Delivery:
    """One delivery of a webhook by its event's id.

    Raises:
        NotFound: code ``event_unknown``.
    """
    query = _deliveries().where(Delivery.webhook_id == webhook.id, Delivery.event_id == event)
    found = session.scalars(query.execution_options(populate_existing=True)).first()
    if found is None:
        raise NotFound("event_unknown", f"The webhook {webhook.public_id} has no event {event[:80]!r}.")
    return found


def send_again(session: Session, webhook: Webhook, event: str, person_id: int) -> Delivery:
    """Have an event sent once more, with all its tries, under the same id.

    Raises:
        NotFound: code ``event_unknown``.
        Conflict: code ``event_sending``: it is on its way at this moment.
    """
    found = find_delivery(session, webhook, event)
    again = sa.update(Delivery).where(Delivery.id == found.id, Delivery.state != DeliveryState.SENDING)
    asked = session.connection().execute(again.values(state=DeliveryState.WAITING, tries=0, due=epoch_now()))
    if not asked.rowcount:
        raise Conflict("event_sending", "The event is being sent at this moment. Look at it again in a minute.")
    audit.note(session, person_id, "webhook.resend", webhook.public_id, event=event)
    session.expire(found)
    return find_delivery(session, webhook, event)


def _deliveries() -> sa.Select[Delivery]:
    loaded = (joinedload(Delivery.job), joinedload(Delivery.webhook))
    return sa.select(Delivery).options(*loaded).order_by(Delivery.id.desc())
