"""Engine and sessions, for SQLite (WAL) and PostgreSQL."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import OperationalError
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.orm import Session
from sqlalchemy.sql.functions import FunctionElement

from shared import bulk
from shared.errors import Conflict, StorageFull
from shared.tables.base import Base, table_of

MIGRATIONS = Path(__file__).with_name("migrations")
MIGRATION_LOCK = 0x636F756E7465  # a number of our own for PostgreSQL's advisory lock
DISK_FULL = "53100"  # PostgreSQL's SQLSTATE
# Ten connections are kept for a server whose threads ask all at once, since a new one costs more than what it is asked;
# the one used last is used next, so that a process of one thread keeps one.
POOL = {"pool_size": 10, "max_overflow": 5, "pool_use_lifo": True}


class epoch_now(FunctionElement[float]):  # noqa: N801 (an SQL function, spelt as one)
    """Seconds since 1970 by the database's clock: leases must not depend on the hosts' clocks."""

    type = sa.Double()
    inherit_cache = True


@compiles(epoch_now, "sqlite")
def _epoch_sqlite(*_: Any, **__: Any) -> str:
    return "((julianday('now') - 2440587.5) * 86400.0)"


@compiles(epoch_now, "postgresql")
def _epoch_postgresql(*_: Any, **__: Any) -> str:
    return "extract(epoch from clock_timestamp())::double precision"


LONGEST_LEASE = 900.0  # seconds; a time further ahead was written before the clock was set back


def passed(until: sa.SQLColumnExpression[float]) -> sa.ColumnElement[bool]:
    """Whether a time in the future as it was written (the end of a lease) has passed, or cannot be believed."""
    return sa.or_(until < epoch_now(), until > epoch_now() + LONGEST_LEASE)


def utcnow() -> datetime:
    """Now, timezone-aware, in UTC."""
    return datetime.now(UTC)


class Database:
    """One engine, and sessions that are either for reading or for writing.

    On SQLite a writing session begins with ``BEGIN IMMEDIATE``: a transaction that starts by reading and writes
    later would fail at once with "database is locked" instead of waiting for its turn.
    """

    def __init__(self, url: str) -> None:
        url = url.replace("postgresql://", "postgresql+psycopg://", 1).replace(
            "postgres://", "postgresql+psycopg://", 1
        )
        self.url = url
        options: dict[str, Any] = (
            {"connect_args": {"timeout": 30}} if url.startswith("sqlite") else {"pool_pre_ping": True}
        )
        self.engine = sa.create_engine(url, **POOL, **options)
        if self.is_sqlite:
            sa.event.listen(self.engine, "connect", _prepare_sqlite)
            sa.event.listen(self.engine, "begin", _begin_sqlite)
        self._write_engine = self.engine.execution_options(countersign_write="FULL")
        self._passing_engine = self.engine.execution_options(countersign_write="NORMAL")

    @property
    def is_sqlite(self) -> bool:
        return self.engine.dialect.name == "sqlite"

    @contextmanager
    def read(self) -> Iterator[Session]:
        """A session for short reads; what it loads stays usable after it closes."""
        with Session(self.engine, expire_on_commit=False) as session:
            yield session

    @contextmanager
    def look(self) -> Iterator[sa.Connection]:
        """A connection for one short read of columns: without a session and its objects it costs a fourth."""
        with self.engine.connect() as connection:
            yield connection

    @contextmanager
    def write(self, lasting: bool = True) -> Iterator[Session]:
        """A session whose transaction commits when the block ends, and rolls back when it raises.

        One that is not ``lasting`` may be gone after a power cut, with all that came after it, until the next lasting
        one: for what such an end makes void anyway. SQLite then need not wait for the disk. PostgreSQL, whose clients
        may outlive it, makes no difference.

        Raises:
            StorageFull: the database has no room left; nothing of the transaction is kept.
        """
        engine = self._write_engine if lasting else self._passing_engine
        try:
            with Session(engine, expire_on_commit=False) as session, session.begin():
                yield session
        except OperationalError as error:
            if _is_full(error):
                raise StorageFull from error
            raise

    def migrate(self) -> None:
        """Bring the tables to the newest revision; safe to run twice, and quick where there is nothing to do.

        Raises:
            Conflict: code ``tables_unknown``: they are of a revision that is not known here.
        """
        if self._is_newest():
            return
        from alembic import command  # here alone: all other programs, and all later starts, are quicker without it
        from alembic.config import Config
        from alembic.util import CommandError

        if self.is_sqlite and self.engine.url.database:
            Path(self.engine.url.database).parent.mkdir(parents=True, exist_ok=True)
        config = Config()
        config.set_main_option("script_location", str(MIGRATIONS))
        with self._write_engine.begin() as connection:
            if not self.is_sqlite:  # where BEGIN IMMEDIATE makes other hosts wait already
                connection.execute(sa.select(sa.func.pg_advisory_xact_lock(MIGRATION_LOCK)))
            config.attributes["connection"] = connection
            try:
                command.upgrade(config, "head")
            except CommandError as error:
                message = "The database was written by another version of Countersign, with tables not known here"
                way_out = "Start that version, or have a copy from before it restored"
                raise Conflict("tables_unknown", f"{message} ({error}). {way_out}.") from error

    def _is_newest(self) -> bool:
        if self.is_sqlite and not Path(self.engine.url.database or "").exists():
            return False
        newest = max(path.name for path in MIGRATIONS.glob("versions/[0-9]*.py"))  # begins with its revision
        with self.look() as connection:
            if not sa.inspect(connection).has_table("alembic_version"):
                return False
            revision = connection.scalar(sa.text("SELECT version_num FROM alembic_version"))
        return bool(revision) and newest.startswith(f"{revision}_")

    def close(self) -> None:
        """Close all pooled connections."""
        self.engine.dispose()


def _is_full(error: OperationalError) -> bool:
    if isinstance(error.orig, sqlite3.Error):
        return error.orig.sqlite_errorcode == sqlite3.SQLITE_FULL
    return getattr(error.orig, "sqlstate", None) == DISK_FULL


def _prepare_sqlite(connection: Any, _: Any) -> None:
    connection.isolation_level = None  # we emit BEGIN ourselves, see _begin_sqlite
    cursor = connection.cursor()
    # FULL: a commit that was answered survives a power cut; the cost is one fsync for each transaction, not each row.
    for pragma in (
        "journal_mode=WAL",
        "synchronous=FULL",
        "foreign_keys=ON",
        "busy_timeout=30000",
        "cache_size=-32000",
        "wal_autocheckpoint=8000",  # pages, 32 MB: of a large job many a page is written again and again meanwhile
    ):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _begin_sqlite(connection: sa.Connection) -> None:
    write = connection.get_execution_options().get("countersign_write")
    if write:
        connection.exec_driver_sql(f"PRAGMA synchronous={write}")
    connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")


def insert_one(session: Session, table: type[Base], values: dict[str, Any]) -> int:
    """Insert one row, and no object; the first column of its key. It costs a fourth of what the ORM takes."""
    key = session.connection().execute(_insert(table), values).inserted_primary_key
    if key is None:
        raise TypeError("one row has a key")
    return int(key[0])


@cache
def _insert(table: type[Base]) -> sa.Insert:
    return sa.insert(table_of(table))


def insert_ignore(session: Session, table: Any, rows: list[dict[str, Any]]) -> None:
    """Bulk insert that leaves rows already there as they are (``ON CONFLICT DO NOTHING``)."""
    if not rows:
        return
    if bulk.fits(table.__table__, rows):
        bulk.insert_new(session.connection(), table.__table__, rows)
        return
    dialect = sqlite if session.get_bind().dialect.name == "sqlite" else postgresql
    # On the Core table, not the class: the ORM's bulk path would ask for RETURNING and build objects.
    session.connection().execute(dialect.insert(table.__table__).on_conflict_do_nothing(), rows)
