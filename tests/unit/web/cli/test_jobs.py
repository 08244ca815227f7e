"""``countersign jobs``, and what one can do to a job."""

from __future__ import annotations

import json
import socket
from pathlib import Path

import pytest
from click.testing import CliRunner

from shared.db import Database
from shared.jobs.chunks import claim_chunks, record
from shared.tables import Verdict
from tests.factories import Doorbells, batch_job, png, scores, tune_job, unbacked_model, write_files
from tests.unit.web.cli.conftest import Terminal
from web.cli.main import main
from web.cli.output import sending
from web.cli.results import VERDICTS


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


def test_results_of_one_verdict(terminal: Terminal, sqlite_database: Database) -> None:
    job = batch_job(sqlite_database, unbacked_model(sqlite_database), 8, 4)
    for verdict in ("accept", "unscorable"):
        claim = claim_chunks(sqlite_database, "w", 30, 4)
        assert claim is not None
        record(sqlite_database, claim, scores(claim, verdict))
    assert set(VERDICTS) == set(Verdict)
    lines = terminal.run("results", job.public_id, "--verdict", "accept").stdout.splitlines()
    assert [line.split(",")[0] for line in lines[1:]] == ["id-1", "id-2", "id-3", "id-4"]
    errors = json.loads(terminal.run("results", job.public_id, "--errors", "--json").stdout)
    assert [row["ordinal"] for row in errors] == [5, 6, 7, 8]
    search = tune_job(sqlite_database, [])
    assert terminal.run("results", search.public_id, "--errors").exit_code == 2


def test_a_shell_completes_commands_and_choices() -> None:
    def completed(words: str) -> list[str]:
        place = str(len(words.split(" ")) - 1)
        asked = {"_COUNTERSIGN_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": place}
        done = CliRunner().invoke(main, [], prog_name="countersign", env=asked)
        return [line.partition(",")[2] for line in done.stdout.splitlines()]

    assert {"results", "submit", "up"} <= set(completed("countersign "))
    assert completed("countersign submit ver") == ["verify"]
    assert completed("countersign results job_1 --verdict re") == ["review", "reject"]


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


def test_what_is_sent_is_shown_at_a_terminal_while_it_is_sent(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with sending(quiet=False) as sent:
        sent(1, 2)
    assert capsys.readouterr().err == ""
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "120")
    with sending(quiet=False) as sent:
        sent(40_000_000, 120_000_000)
    assert "40.0/120.0 MB" in capsys.readouterr().err
    with sending(quiet=True) as sent:
        sent(1, 2)
    assert capsys.readouterr().err == ""
