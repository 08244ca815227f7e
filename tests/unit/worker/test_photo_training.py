"""Trainings on pictures that are no signatures, from the archive to the model version."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import sqlalchemy as sa
import torch
from PIL import Image
from torchvision.models import get_model

from shared.specs import VerifySpec, canvas_of
from shared.tables import JobState, ModelVersion, Result
from tests.factories import batch_of, encoded, make_model_file, register_model, reload
from tests.unit.worker.conftest import send, submissions, submit_training
from worker.context import Context
from worker.intake import take_in
from worker.ml.checkpoint import digest
from worker.ml.images import decode, prepare
from worker.models import ModelCache
from worker.training import train_job
from worker.verification import score_waiting

INKS = ((200, 30, 30), (30, 160, 40), (40, 60, 210), (190, 170, 20), (150, 40, 170))


def picture(kind: int, number: int) -> bytes:
    """A disc on a dim ground: each kind has a colour and a place of its own, and no ink in the sense of signatures."""
    rng = np.random.default_rng([kind, number])
    rows, columns = np.mgrid[0:24, 0:36]
    x, y = 8 + 5 * kind + rng.integers(-1, 2), 8 + 2 * kind + rng.integers(-1, 2)
    inside = (rows - y) ** 2 + (columns - x) ** 2 < 36
    pixels = np.where(inside[..., None], INKS[kind], (70, 60, 50)) + rng.normal(0, 6, (24, 36, 3))
    return encoded(Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)))


FILES = {f"kind_{kind}/genuine/{number}.png": picture(kind, number) for kind in range(5) for number in range(4)}


def only_model(context: Context) -> ModelVersion:
    with context.database.read() as session:
        return session.scalars(sa.select(ModelVersion)).one()


@pytest.mark.parametrize("channels", [1, 3])
def test_a_model_of_photos_comes_out_and_embeds(sqlite_context: Context, channels: int) -> None:
    job = submit_training(
        sqlite_context, FILES, network="conv4", preset="photo", channels=channels, epochs=2, calibration_share=0
    )
    train_job(sqlite_context, job.public_id)
    now = reload(sqlite_context.database, job)
    assert (now.state, now.error_code) == (JobState.SUCCEEDED, None)
    model = only_model(sqlite_context)
    embedder = ModelCache(sqlite_context.store).get(model)
    assert embedder.preprocessing == canvas_of("conv4", "photo", 3 if channels == 3 else 1)
    assert model.summary["preprocessing"] == embedder.preprocessing.model_dump(mode="json")
    pixels = [decode(content, channels=channels) for content in list(FILES.values())[:8]]
    rows = embedder.embed(np.stack([prepare(one, embedder.preprocessing) for one in pixels]))
    same = embedder.compare(rows, np.array([0, 4]), np.array([1, 5]))
    other = embedder.compare(rows, np.array([0, 1]), np.array([4, 5]))
    assert same.mean() < other.mean()


@pytest.mark.parametrize(("content", "code"), [(None, "weights_unknown"), (b"no weights", "weights_unfit")])
def test_weights_that_cannot_be_used_end_the_job(sqlite_context: Context, content: bytes | None, code: str) -> None:
    if content is not None:
        weights_of(sqlite_context).write_bytes(content)
    job = submit_training(sqlite_context, FILES, network="resnet18", preset="photo", pretrained="own.pth")
    train_job(sqlite_context, job.public_id)
    now = reload(sqlite_context.database, job)
    assert (now.state, now.error_code) == (JobState.FAILED, code)


def weights_of(context: Context) -> Path:
    folder = context.settings.weights_folder
    folder.mkdir(parents=True)
    return folder / "own.pth"


def test_a_training_starts_from_the_operators_weights_and_says_so(sqlite_context: Context) -> None:
    torch.manual_seed(2)
    path = weights_of(sqlite_context)
    state = get_model("resnet18", weights=None).state_dict()
    torch.save(state, path)
    fields = {"network": "resnet18", "preset": "photo", "channels": 3, "pretrained": "own.pth", "epochs": 1}
    few = {name: content for name, content in FILES.items() if name[5] in "012" and name[-5] in "01"}
    job = submit_training(sqlite_context, few, learning_rate=1e-9, average=0, calibration_share=0, **fields)
    train_job(sqlite_context, job.public_id)
    assert reload(sqlite_context.database, job).state == JobState.SUCCEEDED
    model = only_model(sqlite_context)
    assert model.summary["network"]["pretrained"] == digest(path.read_bytes())
    network = ModelCache(sqlite_context.store).get(model).network
    assert torch.allclose(network.get_parameter("backbone.layer1.0.conv1.weight").cpu(), state["layer1.0.conv1.weight"])


@pytest.mark.parametrize(("channels", "code"), [(1, "identical"), (3, None)])
def test_pictures_that_differ_in_colour_alone_are_compared_by_it(
    sqlite_context: Context, channels: Literal[1, 3], code: str | None
) -> None:
    """Dark red and dark green are the same grey: to a grey model one file is the other."""
    context, images = sqlite_context, {}
    for name, colour in (("red.png", (100, 0, 0)), ("green.png", (0, 51, 0))):
        paper = Image.new("RGB", (60, 40), "white")
        paper.paste(colour, (20, 10, 40, 30))
        images[name] = encoded(paper)
    model = make_model_file("conv4", threshold=1.0, preset="photo", channels=channels)
    register_model(context.database, context.store, model, make_default=True)  # type: ignore[arg-type]  # a FolderStore here
    batch = send(context, batch_of(("1", "red.png", "green.png"), images=images), "batch.zip")
    take_in(context, submissions(context).verify_batch(batch, VerifySpec(), None).public_id)
    score_waiting(context)
    with context.database.read() as session:
        result = session.scalars(sa.select(Result)).one()
    assert result.code == code
    assert result.distance is not None
    assert (result.distance > 0) == (code is None)
