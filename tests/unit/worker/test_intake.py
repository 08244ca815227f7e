from __future__ import annotations

import random
import tracemalloc
from dataclasses import replace

import pytest
import sqlalchemy as sa

from shared.db import Database
from shared.errors import CountersignError
from shared.jobs.lifecycle import claim_job, request_cancel
from shared.manifest import Row
from shared.queue import TaskNames
from shared.tables import Chunk, Comparison, Job, JobState, ReferenceSet, Region
from tests.factories import Doorbells, batch_of, expire, manifest_of, png, reload, results_of, zip_of
from tests.plans import plans_of
from tests.unit.worker.conftest import Submit
from worker import intake
from worker.context import Context
from worker.intake import take_in, with_ids

EVERY = ("id", "questioned", "reference", "questioned_page", "reference_page", "questioned_box", "reference_box")
IMAGES = {f"{number}.png": png(number) for number in range(4)}


def count(database: Database, table: type) -> int:
    with database.read() as session:
        return session.scalar(sa.select(sa.func.count()).select_from(table)) or 0


def many(rows: int) -> bytes:
    return batch_of(*((f"id-{n}", f"{n % 4}.png", f"{(n + 1) % 4}.png") for n in range(rows)), images=IMAGES)


def test_rows_become_comparisons_sets_regions_and_chunks(context: Context, submit: Submit, doorbell: Doorbells) -> None:
    job = submit(context, many(10))
    take_in(context, job.public_id)
    now = reload(context.database, job)
    assert (now.state, now.intake_done, now.total, now.done, now.chunks_left) == (JobState.RUNNING, True, 10, 0, 3)
    assert now.owner is None
    assert [count(context.database, t) for t in (Comparison, Region, ReferenceSet, Chunk)] == [10, 4, 4, 3]
    with context.database.read() as session:
        chunks = session.execute(sa.select(Chunk.first, Chunk.last, Chunk.priority).order_by(Chunk.first)).all()
        lines = session.scalars(sa.select(Comparison.line).order_by(Comparison.ordinal)).all()
    assert [tuple(chunk) for chunk in chunks] == [(1, 4, 0), (5, 8, 0), (9, 10, 0)]
    assert list(lines) == list(range(2, 12))
    assert doorbell.tasks == [TaskNames.INTAKE, TaskNames.SCORE]


def test_each_region_once_and_each_page_and_box_apart(context: Context, submit: Submit) -> None:
    rows = [
        ("1", "0.png", "1.png|2.png", "", "", "", ""),
        ("2", "0.png", "1.png|2.png", "", "", "", ""),
        ("3", "0.png", "2.png|1.png", "", "", "", ""),
        ("4", "0.png", "1.png", 2, "", "", "1 2 30 40"),
    ]
    job = submit(context, batch_of(*rows, images=IMAGES, heading=EVERY))
    take_in(context, job.public_id)
    with context.database.read() as session:
        names = set(session.scalars(sa.select(Region.name)))
        sets = session.scalars(sa.select(ReferenceSet.members)).all()
    assert names == {"0.png#1", "0.png#2", "1.png#1", "2.png#1", "1.png#1[1 2 30 40]"}
    assert len(sets) == 3  # the order of references is told to people, so it tells sets apart


def test_a_bad_row_is_answered_at_once(context: Context, submit: Submit) -> None:
    rows = [
        ("1", "0.png", "1.png"),
        ("2", "none.png", "1.png"),
        ("3", "0.png", "../1.png"),
        ("", "0.png", "1.png"),
        ("1", "2.png", "3.png"),
        ("6", "0.png", "1.png"),
    ]
    job = submit(context, batch_of(*rows, images=IMAGES))
    take_in(context, job.public_id)
    assert results_of(context.database, job) == [
        (2, "unscorable", "image_missing"),
        (3, "unscorable", "entry_name_unsafe"),
        (4, "unscorable", "id_missing"),
        (5, "unscorable", "id_repeated"),
    ]
    now = reload(context.database, job)
    assert (now.total, now.done, now.unscorable) == (6, 4, 4)


@pytest.mark.parametrize("rows", [3, 7])
def test_repeated_ids_are_found_across_groups(
    context: Context, submit: Submit, monkeypatch: pytest.MonkeyPatch, rows: int
) -> None:
    monkeypatch.setattr(intake, "BATCH_ROWS", 2)
    job = submit(context, batch_of(*(("same", "0.png", "1.png") for _ in range(rows)), images=IMAGES))
    take_in(context, job.public_id)
    assert [ordinal for ordinal, _, code in results_of(context.database, job) if code == "id_repeated"] == list(
        range(2, rows + 1)
    )


