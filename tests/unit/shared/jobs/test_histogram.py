from __future__ import annotations

from sqlalchemy.orm import joinedload

from shared.db import Database, insert_ignore
from shared.jobs.histogram import histogram
from shared.tables import Job, Result
from tests.factories import batch_job, calibration, unbacked_model


def with_results(database: Database, rows: list[tuple[str, float | None]], calibrated: bool, **bounds: float) -> Job:
    """A job whose rows have these verdicts and scores."""
    summary = {"calibration": calibration().model_dump(mode="json")} if calibrated else {}
    job = batch_job(database, unbacked_model(database, summary=summary), max(1, len(rows)), 4)
    score = "llr" if calibrated else "distance"
    values = dict.fromkeys(("llr", "distance", "threshold", "accept_from", "reject_below")) | bounds
    with database.write() as session:
        insert_ignore(
            session,
            Result,
            [
                values | {"job_id": job.id, "ordinal": n, "verdict": verdict, score: value}
                for n, (verdict, value) in enumerate(rows, 1)
            ],
        )
        return session.get_one(Job, job.id, options=[joinedload(Job.model)])


def test_ratios_are_counted_in_bins_without_gaps(database: Database) -> None:
    rows = [("reject", -0.21), ("review", 0.01), ("review", -0.04), ("accept", 0.29), ("unscorable", None)]
    job = with_results(database, rows, calibrated=True, accept_from=0.2, reject_below=-0.1)
    with database.read() as session:
        found = histogram(session, job)
    assert (found.scale, found.bounds) == ("llr", (-0.1, 0.2))
    assert [each.counts for each in found.bins] == [(0, 0, 1), (0, 0, 0), (0, 2, 0), (0, 0, 0), (0, 0, 0), (1, 0, 0)]
    for (_, score), each in zip(rows, (found.bins[place] for place in (0, 2, 2, 5)), strict=False):
        assert score is not None
        assert each.low <= score < each.high
    assert all(one.high == following.low for one, following in zip(found.bins, found.bins[1:], strict=False))


def test_distances_are_counted_in_parts_of_the_threshold(database: Database) -> None:
    job = with_results(database, [("accept", 0.1), ("reject", 0.6)], calibrated=False, threshold=0.4)
    with database.read() as session:
        found = histogram(session, job)
    assert (found.scale, found.bounds, len(found.bins)) == ("distance", (0.4,), 26)
    assert (found.bins[0].counts, found.bins[-1].counts) == ((1, 0, 0), (0, 0, 1))


def test_nothing_scored_is_nothing_counted(database: Database) -> None:
    job = with_results(database, [("unscorable", None)], calibrated=True)
    with database.read() as session:
        assert histogram(session, job).bins == ()


def test_bounds_that_differ_are_not_told(database: Database) -> None:
    job = with_results(database, [("accept", 1.0)], calibrated=True, accept_from=0.2, reject_below=-0.1)
    other = {"job_id": job.id, "ordinal": 2, "verdict": "accept", "llr": 1.0, "accept_from": 0.3, "reject_below": 0.0}
    with database.write() as session:
        insert_ignore(session, Result, [other])
    with database.read() as session:
        assert histogram(session, job).bounds == ()
