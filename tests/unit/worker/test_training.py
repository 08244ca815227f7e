from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
import torch

from shared.db import Database
from shared.jobs.lifecycle import claim_job, request_cancel, request_finish
from shared.jobs.queries import list_epochs
from shared.registry import default_model, delete_model
from shared.tables import Job, JobState, ModelVersion
from tests.factories import expire, png, reload, training_files
from tests.faults.test_poison import deadly_png
from tests.unit.worker.conftest import submit_training
from worker import solo, training
from worker.context import Context
from worker.digests import load, pack
from worker.ml.checkpoint import load_model
from worker.ml.images import decode, pixel_digest
from worker.training import train_job

FILES = training_files(writers=3, genuine=3, forged=1)
POISON = Path(__file__).parents[2] / "faults" / "poison"


@pytest.fixture(autouse=True)
def ask_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(solo, "ASK_SECONDS", -1.0)


def models(database: Database) -> list[ModelVersion]:
    with database.read() as session:
        return list(session.scalars(sa.select(ModelVersion).order_by(ModelVersion.id)))


def load_weights(context: Context, model: ModelVersion) -> dict[str, torch.Tensor]:
    with context.store.open(model.blob) as file:
        return load_model(file.read())[0].state_dict()


def test_a_model_version_comes_out(context: Context) -> None:
    job = submit_training(context, FILES, name="mine", epochs=2)
    train_job(context, job.public_id)
    now = reload(context.database, job)
    assert (now.state, now.done, now.total, now.error_code) == (JobState.SUCCEEDED, 2, 2, None)
    (model,) = models(context.database)
    assert (model.label, model.network, model.job_id, now.model_id) == ("mine@1", "compact", job.id, model.id)
    with context.store.open(model.blob) as file:
        _, meta = load_model(file.read())
    assert (meta.threshold, meta.network) == (model.threshold, "compact")
    assert meta.training == model.summary
    with context.database.read() as session:
        assert default_model(session).id == model.id
        epochs = list_epochs(session, job.id)
    assert [epoch.epoch for epoch in epochs] == [1, 2]
    assert now.report["writers"] == 3
    assert not context.store.exists(f"checkpoints/{job.public_id}")
    assert list((context.settings.home / "training").iterdir()) == []


def test_the_images_that_were_seen_are_recorded(sqlite_context: Context) -> None:
    """All of them: those that select and calibrate as well as those that are learned from."""
    job = submit_training(sqlite_context, FILES, name="mine", epochs=1)
    train_job(sqlite_context, job.public_id)
    seen = load(sqlite_context.store, models(sqlite_context.database)[0])
    assert seen == pack(pixel_digest(decode(content)) for content in FILES.values())


def test_it_begins_with_the_weights_of_a_model(sqlite_context: Context) -> None:
    """A step too small to see leaves the weights where they were; what they have seen stays recorded."""
    context = sqlite_context
    train_job(context, submit_training(context, FILES, name="base", epochs=1).public_id)
    others = training_files(writers=3, genuine=3, forged=1, seed=6)
    job = submit_training(context, others, name="own", from_model="base", epochs=1, learning_rate=1e-30, average=0)
    train_job(context, job.public_id)
    base, own = models(context.database)
    weights = [load_weights(context, model) for model in (base, own)]
    assert all(torch.equal(weights[0][name], value) for name, value in weights[1].items() if name.endswith("weight"))
    assert own.summary["from"] == {"model": "base@1", "digest": base.digest}
    assert base.summary["from"] is None
    assert "has seen" not in own.summary["validation"]["note"]
    everything = [
        pixel_digest(decode(content)) for content in (FILES | {f"x{n}": c for n, c in others.items()}).values()
    ]
    assert load(context.store, own) == pack(everything)


@pytest.mark.parametrize(
    ("known", "words"), [(True, "base@1 has seen images that were kept out"), (False, "not known")]
)
def test_what_a_beginning_has_seen_of_the_images_kept_out_is_told(
    sqlite_context: Context, known: bool, words: str
) -> None:
    context = sqlite_context
    train_job(context, submit_training(context, FILES, name="base", epochs=1).public_id)
    if not known:
        base = models(context.database)[0]
        with context.database.write() as session:
            session.get_one(ModelVersion, base.id).summary = {}
    job = submit_training(context, FILES, name="own", from_model="base", epochs=1)
    train_job(context, job.public_id)
    own = models(context.database)[1]
    assert words in own.summary["validation"]["note"]
    assert words in reload(context.database, job).report["note"]
    assert (load(context.store, own) is not None) == known


