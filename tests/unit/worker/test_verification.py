from __future__ import annotations

import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sqlalchemy as sa

from shared.errors import Fault, Unavailable
from shared.jobs.chunks import Scored, claim_chunks, region_values
from shared.jobs.lifecycle import request_cancel
from shared.jobs.work import Pending
from shared.registry import delete_model, find_model
from shared.tables import Chunk, Embedding, Job, JobState, ModelVersion, Region, Result
from tests.factories import batch_of, blank_png, drawing, encoded, expire, png, reload, results_of
from tests.unit.worker.conftest import Submit
from worker import between
from worker.between import BetweenBatches
from worker.context import Context
from worker.encoding import Encoded, embedding_values
from worker.intake import take_in
from worker.judging import judge
from worker.models import ModelCache
from worker.verification import score_claim, score_waiting

MODEL = ModelVersion(id=7, name="m", version=1, threshold=1.0)


def pending(questioned: int, *references: int, ordinal: int = 1) -> Pending:
    return Pending(5, ordinal, questioned, references)


def encoded_as(points: dict[int, tuple[float, float]], faults: dict[int, str] | None = None, **digests: str) -> Encoded:
    """Regions at points of the plane; each has a digest of its own unless ``rN`` names one."""
    found = Encoded(faults={region: Fault(code, f"about {code}.") for region, code in (faults or {}).items()})
    for region, point in points.items():
        digest = digests.get(f"r{region}", f"sha256:{region}")
        found.digests[region] = digest
        found.vectors[digest] = np.array(point, np.float32)
    return found


def test_one_reference() -> None:
    (result,) = judge([pending(1, 2)], encoded_as({1: (0, 0), 2: (0.6, 0.8)}), MODEL)
    assert result == {
        "job_id": 5,
        "ordinal": 1,
        "verdict": "accept",
        "code": None,
        "message": None,
        "distance": 1.0,
        "distances": [1.0],
        "nearest": 0,
        "threshold": 1.0,
        "llr": None,
        "scale": "distance",
        "accept_from": None,
        "reject_below": None,
        "model_id": 7,
    }


def test_a_distance_over_the_threshold_is_rejected() -> None:
    (result,) = judge([pending(1, 2)], encoded_as({1: (0, 0), 2: (0, 1.001)}), MODEL)
    assert (result["verdict"], result["distance"]) == ("reject", pytest.approx(1.001))


def test_a_set_is_judged_by_the_mean_and_tells_the_nearest() -> None:
    points = {1: (0.0, 0.0), 2: (2.0, 0.0), 3: (0.0, 0.5), 4: (0.0, 1.1)}
    (result,) = judge([pending(1, 2, 3, 4)], encoded_as(points), MODEL)
    assert result["distances"] == pytest.approx([2.0, 0.5, 1.1])
    assert (result["distance"], result["nearest"], result["verdict"]) == (pytest.approx(1.2), 1, "reject")


@pytest.mark.parametrize("position", [0, 1, 2])
def test_identical_pixels_are_told_and_never_quietly_accepted(position: int) -> None:
    points = {1: (0.0, 0.0), 2: (0.1, 0.0), 3: (0.0, 0.1), 4: (0.1, 0.1)}
    points[position + 2] = (0.0, 0.0)
    (result,) = judge([pending(1, 2, 3, 4)], encoded_as(points, None, **{f"r{position + 2}": "sha256:1"}), MODEL)
    assert (result["verdict"], result["code"]) == ("review", "identical")
    assert f"reference {position + 1}." in result["message"]
    assert result["distances"][position] == 0.0


def test_an_identical_image_among_unusable_references_is_still_told() -> None:
    found = encoded_as({1: (0, 0), 3: (0, 0)}, {2: "image_blank"}, r3="sha256:1")
    (result,) = judge([pending(1, 2, 3)], found, MODEL)
    assert (result["verdict"], result["code"]) == ("review", "identical")


def test_unusable_references_are_left_out_and_named() -> None:
    found = encoded_as({1: (0, 0), 3: (0, 0.5), 5: (0, 0.7)}, {2: "image_blank", 4: "page_missing"})
    (result,) = judge([pending(1, 2, 3, 4, 5)], found, MODEL)
    assert result["distances"] == [None, 0.5, None, pytest.approx(0.7)]
    assert (result["distance"], result["nearest"]) == (pytest.approx(0.6), 1)
    assert (result["verdict"], result["code"]) == ("accept", "references_unusable")
    assert "without reference 1, 3" in result["message"]


