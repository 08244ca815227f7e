from __future__ import annotations

import pytest
import sqlalchemy as sa

from shared.db import Database, epoch_now
from shared.errors import CountersignError, Fault
from shared.jobs.chunks import (
    Claim,
    Scored,
    claim_chunks,
    record,
    region_values,
    release_chunks,
    renew_chunks,
    split_chunk,
    urgent_waiting,
)
from shared.jobs.lifecycle import fail_job, request_cancel, retry_job
from shared.jobs.work import load_embeddings, load_sources, load_work
from shared.tables import Chunk, Embedding, Job, JobState, Region
from shared.tables.jobs import ChunkState
from tests.factories import batch_job, expire, reload, results_of, scores, unbacked_model

LEASE = 30.0


def claimed(database: Database, most: int = 100, owner: str = "worker-1", lease: float = LEASE) -> Claim:
    claim = claim_chunks(database, owner, lease, most)
    assert claim is not None
    return claim


def chunks_of(database: Database, job: Job) -> list[Chunk]:
    with database.read() as session:
        return list(session.scalars(sa.select(Chunk).where(Chunk.job_id == job.id).order_by(Chunk.first)))


def ranges(claim: Claim) -> list[tuple[int, int]]:
    return [(chunk.first, chunk.last) for chunk in claim.chunks]


def test_a_claim_takes_what_fits_and_starts_the_job(database: Database) -> None:
    job = batch_job(database, unbacked_model(database), comparisons=12, chunk=4)
    claim = claimed(database, most=8)
    assert ranges(claim) == [(1, 4), (5, 8)]
    assert claim.model.label == "paper@1"
    assert [chunk.state for chunk in chunks_of(database, job)] == ["claimed", "claimed", "waiting"]
    now = reload(database, job)
    assert now.state == JobState.RUNNING
    assert now.started_at is not None


def test_a_chunk_larger_than_a_claim_is_taken_alone(database: Database) -> None:
    batch_job(database, unbacked_model(database), comparisons=20, chunk=10)
    assert ranges(claimed(database, most=1)) == [(1, 10)]


def test_what_is_claimed_is_not_claimed_again(database: Database) -> None:
    batch_job(database, unbacked_model(database), comparisons=8, chunk=4)
    assert ranges(claimed(database, most=4)) == [(1, 4)]
    assert ranges(claimed(database, most=4, owner="worker-2")) == [(5, 8)]
    assert claim_chunks(database, "worker-3", LEASE, 4) is None


def test_a_claim_is_of_one_model_and_may_be_of_several_jobs(database: Database) -> None:
    first, second = unbacked_model(database, "first"), unbacked_model(database, "second")
    jobs = [batch_job(database, model, 4, 4) for model in (first, second, first)]
    claim = claimed(database)
    assert claim.model.name == "first"
    assert {chunk.job_id for chunk in claim.chunks} == {jobs[0].id, jobs[2].id}
    assert claimed(database).model.name == "second"


def test_small_jobs_go_first(database: Database) -> None:
    model = unbacked_model(database)
    batch_job(database, model, 8, 4)
    small = batch_job(database, model, 1, 1)
    with database.write() as session:
        session.execute(sa.update(Chunk).where(Chunk.job_id == small.id).values(priority=0))
    assert claimed(database, most=4).chunks[0].job_id == small.id


@pytest.mark.parametrize("state", [JobState.CANCELLING, JobState.CANCELLED, JobState.FAILED, JobState.SUCCEEDED])
def test_chunks_of_jobs_that_go_no_further_are_left_alone(database: Database, state: JobState) -> None:
    batch_job(database, unbacked_model(database), state=state)
    assert claim_chunks(database, "worker-1", LEASE, 100) is None


def test_a_silent_workers_chunks_are_taken_over(database: Database) -> None:
    batch_job(database, unbacked_model(database), 4, 4)
    first = claimed(database)
    assert claim_chunks(database, "worker-2", LEASE, 100) is None
    expire(database, Chunk)
    second = claimed(database, owner="worker-2")
    assert ranges(second) == ranges(first)
    assert second.chunks[0].fence == first.chunks[0].fence + 1
    assert second.chunks[0].tries == 2


