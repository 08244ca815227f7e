from __future__ import annotations

import io
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import sqlalchemy as sa
from PIL import Image

from shared.errors import InvalidInput
from shared.jobs.identified import stream_identifications
from shared.jobs.lifecycle import claim_job, request_cancel, retry_job
from shared.queue import TaskNames
from shared.registry import delete_model, find_model
from shared.specs import IdentifySpec
from shared.tables import Embedding, Identification, Job, JobState
from shared.views import NEAREST, TEST, answer_key
from tests.factories import (
    Doorbells,
    ModelFile,
    blank_png,
    drawing,
    encoded,
    expire,
    make_model_file,
    png,
    register_model,
    reload,
    zip_of,
)
from tests.unit.worker.conftest import send, submissions
from worker import identification, solo
from worker.context import Context
from worker.identification import identify_job
from worker.ml.images import decode, prepare
from worker.models import ModelCache
from worker.rendering import render_answer

CATEGORIES = {"categories/ann/1.png": png(1), "categories/ben/1.png": png(2), "categories/cyd/1.png": png(3)}
FAR = 1e6


def again(seed: int) -> bytes:
    """The drawing of this seed once more: as a JPEG its pixels differ a little."""
    return encoded(drawing(seed), "JPEG", quality=60)


def submit(context: Context, tiny_model: ModelFile, files: dict[str, bytes], **fields: Any) -> Job:
    with context.database.read() as session:
        known = session.query(Job).count()
    if not known:
        register_model(context.database, context.store, replace(tiny_model, name="tiny"))  # type: ignore[arg-type]  # a FolderStore here
    spec = IdentifySpec.model_validate(fields)
    return submissions(context).on_archive(send(context, zip_of(dict(files)), "set.zip"), spec, None)


def identified(context: Context, tiny_model: ModelFile, files: dict[str, bytes], **fields: Any) -> Job:
    """The job of these files, run to its end."""
    job = submit(context, tiny_model, files, **fields)
    identify_job(context, job.public_id)
    return reload(context.database, job)


def answers(context: Context, job: Job) -> list[Identification]:
    return list(stream_identifications(context.database, job.id))


@pytest.fixture(autouse=True)
def ask_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(solo, "ASK_SECONDS", -1.0)


def test_each_test_image_gets_its_category(context: Context, tiny_model: ModelFile) -> None:
    files = CATEGORIES | {"test/p.png": again(2), "test/q.png": again(1), "test/r.png": again(3)}
    job = submit(context, tiny_model, files, threshold=FAR)
    assert (job.total, context.doorbell.tasks) == (3, [TaskNames.IDENTIFY])  # type: ignore[attr-defined]  # Doorbells
    identify_job(context, job.public_id)
    now, rows = reload(context.database, job), answers(context, job)
    assert (now.state, now.done, now.total, now.error_code) == (JobState.SUCCEEDED, 3, 3, None)
    assert [(row.ordinal, row.entry, row.category) for row in rows] == [
        (1, "test/p.png", "ben"),
        (2, "test/q.png", "ann"),
        (3, "test/r.png", "cyd"),
    ]
    assert all(row.truth is None and row.correct is None and row.code is None for row in rows)
    report = now.report
    assert (report["categories"], report["shots"], report["test_images"], report["labelled"]) == (3, [1, 1], 3, 0)
    assert (report["threshold"], report["threshold_of"], report["figures"]) == (FAR, "job", None)
    assert report["answers"] == {"named": 3, "none": 0, "error": 0, "wrong": 0}
    assert list((context.settings.home / "training").iterdir()) == []


def test_distances_are_means_over_the_images_of_a_category(sqlite_context: Context, tiny_model: ModelFile) -> None:
    context = sqlite_context
    files = {"categories/a/1.png": png(1), "categories/b/1.png": png(2), "categories/b/2.png": png(3)}
    job = identified(context, tiny_model, files | {"test/q.png": png(4)}, threshold=FAR)
    with context.database.read() as session:
        embedder = ModelCache(context.store).get(find_model(session, "tiny"))
    vectors = embedder.embed(np.stack([prepare(decode(png(n)), embedder.preprocessing) for n in (1, 2, 3, 4)]))
    one, two, three = (float(np.linalg.norm(vectors[3] - vectors[n])) for n in range(3))
    (row,) = answers(context, job)
    ranked = sorted([(one, "a"), ((two + three) / 2, "b")])
    assert row.distance == pytest.approx(ranked[0][0], rel=1e-5)
    assert row.runner_up_distance == pytest.approx(ranked[1][0], rel=1e-5)
    assert (row.nearest, row.runner_up) == (ranked[0][1], ranked[1][1])
    assert job.report["shots"] == [1, 2]


