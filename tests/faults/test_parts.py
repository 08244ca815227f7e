"""Parts of the stack that are killed, restarted, away or full."""

from __future__ import annotations

import os
import signal
import sqlite3
import time
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from shared.errors import CountersignError
from shared.tables.jobs import ChunkState
from tests.faults.night import Night
from tests.faults.processes import (
    child,
    children,
    filled,
    freeze_when,
    frozen,
    gone,
    kill,
    kill_program,
    no_room,
    program,
    small_disk,
    thaw,
)
from tests.servers import wait_for
from web.client import Document

pytestmark = pytest.mark.long
AWAY_SECONDS = 60


def at_once(night: Night, *statements: str) -> None:
    """Carry out statements, each for itself: some may not be part of a transaction."""
    with night.database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        for statement in statements:
            connection.execute(sa.text(statement))


def caught_half_way(night: Night, job: Document) -> int:
    """The worker's process, frozen while it scores some of a job, and some is not yet claimed."""
    process = child(night.stack, "score")

    def half_way() -> bool:
        return bool(night.chunks(job, ChunkState.CLAIMED) and night.chunks(job, ChunkState.WAITING))

    freeze_when(process, night.database, half_way, "the middle of a batch")
    return process


def test_redis_killed_and_restarted_empty(night: Night) -> None:
    """With messages waiting and one being worked on: all of them are gone, and the sweep rings again."""
    redis = program(night.stack, "redis")
    with frozen(program(night.stack, "io"), *children(program(night.stack, "io"))):
        waiting = night.submit()
        assert night.stack.redis_client().dbsize() > 0
        kill(redis)
        wait_for(lambda: program(night.stack, "redis") != redis, "another Redis")
        wait_for(lambda: Path(night.stack.home / "redis.sock").exists() and answers(night), "Redis to answer")
        assert night.stack.redis_client().llen("io") == 0
    night.ends_undisturbed(waiting)


def answers(night: Night) -> bool:
    try:
        return bool(night.stack.redis_client().ping())
    except OSError:
        return False
    except Exception as error:  # noqa: BLE001 (redis-py's own family, whatever the reason: it is not there yet)
        return "redis" not in type(error).__module__


def test_redis_killed_while_a_batch_is_scored(night: Night) -> None:
    job = night.submit()
    process = caught_half_way(night, job)
    kill_program(night.stack, "redis")
    assert night.job(job).state == "running"
    thaw(process)
    night.ends_undisturbed(job)


def test_redis_unreachable_for_a_minute(night: Night) -> None:
    """What is under way goes on; what is sent meanwhile is refused, and leaves nothing.

    The batch ends meanwhile, so its worker cannot acknowledge the message: it takes the next all the same.
    """
    job = night.submit()
    process = caught_half_way(night, job)
    done = night.results(job)
    uploads = set((night.stack.home / "blobs" / "uploads").iterdir())
    begun = time.monotonic()
    with frozen(program(night.stack, "redis")):
        thaw(process)
        with pytest.raises(CountersignError) as refused:
            night.submit()
        assert refused.value.code == "queue_unavailable"
        assert set((night.stack.home / "blobs" / "uploads").iterdir()) == uploads
        time.sleep(AWAY_SECONDS - (time.monotonic() - begun))
        assert night.results(job) > done
        assert night.job(job).state == "succeeded"
    night.ends_undisturbed(job)
    night.ends_undisturbed(night.submit())


@pytest.mark.parametrize("seconds", [0, 20])
def test_postgresql_crashes_and_is_started_again(postgresql_night: Night, postgresql_server: Any, seconds: int) -> None:
    """It ends at once under a running batch, without writing a checkpoint, and stays away for a while."""
    job = postgresql_night.submit()
    process = caught_half_way(postgresql_night, job)
    done = postgresql_night.results(job)
    lock = postgresql_server.pgdata / "postmaster.pid"
    os.kill(int(lock.read_text().splitlines()[0]), signal.SIGQUIT)
    wait_for(lambda: not lock.exists(), "PostgreSQL to end")
    thaw(process)
    time.sleep(seconds)
    postgresql_server.ensure_postgres_running()
    postgresql_night.database.engine.dispose()
    assert postgresql_night.results(job) >= done, "what was committed is gone"
    postgresql_night.ends_undisturbed(job)