def test_a_manifest_in_the_archives_outer_folder(context: Context, submit: Submit) -> None:
    files = {f"outer/{name}": content for name, content in IMAGES.items()}
    manifest = manifest_of(("1", "0.png", "outer/1.png"))
    job = submit(context, zip_of({"outer/manifest.csv": manifest, **files}))
    take_in(context, job.public_id)
    assert results_of(context.database, job) == []
    with context.database.read() as session:
        assert set(session.scalars(sa.select(Region.entry))) == {"outer/0.png", "outer/1.png"}


def test_it_goes_on_where_it_stopped(
    context: Context, submit: Submit, monkeypatch: pytest.MonkeyPatch, doorbell: Doorbells
) -> None:
    """A worker that is drained after each group needs several tries; no row is taken in twice."""
    monkeypatch.setattr(intake, "BATCH_ROWS", 3)
    draining = replace(context, draining=lambda: True)
    job = submit(context, many(8))
    totals = []
    for _ in range(4):
        take_in(draining, job.public_id)
        totals.append(reload(context.database, job).total)
    assert totals == [3, 6, 8, 8]
    now = reload(context.database, job)
    assert (now.intake_done, now.chunks_left) == (True, count(context.database, Chunk))
    assert count(context.database, Comparison) == 8
    with context.database.read() as session:
        covered = [n for c in session.scalars(sa.select(Chunk)) for n in range(c.first, c.last + 1)]
    assert sorted(covered) == list(range(1, 9))


