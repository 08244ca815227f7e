"""Trainings whose worker is killed: they go on from the checkpoint, and end with the very same weights."""

from __future__ import annotations

import os
import signal
import time

import pytest
import sqlalchemy as sa

from shared.tables import Epoch, ModelVersion
from tests.factories import training_files, zip_of
from tests.faults.night import Night
from tests.faults.processes import child, freeze_when, gone, kill, program, thaw
from tests.servers import wait_for
from web.client import Document
from worker.ml.checkpoint import load_checkpoint

EPOCHS = 8
RECIPE = {"network": "compact", "epochs": str(EPOCHS), "passes": "6", "name": "killed", "seed": "4"}

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def archive() -> bytes:
    return zip_of(training_files(writers=4, genuine=4, forged=2))


def epochs(night: Night, job: Document) -> list[tuple[int, float, float]]:
    """(epoch, loss, validation EER) of a training so far."""
    query = sa.select(Epoch).where(Epoch.job_id == night.job(job).id).order_by(Epoch.epoch)
    with night.database.read() as session:
        return [(row.epoch, row.loss, row.validation_eer) for row in session.scalars(query)]


def checkpointed(night: Night, job: Document) -> int:
    """The last epoch of which a checkpoint is stored."""
    path = night.stack.home / "blobs" / "checkpoints" / job["id"]
    return load_checkpoint(path.read_bytes()).epoch if path.exists() else 0


def weights(night: Night, job: Document) -> str:
    """The digest of the model that a training made."""
    with night.database.read() as session:
        return session.scalars(sa.select(ModelVersion.digest).where(ModelVersion.job_id == night.job(job).id)).one()


@pytest.fixture(scope="module")
def calm() -> dict[int, Document]:
    """The undisturbed training of each stack, made when it is first needed."""
    return {}


def undisturbed(night: Night, archive: bytes, calm: dict[int, Document]) -> Document:
    if night.stack.pid not in calm:
        calm[night.stack.pid] = night.submit(archive, "train", **RECIPE)
        assert night.stack.ended(calm[night.stack.pid]["id"])["state"] == "succeeded"
    return calm[night.stack.pid]


def same_as(night: Night, job: Document, calm: Document) -> None:
    """The same epochs with the same numbers, each once, and the very same weights."""
    ended = night.stack.ended(job["id"])
    assert (ended["state"], ended["done"]) == ("succeeded", EPOCHS)
    assert epochs(night, job) == epochs(night, calm)
    assert weights(night, job) == weights(night, calm)


def caught_in_an_epoch(night: Night, job: Document) -> int:
    """The training worker's process, frozen in an epoch that is neither the first nor the last."""
    process = child(night.stack, "train")

    def kept_and_under_way() -> bool:
        done = len(epochs(night, job))
        return 1 < done < EPOCHS - 1 and checkpointed(night, job) == done

    freeze_when(process, night.database, kept_and_under_way, "the middle of an epoch")
    return process


def test_killed_between_and_inside_epochs(night: Night, archive: bytes, calm: dict[int, Document]) -> None:
    """Once after an epoch's row and before its checkpoint, once in the middle of an epoch."""
    expected = undisturbed(night, archive, calm)
    job = night.submit(archive, "train", **RECIPE)

    def told_and_not_kept() -> int:
        done = len(epochs(night, job))
        return done if 1 < done < EPOCHS - 3 and checkpointed(night, job) == done - 1 else 0

    process = child(night.stack, "train")
    between = freeze_when(process, night.database, told_and_not_kept, "an epoch told and not kept")
    kill(process)

    def kept_and_under_way() -> bool:
        done = len(epochs(night, job))
        return between < done < EPOCHS and checkpointed(night, job) == done

    process = child(night.stack, "train")
    wait_for(kept_and_under_way, "a later epoch")
    freeze_when(process, night.database, kept_and_under_way, "the middle of an epoch")
    assert night.job(job).claims == 2
    kill(process)
    thaw(process)
    same_as(night, job, expected)
    assert night.job(job).claims == 3


def test_a_deploy_in_the_middle_of_an_epoch(night: Night, archive: bytes, calm: dict[int, Document]) -> None:
    """SIGTERM: the worker ends within 30 s, nothing waits for its lease, and no claim is counted."""
    expected = undisturbed(night, archive, calm)
    job = night.submit(archive, "train", **RECIPE)
    process, parent = caught_in_an_epoch(night, job), program(night.stack, "train")
    assert str(night.job(job).owner).endswith(f":{process}")
    begun = time.monotonic()
    os.kill(parent, signal.SIGTERM)
    time.sleep(0.5)  # the parent tells its child by a flag
    thaw(process)
    wait_for(lambda: not str(night.job(job).owner).endswith(f":{process}"), "the job to be handed back", 30)
    wait_for(lambda: gone(parent), "the worker to end", 30)
    assert time.monotonic() - begun < 30
    same_as(night, job, expected)
    assert night.job(job).claims == 1


def test_cancelled_in_the_middle_of_an_epoch_and_tried_again(
    night: Night, archive: bytes, calm: dict[int, Document]
) -> None:
    """It stops within 5 s, and the retry goes on from the checkpoint: the epochs that were done are not done again."""
    expected = undisturbed(night, archive, calm)
    job = night.submit(archive, "train", **RECIPE)
    thaw(caught_in_an_epoch(night, job))
    begun = time.monotonic()
    with night.stack.client() as client:
        client.cancel(job["id"])
        assert night.stack.ended(job["id"])["state"] == "cancelled"
        assert time.monotonic() - begun < 5
        kept = seconds_of(night, job)
        assert 0 < len(kept) == night.job(job).done < EPOCHS
        client.retry(job["id"])
    same_as(night, job, expected)
    assert seconds_of(night, job)[: len(kept)] == kept


def seconds_of(night: Night, job: Document) -> list[float]:
    """How long each epoch took: never the same twice."""
    query = sa.select(Epoch.seconds).where(Epoch.job_id == night.job(job).id).order_by(Epoch.epoch)
    with night.database.read() as session:
        return list(session.scalars(query))
