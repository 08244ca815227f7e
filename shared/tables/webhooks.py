"""Addresses that are told when a job ends, and what was told to whom."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column, relationship

from shared.tables.base import Base, Key
from shared.tables.jobs import Job


class DeliveryState(StrEnum):
    WAITING = "waiting"  # for its first try, or for the next
    SENDING = "sending"
    DELIVERED = "delivered"
    FAILED = "failed"  # given up; it can be sent again by hand


class Webhook(Base):
    """One address. ``secret`` signs what is sent, so it is kept as it is; one that was deleted keeps its log."""

    __tablename__ = "webhooks"

    id: Mapped[Key]
    public_id: Mapped[str] = mapped_column(sa.String(40), unique=True)
    person_id: Mapped[int] = mapped_column(sa.ForeignKey("people.id"), index=True)
    url: Mapped[str] = mapped_column(sa.String(1000))
    label: Mapped[str] = mapped_column(sa.String(80), default="")
    scope: Mapped[str] = mapped_column(sa.String(8), default="own")  # whose jobs: "own" or "all"
    secret: Mapped[str] = mapped_column(sa.String(80))
    created_at: Mapped[datetime]
    deleted_at: Mapped[datetime | None]


class Delivery(Base):
    """One event for one address, as it is sent each time: written in the transaction that ends the job.

    ``due`` is when it is tried next; while it is being sent, until when it is left to its sender.
    """

    __tablename__ = "deliveries"

    id: Mapped[Key]
    event_id: Mapped[str] = mapped_column(sa.String(40), unique=True)
    webhook_id: Mapped[int] = mapped_column(sa.ForeignKey("webhooks.id"))
    job_id: Mapped[int | None] = mapped_column(sa.ForeignKey("jobs.id"))  # None: a test
    type: Mapped[str] = mapped_column(sa.String(20))
    body: Mapped[str] = mapped_column(sa.Text)
    state: Mapped[str] = mapped_column(sa.String(10), default=DeliveryState.WAITING)
    tries: Mapped[int] = mapped_column(default=0)  # since it was last asked for
    due: Mapped[float] = mapped_column(default=0.0)  # seconds since 1970, the database's clock
    attempts: Mapped[list[Any]] = mapped_column(default=list)  # the last of them: when, status or error, seconds
    created_at: Mapped[datetime]

    webhook: Mapped[Webhook] = relationship(lazy="raise")
    job: Mapped[Job | None] = relationship(lazy="raise")

    __table_args__ = (
        sa.Index("ix_deliveries_webhook_id", "webhook_id", "id"),
        sa.Index("ix_deliveries_job_id", "job_id"),
        sa.Index(
            "ix_deliveries_open",
            "due",
            sqlite_where=sa.text("state IN ('waiting', 'sending')"),
            postgresql_where=sa.text("state IN ('waiting', 'sending')"),
        ),
    )
