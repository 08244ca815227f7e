from __future__ import annotations

import threading

import optuna
import pytest
import sqlalchemy as sa
from optuna.storages import JournalStorage

from shared.db import Database, utcnow
from shared.jobs.lifecycle import JobClaim, claim_job
from shared.tables import Job, StudyEvent
from shared.tables.base import public_id
from tests.factories import expire
from worker.journal import JobJournal
from worker.ml.trained import Stopped


def claimed(database: Database, owner: str = "worker-1", job: str | None = None) -> tuple[str, JobClaim]:
    """A tune job that this worker holds."""
    if job is None:
        job = public_id("job")
        with database.write() as session:
            session.add(Job(public_id=job, kind="tune", spec={}, created_at=utcnow()))
    claim = claim_job(database, job, owner, 30)
    assert claim is not None
    return job, claim


def test_events_are_read_in_the_order_written(database: Database) -> None:
    _, claim = claimed(database)
    journal = JobJournal(database, claim)
    journal.append_logs([{"n": 1}, {"n": 2, "value": 1e-5, "text": "é", "none": None}])
    journal.append_logs([{"n": 3}])
    assert list(journal.read_logs(0)) == [{"n": 1}, {"n": 2, "value": 1e-5, "text": "é", "none": None}, {"n": 3}]
    assert list(journal.read_logs(2)) == [{"n": 3}]
    assert list(journal.read_logs(3)) == []


def test_each_job_has_a_journal_of_its_own(sqlite_database: Database) -> None:
    first, second = (JobJournal(sqlite_database, claimed(sqlite_database)[1]) for _ in range(2))
    first.append_logs([{"of": "first"}])
    second.append_logs([{"of": "second"}])
    assert list(first.read_logs(0)) == [{"of": "first"}]
    assert list(second.read_logs(0)) == [{"of": "second"}]


def test_who_lost_the_lease_can_read_but_not_write(database: Database) -> None:
    job, claim = claimed(database)
    before = JobJournal(database, claim)
    before.append_logs([{"n": 1}])
    expire(database, Job)
    after = JobJournal(database, claimed(database, "worker-2", job)[1])
    with pytest.raises(Stopped):
        before.append_logs([{"n": 2}])
    after.append_logs([{"n": 3}])
    assert list(before.read_logs(0)) == [{"n": 1}, {"n": 3}]


def test_a_reader_beside_the_writer_sees_whole_prefixes(database: Database) -> None:
    """Events written together appear together, with no gap, while another thread writes."""
    _, claim = claimed(database)
    writer, reader = JobJournal(database, claim), JobJournal(database, claim)

    def write() -> None:
        for turn in range(15):
            writer.append_logs([{"n": 2 * turn}, {"n": 2 * turn + 1}])

    thread = threading.Thread(target=write)
    thread.start()
    seen: list[int] = []
    while thread.is_alive() or len(seen) < 30:
        seen.extend(event["n"] for event in reader.read_logs(len(seen)))
        assert seen == list(range(len(seen)))
        assert len(seen) % 2 == 0
    thread.join()
    assert len(seen) == 30


def test_a_study_is_the_same_to_the_next_worker(database: Database) -> None:
    job, claim = claimed(database)
    study = optuna.create_study(storage=JournalStorage(JobJournal(database, claim)), study_name="s")
    for value in (0.3, 0.2, 0.4):
        trial = study.ask()
        rate = trial.suggest_float("rate", 1e-5, 1e-1, log=True)
        trial.set_user_attr("rate", rate)
        trial.report(value, 1)
        study.tell(trial, value)
    expire(database, Job)
    _, second = claimed(database, "worker-2", job)
    again = optuna.load_study(storage=JournalStorage(JobJournal(database, second)), study_name="s")
    assert [trial.value for trial in again.trials] == [0.3, 0.2, 0.4]
    assert [trial.params["rate"] for trial in again.trials] == [trial.user_attrs["rate"] for trial in study.trials]
    assert again.best_trial.number == 1
    assert again.ask().number == 3


def test_optuna_brings_no_tables_of_its_own(sqlite_database: Database) -> None:
    """Its relational storage would, and an ``alembic_version`` beside ours."""
    _, claim = claimed(sqlite_database)
    before = set(sa.inspect(sqlite_database.engine).get_table_names())
    optuna.create_study(storage=JournalStorage(JobJournal(sqlite_database, claim)))
    assert set(sa.inspect(sqlite_database.engine).get_table_names()) == before
    with sqlite_database.read() as session:
        assert session.scalars(sa.select(sa.func.count()).select_from(StudyEvent)).one() == 1
