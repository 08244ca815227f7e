"""Requests that must not be done twice."""

from __future__ import annotations

from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from shared.tables.base import Base, Key


class IdempotencyKey(Base):
    """One request that carried an ``Idempotency-Key``, and its answer once there is one.

    ``fingerprint`` tells requests apart; ``token`` names the one try that may do the work until ``lease_until``;
    ``job`` (or a webhook, or an event) is set in the transaction that makes it, so that a try that was cut off
    afterwards is not repeated.
    """

    __tablename__ = "idempotency_keys"

    id: Mapped[Key]
    person_id: Mapped[int] = mapped_column(sa.ForeignKey("people.id"))
    key: Mapped[str] = mapped_column(sa.String(255))
    fingerprint: Mapped[str] = mapped_column(sa.String(64))
    token: Mapped[str] = mapped_column(sa.String(32), unique=True)
    lease_until: Mapped[float]  # seconds since 1970, the database's clock
    job: Mapped[str | None] = mapped_column(sa.String(40))  # public id
    status: Mapped[int | None]  # of the answer; None while there is none
    location: Mapped[str | None] = mapped_column(sa.String(255))
    body: Mapped[str | None] = mapped_column(sa.Text)
    created_at: Mapped[datetime] = mapped_column(index=True)

    __table_args__ = (sa.UniqueConstraint("person_id", "key"),)