def test_no_usable_reference() -> None:
    found = encoded_as({1: (0, 0)}, {2: "image_blank", 3: "page_missing"})
    (result,) = judge([pending(1, 2, 3)], found, MODEL)
    assert (result["verdict"], result["code"], result["distance"]) == ("unscorable", "image_blank", None)
    assert result["threshold"] == 1.0


def test_an_unusable_questioned_image() -> None:
    (result,) = judge([pending(1, 2)], encoded_as({2: (0, 0)}, {1: "image_truncated"}), MODEL)
    assert (result["verdict"], result["code"]) == ("unscorable", "image_truncated")
    assert "questioned" in result["message"]


def test_many_in_the_order_they_came() -> None:
    found = encoded_as({n: (n / 10, 0.0) for n in range(1, 8)}, {9: "image_blank"})
    rows = [
        pending(1, 2, 3, ordinal=1),
        pending(9, 1, ordinal=2),
        pending(7, 1, ordinal=3),
        pending(1, 9, 2, ordinal=4),
    ]
    results = judge(rows, found, MODEL)
    assert [result["ordinal"] for result in results] == [1, 2, 3, 4]
    assert [result["verdict"] for result in results] == ["accept", "unscorable", "accept", "accept"]
    assert results[0]["distances"] == pytest.approx([0.1, 0.2])
    assert results[2]["distance"] == pytest.approx(0.6)
    assert results[3]["nearest"] == 1
    assert judge([], found, MODEL) == []


def taken_in(context: Context, submit: Submit, *rows: tuple[object, ...], images: dict[str, bytes]) -> Job:
    job = submit(context, batch_of(*rows, images=images))
    take_in(context, job.public_id)
    return job


def models_of(context: Context) -> ModelCache:
    return ModelCache(context.store)


def test_a_batch_from_manifest_to_results(context: Context, submit: Submit) -> None:
    images = {"a.png": png(1), "b.png": png(2), "c.jpg": encoded(drawing(3), "JPEG"), "blank.png": blank_png()}
    rows = [("1", "a.png", "b.png|c.jpg"), ("2", "a.png", "a.png"), ("3", "blank.png", "a.png"), ("4", "b.png", "none")]
    job = taken_in(context, submit, *rows, images=images)
    score_waiting(context)
    now = reload(context.database, job)
    assert (now.state, now.done, now.total, now.chunks_left) == (JobState.SUCCEEDED, 4, 4, 0)
    answers = results_of(context.database, job)
    assert answers[0][2] is None
    assert answers[1:] == [
        (2, "review", "identical"),
        (3, "unscorable", "image_blank"),
        (4, "unscorable", "image_missing"),
    ]
    with context.database.read() as session:
        assert session.scalar(sa.select(sa.func.count()).select_from(Embedding)) == 3
        regions = {region.entry: region for region in session.scalars(sa.select(Region))}
    assert (regions["a.png"].width, regions["a.png"].height, regions["blank.png"].code) == (180, 80, "image_blank")


def test_each_image_is_encoded_once_also_over_jobs(context: Context, submit: Submit) -> None:
    """By its pixels: the same drawing in another format, and in another job, is known already."""
    images = {f"{n}.png": png(n) for n in range(5)} | {"copy.bmp": encoded(drawing(0), "BMP")}
    rows = [(n, f"{n % 5}.png", f"{(n + 1 + n // 5) % 5}.png") for n in range(20)] + [("copy", "copy.bmp", "1.png")]
    models = models_of(context)
    seen: list[int] = []
    for _ in range(2):
        taken_in(context, submit, *rows, images=images)
        while claim := claim_chunks(context.database, "w", 30, 8):
            embedder = models.get(claim.model)
            counting = embedder.network.register_forward_pre_hook(lambda _, taken: seen.append(len(taken[0])))
            score_claim(context, models, claim)
            counting.remove()
    assert sum(seen) == 5


def test_a_deleted_model_fails_the_jobs_that_wait_for_it(context: Context, submit: Submit) -> None:
    job = taken_in(context, submit, ("1", "a", "b"), images={"a": png(1), "b": png(2)})
    with context.database.write() as session:
        delete_model(session, find_model(session, "tiny"))
    score_waiting(context)
    now = reload(context.database, job)
    assert (now.state, now.error_code) == (JobState.FAILED, "model_deleted")
    assert "tiny@1" in (now.error_message or "")


