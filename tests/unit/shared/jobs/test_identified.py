"""The order of an identification's answers, by an independent sort of the same rows, and how they are read."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from shared.db import Database, insert_ignore, utcnow
from shared.jobs.histogram import answers_histogram
from shared.jobs.identified import AnswerKind, Nearness, answered, answers_at, count_kinds, ordinals
from shared.tables import Identification, Job
from tests.factories import identification_row
from tests.plans import plans_of

DISTANCES = (0.31, 0.9, 0.31, None, 0.05, 1.4, 0.62, None, 0.9, 0.62, 0.5)
THRESHOLD = 0.62
WRONG = (1, 6, 7)


def a_job(database: Database, **report: Any) -> Job:
    """Named up to the threshold, none beyond it, an error where there is no distance."""
    job = Job(public_id="job_1", kind="identify", spec={}, report=report, created_at=utcnow())
    with database.write() as session:
        session.add(job)
        session.flush()
        insert_ignore(session, Identification, [row_of(job, n, value) for n, value in enumerate(DISTANCES, 1)])
    return job


def row_of(job: Job, ordinal: int, distance: float | None) -> dict[str, Any]:
    category = "anna" if distance is not None and distance <= THRESHOLD else None
    nearest = None if distance is None else "anna"
    correct = ordinal not in WRONG if distance is not None else None
    known = {"distance": distance, "category": category, "nearest": nearest, "correct": correct}
    return identification_row(job, ordinal, **known)


def expected(kind: str | None, order: str | None) -> list[int]:
    def is_of_kind(ordinal: int, distance: float | None) -> bool:
        if kind == AnswerKind.WRONG:
            return ordinal in WRONG
        found = "error" if distance is None else "named" if distance <= THRESHOLD else "none"
        return kind in (None, found)

    rows = [(n, distance) for n, distance in enumerate(DISTANCES, 1) if is_of_kind(n, distance)]
    if order:
        sign = 1 if order == Nearness.NEAR else -1
        rows.sort(key=lambda row: (row[1] is None, sign * (row[1] or 0.0), row[0]))
    return [ordinal for ordinal, _ in rows]


def test_every_order_is_gone_through_page_by_page_and_back(database: Database) -> None:
    job = a_job(database)
    for kind, order in itertools.product((None, *AnswerKind), (None, *Nearness)):
        whole = expected(kind, order)
        with database.read() as session:
            found, after = [], 0
            while page := ordinals(session, job.id, kind, order, after, 3):
                found += page
                after = page[-1]
            assert found == whole, (kind, order)
            assert [answer.ordinal for answer in answers_at(session, job.id, whole)] == whole
            for place, ordinal in enumerate(whole):
                before = ordinals(session, job.id, kind, order, ordinal, 4, backwards=True)
                assert before == whole[max(0, place - 4) : place][::-1], (kind, order, ordinal)


def test_a_cursor_of_no_answer_ends_the_list(database: Database) -> None:
    job = a_job(database)
    with database.read() as session:
        assert ordinals(session, job.id, None, Nearness.FAR, 99) == []


@pytest.mark.parametrize("kind", [None, *AnswerKind])
def test_no_page_and_no_count_reads_a_whole_job(sqlite_database: Database, kind: str | None) -> None:
    """What makes a page of a million answers as quick as one of a hundred, the rare ones among them too."""
    job = a_job(sqlite_database, threshold=THRESHOLD, labelled=9)
    with plans_of(sqlite_database) as plans, sqlite_database.read() as session:
        for order in (None, *Nearness):
            plans.clear()
            assert ordinals(session, job.id, kind, order, 0, 2) != []
            used = "PRIMARY KEY" if kind is None and order is None else "ix_identifications_"
            assert any(used in line for line in plans), plans
            assert not [line for line in plans if "SCAN" in line or "TEMP B-TREE FOR ORDER" in line]
        plans.clear()
        count_kinds(session, job.id)
        answers_histogram(session, job)
        assert all("COVERING INDEX ix_identifications" in line for line in plans), plans


def test_counts_are_those_of_the_worker_once_it_has_counted(database: Database) -> None:
    job = a_job(database)
    with database.read() as session:
        assert answered(session, job) == {"named": 6, "none": 3, "error": 2, "wrong": 3}
        job.report = {"answers": {"named": 1, "none": 0, "error": 0, "wrong": 0}}
        assert answered(session, job)["named"] == 1


def test_the_threshold_is_the_bound_between_two_bins(database: Database) -> None:
    with database.read() as session:
        found = answers_histogram(session, a_job(database, threshold=THRESHOLD, labelled=9))
        assert (found.scale, found.kinds, found.bounds) == ("distance", ("named", "none", "wrong"), (THRESHOLD,))
        assert any(each.low == pytest.approx(THRESHOLD) for each in found.bins)
        for distance in filter(None, DISTANCES):
            assert sum(each.low <= distance < each.high for each in found.bins) == 1
        assert [sum(counts) for counts in zip(*(each.counts for each in found.bins), strict=True)] == [6, 3, 3]
        named_beyond = sum(each.counts[0] for each in found.bins if each.low > THRESHOLD * 1.001)
        assert named_beyond == 0


def test_without_labels_none_is_wrong(database: Database) -> None:
    with database.read() as session:
        assert answers_histogram(session, a_job(database, threshold=THRESHOLD)).kinds == ("named", "none")


@pytest.mark.parametrize("threshold", [0.0, 1e-9, 0.003, 0.1, 0.62, 7.0, 1e9])
def test_no_threshold_makes_too_many_bins_or_too_few(database: Database, threshold: float) -> None:
    with database.read() as session:
        bins = answers_histogram(session, a_job(database, threshold=threshold)).bins
    assert 10 <= len(bins) <= 201
    assert sum(sum(each.counts) for each in bins) == 9
    if bins[0].low < threshold < bins[-1].high:
        assert any(each.low == pytest.approx(threshold) for each in bins)
