"""Many rows at once: the same as one at a time, on both databases."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any, cast

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import DataError, IntegrityError

from shared import bulk
from shared.db import Database, insert_ignore
from shared.tables import Embedding, Result
from tests.factories import batch_job, unbacked_model

ODD = ("plain", 'quote " and \\ and \t and \n', "Zoë, 名", "\\N", "", "%s ? :name", None)


TABLE = cast("sa.Table", Result.__table__)


def results(job_id: int, model_id: int, count: int, verdict: str = "accept") -> list[dict[str, Any]]:
    """Rows of every kind of value that a result may hold."""
    return [
        {
            "job_id": job_id,
            "ordinal": ordinal,
            "verdict": verdict,
            "code": None,
            "message": ODD[ordinal % len(ODD)],
            "distance": ordinal / 7 if ordinal % 3 else None,
            "distances": [ordinal / 7, None, 1e-300] if ordinal % 3 else None,
            "nearest": ordinal % 5 or None,
            "threshold": 0.1,
            "llr": -ordinal / 3,
            "scale": "llr",
            "accept_from": None,
            "reject_below": 1.7976931348623157e308,
            "model_id": model_id,
        }
        for ordinal in range(1, count + 1)
    ]


def stored(database: Database, job_id: int) -> list[tuple[Any, ...]]:
    columns = [column for column in TABLE.columns if column.name != "job_id"]
    query = sa.select(*columns, sa.cast(TABLE.c.distances, sa.Text)).where(TABLE.c.job_id == job_id)
    with database.look() as connection:
        return [tuple(row) for row in connection.execute(query.order_by(TABLE.c.ordinal))]


@pytest.mark.parametrize("count", [bulk.MANY, 3 * bulk.SQLITE_ROWS + 1])
def test_many_rows_are_stored_as_one_at_a_time(database: Database, count: int) -> None:
    model = unbacked_model(database)
    together, alone = batch_job(database, model, count, count), batch_job(database, model, count, count)
    rows = results(together.id, model.id, count)
    assert bulk.fits(TABLE, rows)
    with database.write() as session:
        insert_ignore(session, Result, rows)
        for row in rows:
            insert_ignore(session, Result, [row | {"job_id": alone.id}])
    assert stored(database, together.id) == stored(database, alone.id)
    assert len(stored(database, together.id)) == count


def test_rows_that_are_there_stay_as_they_are(database: Database) -> None:
    model = unbacked_model(database)
    job = batch_job(database, model, 100, 100)
    with database.write() as session:
        insert_ignore(session, Result, results(job.id, model.id, 40))
        insert_ignore(session, Result, results(job.id, model.id, 60, "reject"))  # twice in one transaction
    with database.write() as session:
        insert_ignore(session, Result, results(job.id, model.id, 100, "review"))
    verdicts = [row[1] for row in stored(database, job.id)]
    assert verdicts == ["accept"] * 40 + ["reject"] * 20 + ["review"] * 40


def test_of_two_that_are_alike_in_one_go_one_is_kept(database: Database) -> None:
    model = unbacked_model(database)
    rows = [{"model_id": model.id, "digest": f"d{number % 50}", "vector": bytes([number])} for number in range(100)]
    with database.write() as session:
        insert_ignore(session, Embedding, rows)
    with database.look() as connection:
        found = connection.execute(sa.select(Embedding.digest, Embedding.vector)).all()
    assert {row.digest: row.vector for row in found} == {f"d{number}": bytes([number]) for number in range(50)}


def test_a_row_that_may_not_stand_takes_all_with_it(database: Database) -> None:
    model = unbacked_model(database)
    job = batch_job(database, model, 100, 100)
    rows = results(job.id, model.id, 100)
    rows[70]["model_id"] = 999_999  # there is no such model
    with pytest.raises(IntegrityError), database.write() as session:
        insert_ignore(session, Result, rows)
    assert stored(database, job.id) == []


def test_what_the_driver_refuses_is_told_as_by_any_statement(database: Database) -> None:
    """PostgreSQL takes no NUL in a text: the driver finds it while it copies."""
    model = unbacked_model(database)
    job = batch_job(database, model, 100, 100)
    rows = results(job.id, model.id, 100)
    rows[50]["message"] = "a \0 within"
    refused = nullcontext() if database.is_sqlite else pytest.raises(DataError)
    with refused, database.write() as session:
        insert_ignore(session, Result, rows)
    assert len(stored(database, job.id)) == (100 if database.is_sqlite else 0)


def test_defaults_of_a_table_are_not_left_out(database: Database) -> None:
    """A table whose columns have defaults that are not given is written the slow way, which makes them."""
    numbers = sa.Table("numbers", sa.MetaData(), sa.Column("n", sa.Integer), sa.Column("d", sa.Integer, default=3))
    assert not bulk.fits(numbers, [{"n": number} for number in range(1000)])
    assert bulk.fits(numbers, [{"n": number, "d": 4} for number in range(1000)])
    assert not bulk.fits(numbers, [])
