"""Requests of a person in a minute, counted in a real Redis."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from shared.config import Settings
from shared.db import Database
from tests.factories import Doorbells
from tests.servers import RedisServer
from tests.unit.web.conftest import Caller
from web.app import create_app
from web.limits import Allowance, Limiter
from web.people import create_first_person


@pytest.fixture
def limited(settings: Settings, sqlite_database: Database, redis: RedisServer, doorbell: Doorbells) -> Iterator[Caller]:
    """An API that takes five requests a minute, before a Redis that has counted none."""
    redis.client().flushall()
    changed = {"configured_database": sqlite_database.url, "redis_url": redis.url, "rate_limit": 5}
    app = create_app(settings.model_copy(update=changed), doorbell)
    first = create_first_person(sqlite_database)
    assert first is not None
    yield Caller(app, first.api_key)
    app.extensions["countersign"].database.close()


def test_a_person_is_told_what_is_left_and_refused_when_nothing_is(limited: Caller) -> None:
    answers = [limited.get("/models") for _ in range(12)]  # over five even where a minute begins between them
    first, last = answers[0], answers[-1]
    assert first.status_code == 200
    assert first.headers["RateLimit-Policy"] == '"minute";q=5;w=60'
    assert first.headers["RateLimit"].startswith('"minute";r=4;t=')
    assert (last.status_code, last.get_json()["code"]) == (429, "rate_limited")
    assert 1 <= int(last.headers["Retry-After"]) <= 60
    assert last.headers["RateLimit"].startswith('"minute";r=0;t=')
    assert limited.app.test_client().get("/healthz").status_code == 200


def test_windows_and_persons_are_counted_apart(redis: RedisServer) -> None:
    redis.client().flushall()
    limiter = Limiter(redis.url, 2)
    assert [limiter.take(1, now) for now in (120.0, 179.0, 179.9)] == [
        Allowance(2, 1, 60),
        Allowance(2, 0, 1),
        Allowance(2, -1, 1),
    ]
    assert limiter.take(1, 180.0) == Allowance(2, 1, 60)
    assert limiter.take(2, 180.0) == Allowance(2, 1, 60)


def test_nobody_is_limited_without_a_redis_or_a_limit(settings: Settings, redis: RedisServer) -> None:
    assert Limiter(settings.redis_url, 1).take(1, 0.0) is None
    assert Limiter(redis.url, 0).take(1, 0.0) is None
