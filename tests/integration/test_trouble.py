"""Parts that are away or full: the request says so, and nothing is half-written."""

from __future__ import annotations

import io
import os
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
import sqlalchemy as sa
from flask import Flask

from shared.config import Settings
from shared.db import Database
from shared.tables import Job, Region, Upload
from tests.factories import ModelFile, batch_of, png, training_files, write_files, zip_of
from tests.servers import COMMAND, Stack, wait_for
from web.app import create_app
from web.people import create_first_person


@pytest.fixture
def lonely_app(settings: Settings, sqlite_database: Database) -> Iterator[Flask]:
    """The web application with the real doorbell, and no Redis."""
    app = create_app(settings)
    yield app
    app.extensions["countersign"].database.close()


def counts(database: Database) -> list[int | None]:
    with database.read() as session:
        return [session.scalar(sa.select(sa.func.count()).select_from(table)) for table in (Job, Upload, Region)]


def test_redis_absent_at_submit(lonely_app: Flask, settings: Settings, sqlite_database: Database) -> None:
    first = create_first_person(sqlite_database)
    assert first is not None
    fields: list[dict[str, Any]] = [
        {"archive": (io.BytesIO(batch_of(("1", "a", "b"), images={"a": png(), "b": png(1)})), "batch.zip")},
        {"questioned": (io.BytesIO(png()), "q.png"), "reference": (io.BytesIO(png(1)), "r.png")},
    ]
    for data in fields:
        answer = lonely_app.test_client().post(
            "/api/v1/jobs?kind=verify", data=data, headers={"Authorization": f"Bearer {first.api_key}"}
        )
        assert answer.status_code == 503
        assert answer.mimetype == "application/problem+json"
        assert answer.headers["Retry-After"] == "30"
        assert answer.get_json()["code"] == "queue_unavailable"
    assert counts(sqlite_database) == [0, 0, 0]
    assert [path for path in Path(settings.storage_url).rglob("*") if path.is_file()] == []
    assert list((settings.home / "uploading").iterdir()) == []


def test_a_queue_that_goes_away_after_the_check_loses_nothing(stack: Stack, tmp_path: Path) -> None:
    """Its Redis is emptied: the messages are gone, and the sweep rings again."""
    write_files(tmp_path, {"q.png": png(1), "r.png": png(2)})
    folder = write_files(tmp_path / "set", training_files(writers=3, genuine=3, forged=1))
    job = stack.json("submit", "train", folder, "--epochs", "1", "--name", "swept")
    stack.redis_client().flushall()
    pair = stack.json("submit", "verify", tmp_path / "q.png", tmp_path / "r.png")
    stack.redis_client().flushall()
    assert stack.ended(pair["id"])["state"] == "succeeded"
    assert stack.ended(job["id"])["state"] == "succeeded"


@pytest.fixture(scope="module")
def full_stack(short_tmp: Path, tiny_model: ModelFile) -> Iterator[Stack]:
    """A stack of which no process may write a file over 24 MiB: as a disk that is full but for that."""
    stack = Stack(short_tmp / "full", {})
    stack.largest_file = 24 * 2**20
    with stack:
        stack.add_model(tiny_model, make_default=True)
        yield stack


def test_a_full_disk(full_stack: Stack, tmp_path: Path) -> None:
    path = tmp_path / "big.zip"
    path.write_bytes(zip_of({"big.bin": os.urandom(30 * 2**20), "manifest.csv": "id,questioned,reference\n1,a,b\n"}))
    done = full_stack.run("submit", "verify", path, status=3)
    assert "[storage_full]" in done.stderr
    assert list((full_stack.home / "blobs" / "uploads").glob("*")) == []
    assert list((full_stack.home / "blobs" / "staging").glob("*")) == []
    write_files(tmp_path, {"q.png": png(1), "r.png": png(2)})
    job = full_stack.json("submit", "verify", tmp_path / "q.png", tmp_path / "r.png", "--wait")
    assert job["state"] == "succeeded"


def test_the_stack_ends_in_order_and_starts_again(short_tmp: Path, tiny_model: ModelFile, tmp_path: Path) -> None:
    """SIGINT ends everything with status 0; a second start keeps key, models and waiting work."""
    home = short_tmp / "twice"
    write_files(tmp_path, {"q.png": png(1), "r.png": png(2)})
    with Stack(home, {}) as stack:
        first_password, key = stack.first_password, stack.api_key
        stack.add_model(tiny_model, make_default=True)
        other = subprocess.run(
            [COMMAND, "up", "--home", str(home), "--port", "0"], capture_output=True, text=True, timeout=60, check=False
        )
        assert other.returncode == 1
        assert "running" in other.stderr
        done = stack.json("submit", "verify", tmp_path / "q.png", tmp_path / "r.png", "--wait")
        assert stack.stop() == 0
    assert first_password
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{stack.url}/healthz")
    with Stack(home, {}) as stack:
        assert (stack.first_password, stack.api_key) == ("", key)
        assert stack.json("status", done["id"])["state"] == "succeeded"
        pids = stack.children()
        assert stack.kill() != 0
    wait_for(lambda: not any(Path(f"/proc/{pid}").exists() for pid in pids), "the children to end", 60)


def test_tables_of_a_later_version_end_the_start(short_tmp: Path) -> None:
    """What was started beside the work on the tables ends with it."""
    home = short_tmp / "later"
    home.mkdir()
    database = Database(f"sqlite:///{home / 'countersign.db'}")
    database.migrate()
    with database.write() as session:
        session.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
    database.close()
    command = [COMMAND, "up", "--home", str(home), "--port", "0"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert "9999" in done.stderr
    assert "written by another version" in done.stderr
    assert "Traceback" not in done.stderr
    assert "is ready" not in done.stdout
    assert (home / "logs" / "score.log").exists(), "nothing was started beside it, so nothing was tried here"
    assert _processes_of(home) == []


def _processes_of(home: Path) -> list[str]:
    """Programs that were started for ``home``."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # ended, or another's
            if f"COUNTERSIGN_HOME={home}\0".encode() in (path / "environ").read_bytes():
                found.append((path / "cmdline").read_text())
    return found
