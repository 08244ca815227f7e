"""Workers that are killed, stopped, or asleep longer than their lease."""

from __future__ import annotations

import os
import signal
import time

import pytest

from shared.config import Settings
from shared.queue import make_celery
from shared.tables.jobs import ChunkState
from tests.faults.night import Night, rows_of
from tests.faults.processes import (
    child,
    freeze_when,
    frozen,
    gone,
    kill,
    program,
    redis_url,
    second_worker,
    thaw,
)
from tests.servers import wait_for

HAND_BACK_SECONDS = 30


def unacknowledged(night: Night) -> int:
    """Messages that a worker took from Redis and did not say it is done with."""
    found: int = night.stack.redis_client().hlen("unacked")
    return found


@pytest.mark.long
def test_killed_before_the_claim(night: Night) -> None:
    """The worker has the message and has claimed nothing when it is killed."""
    parent, process = program(night.stack, "score"), child(night.stack, "score")
    wait_for(lambda: unacknowledged(night) == 0, "earlier messages to be done with")
    with frozen(process):
        job = night.submit()
        wait_for(lambda: night.job(job).intake_done, "intake")
        wait_for(lambda: unacknowledged(night) > 0, "the message to be taken")
        assert {(chunk.state, chunk.tries) for chunk in night.chunks(job)} == {(ChunkState.WAITING, 0)}
        kill(parent, process)
    night.ends_undisturbed(job)


def test_killed_within_a_chunk(night: Night) -> None:
    """It holds a claim of which nothing is written; its lease runs out, and another goes on."""
    process = child(night.stack, "score")
    job = night.submit()
    held = freeze_when(process, night.database, lambda: night.chunks(job, ChunkState.CLAIMED), "a claim")
    assert all(chunk.owner is not None and chunk.owner.endswith(f":{process}") for chunk in held)
    assert night.results(job) <= night.job(job).total - rows_of(held)
    kill(process)
    night.ends_undisturbed(job)
    taken = {chunk.first: chunk.tries for chunk in night.chunks(job)}
    assert {taken[chunk.first] for chunk in held} == {2}


@pytest.mark.long
def test_killed_after_the_results_and_before_the_acknowledgement(night: Night) -> None:
    """All is written, and Redis still holds the message: it comes again, and changes nothing."""
    parent = program(night.stack, "score")
    process = child(night.stack, "score")
    job = night.submit()
    freeze_when(process, night.database, lambda: night.chunks(job, ChunkState.CLAIMED), "a claim")
    with frozen(parent):
        thaw(process)
        wait_for(lambda: night.job(job).state == "succeeded", "the last result")
        assert unacknowledged(night) > 0
        kill(parent, process)
    before = night.job(job)
    assert restore_messages(night) > 0
    wait_for(lambda: unacknowledged(night) == 0, "the message to be done with again")
    after = night.job(job)
    assert (after.finished_at, after.done, after.fence) == (before.finished_at, before.done, before.fence)
    night.ends_undisturbed(job)


def restore_messages(night: Night) -> int:
    """Have Redis' messages that were never acknowledged delivered again, as kombu does after an hour."""
    with make_celery(Settings(REDIS_URL=redis_url(night.stack))).connection_for_write() as connection:
        channel = connection.default_channel
        tags = [tag.decode() for tag in channel.client.hkeys("unacked")]
        for tag in tags:
            channel.qos.restore_by_tag(tag, leftmost=True)
    return len(tags)


def test_a_worker_that_sleeps_through_its_lease(night: Night) -> None:
    """Another does its work; when it wakes, what it writes late counts for nothing."""
    process = child(night.stack, "score")
    job = night.submit()
    held = freeze_when(process, night.database, lambda: night.chunks(job, ChunkState.CLAIMED), "a claim")
    with second_worker(night.stack):
        ended = night.stack.ended(job["id"])
        assert ended["state"] == "succeeded"
        fences = {chunk.first: chunk.fence for chunk in night.chunks(job)}
        assert all(fences[chunk.first] > chunk.fence for chunk in held)
        log = night.stack.home / "logs" / "score.log"
        told = log.stat().st_size
        thaw(process)
        follower = night.submit()
        night.ends_undisturbed(follower)
        wait_for(lambda: unacknowledged(night) == 0, "the late worker to be done")
    assert "Traceback" not in log.read_text()[told:]
    night.ends_undisturbed(job)


def test_a_deploy_hands_back_at_once(night: Night) -> None:
    """SIGTERM in the middle of a claim: the worker ends within 30 s, and nothing waits for its lease."""
    parent, process = program(night.stack, "score"), child(night.stack, "score")
    job = night.submit()
    freeze_when(process, night.database, lambda: night.chunks(job, ChunkState.CLAIMED), "a claim")
    begun = time.monotonic()
    os.kill(parent, signal.SIGTERM)
    time.sleep(0.5)  # the parent tells its child by a flag
    thaw(process)
    wait_for(lambda: gone(parent), "the worker to end", HAND_BACK_SECONDS)
    assert time.monotonic() - begun < HAND_BACK_SECONDS
    left = [chunk for chunk in night.chunks(job) if chunk.state != ChunkState.DONE]
    assert left, "the worker had finished before it was asked to stop"
    assert {chunk.owner for chunk in left if chunk.owner and chunk.owner.endswith(f":{process}")} == set()
    night.ends_undisturbed(job)
    assert {chunk.tries for chunk in night.chunks(job)} == {1}


@pytest.mark.long
def test_a_worker_whose_parent_is_killed_leaves_no_orphan(night: Night) -> None:
    """The child may finish what it holds; then it is gone, and only the new worker's processes are left."""
    parent, process = program(night.stack, "score"), child(night.stack, "score")
    job = night.submit()
    freeze_when(process, night.database, lambda: night.chunks(job, ChunkState.CLAIMED), "a claim")
    kill(parent)
    thaw(process)
    night.ends_undisturbed(job)
    wait_for(lambda: gone(process), "the orphan to end")
    assert program(night.stack, "score") != parent
