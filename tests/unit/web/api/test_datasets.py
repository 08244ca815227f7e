"""Data sets: listed by their last use, and looked into by a worker."""

from __future__ import annotations

from shared.config import Settings
from shared.db import Database, utcnow
from shared.jobs.uploads import add_upload
from shared.queue import TaskNames
from shared.storage import FolderStore
from shared.tables import Upload
from tests.factories import Doorbells, png, stored_upload
from tests.unit.web.api.test_jobs import assert_problem
from tests.unit.web.conftest import Caller
from tests.unit.web.pages.conftest import add_job
from tests.unit.web.pages.test_datasets import LOOK, find


def stored(database: Database, store: FolderStore, content: bytes) -> Upload:
    kept = stored_upload(store, content, content.decode())
    with database.write() as session:
        return add_upload(session, kept.key, kept.digest, kept.size, f"{content.decode()}.zip", utcnow())


def test_data_sets_are_listed_the_one_used_last_first(caller: Caller, database: Database, store: FolderStore) -> None:
    sets = [stored(database, store, name) for name in (b"a", b"b", b"c", b"unused")]
    for kind, used in (("train", 0), ("evaluate", 1), ("tune", 2), ("train", 0), ("verify", 3)):
        add_job(database, kind=kind, upload_id=sets[used].id)
    names = [row["filename"] for row in caller.get("/datasets").get_json()["datasets"]]
    assert names == ["a.zip", "c.zip", "b.zip"]
    page = caller.get("/datasets?limit=2").get_json()
    rest = caller.get(page["links"]["next"].removeprefix("/api/v1")).get_json()
    assert [row["filename"] for row in page["datasets"] + rest["datasets"]] == names
    assert rest["next"] is None


def test_a_worker_is_asked_to_look_and_what_it_found_is_told(
    caller: Caller, database: Database, store: FolderStore, doorbell: Doorbells, settings: Settings
) -> None:
    upload = stored(database, store, b"set")
    answer = caller.get(f"/datasets/{upload.digest}", headers={"Prefer": "wait=1"})
    assert (answer.get_json()["found"], answer.get_json()["samples"]) == (None, [])
    assert (answer.headers["Retry-After"], answer.headers["Preference-Applied"]) == ("1", "wait=1")
    assert doorbell.rung == [(TaskNames.LOOK, (upload.digest,), None)]
    find(store, upload)
    answer = caller.get(f"/datasets/{upload.digest}", headers={"Prefer": "wait=30"})
    assert answer.get_json()["found"] == LOOK
    assert "Retry-After" not in answer.headers
    assert len(doorbell.rung) == 1
    pictures = [path.removeprefix("/api/v1") for path in answer.get_json()["samples"]]
    assert caller.get(pictures[0]).data == png(1)
    assert_problem(caller.get(pictures[1]), 404, "view_unknown")


def test_only_files_that_were_sent_are_looked_into(caller: Caller, doorbell: Doorbells) -> None:
    assert_problem(caller.get("/datasets/sha256:" + "0" * 64), 404, "file_unknown")
    assert_problem(caller.get("/datasets/other"), 422, "digest_invalid")
    assert doorbell.rung == []