@pytest.mark.parametrize("fault", ["gone", "changed"])
def test_weights_that_are_gone_or_changed(context: Context, submit: Submit, fault: str) -> None:
    job = taken_in(context, submit, ("1", "a", "b"), images={"a": png(1), "b": png(2)})
    with context.database.read() as session:
        model = find_model(session, "tiny")
    context.store.delete(model.blob)
    if fault == "changed":
        context.store.put(model.blob, [b"other weights"])
    score_claim(context, models_of(context), _claim(context))
    assert reload(context.database, job).error_code == "model_deleted"


def _claim(context: Context) -> Any:
    claim = claim_chunks(context.database, context.owner, 30, 1000)
    assert claim is not None
    return claim


def test_a_drained_worker_hands_back_and_keeps_what_it_encoded(context: Context, submit: Submit) -> None:
    job = taken_in(context, submit, ("1", "a", "b"), images={"a": png(1), "b": png(2)})
    score_claim(replace(context, draining=lambda: True), models_of(context), _claim(context))
    assert results_of(context.database, job) == []
    with context.database.read() as session:
        chunk = session.scalars(sa.select(Chunk)).one()
        assert (chunk.state, chunk.tries) == ("waiting", 0)
        assert session.scalar(sa.select(sa.func.count()).select_from(Embedding)) == 2
    score_claim(context, models_of(context), _claim(context))
    assert reload(context.database, job).state == JobState.SUCCEEDED


def test_who_finds_nothing_to_score_waits_for_no_writer(sqlite_context: Context) -> None:
    with sqlite_context.database.write():  # another writes for long
        assert claim_chunks(sqlite_context.database, "someone", 30, 1000) is None


def test_what_the_work_took_is_told_without_waiting_for_another_writer(sqlite_context: Context, submit: Submit) -> None:
    taken_in(sqlite_context, submit, ("1", "a", "b"), images={"a": png(1), "b": png(2)})
    claim, models = _claim(sqlite_context), models_of(sqlite_context)
    models.get(claim.model)
    holding = threading.Event()

    def write_for_long() -> None:
        with sqlite_context.database.write():
            holding.set()
            time.sleep(2)

    other = threading.Thread(target=write_for_long)
    other.start()
    holding.wait()
    started = time.monotonic()
    seconds = score_claim(sqlite_context, models, claim)
    other.join()
    assert 0 < seconds < time.monotonic() - started - 1


