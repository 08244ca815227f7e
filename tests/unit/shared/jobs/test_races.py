"""Workers and others at the same chunks and jobs at the same time."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import pytest
import sqlalchemy as sa

from shared.db import Database
from shared.errors import CountersignError
from shared.jobs.chunks import Claim, claim_chunks, record
from shared.jobs.lifecycle import fail_job, request_cancel
from shared.tables import JobState
from tests.factories import batch_job, reload, scores, unbacked_model
from tests.servers import wait_for
from tests.unit.shared.jobs.test_chunks import LEASE, chunks_of, claimed, ranges


def in_threads(count: int, act: Callable[[int], None]) -> None:
    barrier, errors = threading.Barrier(count), []

    def run(number: int) -> None:
        barrier.wait()
        try:
            act(number)
        except Exception as error:  # noqa: BLE001 (told to the test's own thread)
            errors.append(error)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors


def record_one(database: Database, claims: list[Claim], number: int) -> None:
    record(database, claims[number], scores(claims[number]))


def test_two_claimers_never_get_the_same_chunk(database: Database) -> None:
    job = batch_job(database, unbacked_model(database), 40, 2)
    taken: list[list[tuple[int, int]]] = [[], []]

    def claim_all(number: int) -> None:
        missed = 0
        while missed < 20:
            claim = claim_chunks(database, f"worker-{number}", LEASE, 4)
            if claim is None:
                missed += 1  # the other may have held locks on all that was left
            else:
                taken[number] += ranges(claim)

    in_threads(2, claim_all)
    assert sorted(taken[0] + taken[1]) == [(first, first + 1) for first in range(1, 40, 2)]
    assert {chunk.fence for chunk in chunks_of(database, job)} == {1}


def test_of_two_workers_with_the_last_chunks_one_ends_the_job(database: Database) -> None:
    """Each sees the other's chunk undone; counting what is left would strand the job."""
    model = unbacked_model(database)
    for _ in range(10):
        job = batch_job(database, model, 8, 4)
        claims = [claimed(database, most=4, owner=f"worker-{number}") for number in range(2)]
        in_threads(2, partial(record_one, database, claims))
        now = reload(database, job)
        assert (now.state, now.done, now.accept, now.chunks_left) == (JobState.SUCCEEDED, 8, 8, 0)


def test_claims_over_the_same_jobs_record_without_deadlock(database: Database) -> None:
    model = unbacked_model(database)
    jobs = [batch_job(database, model, 8, 4) for _ in range(6)]
    claims = [claimed(database, most=24, owner=f"worker-{number}") for number in range(2)]
    swapped = Claim(claims[1].model, tuple(reversed(claims[1].chunks)))
    in_threads(2, partial(record_one, database, [claims[0], swapped]))
    assert {reload(database, job).state for job in jobs} == {JobState.SUCCEEDED}


@contextmanager
def before(database: Database, statement: str, act: Callable[[], None]) -> Iterator[None]:
    """Within the block ``act`` is done once, when a session is about to send a statement that begins so."""
    done: list[str] = []

    def look(_: Any, __: Any, text: str, *___: Any) -> None:
        if text.startswith(statement) and not done:
            done.append(text)
            act()

    sa.event.listen(database.engine, "before_cursor_execute", look)
    try:
        yield
    finally:
        sa.event.remove(database.engine, "before_cursor_execute", look)
    assert done, "the moment never came"


@pytest.fixture
def postgresql(clean_postgresql: str) -> Iterator[Database]:
    """PostgreSQL alone: on SQLite one transaction writes at a time, and nothing comes between."""
    database = Database(clean_postgresql)
    yield database
    database.close()


def test_a_chunk_whose_job_was_cancelled_a_moment_ago_is_not_claimed(postgresql: Database) -> None:
    """After it was found, and before it is locked: what is shelved is nobody's."""
    job = batch_job(postgresql, unbacked_model(postgresql), 4, 4)
    with before(postgresql, "SELECT chunks.id, chunks.fence", lambda: request_cancel(postgresql, job.public_id, None)):
        assert claim_chunks(postgresql, "worker-1", LEASE, 100) is None
    assert reload(postgresql, job).state == JobState.CANCELLED
    assert [(chunk.state, chunk.fence) for chunk in chunks_of(postgresql, job)] == [("shelved", 0)]


@pytest.mark.parametrize("end", ["cancel", "fail"])
def test_a_claim_and_the_end_of_its_job_never_wait_for_each_other(postgresql: Database, end: str) -> None:
    """The claim has its chunks and wants the job; the other has the job and would want the chunks."""
    job = batch_job(postgresql, unbacked_model(postgresql), 4, 4, state=JobState.QUEUED)
    errors: list[Exception] = []

    def finish() -> None:
        try:
            if end == "cancel":
                request_cancel(postgresql, job.public_id, None)
            else:
                fail_job(postgresql, job.id, CountersignError("model_deleted", "It is gone."))
        except Exception as error:  # noqa: BLE001 (told to the test's own thread)
            errors.append(error)

    thread = threading.Thread(target=finish)

    def meet() -> None:
        thread.start()
        waiting = sa.text("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'")
        wait_for(lambda: ask(postgresql, waiting), "the other to wait for a lock", 10)

    with before(postgresql, "UPDATE jobs", meet):
        claim = claimed(postgresql)
    thread.join()
    assert not errors
    record(postgresql, claim, scores(claim))
    assert reload(postgresql, job).state == {"cancel": JobState.CANCELLED, "fail": JobState.FAILED}[end]


def ask(database: Database, query: sa.TextClause) -> int:
    with database.read() as session:
        return session.scalar(query) or 0
