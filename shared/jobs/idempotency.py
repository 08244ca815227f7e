"""Requests that are done once, however often they are sent: the rules of ``Idempotency-Key``."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import timedelta

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from shared.db import Database, epoch_now, passed, utcnow
from shared.errors import Conflict, InvalidInput
from shared.tables import IdempotencyKey
from shared.tables.base import table_of

KEPT_FOR = timedelta(hours=48)
LEASE_SECONDS = 900.0  # a request that is silent for so long was cut off; storing the largest upload takes less

# Made once: they are asked for with each submission.
_KEYS = table_of(IdempotencyKey)
_FORGET = sa.delete(IdempotencyKey).where(IdempotencyKey.created_at < sa.bindparam("before"))
_BEGIN = {  # by dialect; of two at a time one does nothing
    module.__name__.rpartition(".")[2]: module.insert(_KEYS)
    .values(lease_until=epoch_now() + LEASE_SECONDS)
    .on_conflict_do_nothing()
    .returning(_KEYS.c.id)
    for module in (sqlite, postgresql)
}
_OF = sa.update(_KEYS).where(_KEYS.c.token == sa.bindparam("of"))
_BIND = _OF.values(job=sa.bindparam("made"))
_SETTLE = _OF.values(
    status=sa.bindparam("given_status"), body=sa.bindparam("given_body"), location=sa.bindparam("given_location")
)


@dataclass(frozen=True, slots=True)
class Kept:
    """An answer that was given, as it is given again."""

    status: int
    body: str
    location: str | None


@dataclass(frozen=True, slots=True)
class Begun:
    """The right to do the request. ``made`` names what an earlier try of it made before it was cut off."""

    token: str
    made: str | None = None


def begin(database: Database, person_id: int, key: str, fingerprint: str) -> Begun | Kept:
    """Take the request up, or find its answer.

    Raises:
        InvalidInput: code ``idempotency_key_reused``: the key was sent with another request.
        Conflict: code ``idempotency_in_flight``: the same request is being answered at the moment.
    """
    token = secrets.token_hex(16)
    now = utcnow()
    row = {"person_id": person_id, "key": key, "fingerprint": fingerprint, "token": token, "created_at": now}
    # Not lasting: what the request then does is, and brings this with it.
    with database.write(lasting=False) as session:
        connection = session.connection()
        connection.execute(_FORGET, {"before": now - KEPT_FOR})
        if connection.execute(_BEGIN[connection.dialect.name], row).first():
            return Begun(token)
        query = sa.select(IdempotencyKey).where(IdempotencyKey.person_id == person_id, IdempotencyKey.key == key)
        found = session.scalars(query.with_for_update()).one()
        if found.fingerprint != fingerprint:
            raise InvalidInput(
                "idempotency_key_reused",
                "This Idempotency-Key was sent with another request. Take a new key for each new request.",
            )
        if found.status is not None:
            return Kept(found.status, found.body or "", found.location)
        return _take(session, found, token)


def _take(session: Session, found: IdempotencyKey, token: str) -> Begun:
    # What made its thing is done, whether or not its sender lives to answer: nobody has to wait for the lease.
    free = sa.or_(IdempotencyKey.job.is_not(None), passed(IdempotencyKey.lease_until))
    statement = (
        sa.update(IdempotencyKey)
        .where(IdempotencyKey.id == found.id, free)
        .values(token=token, lease_until=epoch_now() + LEASE_SECONDS)
    )
    if not session.connection().execute(statement).rowcount:
        raise Conflict("idempotency_in_flight", "The same request is being answered now. Send it again in a moment.")
    return Begun(token, found.job)


def bind(session: Session, token: str | None, made: str) -> None:
    """Note what the request made, by its public id, in the transaction that makes it; nothing without a token.

    Raises:
        Conflict: code ``idempotency_in_flight``: another try of the request has taken its place.
    """
    if token is None:
        return
    if not session.connection().execute(_BIND, {"of": token, "made": made}).rowcount:
        raise Conflict("idempotency_in_flight", "Another try of this request has taken its place. Send it again.")


def settle(database: Database, token: str, kept: Kept) -> None:
    """Keep the answer; it is given again to whoever sends the same request.

    Where a power cut takes it, the next try finds the job that the request queued.
    """
    values = {"of": token, "given_status": kept.status, "given_body": kept.body, "given_location": kept.location}
    with database.write(lasting=False) as session:
        session.connection().execute(_SETTLE, values)


def release(database: Database, token: str) -> None:
    """Forget a request that was refused or failed: nothing was done, so it may be sent again, mended."""
    forget = sa.delete(IdempotencyKey).where(IdempotencyKey.token == token, IdempotencyKey.job.is_(None))
    with database.write() as session:
        if not session.connection().execute(forget).rowcount:  # it did make something: the next try finds that
            kept = sa.update(IdempotencyKey).where(IdempotencyKey.token == token)
            session.execute(kept.values(lease_until=0.0))
