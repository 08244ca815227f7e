from __future__ import annotations

import io
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from rich.console import Console

from shared.config import Settings
from shared.db import Database
from shared.search_space import default_params, search_space, trial_command
from shared.specs import TrainSpec, TuneSpec
from shared.tables import Job, JobState, Trial
from tests.factories import Doorbells, training_files, tune_job, tune_report, write_files
from tests.unit.web.cli.conftest import Terminal, served
from web.app import create_app
from web.cli.submit import submit_train
from web.cli.tuned import show_trials, show_tuning


@dataclass(eq=False)
class QuickWorker(Doorbells):
    """A doorbell whose worker is done before it has rung: the best of one trial, or a failure."""

    database: Database | None = None
    state: str = JobState.SUCCEEDED

    def ring(self, task: str, *ids: str, queue: str | None = None) -> bool:
        assert self.database is not None
        with self.database.write() as session:
            job = session.scalars(sa.select(Job).where(Job.public_id == ids[0])).one()
            job.state, job.done, job.report = self.state, 1, tune_report(1, 0.125, optimiser="sgd")
            session.add(Trial(job_id=job.id, number=1, state="complete", value=0.125, params={"optimiser": "sgd"}))
        return super().ring(task, *ids, queue=queue)


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


@pytest.mark.parametrize(("state", "status"), [(JobState.SUCCEEDED, 0), (JobState.FAILED, 1)])
def test_a_search_is_waited_for(
    settings: Settings, sqlite_database: Database, tmp_path: Path, state: JobState, status: int
) -> None:
    folder = write_files(tmp_path / "set", training_files(writers=2, genuine=1, forged=0))
    here = settings.model_copy(update={"configured_database": sqlite_database.url})
    app = create_app(here, QuickWorker(database=sqlite_database, state=state))
    with served(app, sqlite_database) as terminal:
        done = terminal.run("submit", "tune", str(folder), "--trials", "1", "--out", str(tmp_path / "trials.csv"))
    app.extensions["countersign"].database.close()
    assert done.exit_code == status, done.output
    assert "best: trial 1, mean validation EER 12.5%" in done.output
    assert re.search(r"1 +│ 12\.5% +│ complete +│ 0 +│ optimiser sgd", done.output)
    assert (tmp_path / "trials.csv").read_text().startswith("number,state,value,")


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
    for spec in (TuneSpec(preset="photo", channels=3), TuneSpec(ink="binary")):
        words = trial_command(spec, params).split()
        assert words[:4] == ["countersign", "submit", "train", "PATH"]
        given = options_of(words[4:])
        assert {name: str(given[name]) for name in params} == {name: str(value) for name, value in params.items()}
        of_training = {name: value for name, value in given.items() if name in TrainSpec.model_fields}
        assert TrainSpec.model_validate(of_training).preprocessing == spec.preprocessing


def options_of(words: list[str]) -> dict[str, Any]:
    """What ``submit train`` understands, but for what was not given."""
    context = submit_train.make_context("train", [".", *words])
    return {name: value for name, value in context.params.items() if value not in (None, False)}
