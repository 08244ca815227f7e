"""The model in the box: registered once, from its file's header alone, and never against anybody's will."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import sqlalchemy as sa
from safetensors import safe_open
from safetensors.numpy import save

from shared import registry
from shared.boxed import FILE, NAME, register_boxed
from shared.calibration import calibration_of
from shared.db import Database
from shared.storage import FolderStore
from shared.tables import AuditEvent, ModelVersion
from tests.factories import unbacked_model
from tests.servers import COMMAND
from worker.digests import load
from worker.ml.checkpoint import load_model
from worker.models import read_version


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    return FolderStore(tmp_path / "blobs")


def labels(database: Database) -> list[str]:
    with database.read() as session:
        return [model.label for model, _ in registry.list_models(session)]


def test_a_fresh_database_gets_it_as_its_default(database: Database, store: FolderStore) -> None:
    model = register_boxed(database, store)
    assert model is not None
    assert model.digest == f"sha256:{hashlib.sha256(FILE.read_bytes()).hexdigest()}"
    with database.read() as session:
        assert registry.default_model(session).label == "boxed@1"
    with store.open(model.blob) as file:
        assert file.read() == FILE.read_bytes()


def test_the_registry_says_what_the_file_says(sqlite_database: Database, store: FolderStore) -> None:
    model = register_boxed(sqlite_database, store)
    assert model is not None
    _, meta = load_model(FILE)
    assert (model.network, model.threshold, model.summary) == (meta.network, meta.threshold, meta.summary)
    assert read_version(store, model)[1] == meta


def test_its_answers_are_of_generated_signatures_and_no_image_of_a_person_s_made_it(
    sqlite_database: Database, store: FolderStore
) -> None:
    model = register_boxed(sqlite_database, store)
    assert model is not None
    calibration = calibration_of(model.summary)
    assert calibration is not None
    assert calibration.origin == "generated signatures"
    assert [one.size for one in calibration.sets] == [1, 2, 4, 8, 12]
    assert load(store, model) == b""


def test_it_is_registered_once(database: Database, store: FolderStore) -> None:
    register_boxed(database, store)
    assert register_boxed(database, store) is None
    assert labels(database) == ["boxed@1"]


def test_who_deletes_it_is_rid_of_it(sqlite_database: Database, store: FolderStore) -> None:
    register_boxed(sqlite_database, store)
    with sqlite_database.write() as session:
        registry.delete_model(session, registry.find_model(session, NAME))
    assert register_boxed(sqlite_database, store) is None
    assert labels(sqlite_database) == []


def test_the_default_that_is_there_stays_it(sqlite_database: Database, store: FolderStore) -> None:
    unbacked_model(sqlite_database, "own")
    register_boxed(sqlite_database, store)
    with sqlite_database.read() as session:
        assert registry.default_model(session).label == "own@1"
    assert labels(sqlite_database) == ["boxed@1", "own@1"]


def test_a_model_of_the_same_name_is_another_model(sqlite_database: Database, store: FolderStore) -> None:
    unbacked_model(sqlite_database, NAME)
    model = register_boxed(sqlite_database, store)
    assert model is not None
    assert model.label == "boxed@2"


def earlier_box(database: Database, store: FolderStore, content: bytes) -> None:
    """Have a model of the box of an earlier version registered, with ``content`` for its file."""
    key = store.put("models/earlier.safetensors", [content]).key
    model = ModelVersion(name=NAME, digest="sha256:00", blob=key, network="ink", threshold=1.0, summary={})
    with database.write() as session:
        registry.add_model(session, model, make_default=False)


def test_it_takes_the_place_of_an_earlier_one_that_can_be_loaded_no_more(
    database: Database, store: FolderStore
) -> None:
    with safe_open(FILE, "numpy") as file:
        earlier_box(database, store, save({"slopes": np.zeros(3, np.float32)}, file.metadata()))
    register_boxed(database, store)
    with database.read() as session:
        assert registry.default_model(session).label == "boxed@2"
        event = session.scalars(sa.select(AuditEvent)).one()
    assert (event.action, event.subject, event.details["instead_of"]) == ("model.default", "boxed@2", "boxed@1")


def test_an_earlier_one_that_still_serves_stays_the_default(sqlite_database: Database, store: FolderStore) -> None:
    earlier_box(sqlite_database, store, FILE.read_bytes())
    register_boxed(sqlite_database, store)
    with sqlite_database.read() as session:
        assert registry.default_model(session).label == "boxed@1"


def test_the_file_is_small() -> None:
    assert FILE.stat().st_size < 10 * 10**6


def test_neither_torch_nor_safetensors_is_needed() -> None:
    code = "import sys, shared.boxed; assert not {'torch', 'safetensors', 'numpy'} & set(sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_two_hosts_that_migrate_at_once_register_it_once(new_postgresql: Callable[[str], str], tmp_path: Path) -> None:
    url = new_postgresql("template0")
    environment = os.environ | {"DATABASE_URL": url, "COUNTERSIGN_HOME": str(tmp_path)}
    both = [subprocess.Popen([COMMAND, "migrate"], env=environment, stdout=subprocess.DEVNULL) for _ in range(2)]
    assert [process.wait(60) for process in both] == [0, 0]
    database = Database(url)
    with database.read() as session:
        assert session.scalar(sa.select(sa.func.count()).select_from(ModelVersion)) == 1
        assert registry.default_model(session).label == "boxed@1"
    database.close()
