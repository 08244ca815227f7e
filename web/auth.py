"""Who is asking: sessions for pages, keys for the API."""

from __future__ import annotations

import hmac
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from typing import cast

import sqlalchemy as sa
from argon2.exceptions import InvalidHashError, VerificationError
from flask import g, request, session

from shared import audit
from shared.db import utcnow
from shared.errors import InvalidInput, NotAuthorised
from shared.tables import ApiKey, Person
from web.people import digest, hasher
from web.services import services

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


@lru_cache(maxsize=1)
def _nobody() -> str:
    """The hash that is verified for unknown names, so that they take as long as known ones."""
    return hasher.hash(secrets.token_hex(16))


@dataclass(frozen=True, slots=True)
class Known:
    """The person whose key a request carries."""

    id: int
    name: str


def check_password(name: str, password: str) -> Person:
    """The person with this name and password.

    Raises:
        NotAuthorised: code ``login_wrong``; which of the two was wrong is not told.
    """
    nobody = _nobody()  # whoever asks: the first to ask waits for it
    with services().database.read() as db:
        person = db.scalars(sa.select(Person).where(Person.name == name)).first()
    try:
        hasher.verify(person.password_hash if person else nobody, password)
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
        person.password_hash = hasher.hash(new)
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
    wanted = digest(key)
    with services().database.look() as connection:
        found = connection.execute(_KEY, {"wanted": wanted}).first()
    if found is None or found.revoked_at is not None or not hmac.compare_digest(found.digest, wanted):
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