def test_a_beginning_that_was_deleted_meanwhile(sqlite_context: Context) -> None:
    context = sqlite_context
    train_job(context, submit_training(context, FILES, name="base", epochs=1).public_id)
    job = submit_training(context, FILES, name="own", from_model="base")
    with context.database.write() as session:
        delete_model(session, session.get_one(ModelVersion, models(context.database)[0].id))
    train_job(context, job.public_id)
    now = reload(context.database, job)
    assert (now.state, now.error_code) == (JobState.FAILED, "model_unknown")


def test_it_goes_on_from_its_checkpoint(sqlite_context: Context) -> None:
    """Drained in the second epoch and taken up again, it ends as if nothing had happened."""
    context = sqlite_context
    whole = submit_training(context, FILES, name="whole", epochs=3)
    train_job(context, whole.public_id)
    parts = submit_training(context, FILES, name="parts", epochs=3)

    def after_one_epoch() -> bool:
        return reload(context.database, parts).done >= 1

    train_job(replace(context, draining=after_one_epoch), parts.public_id)
    halfway = reload(context.database, parts)
    assert (halfway.state, halfway.done, halfway.owner) == (JobState.RUNNING, 1, None)
    train_job(context, parts.public_id)
    first, second = models(context.database)
    assert reload(context.database, parts).state == JobState.SUCCEEDED
    assert first.threshold == pytest.approx(second.threshold, rel=1e-5)
    with context.database.read() as session:
        losses = [[epoch.loss for epoch in list_epochs(session, job.id)] for job in (whole, parts)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


def test_a_worker_that_lost_its_lease_keeps_no_checkpoint(context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its checkpoint is an old one, or comes after the model: another worker goes on from its own."""
    monkeypatch.setattr(solo, "ASK_SECONDS", 60.0)  # it has not heard of it when its epoch is done
    job, kept = submit_training(context, FILES, name="late", epochs=6), list[bytes]()

    def checkpoint() -> bytes:
        with context.store.open(f"checkpoints/{job.public_id}") as file:
            return file.read()

    def lose_the_lease() -> bool:
        if not kept and reload(context.database, job).done == 2:
            kept.append(checkpoint())
            expire(context.database, Job)
            assert claim_job(context.database, job.public_id, "worker-2", 30) is not None
        return False

    train_job(replace(context, draining=lose_the_lease), job.public_id)
    now = reload(context.database, job)
    assert (now.state, now.done, now.owner) == (JobState.RUNNING, 2, "worker-2")
    assert [checkpoint()] == kept


def test_a_cancelled_training_leaves_no_model(context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    job = submit_training(context, FILES, epochs=50)
    told = training._Training._on_epoch

    def cancel_after(self: Any, row: Any) -> None:
        told(self, row)
        request_cancel(context.database, job.public_id, None)

    monkeypatch.setattr(training._Training, "_on_epoch", cancel_after)
    train_job(context, job.public_id)
    now = reload(context.database, job)
    assert (now.state, now.done) == (JobState.CANCELLED, 1)
    assert models(context.database) == []


def test_a_training_is_finished_early_with_the_best_so_far(context: Context) -> None:
    job = submit_training(context, FILES, name="short", epochs=200)
    person = "ann"

    def ask_after_two_epochs() -> bool:
        if reload(context.database, job).done == 2:
            request_finish(context.database, job.public_id, None, person)
        return False

    train_job(replace(context, draining=ask_after_two_epochs), job.public_id)
    now = reload(context.database, job)
    assert (now.state, now.done, now.total) == (JobState.SUCCEEDED, 2, 200)
    (model,) = models(context.database)
    early = now.report["finished_early"]
    assert (early["epoch"], early["by"], now.report["model"]) == (2, person, model.label)
    assert early["best_epoch"] in (1, 2)
    assert "Ended early after epoch 2, as ann asked" in now.report["note"]
    assert model.summary["finished_early"] == early
    assert not context.store.exists(f"checkpoints/{job.public_id}")


def test_a_worker_that_lost_its_lease_registers_nothing(context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    job = submit_training(context, FILES, epochs=1)
    registered = training._Training._register

    def lose_it(self: Any, *arguments: Any) -> None:
        expire(context.database, Job)
        assert claim_job(context.database, job.public_id, "worker-2", 30)
        registered(self, *arguments)

    monkeypatch.setattr(training._Training, "_register", lose_it)
    train_job(context, job.public_id)
    assert models(context.database) == []
    assert context.store.exists(f"checkpoints/{job.public_id}"), "the other worker needs it"
    now = reload(context.database, job)
    assert (now.state, now.owner) == (JobState.RUNNING, "worker-2")


@pytest.mark.parametrize(
    ("files", "code"),
    [
        ({"a.txt": b"x"}, "no_images"),
        ({"a.png": png()}, "layout_unknown"),
        ({"w/genuine/1.png": png(), "w/genuine/2.png": png(1)}, "too_few_writers"),
        ({f"w{n}/genuine/1.png": png(n) for n in range(4)}, "no_genuine_pairs"),
        ({f"w{n}/genuine/{k}.png": png(k) for n in range(2) for k in range(2)}, "leak"),
    ],
)
def test_sets_that_cannot_be_trained_on(context: Context, files: dict[str, bytes], code: str) -> None:
    job = submit_training(context, files)
    train_job(context, job.public_id)
    now = reload(context.database, job)
    assert (now.state, now.error_code) == (JobState.FAILED, code)
    assert models(context.database) == []
    assert list((context.settings.home / "training").iterdir()) == []


def test_images_that_cannot_be_used_are_listed(context: Context) -> None:
    job = submit_training(context, FILES | {"writer_0/genuine/bad.png": b"no image", "notes.txt": b"x"}, epochs=1)
    train_job(context, job.public_id)
    report = reload(context.database, job).report
    assert report["skipped"] == 2
    assert {item["entry"]: item["code"] for item in report["skipped_list"]} == {
        "writer_0/genuine/bad.png": "image_unreadable",
        "notes.txt": "not_a_sample",
    }


def test_an_image_that_kills_its_decoder_is_left_out(sqlite_context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once a worker died of the job, its images are tried out in another process; the reason is listed."""
    monkeypatch.setenv("PYTHONPATH", str(POISON), prepend=":")
    context = sqlite_context
    deadly = sorted(FILES)[0].rsplit("/", 1)[0] + "/deadly.png"
    job = submit_training(context, FILES | {deadly: deadly_png()}, name="mine", epochs=1)
    assert claim_job(context.database, job.public_id, "a worker that dies", 600) is not None
    expire(context.database, Job)
    train_job(context, job.public_id)
    now = reload(context.database, job)
    assert (now.state, now.report["genuine"] + now.report["forged"]) == (JobState.SUCCEEDED, len(FILES))
    assert [(item["entry"], item["code"]) for item in now.report["skipped_list"]] == [(deadly, "crashed")]


def test_settings_that_a_network_solved_in_one_step_has_no_use_for_are_told(sqlite_context: Context) -> None:
    job = submit_training(sqlite_context, FILES, network="ink", optimiser="sgd", epochs=7)
    train_job(sqlite_context, job.public_id)
    note = reload(sqlite_context.database, job).report["note"]
    assert "ink is solved in one step and had no use for: epochs, optimiser." in note


def test_a_model_of_binary_ink_stays_one(sqlite_context: Context) -> None:
    """Its file says so, scoring prepares images by that, and a training that begins with it goes on with it."""
    context = sqlite_context
    train_job(context, submit_training(context, FILES, name="base", ink="binary", network="ink").public_id)
    train_job(context, submit_training(context, FILES, name="own", from_model="base", epochs=1).public_id)
    job = submit_training(context, FILES, name="other", from_model="base", ink="grey", epochs=1)
    train_job(context, job.public_id)
    found = models(context.database)
    assert [model.network for model in found] == ["ink"] * 3
    assert [model.summary["preprocessing"]["ink"] for model in found] == ["binary", "binary", "grey"]
    with context.store.open(found[0].blob) as file:
        assert load_model(file.read())[1].preprocessing.ink == "binary"