def test_renewal_keeps_the_lease(database: Database) -> None:
    job = batch_job(database, unbacked_model(database), 4, 4)
    claim = claimed(database)
    expire(database, Chunk)
    renew_chunks(database, claim, LEASE)
    with database.read() as session:
        now = session.execute(sa.select(epoch_now())).scalar_one()
    assert LEASE - 10 < chunks_of(database, job)[0].lease_until - now <= LEASE
    assert claim_chunks(database, "worker-2", LEASE, 100) is None


def test_renewal_does_not_take_a_lost_lease_back(database: Database) -> None:
    job = batch_job(database, unbacked_model(database), 4, 4)
    late = claimed(database)
    expire(database, Chunk)
    claimed(database, owner="worker-2", lease=LEASE)
    expire(database, Chunk)
    renew_chunks(database, late, LEASE)
    assert chunks_of(database, job)[0].lease_until == 1.0


def test_recording_writes_counts_and_ends_the_job(database: Database) -> None:
    job = batch_job(database, unbacked_model(database), 6, 4)
    first = claimed(database, most=4)
    assert record(database, first, scores(first, "accept")) == 1
    half = reload(database, job)
    assert (half.state, half.done, half.accept, half.chunks_left) == (JobState.RUNNING, 4, 4, 1)
    second = claimed(database)
    record(database, second, scores(second, "reject"))
    whole = reload(database, job)
    assert (whole.state, whole.done, whole.accept, whole.reject) == (JobState.SUCCEEDED, 6, 4, 2)
    assert whole.chunks_left == 0
    assert whole.finished_at is not None
    assert [ordinal for ordinal, _, _ in results_of(database, job)] == [1, 2, 3, 4, 5, 6]


def test_recording_twice_changes_nothing(database: Database) -> None:
    job = batch_job(database, unbacked_model(database), 8, 4)
    claim = claimed(database, most=4)
    record(database, claim, scores(claim, "accept"))
    before = reload(database, job)
    assert record(database, claim, scores(claim, "reject")) == 0
    after = reload(database, job)
    assert (after.done, after.accept, after.reject, after.chunks_left) == (4, 4, 0, 1)
    assert before.done == after.done
    assert {verdict for _, verdict, _ in results_of(database, job)} == {"accept"}


def test_a_worker_that_lost_its_lease_writes_nothing(database: Database) -> None:
    job = batch_job(database, unbacked_model(database), 4, 4)
    late = claimed(database)
    expire(database, Chunk)
    claimed(database, owner="worker-2")
    assert record(database, late, scores(late, "accept")) == 0
    assert results_of(database, job) == []
    assert reload(database, job).done == 0
    assert chunks_of(database, job)[0].owner == "worker-2"


def test_the_new_holder_records_after_the_late_one_was_refused(database: Database) -> None:
    job = batch_job(database, unbacked_model(database), 4, 4)
    late = claimed(database)
    expire(database, Chunk)
    holder = claimed(database, owner="worker-2")
    record(database, late, scores(late, "accept"))
    record(database, holder, scores(holder, "reject"))
    now = reload(database, job)
    assert (now.state, now.done, now.accept, now.reject) == (JobState.SUCCEEDED, 4, 0, 4)


def test_what_stands_is_not_written_over(database: Database) -> None:
    """Rows that intake answered keep their answer, whatever scoring says."""
    model = unbacked_model(database)
    job = batch_job(database, model, 4, 4)
    claim = claimed(database)
    with database.write() as session:
        session.execute(
            sa.text(
                "INSERT INTO results (job_id, ordinal, verdict, code) VALUES (:job, 2, 'unscorable', 'image_missing')"
            ),
            {"job": job.id},
        )
    record(database, claim, scores(claim))
    assert results_of(database, job)[1] == (2, "unscorable", "image_missing")


def test_release_hands_back_at_once_and_counts_no_try(database: Database) -> None:
    job = batch_job(database, unbacked_model(database), 4, 4)
    release_chunks(database, claimed(database))
    chunk = chunks_of(database, job)[0]
    assert (chunk.state, chunk.tries, chunk.owner) == (ChunkState.WAITING, 0, None)
    assert claimed(database, owner="worker-2").chunks[0].tries == 1


