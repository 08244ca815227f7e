"""What the API says of webhooks, and what they are sent, as pydantic models."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import Field

from shared.tables import DeliveryState
from web.api.documents import Counts, Document, Links


class Webhook(Document):
    """An address that is told when jobs end."""

    id: str
    url: str
    label: str
    scope: Literal["own", "all"] = Field(description="whose jobs are told of")
    created_at: datetime
    secret: str | None = Field(default=None, description="signs what is sent; shown when it is made and never again")
    links: Links


class WebhookList(Document):
    """A person's webhooks, the newest first."""

    webhooks: list[Webhook]


class DeliveryAttempt(Document):
    """One try to deliver an event."""

    at: datetime
    status: int | None = Field(description="that the receiver answered with; null where no answer came")
    error: str = Field(description="why no answer came")
    seconds: float


class Delivery(Document):
    """One event for one webhook, and how its delivery went."""

    id: str = Field(description="of the event: the same in each try, so that receivers can tell repeats")
    type: str
    job: str | None = Field(description="null for a test")
    state: DeliveryState
    attempts: list[DeliveryAttempt] = Field(description="the last 20")
    created_at: datetime
    links: Links


class DeliveryList(Document):
    """A page of a webhook's log, the newest first."""

    deliveries: list[Delivery]
    next: int | None = Field(description="cursor for `before`; null at the end")
    links: Links


class EventError(Document):
    """Why it failed."""

    code: str
    message: str


class EndedJob(Document):
    """A job in short, as it ended."""

    id: str
    kind: Literal["verify", "identify", "train", "evaluate", "tune"]
    state: Literal["succeeded", "failed", "cancelled"]
    attempt: int
    label: str
    tag: str | None
    external_id: str | None
    done: int
    total: int
    counts: Counts
    error: EventError | None
    finished_at: datetime
    links: Links


class Event(Document):
    """What a webhook is sent when a job has ended."""

    id: str = Field(description="the same in each try: what was seen once need not be done again")
    type: Literal["job.succeeded", "job.failed", "job.cancelled"]
    timestamp: datetime
    data: EndedJob