def test_sqlite_locked_longer_than_writers_wait(sqlite_night: Night) -> None:
    """A backup program, say, holds the database for 40 s: the work waits, and then goes on by itself."""
    process = child(sqlite_night.stack, "score")
    job = sqlite_night.submit()
    freeze_when(process, sqlite_night.database, lambda: sqlite_night.chunks(job, ChunkState.CLAIMED), "a claim")
    connection = sqlite3.connect(sqlite_night.stack.home / "countersign.db", isolation_level=None)
    connection.execute("BEGIN IMMEDIATE")
    done = sqlite_night.results(job)
    log = sqlite_night.stack.home / "logs" / "score.log"
    told = log.stat().st_size
    thaw(process)
    wait_for(lambda: "database is locked" in log.read_text()[told:], "a writer to give up", 60)
    assert sqlite_night.results(job) == done
    connection.execute("ROLLBACK")
    connection.close()
    sqlite_night.ends_undisturbed(job)


def without_room(night: Night, job: Document, process: int) -> tuple[int, str, bool]:
    """Let the worker meet the full disk until the job says that it waits: its results, state, if the worker died."""
    thaw(process)
    wait_for(lambda: night.job(job).phase == "waiting: storage_full", "the job to say that it waits")
    return night.results(job), night.job(job).state, gone(process)


def test_no_room_on_the_disk_of_postgresql_while_results_are_written(
    postgresql_night: Night, postgresql_server: Any, short_tmp: Path
) -> None:
    """The table of results lies on a disk of its own, which fills up; when there is room, the job goes on by itself."""
    moved = "ALTER TABLE results SET TABLESPACE"
    with small_disk(short_tmp / "small", postgresql_server.pgdata) as disk:
        job = postgresql_night.submit()
        process = caught_half_way(postgresql_night, job)
        done = postgresql_night.results(job)
        # So that hardly two rows share a page: each needs new room.
        scattered = "ALTER TABLE results SET (fillfactor = 10)"
        at_once(postgresql_night, scattered, f"CREATE TABLESPACE small LOCATION '{disk}'", f"{moved} small")
        try:
            with filled(disk):
                assert without_room(postgresql_night, job, process) == (done, "running", False)
            postgresql_night.ends_undisturbed(job)
        finally:
            thaw(process)
            together = "ALTER TABLE results RESET (fillfactor)"
            at_once(postgresql_night, f"{moved} pg_default", "DROP TABLESPACE small", together)


def test_no_room_in_postgresql_while_results_are_written(postgresql_night: Night) -> None:
    """The same where no disk may be mounted: PostgreSQL's own error of that number, raised by a trigger."""
    job = postgresql_night.submit()
    process = caught_half_way(postgresql_night, job)
    done = postgresql_night.results(job)
    at_once(
        postgresql_night,
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN RAISE EXCEPTION 'no space left on device' USING ERRCODE = 'disk_full'; END $$",
        "CREATE TRIGGER full_disk BEFORE INSERT ON results FOR EACH STATEMENT EXECUTE FUNCTION refuse()",
    )
    try:
        assert without_room(postgresql_night, job, process) == (done, "running", False)
    finally:
        at_once(postgresql_night, "DROP FUNCTION refuse CASCADE")
    postgresql_night.ends_undisturbed(job)


def test_no_room_while_results_are_written(sqlite_night: Night) -> None:
    """The job says that it waits; with room again it goes on by itself, and nothing is half-written."""
    process = child(sqlite_night.stack, "score")
    job = sqlite_night.submit()
    freeze_when(process, sqlite_night.database, lambda: sqlite_night.chunks(job, ChunkState.CLAIMED), "a claim")
    done = sqlite_night.results(job)
    with no_room(process):  # which takes its log away too
        thaw(process)
        held = sqlite_night.chunks(job, ChunkState.CLAIMED)
        wait_for(lambda: all(chunk.lease_until < time.time() for chunk in held), "its leases to run out")
        time.sleep(2)  # in which the sweep rings, and it tries again
        assert [chunk.fence for chunk in sqlite_night.chunks(job, ChunkState.CLAIMED)] == [c.fence for c in held]
        assert (sqlite_night.results(job), sqlite_night.job(job).state) == (done, "running")
        assert not gone(process)
    sqlite_night.ends_undisturbed(job)
    check = sqlite3.connect(sqlite_night.stack.home / "countersign.db")
    assert check.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    check.close()