def test_a_cancelled_job_is_let_go(context: Context, submit: Submit, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(between, "NEWS_SECONDS", -1.0)
    job = taken_in(context, submit, ("1", "a", "b"), images={"a": png(1), "b": png(2)})
    claim = _claim(context)
    request_cancel(context.database, job.public_id, None)
    score_claim(context, models_of(context), claim)
    now = reload(context.database, job)
    assert (now.state, now.done) == (JobState.CANCELLED, 0)


def test_a_small_job_goes_between_the_batches_of_a_large_one(context: Context, submit: Submit) -> None:
    images = {f"{n}.png": png(n) for n in range(4)}
    large = taken_in(context, submit, *((n, "0.png", "1.png") for n in range(20)), images=images)
    claim = _claim(context)
    small = taken_in(context, submit, ("1", "2.png", "3.png"), images=images)
    score_claim(context, models_of(context), claim)
    first, last = reload(context.database, small), reload(context.database, large)
    assert (first.state, last.state) == (JobState.SUCCEEDED, JobState.SUCCEEDED)
    assert first.finished_at is not None
    assert last.finished_at is not None
    assert first.finished_at < last.finished_at


def test_what_was_encoded_is_kept_before_the_claim_ends(
    context: Context, submit: Submit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(between, "KEEP_SECONDS", -1.0)
    taken_in(context, submit, ("1", "a", "b"), images={"a": png(1), "b": png(2)})
    claim = _claim(context)
    with context.database.read() as session:
        (region_id,) = session.scalars(sa.select(Region.id).where(Region.entry == "a"))
    scored = Scored(
        regions=[region_values(region_id, digest="sha256:d", height=1, width=1)],
        embeddings=[embedding_values(claim.model.id, "sha256:d", np.ones(3, np.float32))],
    )
    BetweenBatches(context, claim, scored, lambda: None)()
    assert (scored.regions, scored.embeddings) == ([], [])
    with context.database.read() as session:
        assert session.scalars(sa.select(Embedding.digest)).all() == ["sha256:d"]
        assert session.get_one(Region, region_id).digest == "sha256:d"


@pytest.mark.parametrize("loaded", [True, False], ids=["model loaded", "model not loaded"])
def test_work_waits_for_a_storage_that_is_away(context: Context, submit: Submit, loaded: bool) -> None:
    """It looks like one from which every file is gone: no row may be answered by that."""
    job = taken_in(context, submit, ("1", "a", "b"), images={"a": png(1), "b": png(2)})
    claim, root = _claim(context), Path(context.settings.storage_url)
    models = models_of(context)
    if loaded:
        models.get(claim.model)
    away = root.rename(root.with_name("away"))
    root.mkdir()
    with pytest.raises(Unavailable):
        score_claim(context, models, claim)
    assert (reload(context.database, job).state, results_of(context.database, job)) == (JobState.RUNNING, [])
    root.rmdir()
    away.rename(root)
    score_claim(context, models, claim)
    assert [code for _, _, code in results_of(context.database, job)] == [None]


def test_of_two_jobs_in_a_claim_the_cancelled_one_is_let_go(
    context: Context, submit: Submit, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A claim may take minutes where many references are new: who cancels does not wait for the other job."""
    monkeypatch.setattr(between, "NEWS_SECONDS", -1.0)
    images = {"a": png(1), "b": png(2)}
    unwanted, wanted = (taken_in(context, submit, ("1", "a", "b"), images=images) for _ in range(2))
    claim = _claim(context)
    assert {chunk.job_id for chunk in claim.chunks} == {unwanted.id, wanted.id}
    heard = BetweenBatches(context, claim, Scored(), lambda: None)
    request_cancel(context.database, unwanted.public_id, None)
    assert reload(context.database, unwanted).state == JobState.CANCELLING
    heard()
    assert reload(context.database, unwanted).state == JobState.CANCELLED
    heard()
    score_claim(context, models_of(context), claim)
    assert reload(context.database, wanted).state == JobState.SUCCEEDED
    assert (reload(context.database, unwanted).done, results_of(context.database, unwanted)) == (0, [])


def test_the_row_that_kills_its_workers_is_found_and_answered(context: Context, submit: Submit) -> None:
    """Row 6 ends each worker that claims it; all others are scored, and it is answered ``crashed``."""
    images = {f"{n}.png": png(n) for n in range(10)}
    job = taken_in(context, submit, *((n + 1, f"{n}.png", f"{(n + 1) % 10}.png") for n in range(9)), images=images)
    models = models_of(context)
    for _ in range(200):
        claim = claim_chunks(context.database, "w", 30, 1000)
        if claim is None:
            break
        deadly = any(c.first <= 6 <= c.last and c.job_id == job.id for c in claim.chunks)
        if deadly and all(c.tries <= context.settings.chunk_tries for c in claim.chunks if c.first <= 6 <= c.last):
            expire(context.database, Chunk)  # the worker died before it wrote anything
        else:
            score_claim(context, models, claim)
    now = reload(context.database, job)
    assert (now.state, now.done) == (JobState.SUCCEEDED, 9)
    codes = {ordinal: code for ordinal, _, code in results_of(context.database, job)}
    assert codes == {n: ("crashed" if n == 6 else None) for n in range(1, 10)}


def test_a_worker_that_lost_its_lease_while_scoring_writes_no_results(context: Context, submit: Submit) -> None:
    job = taken_in(context, submit, ("1", "a", "b"), images={"a": png(1), "b": png(2)})
    late = _claim(context)
    expire(context.database, Chunk)
    holder = claim_chunks(context.database, "worker-2", 30, 1000)
    assert holder is not None
    score_claim(context, models_of(context), late)
    assert results_of(context.database, job) == []
    score_claim(context, models_of(context), holder)
    assert len(results_of(context.database, job)) == 1
    assert reload(context.database, job).done == 1


def test_distances_have_the_digits_of_a_float32(context: Context, submit: Submit) -> None:
    taken_in(context, submit, ("1", "a", "b"), images={"a": png(1), "b": png(2)})
    score_waiting(context)
    with context.database.read() as session:
        result = session.scalars(sa.select(Result)).one()
    assert result.distance == float(f"{result.distance:.7g}")
    assert result.distances == [result.distance]
