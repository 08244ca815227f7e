"""Processes of a running stack: found, frozen at a chosen moment, killed."""

from __future__ import annotations

import os
import resource
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from shutil import which

import pytest
import sqlalchemy as sa

from shared.db import Database
from tests.servers import Stack, T, wait_for

MARKS = {
    "redis": "unixsocket",
    "web": "gunicorn",
    "beat": "worker.app beat",
    "io": "io@",
    "score": "score@",
    "train": "train@",
}


def program(stack: Stack, name: str) -> int:
    """The process id of one of the stack's programs; waits for one that is being started again."""

    def look() -> int | None:
        return next((pid for pid in stack.children() if MARKS[name] in command(pid)), None)

    return wait_for(look, name)


def child(stack: Stack, name: str) -> int:
    """The process in which the worker ``name`` runs its tasks."""
    return wait_for(lambda: next(iter(children(program(stack, name))), None), f"the child of {name}")


def command(pid: int) -> str:
    """The command line of a process; nothing for one that has ended."""
    with suppress(FileNotFoundError, ProcessLookupError):
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    return ""


def children(pid: int) -> list[int]:
    """The processes that a process started and that live."""
    with suppress(FileNotFoundError, ProcessLookupError):
        found = map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())
        return [each for each in found if not gone(each)]
    return []


def tree(pid: int) -> list[int]:
    """A process and all that descend from it."""
    return [pid, *(each for child_pid in children(pid) for each in tree(child_pid))]


def state(pid: int) -> str:
    """The kernel's letter: R, S, D, T (stopped), Z (dead, not yet reaped); nothing for one that is gone."""
    with suppress(FileNotFoundError, ProcessLookupError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    return ""


def gone(pid: int) -> bool:
    """Whether the process has ended."""
    return state(pid) in ("", "Z")


def kill(*pids: int) -> None:
    """End processes as the kernel does when memory is short, and wait until they are gone."""
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    wait_for(lambda: all(map(gone, pids)), "killed processes to end")


def kill_program(stack: Stack, name: str) -> None:
    """Kill a program of the stack with all its children, as a power cut does."""
    pid = program(stack, name)
    kill(pid, *children(pid))


def freeze(*pids: int) -> None:
    """Stop processes where they are."""
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    wait_for(lambda: all(state(pid) in ("T", "", "Z") for pid in pids), "processes to stop")


def thaw(*pids: int) -> None:
    """Let frozen processes go on; those that were killed meanwhile are left alone."""
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)


@contextmanager
def frozen(*pids: int) -> Iterator[None]:
    """Processes stopped within the block."""
    freeze(*pids)
    try:
        yield
    finally:
        thaw(*pids)


def freeze_when(pid: int, database: Database, look: Callable[[], T | None], what: str) -> T:
    """Freeze a process at a moment when ``look`` finds something, and give that: the state at which the fault hits.

    It is never frozen inside a transaction, whose locks would hold up everybody else.
    """

    def attempt() -> T | None:
        if not look():
            return None
        freeze(pid)
        found = look()
        if found and not _in_transaction(database):
            return found
        thaw(pid)
        return None

    return wait_for(attempt, what, pause=0.005)


def _in_transaction(database: Database) -> bool:
    if database.is_sqlite:
        connection = sqlite3.connect(str(database.engine.url.database), timeout=0, isolation_level=None)
        try:
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("ROLLBACK")
        except sqlite3.OperationalError:
            return True
        finally:
            connection.close()
        return False
    query = sa.text(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND state LIKE 'idle in%'"
    )
    with database.read() as session:
        return bool(session.scalar(query))


@contextmanager
def no_room(pid: int) -> Iterator[None]:
    """Within the block every write of a process beyond a file's first bytes fails, as on a full disk."""
    before = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (4096, before[1]))
    try:
        yield
    finally:
        resource.prlimit(pid, resource.RLIMIT_FSIZE, before)


@contextmanager
def small_disk(folder: Path, owner: Path) -> Iterator[Path]:
    """A disk of four megabytes, mounted on ``folder``, of the user of ``owner``; skips where none may be mounted."""
    mount, unmount = which("mount"), which("umount")
    if mount is None or unmount is None:
        pytest.skip("there is no program that mounts a small disk")
    folder.mkdir()
    what = [mount, "-t", "tmpfs", "-o", "size=4m", "none", str(folder)]
    mounted = subprocess.run(what, capture_output=True, text=True, check=False)
    if mounted.returncode:
        pytest.skip(f"no small disk may be mounted here: {mounted.stderr.strip()}")
    try:
        os.chown(folder, owner.stat().st_uid, owner.stat().st_gid)
        yield folder
    finally:
        subprocess.run([unmount, str(folder)], check=True)


@contextmanager
def filled(disk: Path) -> Iterator[None]:
    """Within the block ``disk`` has no byte of room left."""
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(bytes(4096))
    try:
        yield
    finally:
        filler.unlink()


def redis_url(stack: Stack) -> str:
    """The address of the stack's own Redis."""
    return f"redis+socket://{stack.home / 'redis.sock'}?virtual_host=0"


@contextmanager
def second_worker(stack: Stack) -> Iterator[int]:
    """One more scoring worker beside the stack's; its process id. Killed at the end of the block."""
    redis = {"REDIS_URL": redis_url(stack)}
    celery = [sys.executable, "-m", "celery", "--app", "worker.app", "worker", "--without-gossip", "--without-mingle"]
    with (stack.home / "logs" / "second.log").open("ab") as log:
        process = subprocess.Popen(
            [*celery, "--concurrency", "1", "--queues", "interactive,batch", "--hostname", "second@%h"],
            env=stack.environment | redis,
            stdout=log,
            stderr=log,
        )
    try:
        wait_for(lambda: children(process.pid), "the second worker")
        yield process.pid
    finally:
        kill(*children(process.pid), process.pid)
        process.wait()
