"""Batches that are submitted as the front ends do it, before a worker with a real model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import count

import pytest

from shared.jobs.submit import Sent, Submissions
from shared.specs import TrainSpec, VerifySpec
from shared.tables import Job
from tests.factories import ModelFile, register_model, stored_upload, zip_of
from worker.context import Context

Submit = Callable[[Context, bytes], Job]
_numbers = count(1)


def submissions(context: Context) -> Submissions:
    return Submissions(context.settings, context.database, context.store, context.doorbell)


def send(context: Context, content: bytes, name: str) -> Sent:
    return Sent(stored_upload(context.store, content, f"u{next(_numbers)}"), name)  # type: ignore[arg-type]  # a FolderStore here


@pytest.fixture
def submit(tiny_model: ModelFile) -> Submit:
    """Submits a batch for the tiny model, which is registered on the first call."""

    def act(context: Context, batch: bytes) -> Job:
        with context.database.read() as session:
            known = session.query(Job).count()
        if not known:
            register_model(context.database, context.store, replace(tiny_model, name="tiny"))  # type: ignore[arg-type]  # as above
        return submissions(context).verify_batch(send(context, batch, "batch.zip"), VerifySpec(), None)

    return act


def submit_training(context: Context, files: dict[str, bytes], **fields: object) -> Job:
    """Submit a training set."""
    spec = TrainSpec.model_validate({"epochs": 2} | fields)
    return submissions(context).on_archive(send(context, zip_of(dict(files)), "set.zip"), spec, None)
