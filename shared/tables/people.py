"""People, their API keys, and the record of who did what."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column, relationship

from shared.tables.base import Base, Key


class Person(Base):
    """Somebody who logs in. ``password_hash`` is argon2."""

    __tablename__ = "people"

    id: Mapped[Key]
    name: Mapped[str] = mapped_column(sa.String(80), unique=True)
    password_hash: Mapped[str] = mapped_column(sa.String(255))
    must_change_password: Mapped[bool] = mapped_column(default=False)
    session_stamp: Mapped[str] = mapped_column(sa.String(32))  # a new one ends all sessions opened before
    created_at: Mapped[datetime]


class ApiKey(Base):
    """A key of 256 random bits, found by its SHA-256; the key itself is shown once and never kept."""

    __tablename__ = "api_keys"

    id: Mapped[Key]
    person_id: Mapped[int] = mapped_column(sa.ForeignKey("people.id"))
    label: Mapped[str] = mapped_column(sa.String(80))
    prefix: Mapped[str] = mapped_column(sa.String(16))  # so that people can tell their keys apart
    digest: Mapped[str] = mapped_column(sa.String(64), unique=True)
    created_at: Mapped[datetime]
    last_used_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]

    person: Mapped[Person] = relationship()


class AuditEvent(Base):
    """One act of one person; only ever appended."""

    __tablename__ = "audit_events"

    id: Mapped[Key]
    at: Mapped[datetime]
    person_id: Mapped[int | None] = mapped_column(sa.ForeignKey("people.id"))
    action: Mapped[str] = mapped_column(sa.String(40))
    subject: Mapped[str] = mapped_column(sa.String(120))
    details: Mapped[dict[str, Any]] = mapped_column(default=dict)

    __table_args__ = (sa.Index("ix_audit_events_subject", "subject", "id"),)
