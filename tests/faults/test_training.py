"""Trainings whose worker is killed: they go on from the checkpoint, and end with the very same weights."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from shared.tables import Epoch, ModelVersion
from tests.factories import training_files, zip_of
from tests.faults.night import Night
from tests.faults.processes import child, freeze_when, kill, thaw
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


def test_killed_between_and_inside_epochs(night: Night, archive: bytes) -> None:
    """Once after an epoch's row and before its checkpoint, once in the middle of an epoch."""
    calm = night.submit(archive, "train", **RECIPE)
    assert night.stack.ended(calm["id"])["state"] == "succeeded"

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
    ended = night.stack.ended(job["id"])
    assert (ended["state"], ended["done"]) == ("succeeded", EPOCHS)
    assert epochs(night, job) == epochs(night, calm)
    assert weights(night, job) == weights(night, calm)
    assert night.job(job).claims == 3