def test_a_late_release_does_not_free_the_new_holders_chunk(database: Database) -> None:
    job = batch_job(database, unbacked_model(database), 4, 4)
    late = claimed(database)
    expire(database, Chunk)
    claimed(database, owner="worker-2")
    release_chunks(database, late)
    assert chunks_of(database, job)[0].owner == "worker-2"


def test_split_halves_until_one_row_is_left(database: Database) -> None:
    job = batch_job(database, unbacked_model(database), 5, 5)
    claim = claimed(database)
    assert split_chunk(database, claim.chunks[0], tries=2)
    assert [(c.first, c.last, c.tries, c.state) for c in chunks_of(database, job)] == [
        (1, 3, 2, "waiting"),
        (4, 5, 2, "waiting"),
    ]
    assert reload(database, job).chunks_left == 2
    for rows in ([1, 2, 3], [4, 5]):
        half = claimed(database)
        assert [row["ordinal"] for row in scores(half).results] == rows, "a half is claimed alone"
        record(database, half, scores(half))
    assert reload(database, job).state == JobState.SUCCEEDED


def test_only_the_holder_splits(database: Database) -> None:
    job = batch_job(database, unbacked_model(database), 4, 4)
    late = claimed(database)
    expire(database, Chunk)
    claimed(database, owner="worker-2")
    assert not split_chunk(database, late.chunks[0], tries=2)
    assert len(chunks_of(database, job)) == 1
    assert reload(database, job).chunks_left == 1


def test_the_last_chunk_settles_a_cancellation(database: Database) -> None:
    job = batch_job(database, unbacked_model(database), 4, 4)
    claim = claimed(database)
    request_cancel(database, job.public_id, None)
    assert reload(database, job).state == JobState.CANCELLING
    record(database, claim, scores(claim))
    now = reload(database, job)
    assert (now.state, now.done) == (JobState.CANCELLED, 4)


def test_a_split_settles_a_cancellation(database: Database) -> None:
    job = batch_job(database, unbacked_model(database), 4, 4)
    claim = claimed(database)
    request_cancel(database, job.public_id, None)
    assert split_chunk(database, claim.chunks[0], tries=2)
    assert reload(database, job).state == JobState.CANCELLED
    assert {chunk.state for chunk in chunks_of(database, job)} == {"shelved"}


def test_a_release_settles_a_cancellation(database: Database) -> None:
    job = batch_job(database, unbacked_model(database), 4, 4)
    claim = claimed(database)
    request_cancel(database, job.public_id, None)
    release_chunks(database, claim)
    assert reload(database, job).state == JobState.CANCELLED


def test_regions_and_embeddings_are_kept_even_when_the_chunk_is_lost(database: Database) -> None:
    """They are facts about pixels, whoever found them out."""
    model = unbacked_model(database)
    batch_job(database, model, 4, 4)
    claim = claimed(database)
    with database.read() as session:
        regions = list(session.scalars(sa.select(Region).order_by(Region.id)))
    found = Scored(
        regions=[
            region_values(regions[1].id, code="image_blank", message="blank"),
            region_values(regions[0].id, digest="sha256:d", height=5, width=7),
        ],
        embeddings=[{"model_id": model.id, "digest": "sha256:d", "vector": b"1234"}],
    )
    record(database, Claim(claim.model, ()), found)
    record(database, Claim(claim.model, ()), found)
    with database.read() as session:
        first, second = session.scalars(sa.select(Region).order_by(Region.id)).all()
        assert (first.digest, first.height, first.width, first.code) == ("sha256:d", 5, 7, None)
        assert (second.digest, second.code, second.message) == (None, "image_blank", "blank")
        assert session.scalar(sa.select(sa.func.count()).select_from(Embedding)) == 1
        assert load_embeddings(session, model.id, {"sha256:d", "sha256:e"}) == {"sha256:d": b"1234"}
        assert load_embeddings(session, model.id + 1, {"sha256:d"}) == {}


