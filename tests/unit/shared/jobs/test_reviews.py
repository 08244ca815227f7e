from __future__ import annotations

import pytest
import sqlalchemy as sa

from shared.db import Database, insert_ignore, utcnow
from shared.errors import Conflict, InvalidInput
from shared.jobs.reviews import Decided, count_reviews, decide, reviews_of, take_back
from shared.tables import AuditEvent, Job, Person, Result
from tests.factories import batch_job, unbacked_model


@pytest.fixture
def job(database: Database) -> Job:
    """A job with the verdicts accept, review, unscorable, and one comparison that is not scored."""
    job = batch_job(database, unbacked_model(database), 4, 4)
    verdicts = enumerate(("accept", "review", "unscorable"), 1)
    with database.write() as session:
        person = Person(name="anna", password_hash="", session_stamp="1", created_at=utcnow())
        session.add(person)
        session.flush()
        job.person_id = session.merge(job).person_id = person.id
        insert_ignore(
            session, Result, [{"job_id": job.id, "ordinal": n, "verdict": verdict} for n, verdict in verdicts]
        )
    return job


def reviewer(job: Job) -> int:
    """The person who submitted the job reviews it too."""
    assert job.person_id is not None
    return job.person_id


@pytest.mark.parametrize(
    ("ordinal", "verdict", "reason", "decision"),
    [
        (1, "accept", "", "agree"),
        (1, "reject", "the loop is drawn", "overrule"),
        (2, "accept", "", "decide"),
        (3, "unscorable", "", "agree"),
        (3, "reject", "seen on paper", "overrule"),
    ],
)
def test_what_a_verdict_means_beside_the_models(
    database: Database, job: Job, ordinal: int, verdict: str, reason: str, decision: str
) -> None:
    with database.write() as session:
        decide(session, job, ordinal, reviewer(job), Decided(verdict, reason))
    with database.read() as session:
        (review,) = reviews_of(session, job.id, {1, 2, 3, 4}).values()
        assert (review.ordinal, review.decision, review.verdict, review.reason) == (ordinal, decision, verdict, reason)
        assert (review.person.name, count_reviews(session, job.id)) == ("anna", {decision: 1})
        assert session.get_one(Result, (job.id, ordinal)).verdict == ("accept", "review", "unscorable")[ordinal - 1]


@pytest.mark.parametrize(
    ("ordinal", "decided", "code"),
    [
        (1, Decided("reject"), "review_reason"),
        (1, Decided("review", "hm"), "review_verdict"),
        (1, Decided("unscorable", "hm"), "review_verdict"),
        (2, Decided("accept", "x" * 1001), "review_reason"),
    ],
)
def test_what_is_refused(database: Database, job: Job, ordinal: int, decided: Decided, code: str) -> None:
    with database.write() as session, pytest.raises(InvalidInput) as caught:
        decide(session, job, ordinal, reviewer(job), decided)
    assert caught.value.code == code


def test_nothing_is_decided_before_it_is_scored(database: Database, job: Job) -> None:
    with database.write() as session, pytest.raises(Conflict):
        decide(session, job, 4, reviewer(job), Decided("accept"))


def test_the_last_word_holds_and_the_earlier_ones_stay_on_record(database: Database, job: Job) -> None:
    for decided in (Decided("accept"), Decided("reject", "the loop is drawn")):
        with database.write() as session:
            decide(session, job, 1, reviewer(job), decided)
    with database.write() as session:
        assert reviews_of(session, job.id, {1})[1].verdict == "reject"
        assert take_back(session, job, 1, reviewer(job))
        assert not take_back(session, job, 2, reviewer(job))
    with database.read() as session:
        assert reviews_of(session, job.id, {1}) == {}
        events = session.scalars(sa.select(AuditEvent).order_by(AuditEvent.id)).all()
        assert [event.details["verdict"] for event in events if event.action.startswith("review")] == [
            "accept",
            "reject",
            "reject",
        ]