def test_pictures_that_differ_in_colour_alone(sqlite_context: Context) -> None:
    """A model of photographs sees them; grey ones of the three are all but the same."""
    colours = {"red": (200, 60, 60), "green": (60, 119, 60), "blue": (78, 78, 240)}  # about as bright

    def picture(name: str, kind: str) -> bytes:
        flag = Image.new("RGB", (40, 30), colours[name])
        flag.paste((255, 255, 255), (10, 10, 30, 20))
        return encoded(flag, kind)

    files = {f"categories/{name}/1.png": picture(name, "PNG") for name in colours}
    files |= {f"test/{name}/1.jpg": picture(name, "JPEG") for name in colours}
    job = identified(sqlite_context, make_model_file("conv4", 1.0, preset="photo", channels=3), files, threshold=FAR)
    assert [(row.truth, row.category, row.code) for row in answers(sqlite_context, job)] == [
        (name, name, None) for name in ("blue", "green", "red")
    ]


def test_labels_give_figures(context: Context, tiny_model: ModelFile) -> None:
    """With a threshold between what is the same drawing and what is another one, all are answered rightly."""
    files = CATEGORIES | {
        "test/ann/1.jpg": again(1),
        "test/ben/1.jpg": again(2),
        "test/ben/2.jpg": again(3),  # a wrong label
        "test/stranger/1.png": png(8),
        "test/unlabelled.jpg": again(1),
    }
    near = identified(context, tiny_model, files, threshold=FAR)
    limit = max(row.distance or 0 for row in answers(context, near) if row.truth != "stranger")
    limit *= 1 + 1e-6  # distances are told with seven digits: the one on the limit may have been a bit farther
    job = identified(context, tiny_model, files, threshold=limit)
    rows = {row.entry.removeprefix("test/"): row for row in answers(context, job)}
    assert {name: (row.truth, row.category, row.correct) for name, row in rows.items()} == {
        "ann/1.jpg": ("ann", "ann", True),
        "ben/1.jpg": ("ben", "ben", True),
        "ben/2.jpg": ("ben", "cyd", False),
        "stranger/1.png": ("stranger", None, True),
        "unlabelled.jpg": (None, "ann", None),
    }
    assert rows["stranger/1.png"].nearest is not None
    figures = job.report["figures"]
    shares = {name: (value["count"], value["of"]) for name, value in figures.items() if isinstance(value, dict)}
    assert shares == {"accuracy": (3, 4), "top1": (2, 3), "named": (2, 3), "rejected": (0, 3), "false_accepts": (0, 1)}
    assert figures["confusions"] == [{"truth": "ben", "category": "cyd", "count": 1}]
    assert job.report["answers"] == {"named": 4, "none": 1, "error": 0, "wrong": 1}
    before = near.report["figures"]
    assert (before["false_accepts"]["count"], before["accuracy"]["count"]) == (1, 2)


def test_without_a_threshold_the_models_own_decides(sqlite_context: Context, tiny_model: ModelFile) -> None:
    files = CATEGORIES | {"test/ann/1.png": png(1), "test/x/1.png": png(9)}
    strict = identified(sqlite_context, replace(tiny_model, threshold=0.0), files)
    assert (strict.report["threshold"], strict.report["threshold_of"]) == (0.0, "model")
    assert [row.category for row in answers(sqlite_context, strict)] == ["ann", None]


def test_bad_entries_cost_only_themselves(context: Context, tiny_model: ModelFile) -> None:
    files = CATEGORIES | {
        "categories/ann/bad.png": b"no image",
        "categories/empty/1.png": blank_png(),
        "categories/loose.png": png(1),
        "notes.txt": b"x",
        "test/ann/1.jpg": again(1),
        "test/ann/broken.png": png(1)[:60],
        "test/empty/1.png": png(7),
        "test/blank.png": blank_png(),
    }
    job = identified(context, tiny_model, files, threshold=FAR)
    assert job.state == JobState.SUCCEEDED
    rows = {row.entry: row for row in answers(context, job)}
    assert {name: row.code for name, row in rows.items()} == {
        "test/ann/1.jpg": None,
        "test/ann/broken.png": "image_truncated",
        "test/blank.png": "image_blank",
        "test/empty/1.png": None,
    }
    broken = rows["test/ann/broken.png"]
    assert (broken.answer, broken.truth, broken.correct, broken.distance) == ("error", "ann", None, None)
    assert "cut short" in str(broken.message)
    report = job.report
    assert {item["entry"]: item["code"] for item in report["skipped_list"]} == {
        "categories/ann/bad.png": "image_unreadable",
        "categories/empty/1.png": "image_blank",
        "categories/loose.png": "no_category",
        "notes.txt": "not_an_image",
    }
    assert (report["skipped"], report["empty_categories"], report["categories"]) == (4, ["empty"], 3)
    assert report["answers"]["error"] == 2
    assert report["figures"]["labelled"] == 2
    assert report["figures"]["false_accepts"]["of"] == 1, "nobody can be named as a category that cannot be used"


