"""Jobs that are cancelled, tried again, or sent twice, and clocks that jump."""

from __future__ import annotations

import time

import httpx
import pytest
import sqlalchemy as sa

from shared.tables import Chunk, Job, ModelVersion, Result
from shared.tables.jobs import ChunkState
from tests.faults.night import Night
from tests.faults.processes import child, children, freeze_when, frozen, kill, program, thaw
from tests.servers import wait_for
from web.client import Document

STOP_SECONDS = 5


def cancelled(night: Night, job: Document, held_by: int | None = None) -> Document:
    """Cancel a job; it must have stopped within five seconds. ``held_by`` is a frozen process, which is let go then."""
    begun = time.monotonic()
    with night.stack.client() as client:
        client.cancel(job["id"])
    if held_by:
        thaw(held_by)
    ended = night.stack.ended(job["id"])
    assert time.monotonic() - begun < STOP_SECONDS
    return ended


def stamps(night: Night, job: Document) -> dict[int, tuple[str, float | None]]:
    """What is written of each result, to see whether any is written anew."""
    query = sa.select(Result.ordinal, Result.verdict, Result.distance).where(Result.job_id == night.job(job).id)
    with night.database.read() as session:
        return {row.ordinal: (row.verdict, row.distance) for row in session.execute(query)}


def retry(night: Night, job: Document) -> None:
    """Queue an ended job again."""
    headers = {"Authorization": f"Bearer {night.stack.api_key}"}
    answer = httpx.post(f"{night.stack.url}/api/v1/jobs/{job['id']}/retry", headers=headers)
    assert answer.status_code == 202, answer.text


def test_cancelled_while_queued_and_tried_again(night: Night) -> None:
    """Nobody has taken it: it stops at once, and a retry does all of it."""
    io = program(night.stack, "io")
    with frozen(io, *children(io)):
        job = night.submit()
        assert night.job(job).state == "queued"
        assert (cancelled(night, job)["state"], night.results(job)) == ("cancelled", 0)
    retry(night, job)
    night.ends_undisturbed(job)


def freeze_half_way(night: Night, process: int, job: Document) -> None:
    """Stop a scoring process when some of the batch is done, it holds some more, and the rest waits."""

    def half_way() -> bool:
        return {chunk.state for chunk in night.chunks(job)} == {ChunkState.DONE, ChunkState.CLAIMED, ChunkState.WAITING}

    freeze_when(process, night.database, half_way, "the middle of the batch")


def test_cancelled_while_it_is_scored_and_tried_again(night: Night) -> None:
    """What is done is kept and told; the retry scores the rest and nothing twice."""
    process = child(night.stack, "score")
    job = night.submit()
    freeze_half_way(night, process, job)
    ended = cancelled(night, job, held_by=process)
    kept = stamps(night, job)
    assert ended["state"] == "cancelled"
    assert ended["done"] == len(kept)
    assert 0 < len(kept) < len(night.expected)
    done = {chunk.id: chunk.fence for chunk in night.chunks(job, ChunkState.DONE)}
    retry(night, job)
    night.ends_undisturbed(job)
    assert stamps(night, job).items() >= kept.items()
    assert {chunk.id: chunk.fence for chunk in night.chunks(job) if chunk.id in done} == done, "a chunk was done again"


@pytest.mark.long
def test_cancelled_as_it_ends(night: Night) -> None:
    """The last chunk is being scored: the job is cancelled or has succeeded, and either way its numbers agree."""
    process = child(night.stack, "score")

    def caught() -> Document | None:
        """A job whose last claim is held by the worker, which is frozen; None where it was too quick."""
        job = night.submit()

        def last_claim_or_end() -> bool:
            now, states = night.job(job), {chunk.state for chunk in night.chunks(job)}
            return now.finished_at is not None or (now.intake_done and states == {ChunkState.DONE, ChunkState.CLAIMED})

        freeze_when(process, night.database, last_claim_or_end, "the last claim")
        if night.job(job).finished_at is None:
            return job
        thaw(process)
        return None

    job = wait_for(caught, "a job caught at its end", 120)
    assert ChunkState.CLAIMED in {chunk.state for chunk in night.chunks(job)}
    with night.stack.client() as client:
        client.cancel(job["id"])
    thaw(process)
    begun = time.monotonic()
    ended = night.stack.ended(job["id"])
    assert time.monotonic() - begun < STOP_SECONDS
    assert ended["done"] == night.results(job) == sum(ended["counts"].values())
    if ended["state"] == "cancelled":
        retry(night, job)
    night.ends_undisturbed(job)


@pytest.mark.long
def test_failed_half_way_and_tried_again(night: Night) -> None:
    """Its model's file is gone for a while: what is scored is kept, and the retry scores the rest and nothing twice."""
    process = child(night.stack, "score")
    job = night.submit()
    freeze_half_way(night, process, job)
    with night.database.read() as session:
        model = session.get_one(ModelVersion, night.job(job).model_id)
    weights = night.stack.home / "blobs" / model.blob
    away = weights.rename(weights.with_name("away"))
    kill(process)  # another begins without the weights that this one had loaded
    ended = night.stack.ended(job["id"])
    away.rename(weights)
    assert (ended["state"], ended["error"]["code"]) == ("failed", "model_deleted")
    kept = stamps(night, job)
    assert ended["done"] == len(kept)
    assert 0 < len(kept) < len(night.expected)
    done = {chunk.id: chunk.fence for chunk in night.chunks(job, ChunkState.DONE)}
    retry(night, job)
    night.ends_undisturbed(job)
    assert stamps(night, job).items() >= kept.items()
    assert {chunk.id: chunk.fence for chunk in night.chunks(job) if chunk.id in done} == done, "a chunk was done again"


@pytest.mark.long
@pytest.mark.parametrize("hours", [1, -1], ids=["forward", "back"])
def test_the_clock_jumps(night: Night, hours: int) -> None:
    """The database's clock jumps by an hour while one worker is dead, a job waits and its message is lost.

    To shift all that the database keeps of the old time is the same as to shift its clock.
    """
    process = child(night.stack, "score")
    job = night.submit()
    freeze_when(process, night.database, lambda: night.chunks(job, ChunkState.CLAIMED), "a claim")
    with night.database.write() as session:
        for table in (Job, Chunk):
            held = sa.update(table).where(table.lease_until > 0)
            session.execute(held.values(lease_until=table.lease_until - 3600 * hours))
        session.execute(sa.update(Job).where(Job.rung_at > 0).values(rung_at=Job.rung_at - 3600 * hours))
    shifted = [chunk.lease_until for chunk in night.chunks(job, ChunkState.CLAIMED)]
    assert all((lease < time.time()) is (hours > 0) for lease in shifted)
    kill(process)
    night.ends_undisturbed(job)
