"""The record of who did what."""

from __future__ import annotations

from typing import Any

from sqlalchemy.orm import Session

from shared.db import insert_one, utcnow
from shared.tables import AuditEvent


def note(session: Session, person_id: int | None, action: str, subject: str, **details: Any) -> None:
    """Append one event, in the transaction of the act itself."""
    event = {"at": utcnow(), "person_id": person_id, "action": action, "subject": subject, "details": details}
    insert_one(session, AuditEvent, event)
