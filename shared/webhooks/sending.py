"""Deliveries as their sender takes them: claimed one by one, tried again with growing pauses, given up after a day."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

import sqlalchemy as sa

from shared.db import Database, epoch_now, utcnow
from shared.tables import Delivery, DeliveryState, Webhook

PAUSES = (5, 30, 120, 600, 3600, 3 * 3600, 6 * 3600, 12 * 3600)  # seconds after each failed try; then it is given up
LEASE_SECONDS = 60.0  # how long a delivery is left to its sender: longer than a run of them takes
MOST_AT_ONCE = 32
MOST_OF_ONE = 8  # of one webhook in a run, so that one that is silent does not hold up the others
ATTEMPTS_KEPT = 20
LOG_KEPT = timedelta(days=30)


@dataclass(frozen=True, slots=True)
class Outgoing:
    """What is to be sent, and the right to: ``tries`` tells this try from another of the same delivery."""

    id: int
    event_id: str
    url: str
    secret: str
    body: str
    tries: int


@dataclass(frozen=True, slots=True)
class Attempt:
    """How a try ended: with a status, or with what went wrong before there was one."""

    status: int | None
    error: str
    seconds: float

    @property
    def delivered(self) -> bool:
        return self.status is not None and 200 <= self.status < 300


def _due() -> sa.ColumnElement[bool]:
    """Whether a delivery's time has come, or lies further ahead than it was ever put: the clock was set back since."""
    waited = {number: float(pause) for number, pause in enumerate(PAUSES, 1)}
    longest = sa.case(
        (Delivery.state == DeliveryState.SENDING, LEASE_SECONDS), else_=sa.case(waited, value=Delivery.tries, else_=0.0)
    )
    return sa.or_(Delivery.due <= epoch_now(), Delivery.due > epoch_now() + longest)


def claim_due(database: Database) -> list[Outgoing]:
    """Take deliveries that are due. None while another run is at it: silent receivers keep one process at most."""
    place = sa.func.row_number().over(partition_by=Delivery.webhook_id, order_by=(Delivery.due, Delivery.id))
    undone = Delivery.state.in_((DeliveryState.WAITING, DeliveryState.SENDING))
    due = sa.select(Delivery.id, place.label("place")).where(undone, _due()).subquery()
    chosen = sa.select(due.c.id).where(due.c.place <= MOST_OF_ONE).order_by(due.c.place, due.c.id).limit(MOST_AT_ONCE)
    busy = sa.select(Delivery.id).where(Delivery.state == DeliveryState.SENDING, ~_due()).limit(1)
    with database.read() as session:  # most runs find nothing, and none of them takes a lock for it
        if session.scalar(busy) is not None:
            return []
        ids = session.scalars(chosen).all()
    claimed = [_claim(database, delivery_id) for delivery_id in ids]
    return [one for one in claimed if one is not None]


def _claim(database: Database, delivery_id: int) -> Outgoing | None:
    take = (
        sa.update(Delivery)
        .where(
            Delivery.id == delivery_id,
            Delivery.state.in_((DeliveryState.WAITING, DeliveryState.SENDING)),
            _due(),
        )
        .values(state=DeliveryState.SENDING, tries=Delivery.tries + 1, due=epoch_now() + LEASE_SECONDS)
    )
    columns = (Delivery.event_id, Delivery.body, Delivery.tries, Webhook.url, Webhook.secret, Webhook.deleted_at)
    with database.write() as session:
        if not session.connection().execute(take).rowcount:
            return None
        row = session.execute(sa.select(*columns).join(Webhook).where(Delivery.id == delivery_id)).one()
        if row.deleted_at is not None:
            session.execute(sa.update(Delivery).where(Delivery.id == delivery_id).values(state=DeliveryState.FAILED))
            return None
    return Outgoing(delivery_id, row.event_id, row.url, row.secret, row.body, row.tries)


def settle(database: Database, sent: Outgoing, attempt: Attempt) -> None:
    """Write down how a try ended, and when the next is due. Nothing happens where another try was begun meanwhile."""
    given_up = sent.tries > len(PAUSES)
    pause = 0 if attempt.delivered or given_up else PAUSES[sent.tries - 1]
    left = DeliveryState.FAILED if given_up else DeliveryState.WAITING
    log = {"at": utcnow().isoformat(), "status": attempt.status, "error": attempt.error, "seconds": attempt.seconds}
    with database.write() as session:
        query = sa.select(Delivery).where(Delivery.id == sent.id, Delivery.tries == sent.tries)
        found = session.scalars(query.where(Delivery.state == DeliveryState.SENDING).with_for_update()).first()
        if found is not None:
            found.state = DeliveryState.DELIVERED if attempt.delivered else left
            found.attempts = [*found.attempts, log][-ATTEMPTS_KEPT:]
            session.flush()
            session.execute(sa.update(Delivery).where(Delivery.id == sent.id).values(due=epoch_now() + pause))


def put_back(database: Database, sent: Outgoing) -> None:
    """Leave a delivery that was claimed and not tried to the next run."""
    untried = (Delivery.id == sent.id, Delivery.tries == sent.tries, Delivery.state == DeliveryState.SENDING)
    values = {"state": DeliveryState.WAITING, "tries": Delivery.tries - 1, "due": epoch_now()}
    with database.write() as session:
        session.execute(sa.update(Delivery).where(*untried).values(values))


def forget_old(database: Database) -> int:
    """Remove what was told of long ago from the log. Returns how many."""
    limit = utcnow() - LOG_KEPT
    with database.read() as session:  # the first row alone is looked at: this runs every few seconds
        oldest = session.scalar(sa.select(Delivery.created_at).order_by(Delivery.id).limit(1))
    if oldest is None or oldest >= limit:
        return 0
    with database.write() as session:
        return int(session.connection().execute(sa.delete(Delivery).where(Delivery.created_at < limit)).rowcount)