def test_the_work_of_a_claim(database: Database) -> None:
    job = batch_job(database, unbacked_model(database), 6, 4)
    claim = claimed(database)
    with database.write() as session:  # a row whose image is missing has no regions
        session.execute(
            sa.text("UPDATE comparisons SET questioned_id = NULL, reference_set_id = NULL WHERE ordinal = 2")
        )
    with database.read() as session:
        work = load_work(session, claim)
        sources = load_sources(session, work.unread)
    assert [(p.job_id, p.ordinal) for p in work.pending] == [(job.id, n) for n in (1, 3, 4, 5, 6)]
    assert {source.entry for source in sources.values()} == {"q.png", "r.png"}
    assert all({p.questioned_id, *p.reference_ids} == work.unread for p in work.pending)
    questioned = next(region_id for region_id, source in sources.items() if source.entry == "q.png")
    (reference,) = work.unread - {questioned}
    found = [
        region_values(questioned, digest="sha256:d", height=5, width=7),
        region_values(reference, code="image_blank", message="blank"),
    ]
    record(database, Claim(claim.model, ()), Scored(regions=found))
    with database.read() as session:
        work = load_work(session, claim)
    assert (work.digests, work.faults, work.unread) == (
        {questioned: "sha256:d"},
        {reference: Fault("image_blank", "blank")},
        set(),
    )


def test_the_work_of_chunks_that_are_no_neighbours(database: Database) -> None:
    model = unbacked_model(database)
    first, second = batch_job(database, model, 10, 2), batch_job(database, model, 4, 2)
    held = claimed(database)
    left_out = {(first.id, 3), (second.id, 1)}
    some = Claim(held.model, tuple(chunk for chunk in held.chunks if (chunk.job_id, chunk.first) not in left_out))
    with database.read() as session:
        work = load_work(session, some)
    assert [(p.job_id, p.ordinal) for p in work.pending] == [
        *((first.id, n) for n in (1, 2, 5, 6, 7, 8, 9, 10)),
        *((second.id, n) for n in (3, 4)),
    ]


def test_who_holds_a_claim_is_not_given_a_small_job_that_ended_a_worker(database: Database) -> None:
    """It might end this one too, and the claim held besides would be blamed."""
    small = batch_job(database, unbacked_model(database), 1, 1)
    with database.write() as session:
        session.execute(sa.update(Chunk).values(priority=0))
    assert urgent_waiting(database)
    assert claim_chunks(database, "worker-1", LEASE, 100, only_urgent=True) is not None
    expire(database, Chunk)
    assert not urgent_waiting(database)
    assert claim_chunks(database, "worker-2", LEASE, 100, only_urgent=True) is None
    assert claimed(database, owner="worker-2").chunks[0].job_id == small.id


def test_a_chunk_that_was_tried_before_is_claimed_alone(database: Database) -> None:
    """Or the one row that kills its worker would have all others blamed that were claimed with it."""
    model = unbacked_model(database)
    jobs = [batch_job(database, model, 2, 2) for _ in range(3)]
    with database.write() as session:  # the second job's chunk ended a worker once
        session.execute(sa.update(Chunk).where(Chunk.job_id == jobs[1].id).values(tries=1))
    assert [chunk.job_id for chunk in claimed(database).chunks] == [jobs[0].id, jobs[2].id]
    assert [chunk.job_id for chunk in claimed(database).chunks] == [jobs[1].id]


def test_a_claim_handed_back_with_a_pause_waits_and_says_why(database: Database) -> None:
    job = batch_job(database, unbacked_model(database), 2, 2)
    release_chunks(database, claimed(database), pause=60, reason="storage_full")
    assert claim_chunks(database, "other", 60, 100) is None
    assert reload(database, job).phase == "waiting: storage_full"


def test_what_is_left_of_a_failed_job_is_out_of_the_way_until_a_retry(database: Database) -> None:
    job = batch_job(database, unbacked_model(database), 4, 2)
    fail_job(database, job.id, CountersignError("model_deleted", "It is gone."))
    assert {chunk.state for chunk in chunks_of(database, job)} == {"shelved"}
    retry_job(database, job.public_id, None)
    assert len(claimed(database).chunks) == 2
