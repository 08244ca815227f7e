from __future__ import annotations

import os
import sqlite3
import subprocess
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError, StatementError

from shared.db import Database, epoch_now, insert_ignore, utcnow
from shared.errors import StorageFull
from shared.tables import AuditEvent, Embedding, Person
from shared.tables.registry import ModelVersion
from tests.factories import unbacked_model
from tests.servers import COMMAND


def person(name: str, created_at: datetime | None = None) -> Person:
    return Person(name=name, password_hash="h", session_stamp="s", created_at=created_at or utcnow())


def test_a_write_that_fails_leaves_nothing(database: Database) -> None:
    with pytest.raises(IntegrityError), database.write() as session:
        session.add_all([person("anna"), person("anna")])
    with database.read() as session:
        assert session.scalar(sa.select(sa.func.count()).select_from(Person)) == 0


def test_the_clock_is_the_databases_and_is_in_seconds(database: Database) -> None:
    with database.read() as session:
        now = session.execute(sa.select(epoch_now())).scalar_one()
    assert isinstance(now, float)
    assert abs(now - utcnow().timestamp()) < 5


def test_the_clock_goes_on_within_a_transaction(database: Database) -> None:
    with database.write() as session:
        first = session.execute(sa.select(epoch_now())).scalar_one()
        threading.Event().wait(0.05)
        assert session.execute(sa.select(epoch_now())).scalar_one() > first


def test_instants_come_back_in_utc(database: Database) -> None:
    noon_in_paris = datetime(2026, 7, 1, 12, tzinfo=timezone(timedelta(hours=2)))
    with database.write() as session:
        session.add(person("anna", noon_in_paris))
    with database.read() as session:
        found = session.scalars(sa.select(Person.created_at)).one()
    assert found == noon_in_paris
    assert found.utcoffset() == timedelta(0)


def test_instants_without_a_zone_are_refused(sqlite_database: Database) -> None:
    with pytest.raises(StatementError, match="without a time zone"), sqlite_database.write() as session:
        session.add(person("anna", datetime(2026, 1, 1)))  # noqa: DTZ001 (what is refused)


def test_insert_ignore_keeps_the_rows_that_are_there(database: Database) -> None:
    model = unbacked_model(database)
    first = {"model_id": model.id, "digest": "d1", "vector": b"first"}
    with database.write() as session:
        insert_ignore(session, Embedding, [first])
        insert_ignore(session, Embedding, [])
    with database.write() as session:
        insert_ignore(session, Embedding, [first | {"vector": b"second"}, first | {"digest": "d2"}])
    with database.read() as session:
        rows = session.execute(sa.select(Embedding.digest, Embedding.vector).order_by(Embedding.digest)).all()
    assert [tuple(row) for row in rows] == [("d1", b"first"), ("d2", b"first")]


def test_foreign_keys_are_kept(database: Database) -> None:
    with pytest.raises(IntegrityError), database.write() as session:
        session.add(AuditEvent(at=utcnow(), person_id=999, action="a", subject="s", details={}))


def test_writers_wait_for_each_other(database: Database) -> None:
    """Two transactions that read first and write then: on SQLite neither may fail with "database is locked"."""
    model = unbacked_model(database)
    barrier, errors = threading.Barrier(2), []

    def count_up() -> None:
        barrier.wait()
        try:
            for _ in range(20):
                with database.write() as session:
                    found = session.get_one(ModelVersion, model.id, with_for_update=True)
                    found.version += 1
        except Exception as error:  # noqa: BLE001 (told to the test's own thread)
            errors.append(error)

    threads = [threading.Thread(target=count_up) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    with database.read() as session:
        assert session.get_one(ModelVersion, model.id).version == model.version + 40


def test_sqlite_survives_a_power_cut(sqlite_database: Database) -> None:
    with sqlite_database.read() as session:
        connection = session.connection()
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 2


def test_only_what_may_be_lost_in_a_power_cut_is_not_waited_for(sqlite_database: Database) -> None:
    def kept(lasting: bool) -> int:
        with sqlite_database.write(lasting=lasting) as session:
            found: int = session.connection().exec_driver_sql("PRAGMA synchronous").scalar_one()
            return found

    full, normal = 2, 1
    assert [kept(True), kept(False), kept(True)] == [full, normal, full]  # on one and the same connection


def test_columns_are_read_without_a_session(database: Database) -> None:
    with database.write() as session:
        session.add(AuditEvent(at=utcnow(), person_id=None, action="a", subject="s", details={"much": 1}))
    with database.look() as connection:
        row = connection.execute(sa.select(AuditEvent.subject, AuditEvent.details)).one()
    assert (row.subject, row.details) == ("s", {"much": 1})


def test_a_full_disk_is_told_as_such(sqlite_database: Database) -> None:
    with sqlite_database.read() as session:
        pages = session.connection().exec_driver_sql("PRAGMA page_count").scalar_one()

    @sa.event.listens_for(sqlite_database.engine, "checkout")
    def no_more_room(connection: sqlite3.Connection, *_: object) -> None:
        connection.cursor().execute(f"PRAGMA max_page_count={pages}")

    with pytest.raises(StorageFull), sqlite_database.write() as session:
        session.add(AuditEvent(at=utcnow(), person_id=None, action="a", subject="s", details={"much": "x" * 100_000}))
    with sqlite_database.read() as session:
        assert session.scalar(sa.select(sa.func.count()).select_from(AuditEvent)) == 0


def test_migrating_twice_changes_nothing(database: Database) -> None:
    database.migrate()
    with database.read() as session:
        version = session.connection().exec_driver_sql("SELECT version_num FROM alembic_version").scalars().all()
    assert len(version) == 1


def test_migrating_makes_the_folder(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'new' / 'home' / 'countersign.db'}")
    database.migrate()
    database.close()
    assert (tmp_path / "new" / "home" / "countersign.db").exists()


def test_two_hosts_may_migrate_at_once(new_postgresql: Callable[[str], str], tmp_path: Path) -> None:
    environment = os.environ | {"DATABASE_URL": new_postgresql("template0"), "COUNTERSIGN_HOME": str(tmp_path)}
    both = [
        subprocess.Popen(
            [COMMAND, "migrate"], env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        for _ in range(2)
    ]
    said = [process.communicate(timeout=60)[0] for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    assert sum("one-time password" in text for text in said) == 1


def test_utcnow_has_a_zone() -> None:
    assert utcnow().tzinfo is UTC
