"""``countersign jobs``, and what one can do to a job."""

from __future__ import annotations

import json
import socket
from pathlib import Path

import pytest

from shared.db import Database
from tests.factories import Doorbells, png, unbacked_model, write_files
from tests.unit.web.cli.conftest import Terminal


def submit(terminal: Terminal, folder: Path, *options: str) -> str:
    write_files(folder, {"q.png": png(1), "r.png": png(2)})
    done = terminal.run("submit", "verify", str(folder / "q.png"), str(folder / "r.png"), "--json", *options)
    assert done.exit_code == 0, done.output
    return str(json.loads(done.stdout)["id"])


def test_jobs_are_listed_and_found(terminal: Terminal, tmp_path: Path, sqlite_database: Database) -> None:
    unbacked_model(sqlite_database)
    first = submit(terminal, tmp_path, "--tag", "night", "--external-id", "run-1")
    second = submit(terminal, tmp_path, "--label", "by hand")
    assert [job["id"] for job in json.loads(terminal.run("jobs", "--json").stdout)] == [second, first]
    assert [job["id"] for job in json.loads(terminal.run("jobs", "--limit", "1", "--json").stdout)] == [second]
    for option in (("--tag", "night"), ("--external-id", "run-1")):
        (job,) = json.loads(terminal.run("jobs", *option, "--json").stdout)
        assert (job["id"], job["tag"], job["external_id"]) == (first, "night", "run-1")
    assert "by hand" in terminal.run("jobs").stdout


def test_cancel_wait_retry(terminal: Terminal, tmp_path: Path, sqlite_database: Database) -> None:
    unbacked_model(sqlite_database)
    job = submit(terminal, tmp_path)
    assert json.loads(terminal.run("cancel", job, "--json").stdout)["state"] == "cancelled"
    waited = terminal.run("wait", job, "--json")
    assert (waited.exit_code, json.loads(waited.stdout)["state"]) == (1, "cancelled")
    assert terminal.run("wait", job).exit_code == 1
    assert json.loads(terminal.run("retry", job, "--json").stdout)["attempt"] == 2
    again = terminal.run("retry", job)
    assert (again.exit_code, "[job_not_retryable]" in again.output) == (1, True)


def test_exit_codes(terminal: Terminal, tmp_path: Path, doorbell: Doorbells) -> None:
    assert terminal.run("wait", "job_none").exit_code == 1
    assert terminal.run("wait").exit_code == 2
    doorbell.away = True
    write_files(tmp_path, {"q.png": png(1)})
    done = terminal.run("submit", "verify", str(tmp_path / "q.png"), str(tmp_path / "q.png"))
    assert (done.exit_code, "[queue_unavailable]" in done.output) == (3, True)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        terminal.url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        done = terminal.run("jobs")
    assert (done.exit_code, "[server_unreachable]" in done.output) == (3, True)


@pytest.mark.parametrize("code", ["0  done", "1  refused", "2  wrong usage", "3  the server"])
def test_exit_codes_are_written_down(terminal: Terminal, code: str) -> None:
    assert code in terminal.run("--help").output