def test_answers_have_pictures(sqlite_context: Context, tiny_model: ModelFile) -> None:
    files = {"categories/anna/1.png": png(1), "categories/anna/2.png": png(2), "test/a.png": png(3), "test/b.png": b"x"}
    job = identified(sqlite_context, tiny_model, files)
    for which, content in ((TEST, png(3)), (NEAREST, png(1))):
        render_answer(sqlite_context, job.public_id, 1, which)
        with sqlite_context.store.open(answer_key(job.public_id, 1, which)) as file:
            made = np.asarray(Image.open(io.BytesIO(file.read())).convert("L"))
        assert np.array_equal(made, np.asarray(Image.open(io.BytesIO(content)).convert("L")))
    for ordinal, which in ((2, TEST), (3, TEST), (2, NEAREST)):
        render_answer(sqlite_context, job.public_id, ordinal, which)
        assert not sqlite_context.store.exists(answer_key(job.public_id, ordinal, which))


def test_a_test_image_that_is_one_of_the_categories_says_so(sqlite_context: Context, tiny_model: ModelFile) -> None:
    files = CATEGORIES | {"test/ann/copy.bmp": encoded(drawing(1), "BMP"), "test/ben/own.jpg": again(2)}
    job = identified(sqlite_context, tiny_model, files, threshold=FAR)
    copy, own = answers(sqlite_context, job)
    assert (copy.category, copy.distance, copy.code, own.code) == ("ann", 0.0, "identical", None)
    assert "categories/ann/1.png" in str(copy.message)
    assert job.report["identical"] == 1


def test_with_one_category_there_is_no_runner_up(sqlite_context: Context, tiny_model: ModelFile) -> None:
    job = identified(sqlite_context, tiny_model, {"categories/ann/1.png": png(1), "test/q.jpg": again(1)})
    (row,) = answers(sqlite_context, job)
    assert (row.nearest, row.runner_up, row.runner_up_distance) == ("ann", None, None)


def test_a_batch_of_unreadable_images_only(sqlite_context: Context, tiny_model: ModelFile) -> None:
    job = identified(sqlite_context, tiny_model, CATEGORIES | {"test/a/1.png": b"x", "test/b/1.png": b"y"})
    assert [row.code for row in answers(sqlite_context, job)] == ["image_unreadable"] * 2
    assert (job.state, job.done, job.report["figures"]) == (JobState.SUCCEEDED, 2, None)


def test_categories_none_of_which_can_be_read(sqlite_context: Context, tiny_model: ModelFile) -> None:
    files = {"categories/a/1.png": b"no image", "categories/b/1.png": blank_png(), "test/q.png": png(1)}
    job = identified(sqlite_context, tiny_model, files)
    assert (job.state, job.error_code) == (JobState.FAILED, "no_categories")
    assert "categories/a/1.png" in str(job.error_message)
    assert [fault["where"] for fault in job.faults] == ["categories/a/1.png", "categories/b/1.png"]


@pytest.mark.parametrize(
    ("files", "code"), [({"test/1.png": png()}, "no_categories"), ({"categories/a/1.png": png()}, "no_test_images")]
)
def test_an_archive_without_one_side_is_refused_at_once(
    sqlite_context: Context, tiny_model: ModelFile, doorbell: Doorbells, files: dict[str, bytes], code: str
) -> None:
    with pytest.raises(InvalidInput) as caught:
        submit(sqlite_context, tiny_model, files)
    assert caught.value.code == code
    assert doorbell.rung == []


def test_a_model_that_was_deleted(sqlite_context: Context, tiny_model: ModelFile) -> None:
    job = submit(sqlite_context, tiny_model, CATEGORIES | {"test/q.png": png(1)})
    with sqlite_context.database.write() as session:
        delete_model(session, find_model(session, "tiny"))
    identify_job(sqlite_context, job.public_id)
    now = reload(sqlite_context.database, job)
    assert (now.state, now.error_code) == (JobState.FAILED, "model_deleted")


MANY = CATEGORIES | {f"test/{name}/{n}.jpg": again(n) for n in (1, 2, 3) for name in ("ann", "ben")}


def crash_after(monkeypatch: pytest.MonkeyPatch, batches: int, error: BaseException) -> None:
    """Batches of two test images; the worker comes to grief once so many are written."""
    written = identification._Identification._write
    left = [batches]

    def write(self: Any, *arguments: Any) -> None:
        if not left[0]:
            monkeypatch.setattr(identification._Identification, "_write", written)
            raise error
        left[0] -= 1
        written(self, *arguments)

    monkeypatch.setattr(identification, "BATCH", 2)
    monkeypatch.setattr(identification._Identification, "_write", write)


