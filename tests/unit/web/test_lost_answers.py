"""A database that commits, and is gone before it can say so: what it has accepted keeps its files."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest
import sqlalchemy as sa
from flask import Flask
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from shared.db import Database
from shared.storage import FolderStore
from shared.tables import Job, ModelVersion, Upload
from tests.factories import ModelFile, batch_of, png, unbacked_model
from tests.unit.web.api.test_models import upload
from tests.unit.web.conftest import Caller
from web.people import create_first_person
from web.services import EXTENSION, Services

Kept = type[ModelVersion] | type[Job]


class LostAnswers(Database):
    """Does what it is told; of transactions that write a row of ``kind`` the answer is lost."""

    kind: Kept

    @contextmanager
    def write(self, lasting: bool = True) -> Iterator[Session]:
        with super().write(lasting) as session:
            yield session
            rows = (*session.identity_map.values(), *session.new)
            lost = any(isinstance(row, self.kind) for row in rows)
        if lost:
            raise OperationalError("COMMIT", {}, ConnectionError("the line broke"))


@pytest.fixture
def caller(sqlite_app: Flask, sqlite_database: Database) -> Iterator[Caller]:
    """Calls an application on such a database."""
    first = create_first_person(sqlite_database)
    assert first is not None
    unbacked_model(sqlite_database)
    work: Services = sqlite_app.extensions[EXTENSION]
    losing = LostAnswers(work.database.url)
    sqlite_app.extensions[EXTENSION] = replace(work, database=losing)
    sqlite_app.testing = False  # what goes wrong is answered, as in service
    yield Caller(sqlite_app, first.api_key)
    losing.close()
    sqlite_app.extensions[EXTENSION] = work


def lose(caller: Caller, kind: Kept) -> None:
    caller.app.extensions[EXTENSION].database.kind = kind


def test_a_model_that_is_registered_keeps_its_file(
    caller: Caller, sqlite_database: Database, store: FolderStore, tiny_model: ModelFile
) -> None:
    lose(caller, ModelVersion)
    assert upload(caller, tiny_model.content, query="?name=brought").status_code >= 500
    with sqlite_database.read() as session:
        key = session.scalars(sa.select(ModelVersion.blob).where(ModelVersion.name == "brought")).one()
    with store.open(key) as file:
        assert file.read() == tiny_model.content


def test_a_job_that_is_accepted_keeps_its_archive(
    caller: Caller, sqlite_database: Database, store: FolderStore
) -> None:
    lose(caller, Job)
    archive = batch_of(("1", "a.png", "b.png"), images={"a.png": png(1), "b.png": png(2)})
    assert caller.submit(archive=archive).status_code >= 500
    with sqlite_database.read() as session:
        key = session.scalars(sa.select(Upload.blob)).one()
    with store.open(key) as file:
        assert file.read() == archive
