from __future__ import annotations

import io
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from flask import Flask
from rich.console import Console
from werkzeug.serving import make_server

from shared.db import Database
from shared.search_space import default_params, search_space, trial_command
from shared.specs import TuneSpec
from tests.factories import Doorbells, training_files, tune_job, tune_report, write_files
from web.auth import create_first_person
from web.cli.main import main
from web.cli.submit import submit_train
from web.cli.tuned import show_trials, show_tuning


@dataclass
class Terminal:
    """Runs commands against the application, served on a port."""

    url: str
    key: str

    def run(self, *arguments: str) -> Result:
        environment = {"COUNTERSIGN_URL": self.url, "COUNTERSIGN_API_KEY": self.key, "COLUMNS": "160"}
        return CliRunner().invoke(main, arguments, env=environment)


@pytest.fixture
def terminal(sqlite_app: Flask, sqlite_database: Database) -> Iterator[Terminal]:
    first = create_first_person(sqlite_database)
    assert first is not None
    server = make_server("127.0.0.1", 0, sqlite_app, threaded=False)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield Terminal(f"http://127.0.0.1:{server.server_port}", first.api_key)
    server.shutdown()
    thread.join(10)
    server.server_close()


ROWS: list[dict[str, Any]] = [
    {"value": 0.3},
    {"value": 0.2},
    {"value": None, "state": "failed", "code": "loss_not_finite"},
]


def test_a_search_is_submitted(
    terminal: Terminal, tmp_path: Path, doorbell: Doorbells, sqlite_database: Database
) -> None:
    folder = write_files(tmp_path / "set", training_files(writers=2, genuine=1, forged=0))
    done = terminal.run("submit", "tune", str(folder), "--trials", "3", "--folds", "2", "--network", "seed", "--json")
    assert done.exit_code == 0, done.output
    job = json.loads(done.stdout)
    assert (job["kind"], job["spec"]["trials"], job["spec"]["folds"], job["spec"]["network"]) == ("tune", 3, 2, "seed")
    assert doorbell.rung[0][1] == (job["id"],)


def test_results_of_a_search_are_its_trials(terminal: Terminal, sqlite_database: Database) -> None:
    job = tune_job(sqlite_database, ROWS)
    table = terminal.run("results", job.public_id)
    assert table.stdout.startswith("number,state,value,")
    assert len(table.stdout.splitlines()) == 4
    documents = json.loads(terminal.run("results", job.public_id, "--json").stdout)
    assert [trial["value"] for trial in documents] == [0.3, 0.2, None]


def test_the_state_of_a_search_tells_the_best(terminal: Terminal, sqlite_database: Database) -> None:
    job = tune_job(sqlite_database, ROWS, report=tune_report(2, 0.2, optimiser="sgd"))
    done = terminal.run("status", job.public_id)
    assert "3 complete, 1 pruned, 1 failed" in done.output
    assert "best: trial 2, mean validation EER 20.0% (30.0% against skilled forgeries, 10.0% against" in done.output
    assert "countersign submit train PATH --name tuned --network compact --epochs 10 --optimiser sgd" in done.output


def test_nothing_is_shown_before_a_trial_is_complete() -> None:
    out = io.StringIO()
    show_tuning({}, Console(file=out))
    assert out.getvalue() == ""


def test_the_best_trials_come_first(capsys: pytest.CaptureFixture[str]) -> None:
    trials = [
        {"number": n, "state": "complete", "value": 0.5 - n / 100, "folds": 3, "code": None, "params": {"margin": n}}
        for n in range(1, 25)
    ]
    failed = {"number": 25, "state": "failed", "value": None, "folds": 0, "code": "crashed", "params": {}}
    show_trials([failed, *trials])
    lines = [line.split() for line in capsys.readouterr().out.splitlines() if "complete" in line]
    assert [line[1] for line in lines] == [str(n) for n in range(24, 4, -1)]
    show_trials([failed, *trials])
    assert "and 5 more" in capsys.readouterr().out
    show_trials([failed])
    assert "failed: crashed" in capsys.readouterr().out


@pytest.mark.parametrize("loss", ["contrastive", "triplet"])
def test_the_command_told_is_one_that_exists(loss: str) -> None:
    """Every setting that is tried is an option of ``submit train``, and takes what is tried."""
    params = default_params("compact") | {"loss": loss}
    params |= {
        item.field: item.choices[-1] if item.choices else item.low
        for item in search_space("compact")[1:]
        if item.applies(params)
    }
    words = trial_command(TuneSpec(preset="photo", channels=3), params).split()
    assert words[:4] == ["countersign", "submit", "train", "PATH"]
    context = submit_train.make_context("train", [".", *words[4:]])
    given = {name: value for name, value in context.params.items() if value not in (None, False)}
    assert {name: str(given[name]) for name in params} == {name: str(value) for name, value in params.items()}
