"""Who is asking: sessions for pages, keys for the API."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import cast

import sqlalchemy as sa
from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from flask import g, request, session
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from shared import audit
from shared.db import Database, utcnow
from shared.errors import InvalidInput, NotAuthorised
from shared.tables import ApiKey, Person
from web.services import services

ADMIN = "admin"
MIN_PASSWORD = 10
USED_AGAIN = timedelta(hours=1)  # how exactly a key's last use is kept: not one write for each request

# Columns, and one statement for all requests: this is asked for each of them.
_KEY = (
    sa.select(
        ApiKey.id, ApiKey.digest, ApiKey.last_used_at, ApiKey.revoked_at, Person.id.label("person_id"), Person.name
    )
    .join(Person, Person.id == ApiKey.person_id)
    .where(ApiKey.digest == sa.bindparam("wanted"))
)

_hasher = PasswordHasher()
_NOBODY = _hasher.hash(secrets.token_hex(16))  # verified for unknown names, so that they take as long as known ones


@dataclass(frozen=True, slots=True)
class FirstCredentials:
    """What the very first start prints once."""

    name: str
    password: str
    api_key: str


@dataclass(frozen=True, slots=True)
class Known:
    """The person whose key a request carries."""

    id: int
    name: str


def _digest(key: str) -> str:
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
            password_hash=_hasher.hash(password),
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
    db.add(ApiKey(person_id=person_id, label=label[:80], prefix=key[:9], digest=_digest(key), created_at=utcnow()))
    audit.note(db, person_id, "key.create", key[:9])
    return key


def check_password(name: str, password: str) -> Person:
    """The person with this name and password.

    Raises:
        NotAuthorised: code ``login_wrong``; which of the two was wrong is not told.
    """
    with services().database.read() as db:
        person = db.scalars(sa.select(Person).where(Person.name == name)).first()
    try:
        _hasher.verify(person.password_hash if person else _NOBODY, password)
    except (VerificationError, InvalidHashError) as error:
        raise NotAuthorised("login_wrong", "This name and password do not belong together.") from error
    if person is None:
        raise NotAuthorised("login_wrong", "This name and password do not belong together.")
    return person


def change_password(person_id: int, old: str, new: str) -> Person:
    """Set a new password; sessions opened with the old one end.

    Raises:
        NotAuthorised: the old one is wrong. InvalidInput: code ``password_short`` or ``password_same``.
    """
    with services().database.read() as db:
        name = db.get_one(Person, person_id).name
    check_password(name, old)
    if len(new) < MIN_PASSWORD:
        raise InvalidInput("password_short", f"Choose a password of at least {MIN_PASSWORD} characters.")
    if hmac.compare_digest(old.encode(), new.encode()):
        raise InvalidInput("password_same", "Choose a password that differs from the old one.")
    with services().database.write() as db:
        person = db.get_one(Person, person_id)
        person.password_hash = _hasher.hash(new)
        person.must_change_password = False
        person.session_stamp = secrets.token_hex(8)
        audit.note(db, person_id, "password.change", person.name)
    return person


def log_in(person: Person) -> None:
    """Open a session for the browser that sent this request."""
    session.clear()
    session["person"] = person.id
    session["stamp"] = person.session_stamp
    session.permanent = True


def log_out() -> None:
    """End the browser's session."""
    session.clear()


def session_person() -> Person | None:
    """The person of the browser's session; None when there is none, or the password changed since."""
    person_id = session.get("person")
    if person_id is None:
        return None
    with services().database.read() as db:
        person = db.get(Person, person_id)
    if person is None or not hmac.compare_digest(person.session_stamp, str(session.get("stamp", ""))):
        return None
    return person


def key_person() -> Known:
    """The person whose API key the request carries.

    Raises:
        NotAuthorised: code ``key_missing`` or ``key_unknown``.
    """
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    key = token.strip() if scheme.lower() == "bearer" else request.headers.get("X-API-Key", "")
    if not key:
        raise NotAuthorised("key_missing", "Send your API key in the header 'Authorization: Bearer KEY'.")
    digest = _digest(key)
    with services().database.look() as connection:
        found = connection.execute(_KEY, {"wanted": digest}).first()
    if found is None or found.revoked_at is not None or not hmac.compare_digest(found.digest, digest):
        raise NotAuthorised("key_unknown", "This API key is unknown or revoked. Make a new one on your account page.")
    _remember_use(found.id, found.last_used_at)
    return Known(found.person_id, found.name)


def _remember_use(key_id: int, last: datetime | None) -> None:
    now = utcnow()
    if last is None or now - last > USED_AGAIN:
        with services().database.write() as db:
            db.execute(sa.update(ApiKey).where(ApiKey.id == key_id).values(last_used_at=now))


def set_person(person: Person | Known) -> None:
    """Remember who sent this request."""
    g.person = person


def current_person() -> Person | Known:
    """Who sent this request."""
    return cast("Person | Known", g.person)