def plain(rows: list[Identification]) -> list[tuple[object, ...]]:
    return [(row.ordinal, row.entry, row.category, row.distance, row.runner_up, row.correct) for row in rows]


def test_it_goes_on_after_the_last_row_written(
    context: Context, tiny_model: ModelFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = identified(context, tiny_model, MANY)
    job = submit(context, tiny_model, MANY)
    crash_after(monkeypatch, 1, KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        identify_job(context, job.public_id)
    halfway = reload(context.database, job)
    assert (halfway.state, halfway.done, len(answers(context, job))) == (JobState.RUNNING, 2, 2)
    with context.database.write() as session:  # so that a row written anew would be told from one that was kept
        session.execute(sa.update(Identification).where(Identification.job_id == job.id).values(message="kept"))
    expire(context.database, Job)
    identify_job(context, job.public_id)
    now = reload(context.database, job)
    assert (now.state, now.done) == (JobState.SUCCEEDED, 6)
    assert [row.message for row in answers(context, job)] == ["kept"] * 2 + [None] * 4
    assert plain(answers(context, job)) == plain(answers(context, whole))
    assert now.report == whole.report


def test_a_worker_that_lost_its_lease_writes_nothing(
    context: Context, tiny_model: ModelFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = submit(context, tiny_model, MANY)
    judged = identification._Identification._judge

    def lose_it(self: Any, *arguments: Any) -> Any:
        expire(context.database, Job)
        assert claim_job(context.database, job.public_id, "worker-2", 30)
        return judged(self, *arguments)

    monkeypatch.setattr(identification._Identification, "_judge", lose_it)
    identify_job(context, job.public_id)
    now = reload(context.database, job)
    assert (now.state, now.owner, now.done) == (JobState.RUNNING, "worker-2", 0)
    assert answers(context, job) == []


def test_cancelled_it_keeps_what_is_done_and_a_retry_adds_the_rest(
    context: Context, tiny_model: ModelFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = submit(context, tiny_model, MANY)
    written = identification._Identification._write

    def cancel_after(self: Any, *arguments: Any) -> None:
        written(self, *arguments)
        request_cancel(context.database, job.public_id, None)

    monkeypatch.setattr(identification, "BATCH", 2)
    monkeypatch.setattr(identification._Identification, "_write", cancel_after)
    identify_job(context, job.public_id)
    now = reload(context.database, job)
    assert (now.state, now.done, len(answers(context, job))) == (JobState.CANCELLED, 2, 2)
    monkeypatch.setattr(identification._Identification, "_write", written)
    retry_job(context.database, job.public_id, None)
    identify_job(context, job.public_id)
    assert reload(context.database, job).state == JobState.SUCCEEDED
    assert [row.ordinal for row in answers(context, job)] == [1, 2, 3, 4, 5, 6]


def test_a_worker_that_is_stopped_hands_it_back(sqlite_context: Context, tiny_model: ModelFile) -> None:
    job = submit(sqlite_context, tiny_model, MANY)
    identify_job(replace(sqlite_context, draining=lambda: True), job.public_id)
    now = reload(sqlite_context.database, job)
    assert (now.state, now.owner, answers(sqlite_context, job)) == (JobState.RUNNING, None, [])
    identify_job(sqlite_context, job.public_id)
    assert reload(sqlite_context.database, job).state == JobState.SUCCEEDED


def test_no_image_is_encoded_twice(context: Context, tiny_model: ModelFile, monkeypatch: pytest.MonkeyPatch) -> None:
    first = identified(context, tiny_model, MANY)
    with context.database.read() as session:
        stored = session.scalars(sa.select(sa.func.count()).select_from(Embedding)).one()
    assert stored == 6, "three drawings of the categories, and each of three again"

    def refuse(*_: object) -> None:
        raise AssertionError("all of these were encoded before")

    monkeypatch.setattr("worker.ml.embedder.Embedder.embed", refuse)
    second = identified(context, tiny_model, MANY)
    assert second.state == JobState.SUCCEEDED
    assert plain(answers(context, second)) == plain(answers(context, first))


def test_how_many_strangers_would_be_named_is_told_by_the_gallery_itself(
    sqlite_context: Context, tiny_model: ModelFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    context, test = sqlite_context, {"test/p.png": again(2)}
    monkeypatch.setattr(identification, "PAIRS", 4)  # several blocks
    strict, lax = (identified(context, tiny_model, CATEGORIES | test, threshold=t).report for t in (0, FAR))
    assert {name: strict["strangers"][name] for name in ("count", "of", "threshold")} == {
        "count": 0, "of": 3, "threshold": None
    }  # fmt: skip
    assert (lax["strangers"]["count"], lax["strangers"]["rate"]) == (3, 1.0)
    alone = {"categories/ann/1.png": png(1)}
    assert identified(context, tiny_model, alone | test, threshold=FAR).report["strangers"] is None
