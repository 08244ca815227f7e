"""What people decided about answers."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column, relationship

from shared.tables.base import Base
from shared.tables.people import Person


class Decision(StrEnum):
    AGREE = "agree"  # with the model's verdict
    OVERRULE = "overrule"  # it was the other way round
    DECIDE = "decide"  # the model had left it to a person


class Review(Base):
    """A person's last word on one comparison; the words before it stand in the audit events.

    The model's own answer stays as it is in ``results``: a review stands beside it, never in its place.
    """

    __tablename__ = "reviews"

    job_id: Mapped[int] = mapped_column(sa.ForeignKey("jobs.id"), primary_key=True)
    ordinal: Mapped[int] = mapped_column(primary_key=True)
    decision: Mapped[str] = mapped_column(sa.String(10))
    verdict: Mapped[str] = mapped_column(sa.String(12))  # what holds now: a Verdict, never "review"
    reason: Mapped[str] = mapped_column(sa.Text, default="")
    person_id: Mapped[int] = mapped_column(sa.ForeignKey("people.id"))
    decided_at: Mapped[datetime]

    person: Mapped[Person] = relationship(lazy="raise")

    __table_args__ = {"sqlite_with_rowid": False}  # noqa: RUF012 (SQLAlchemy's own form)
