from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterator
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask

from shared.db import Database, utcnow
from shared.errors import InvalidInput, NotAuthorised
from shared.tables import ApiKey, Person
from tests.unit.web.conftest import Caller
from web import auth, people


@pytest.fixture
def request_to(sqlite_app: Flask) -> Iterator[None]:
    with sqlite_app.test_request_context():
        yield


def test_the_first_person_is_made_once(database: Database) -> None:
    first = people.create_first_person(database)
    assert first is not None
    assert first.name == "admin"
    assert people.create_first_person(database) is None
    with database.read() as session:
        person = session.scalars(sa.select(Person)).one()
    assert person.must_change_password
    assert person.password_hash.startswith("$argon2id$")


def test_keys_are_kept_as_digests_only(database: Database) -> None:
    first = people.create_first_person(database)
    assert first is not None
    with database.read() as session:
        key = session.scalars(sa.select(ApiKey)).one()
        kept = " ".join(str(value) for value in vars(key).values())
    assert key.digest == hashlib.sha256(first.api_key.encode()).hexdigest()
    assert first.api_key not in kept
    assert first.api_key.startswith(key.prefix)
    assert len(first.api_key) >= 43  # 256 bits in base64


def test_each_way_to_send_a_key(caller: Caller) -> None:
    client = caller.app.test_client()
    for headers in ({"Authorization": f"bearer {caller.key}"}, {"X-API-Key": caller.key}):
        assert client.get("/api/v1/models", headers=headers).status_code == 200


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({}, "key_missing"),
        ({"Authorization": "Bearer "}, "key_missing"),
        ({"Authorization": "Basic YWRtaW46eA=="}, "key_missing"),
        ({"Authorization": "Bearer cs_wrong"}, "key_unknown"),
        ({"Authorization": "Bearer \xe4\xf6"}, "key_unknown"),
        ({"X-API-Key": "cs_wrong"}, "key_unknown"),
    ],
)
def test_without_a_key_nothing_is_answered(caller: Caller, headers: dict[str, str], code: str) -> None:
    for path in ("/api/v1/jobs", "/api/v1/models", "/api/v1/jobs/job_1/results", "/api/v1/nothing"):
        answer = caller.app.test_client().get(path, headers=headers)
        assert (answer.status_code, answer.get_json()["code"]) == (401, code)
        assert answer.headers["WWW-Authenticate"].startswith("Bearer")


def test_every_route_asks_who_is_there(caller: Caller) -> None:
    """Each rule of the application, but for the login, the health and the static files."""
    client = caller.app.test_client()
    open_to_all = {"static", "healthz", "pages.login", "reference.openapi", "reference.docs", "reference.problems"}
    for rule in caller.app.url_map.iter_rules():
        if rule.endpoint in open_to_all:
            continue
        values: dict[str, Any] = dict.fromkeys(rule.arguments, "1")
        with caller.app.test_request_context():
            adapter = caller.app.url_map.bind("localhost")
            path = adapter.build(rule.endpoint, {name: _value(rule, name) for name in values})
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}:
            answer = client.open(path, method=method)
            wanted = (401,) if rule.endpoint.startswith("api.") else (303, 400)
            assert answer.status_code in wanted, f"{method} {path}"


def _value(rule: Any, name: str) -> Any:
    return 1 if type(rule._converters[name]).__name__ == "IntegerConverter" else "sent"


def test_a_revoked_key(caller: Caller, database: Database) -> None:
    assert caller.get("/models").status_code == 200
    with database.write() as session:
        session.execute(sa.update(ApiKey).values(revoked_at=utcnow()))
    assert caller.get("/models").get_json()["code"] == "key_unknown"


def test_the_last_use_is_remembered_but_not_at_each_request(caller: Caller, database: Database) -> None:
    def last_use() -> Any:
        with database.read() as session:
            return session.scalars(sa.select(ApiKey.last_used_at)).one()

    assert last_use() is None
    caller.get("/models")
    first = last_use()
    assert first is not None
    caller.get("/models")
    assert last_use() == first


def test_keys_and_stamps_are_compared_in_constant_time(caller: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    """The comparison goes through hmac: what it says decides."""
    monkeypatch.setattr(hmac, "compare_digest", lambda *_: False)
    assert caller.get("/models").status_code == 401


@pytest.mark.usefixtures("request_to")
def test_passwords(sqlite_database: Database) -> None:
    first = people.create_first_person(sqlite_database)
    assert first is not None
    person = auth.check_password("admin", first.password)
    for name, password in (("admin", "wrong"), ("nobody", first.password), ("", "")):
        with pytest.raises(NotAuthorised) as refused:
            auth.check_password(name, password)
        assert refused.value.code == "login_wrong"
    for new, code in (("short", "password_short"), (first.password, "password_same")):
        with pytest.raises(InvalidInput) as invalid:
            auth.change_password(person.id, first.password, new)
        assert invalid.value.code == code
    with pytest.raises(NotAuthorised):
        auth.change_password(person.id, "wrong", "a password of my own")
    changed = auth.change_password(person.id, first.password, "a password of my own")
    assert not changed.must_change_password
    assert changed.session_stamp != person.session_stamp
    assert auth.check_password("admin", "a password of my own").id == person.id
    with pytest.raises(NotAuthorised):
        auth.check_password("admin", first.password)
