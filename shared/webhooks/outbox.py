"""What is told when a job ends: written in the transaction that ends it, so that neither is without the other."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from shared.db import epoch_now, utcnow
from shared.tables import Delivery, Job, Verdict, Webhook
from shared.tables.base import public_id

TEST = "webhook.test"
_ASKED = (
    sa.select(Webhook.id, Job.id)
    .join(Job, sa.or_(Webhook.scope == "all", Webhook.person_id == Job.person_id))
    .where(Job.id.in_(sa.bindparam("ids", expanding=True)), Webhook.deleted_at.is_(None))
    .order_by(Job.id, Webhook.id)
)


def note_ended(session: Session, *job_ids: int) -> None:
    """Have the ends of jobs told to all who asked for them. Called where their state has just become an ended one."""
    for webhook_id, job_id in session.execute(_ASKED, {"ids": sorted(job_ids)}).all() if job_ids else ():
        job = session.execute(sa.select(*Job.__table__.columns).where(Job.id == job_id)).one()
        add_event(session, webhook_id, f"job.{job.state}", _told(job), job_id)


def add_event(session: Session, webhook_id: int, kind: str, data: dict[str, Any], job_id: int | None) -> Delivery:
    """Put one event into the outbox; it is due at once."""
    event_id, now = public_id("evt"), utcnow()
    body = {"id": event_id, "type": kind, "timestamp": now.isoformat(), "data": data}
    delivery = Delivery(
        event_id=event_id,
        webhook_id=webhook_id,
        job_id=job_id,
        type=kind,
        body=json.dumps(body, ensure_ascii=False),
        due=epoch_now(),
        created_at=now,
    )
    session.add(delivery)
    return delivery


def _told(job: Any) -> dict[str, Any]:
    """The job in short, as it ended; all of it is at ``links.self``, for those with a key."""
    error = {"code": job.error_code, "message": job.error_message} if job.error_code else None
    return {
        "id": job.public_id,
        "kind": job.kind,
        "state": job.state,
        "attempt": job.attempt,
        "label": job.label,
        "tag": job.tag,
        "external_id": job.external_id,
        "done": job.done,
        "total": job.total,
        "counts": {str(verdict): getattr(job, verdict.value) for verdict in Verdict},
        "error": error,
        "finished_at": _iso(job.finished_at),
        "links": {"self": f"/api/v1/jobs/{job.public_id}"},
    }


def _iso(instant: datetime | None) -> str | None:
    return instant.isoformat() if instant else None
