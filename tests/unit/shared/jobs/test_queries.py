from __future__ import annotations

import pytest
import sqlalchemy as sa

from shared.db import Database
from shared.errors import NotFound
from shared.jobs import queries
from shared.jobs.chunks import claim_chunks, record
from shared.tables import ReferenceSet, Result
from tests.factories import batch_job, scores, unbacked_model


def test_a_job_with_what_belongs_to_it(database: Database) -> None:
    job = batch_job(database, unbacked_model(database))
    with database.read() as session:
        found = queries.get_job(session, job.public_id)
    assert found.model is not None
    assert found.model.label == "paper@1"
    assert found.upload is None
    assert found.person is None


def test_no_such_job(database: Database) -> None:
    with database.read() as session, pytest.raises(NotFound) as caught:
        queries.get_job(session, "job_none")
    assert caught.value.code == "job_unknown"


def test_jobs_newest_first_a_page_at_a_time(database: Database) -> None:
    model = unbacked_model(database)
    made = [batch_job(database, model, 1, 1).id for _ in range(5)]
    seen: list[int] = []
    cursor: int | None = None
    with database.read() as session:
        for _ in range(3):
            page, cursor = queries.list_jobs(session, cursor, limit=2)
            seen += [job.id for job in page]
    assert seen == made[::-1]
    assert cursor is None


def test_jobs_of_a_kind_or_state(database: Database) -> None:
    job = batch_job(database, unbacked_model(database))
    with database.read() as session:
        assert [each.id for each in queries.list_jobs(session, kind="verify", state="queued")[0]] == [job.id]
        assert queries.list_jobs(session, kind="train")[0] == []
        assert queries.list_jobs(session, state="failed")[0] == []


def test_pages_of_answers_with_those_not_yet_scored(database: Database) -> None:
    job = batch_job(database, unbacked_model(database), 5, 2)
    claim = claim_chunks(database, "w", 30, 2)
    assert claim is not None
    record(database, claim, scores(claim))
    with database.read() as session:
        first, cursor = queries.answers(session, job.id, limit=3)
        rest, end = queries.answers(session, job.id, after=cursor or 0, limit=3)
    assert [(a.comparison.ordinal, a.result.verdict if a.result else None) for a in first + rest] == [
        (1, "accept"),
        (2, "accept"),
        (3, None),
        (4, None),
        (5, None),
    ]
    assert (cursor, end) == (3, None)
    answer = first[0]
    assert answer.questioned is not None
    assert answer.nearest is not None
    assert (answer.questioned.entry, answer.nearest.entry, answer.model) == ("q.png", "r.png", "paper@1")


def test_a_page_that_is_exactly_full_has_no_next(database: Database) -> None:
    job = batch_job(database, unbacked_model(database), 3, 3)
    with database.read() as session:
        assert queries.answers(session, job.id, limit=3)[1] is None


def test_answers_of_one_verdict(database: Database) -> None:
    job = batch_job(database, unbacked_model(database), 6, 2)
    for verdict in ("accept", "reject"):
        claim = claim_chunks(database, "w", 30, 2)
        assert claim is not None
        record(database, claim, scores(claim, verdict))
    with database.read() as session:
        page, _ = queries.answers(session, job.id, verdict="reject")
    assert [answer.comparison.ordinal for answer in page] == [3, 4]
    assert [a.comparison.ordinal for a in queries.stream_answers(database, job.id, "reject")] == [3, 4]


def test_the_stream_has_all_answers_in_order(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queries, "STREAM_ROWS", 2)
    job = batch_job(database, unbacked_model(database), 5, 5)
    assert [a.comparison.ordinal for a in queries.stream_answers(database, job.id)] == [1, 2, 3, 4, 5]


def test_references_keep_the_order_of_their_set(database: Database) -> None:
    job = batch_job(database, unbacked_model(database), 1, 1)
    with database.write() as session:
        found = session.scalars(sa.select(ReferenceSet)).one()
        reference = int(found.members)
        found.members = f"{reference},{reference - 1}"
        session.add(Result(job_id=job.id, ordinal=1, verdict="accept", nearest=1))
    with database.read() as session:
        answer = queries.get_answer(session, job, 1)
    assert [region.entry for region in answer.references] == ["r.png", "q.png"]
    assert answer.nearest is not None
    assert answer.nearest.entry == "q.png"


@pytest.mark.parametrize("ordinal", [0, 4, 2**60])
def test_no_such_comparison(database: Database, ordinal: int) -> None:
    job = batch_job(database, unbacked_model(database), 3, 3)
    with database.read() as session, pytest.raises(NotFound) as caught:
        queries.get_answer(session, job, ordinal)
    assert caught.value.code == "comparison_unknown"