def test_a_second_worker_takes_over_from_a_silent_one(
    context: Context, submit: Submit, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first stalls in mid-work; what it writes when it comes back must not count."""
    monkeypatch.setattr(intake, "BATCH_ROWS", 2)
    job = submit(context, many(6))
    real_add = intake._Intake.add
    stalled: list[bool] = []

    def add_and_stall(self: intake._Intake, first: int, rows: list[Row]) -> bool:
        if first == 3 and not stalled:
            stalled.append(True)
            expire(context.database, Job)
            take_in(replace(context, owner="worker-2"), job.public_id)
        return real_add(self, first, rows)

    monkeypatch.setattr(intake._Intake, "add", add_and_stall)
    take_in(context, job.public_id)
    now = reload(context.database, job)
    assert stalled
    assert (now.total, now.intake_done, now.chunks_left) == (6, True, 3)
    assert count(context.database, Comparison) == 6


def test_a_job_that_is_held_or_done_is_left_alone(context: Context, submit: Submit) -> None:
    job = submit(context, many(2))
    claim_job(context.database, job.public_id, "worker-2", 30)
    take_in(context, job.public_id)
    assert count(context.database, Comparison) == 0
    expire(context.database, Job)
    take_in(context, job.public_id)
    take_in(context, job.public_id)
    assert (count(context.database, Comparison), reload(context.database, job).state) == (2, JobState.RUNNING)


def test_a_cancelled_job_is_not_taken_in(context: Context, submit: Submit) -> None:
    job = submit(context, many(2))
    request_cancel(context.database, job.public_id, None)
    take_in(context, job.public_id)
    assert (count(context.database, Comparison), reload(context.database, job).state) == (0, JobState.CANCELLED)


def test_a_cancellation_meanwhile_keeps_what_is_in(
    context: Context, submit: Submit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(intake, "BATCH_ROWS", 2)
    job = submit(context, many(6))

    class Cancelling(Doorbells):
        def ring(self, task: str, *ids: str, queue: str | None = None) -> bool:
            request_cancel(context.database, job.public_id, None)
            return True

    take_in(replace(context, doorbell=Cancelling()), job.public_id)
    now = reload(context.database, job)
    assert (now.state, now.total, now.intake_done) == (JobState.CANCELLED, 2, False)


def test_a_manifest_that_breaks_off_fails_the_job_and_keeps_its_rows(
    context: Context, submit: Submit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(intake, "BATCH_ROWS", 100)
    text = manifest_of(*((n, "0.png", "1.png") for n in range(3000))).encode() + b"3001,\xff.png,1.png\n"
    job = submit(context, zip_of({"manifest.csv": text, **IMAGES}))
    take_in(context, job.public_id)
    now = reload(context.database, job)
    assert (now.state, now.error_code) == (JobState.FAILED, "manifest_unreadable")
    assert now.total > 1000


def test_a_bug_of_ours_ends_the_job_with_a_code(context: Context, submit: Submit) -> None:
    job = submit(context, many(2))

    class Broken(Doorbells):
        def ring(self, task: str, *ids: str, queue: str | None = None) -> bool:
            raise ZeroDivisionError("a bug")

    take_in(replace(context, doorbell=Broken()), job.public_id)
    now = reload(context.database, job)
    assert (now.state, now.error_code) == (JobState.FAILED, "internal_error")
    assert "a bug" not in (now.error_message or "")


def test_a_file_that_is_gone_fails_the_job(context: Context, submit: Submit) -> None:
    job = submit(context, many(2))
    with context.database.read() as session:
        blob = session.execute(sa.text("SELECT blob FROM uploads")).scalar_one()
    context.store.delete(blob)
    take_in(context, job.public_id)
    assert reload(context.database, job).error_code == "blob_missing"


def test_long_names_of_any_script_fit_the_tables(context: Context, submit: Submit) -> None:
    """PostgreSQL's indexes take 2,700 bytes; a name that no index takes costs its row, not the batch."""
    letters = random.Random(1)  # noqa: S311 (no secret)
    longest = "".join(chr(letters.randrange(0x20000, 0x2A6DF)) for _ in range(600))
    folder = "f" * 300
    rows = [("1", longest, "0.png"), ("2", longest + "x", "0.png"), ("3", "0.png", "0.png")]
    job = submit(context, batch_of(*rows, images={longest: png(), **IMAGES}))
    take_in(context, job.public_id)
    assert results_of(context.database, job) == [(2, "unscorable", "questioned_too_long")]
    deep = "g" * 400
    files = {f"{folder}/{deep}": png(), f"{folder}/0.png": png(1)}
    manifest = manifest_of(("1", deep, "0.png"), ("2", "0.png", "0.png"))
    job = submit(context, zip_of({f"{folder}/manifest.csv": manifest, **files}))
    take_in(context, job.public_id)
    assert results_of(context.database, job) == [(1, "unscorable", "image_name_too_long")]


def test_memory_stays_flat(sqlite_context: Context, submit: Submit) -> None:
    """Eight times the rows must not take eight times the memory."""
    peaks = []
    for rows in (2_500, 20_000):
        job = submit(sqlite_context, many(rows))
        tracemalloc.start()
        take_in(sqlite_context, job.public_id)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert reload(sqlite_context.database, job).total == rows
    assert peaks[1] < 1.5 * peaks[0] + 2**20


def test_the_limits_of_the_archive_hold_here_too(context: Context, submit: Submit) -> None:
    with pytest.raises(CountersignError) as caught:
        submit(context, batch_of(("1", "0", "1"), images={str(n): b"" for n in range(200)}))
    assert caught.value.code == "archive_too_many_entries"


def test_a_rows_tag_is_kept_with_it(sqlite_context: Context, submit: Submit) -> None:
    rows = [("1", "0.png", "1.png", "branch 7"), ("2", "0.png", "1.png", ""), ("3", "gone.png", "1.png", "branch 9")]
    rows.append(("4", "0.png", "1.png", "x" * 81))
    job = submit(sqlite_context, batch_of(*rows, images=IMAGES, heading=("id", "questioned", "reference", "tag")))
    take_in(sqlite_context, job.public_id)
    with sqlite_context.database.read() as session:
        tags = list(session.scalars(sa.select(Comparison.tag).order_by(Comparison.ordinal)))
    assert tags == ["branch 7", None, "branch 9", "x" * 80]
    assert [code for _, _, code in results_of(sqlite_context.database, job)] == ["image_missing", "tag_too_long"]


def test_ids_are_looked_for_in_their_index(sqlite_database: Database) -> None:
    """SQLite takes the rows of the whole job for fewer, if asked otherwise: a million rows were then four times as slow
    each as a hundred thousand."""
    with plans_of(sqlite_database) as plans, sqlite_database.read() as session:
        session.execute(with_ids(1, ["a", "b"]))
    assert plans == ["SEARCH comparisons USING INDEX ix_comparisons_external (job_id=? AND external_id=?)"]
