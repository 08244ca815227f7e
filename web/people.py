"""People, their passwords and API keys, as rows of the database; who a request is from says :mod:`web.auth`.

Nothing here needs flask: ``countersign up`` makes the first person before it starts a web server.
"""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass

import sqlalchemy as sa
from argon2 import PasswordHasher
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from shared import audit
from shared.db import Database, utcnow
from shared.tables import ApiKey, Person

ADMIN = "admin"

hasher = PasswordHasher()


@dataclass(frozen=True, slots=True)
class FirstCredentials:
    """What the very first start prints once."""

    name: str
    password: str
    api_key: str


def digest(key: str) -> str:
    """What is kept of an API key."""
    return hashlib.sha256(key.encode()).hexdigest()


def create_first_person(database: Database) -> FirstCredentials | None:
    """Make the administrator with a one-time password and an API key; None when there are people already."""
    try:
        return _create_first_person(database)
    except IntegrityError:
        return None  # another host was quicker


def _create_first_person(database: Database) -> FirstCredentials | None:
    with database.write() as db:
        if db.scalar(sa.select(sa.func.count()).select_from(Person)):
            return None
        password = secrets.token_urlsafe(12)
        person = Person(
            name=ADMIN,
            password_hash=hasher.hash(password),
            must_change_password=True,
            session_stamp=secrets.token_hex(8),
            created_at=utcnow(),
        )
        db.add(person)
        db.flush()
        return FirstCredentials(ADMIN, password, create_key(db, person.id, "first key"))


def is_untouched(database: Database) -> bool:
    """Whether the one-time password of the first start was never changed: nobody has made this installation theirs."""
    with database.read() as db:
        return bool(db.scalars(sa.select(Person.must_change_password)).all() == [True])


def create_key(db: Session, person_id: int, label: str) -> str:
    """Make an API key of 256 random bits; it is returned here and never again."""
    key = f"cs_{secrets.token_urlsafe(32)}"
    db.add(ApiKey(person_id=person_id, label=label[:80], prefix=key[:9], digest=digest(key), created_at=utcnow()))
    audit.note(db, person_id, "key.create", key[:9])
    return key
