"""The order of a job's comparisons, by an independent sort of the same rows."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import joinedload

from shared.db import Database, insert_ignore, utcnow
from shared.jobs.listing import Order, Reviewed, Wish, ordinals
from shared.jobs.reviews import Decided, decide
from shared.tables import Job, Person, Result
from tests.factories import batch_job, calibration, unbacked_model
from tests.plans import plans_of

ROWS: list[tuple[str, float | None]] = [
    ("accept", 2.0), ("review", 0.1), ("reject", -1.0), ("unscorable", None), ("accept", 0.9), ("review", 0.1),
    ("reject", -2.5), ("unscorable", None), ("review", 0.4), ("accept", 0.9), ("review", -0.2), ("reject", -1.0),
]  # fmt: skip
DECIDED = (2, 5, 7)


def a_job(database: Database, calibrated: bool) -> Job:
    """A job with ``ROWS``: scores are ratios where its model is calibrated, else distances of the other sign."""
    summary = {"calibration": calibration().model_dump(mode="json")} if calibrated else {}
    job = batch_job(database, unbacked_model(database, summary=summary), len(ROWS), 4)
    rows: list[dict[str, Any]] = []
    for ordinal, (verdict, score) in enumerate(ROWS, 1):
        llr = score if calibrated else None
        distance = None if score is None else 3 - score
        rows.append(
            {"job_id": job.id, "ordinal": ordinal, "verdict": verdict, "llr": llr, "distance": distance}
            | dict.fromkeys(("accept_from", "reject_below", "threshold"), 0.5)
        )
    with database.write() as session:
        insert_ignore(session, Result, rows)
        person = Person(name="anna", password_hash="", session_stamp="1", created_at=utcnow())
        session.add(person)
        session.flush()
        for ordinal in DECIDED:
            decide(session, job, ordinal, person.id, Decided("accept", "seen the card"))
        return session.scalars(sa.select(Job).where(Job.id == job.id).options(joinedload(Job.model))).one()


def expected(wish: Wish) -> list[int]:
    rows = [
        (ordinal, verdict, score)
        for ordinal, (verdict, score) in enumerate(ROWS, 1)
        if wish.verdict in (None, verdict)
        and (wish.reviewed is None or (ordinal in DECIDED) == (wish.reviewed == Reviewed.DECIDED))
    ]
    if wish.order:
        sign = -1 if wish.order == Order.ALIKE else 1
        rows.sort(key=lambda row: (row[2] is None, sign * (row[2] or 0.0), row[0]))
    return [row[0] for row in rows]


@pytest.mark.parametrize("calibrated", [True, False])
def test_every_wish_is_gone_through_page_by_page_and_back(database: Database, calibrated: bool) -> None:
    job = a_job(database, calibrated)
    wishes = itertools.product((None, "review", "unscorable"), (None, *Order), (None, *Reviewed))
    for wish in itertools.starmap(Wish, wishes):
        whole = expected(wish)
        with database.read() as session:
            found, after = [], 0
            while page := ordinals(session, job, wish, after, 3):
                found += page
                after = page[-1]
            assert found == whole, wish
            for place, ordinal in enumerate(whole):
                before = ordinals(session, job, wish, ordinal, 4, backwards=True)
                assert before == whole[max(0, place - 4) : place][::-1], (wish, ordinal)


def test_a_decided_comparison_still_knows_what_follows_it(database: Database) -> None:
    job = a_job(database, calibrated=True)
    wish = Wish("review", Order.UNLIKE, Reviewed.OPEN)
    with database.read() as session:
        assert ordinals(session, job, wish, 2, 1) == [6]  # 2 was decided, so it is not in the list any more


def test_all_orders_begin_at_an_index(sqlite_database: Database) -> None:
    """No step sorts or scans a whole job: what makes a page of a million rows as quick as one of a hundred."""
    job = a_job(sqlite_database, calibrated=True)
    with plans_of(sqlite_database) as plans, sqlite_database.read() as session:
        for wish in (
            Wish(order=Order.ALIKE),
            Wish("accept", Order.UNLIKE),
            Wish("review", Order.UNLIKE, Reviewed.OPEN),
        ):
            plans.clear()
            assert ordinals(session, job, wish, 11, 1) != [], wish
            assert any("ix_results_llr" in line for line in plans)
            assert not [line for line in plans if "SCAN" in line or "TEMP B-TREE FOR ORDER" in line]
