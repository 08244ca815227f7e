"""Files sent on their own, and jobs that name them."""

from __future__ import annotations

import base64
import hashlib
import os
import time
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from werkzeug.test import TestResponse

from shared.config import Settings
from shared.db import Database, utcnow
from shared.errors import NotFound, StorageFull
from shared.jobs.partial import blob_of, extend_upload, remove_expired
from shared.jobs.uploads import store_uploads, use_upload
from shared.storage import STALE_SECONDS, FolderStore
from shared.tables import Job, PartialUpload, Region, Upload
from tests.factories import png, unbacked_model
from tests.unit.web.api.test_jobs import assert_problem, batch, blobs
from tests.unit.web.conftest import Caller


def announced(content: bytes) -> dict[str, str]:
    return {"Content-Digest": f"sha-256=:{base64.b64encode(hashlib.sha256(content).digest()).decode()}:"}


def put(caller: Caller, content: bytes, name: str = "a.zip", headers: dict[str, str] | None = None) -> TestResponse:
    return caller.put(f"/files?filename={name}", data=content, headers=headers or announced(content))


def test_a_file_is_sent_once_and_named_by_jobs(caller: Caller, database: Database, settings: Settings) -> None:
    unbacked_model(database)
    digest = f"sha256:{hashlib.sha256(batch()).hexdigest()}"
    assert_problem(caller.get(f"/files/{digest}"), 404, "file_unknown")
    sent = put(caller, batch())
    assert (sent.status_code, sent.get_json()["digest"], sent.get_json()["filename"]) == (201, digest, "a.zip")
    assert caller.get(sent.headers["Location"].removeprefix("/api/v1")).get_json() == sent.get_json()
    again = put(caller, batch(), "again.zip").get_json()
    assert again | {"expires_at": ""} == sent.get_json() | {"expires_at": ""}
    assert again["expires_at"] > sent.get_json()["expires_at"]
    for _ in range(2):
        job = caller.submit(archive_digest=digest)
        assert (job.status_code, job.get_json()["label"]) == (202, "a.zip")
    assert caller.get(f"/files/{digest}").get_json()["expires_at"] is None
    assert put(caller, batch()).get_json()["expires_at"] is None
    assert len(blobs(settings)) == 1
    with database.read() as session:
        assert session.scalar(sa.select(sa.func.count()).select_from(Upload)) == 1
        assert len(set(session.scalars(sa.select(Job.upload_id)))) == 1


def test_images_by_digest_beside_images(caller: Caller, database: Database) -> None:
    unbacked_model(database)
    known = put(caller, png(1), "anna.png").get_json()["digest"]
    for seed in (2, 3):
        assert caller.submit(questioned=png(seed), reference_digest=known).status_code == 202
    both: dict[str, Any] = {"questioned_digest": known, "reference_digest": known}
    assert caller.submit(**both).get_json()["label"] == "anna.png against anna.png"
    with database.read() as session:
        assert session.scalar(sa.select(sa.func.count()).select_from(Region)) == 3


def test_what_changed_on_the_way_is_refused(caller: Caller, settings: Settings) -> None:
    assert_problem(put(caller, b"cut", headers=announced(b"cut off")), 422, "digest_mismatch")
    assert blobs(settings) == []


@pytest.mark.parametrize(
    ("header", "code"),
    [("", "digest_missing"), ("md5=:AA==:", "digest_missing"), ("sha-256=:AA==:", "digest_invalid")],
)
def test_digests_that_cannot_be_used(caller: Caller, header: str, code: str) -> None:
    assert_problem(put(caller, b"x", headers={"Content-Digest": header}), 422, code)


@pytest.mark.parametrize(
    ("digest", "status", "code"),
    [("sha256:12", 422, "digest_invalid"), ("sha256:" + "0" * 64, 404, "file_unknown")],
)
def test_jobs_on_files_that_were_never_sent(
    caller: Caller, database: Database, digest: str, status: int, code: str
) -> None:
    unbacked_model(database)
    assert_problem(caller.submit(archive_digest=digest), status, code)
    assert_problem(caller.submit("train", archive_digest=digest), status, code)


def test_a_refused_job_keeps_the_file_it_named(caller: Caller, settings: Settings) -> None:
    known = put(caller, batch()).get_json()["digest"]
    assert_problem(caller.submit(archive_digest=known), 422, "model_none")
    assert len(blobs(settings)) == 1


def time_passes(database: Database) -> None:
    """All that expires some day has expired."""
    past = utcnow() - timedelta(seconds=1)
    with database.write() as session:
        session.execute(sa.update(Upload).where(Upload.expires_at.is_not(None)).values(expires_at=past))
        session.execute(sa.update(PartialUpload).values(expires_at=past))


def test_a_file_that_no_job_names_is_removed(caller: Caller, database: Database, store: FolderStore) -> None:
    unbacked_model(database)
    named, paired, idle = batch(), png(1), png(2)
    digests = [put(caller, content).get_json()["digest"] for content in (named, paired, idle)]
    assert remove_expired(database, store) == 0
    assert caller.submit(archive_digest=digests[0]).status_code == 202
    assert caller.submit(questioned=png(3), reference_digest=digests[1]).status_code == 202
    time_passes(database)
    assert remove_expired(database, store) == 1
    assert [caller.get(f"/files/{digest}").status_code for digest in digests] == [200, 200, 404]
    assert_problem(caller.submit(questioned=png(3), reference_digest=digests[2]), 404, "file_unknown")
    for stored in (named, paired):
        assert put(caller, stored).get_json()["expires_at"] is None
    with database.read() as session:
        assert all(store.exists(blob) for blob in session.scalars(sa.select(Upload.blob)))


def test_a_file_that_expires_while_a_job_names_it_is_missed(caller: Caller, database: Database) -> None:
    """It was found, then its row was removed, and only then the job is written."""
    put(caller, batch())
    with database.write() as session:
        upload = session.scalars(sa.select(Upload)).one()
        session.delete(upload)
        session.flush()
        assert use_upload(session, upload.blob) is None


def test_what_is_named_at_the_last_moment_is_kept(caller: Caller, database: Database, store: FolderStore) -> None:
    digest = put(caller, batch()).get_json()["digest"]
    time_passes(database)
    unbacked_model(database)
    assert caller.submit(archive_digest=digest).status_code == 202
    assert remove_expired(database, store) == 0
    assert caller.get(f"/files/{digest}").status_code == 200


def a_day_passes(store: FolderStore) -> None:
    """All that is stored has been so for more than a day."""
    for path in store.root.glob("*/*"):
        os.utime(path, (0, time.time() - STALE_SECONDS - 60))


def test_what_a_killed_server_stored_for_no_job_is_removed_after_a_day(
    caller: Caller, database: Database, store: FolderStore
) -> None:
    """It was killed before it committed the row of one file, and after that of another, both loose still."""
    unbacked_model(database)
    stray = store_uploads(store, [[b"half done"]])[0]
    assert caller.submit(archive_digest=put(caller, batch()).get_json()["digest"]).status_code == 202
    with database.read() as session:
        owned = session.scalars(sa.select(Upload.blob)).one()
    store.loosen(owned)
    assert remove_expired(database, store) == 0
    assert store.exists(stray.key)
    a_day_passes(store)
    assert remove_expired(database, store) == 1
    assert (store.exists(stray.key), store.exists(owned)) == (False, True)
    assert list(store.root.glob("loose/*")) == []


def test_what_a_killed_sweep_left_of_an_expired_file_is_removed(
    caller: Caller, database: Database, store: FolderStore
) -> None:
    """It was killed when the rows were gone and the blobs were not."""
    put(caller, b"whole")
    part(caller, begun(caller, b"partial").headers["Location"].removeprefix("/api/v1"), 0, b"par")
    time_passes(database)

    class Killed(FolderStore):
        def delete(self, key: str) -> None:
            raise KeyboardInterrupt

    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            remove_expired(database, Killed(store.root))
    assert len([*store.root.glob("uploads/*"), *store.root.glob("partial/*")]) == 2
    a_day_passes(store)
    assert remove_expired(database, store) == 2
    assert list(store.root.glob("*/*")) == []


def test_files_are_removed_from_a_full_disk(caller: Caller, database: Database, store: FolderStore) -> None:
    """There is no room for the mark; the file goes all the same, and makes some."""

    class Full(FolderStore):
        def loosen(self, key: str) -> None:
            raise StorageFull

    put(caller, b"whole")
    time_passes(database)
    assert remove_expired(database, Full(store.root)) == 1
    assert list(store.root.glob("uploads/*")) == []


def test_nothing_that_was_accepted_or_refused_stays_loose(
    caller: Caller, database: Database, store: FolderStore
) -> None:
    unbacked_model(database)
    assert caller.submit(archive=batch()).status_code == 202
    assert caller.submit(archive=b"no archive").status_code == 422
    assert put(caller, b"1").status_code == 201
    assert put(caller, b"1", headers=announced(b"2")).status_code == 422
    path = begun(caller, b"34").headers["Location"].removeprefix("/api/v1")
    assert part(caller, path, 0, b"34").get_json()["complete"]
    assert caller.delete(begun(caller, b"56").headers["Location"].removeprefix("/api/v1")).status_code == 204
    assert list(store.root.glob("loose/*")) == []
    assert len(list(store.root.glob("uploads/*"))) == 3


def begun(caller: Caller, content: bytes, **fields: Any) -> TestResponse:
    digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
    return caller.post("/uploads", json={"digest": digest, "size": len(content), "filename": "a.zip"} | fields)


def part(caller: Caller, path: str, offset: int, content: bytes) -> TestResponse:
    return caller.patch(path, data=content, headers={"Upload-Offset": str(offset)})


def test_a_file_arrives_in_parts(caller: Caller, database: Database, settings: Settings) -> None:
    unbacked_model(database)
    content = batch()
    answer = begun(caller, content)
    path = answer.headers["Location"].removeprefix("/api/v1")
    assert (answer.status_code, answer.headers["Upload-Offset"], answer.get_json()["offset"]) == (201, "0", 0)
    assert part(caller, path, 0, content[:100]).headers["Upload-Complete"] == "?0"
    assert part(caller, path, 100, content[100:300]).get_json()["offset"] == 300
    assert_problem(part(caller, path, 100, content[100:]), 409, "upload_offset")
    assert begun(caller, content).get_json()["id"] == answer.get_json()["id"]
    assert caller.get(path).headers["Upload-Offset"] == "300"
    done = part(caller, path, 300, content[300:])
    assert (done.headers["Upload-Complete"], done.get_json()["complete"]) == ("?1", True)
    assert_problem(caller.get(path), 404, "upload_unknown")
    known = caller.get(done.get_json()["links"]["file"].removeprefix("/api/v1")).get_json()
    assert (known["filename"], known["size"]) == ("a.zip", len(content))
    assert caller.submit(archive_digest=known["digest"]).status_code == 202
    assert len(blobs(settings)) == 1


def test_what_arrived_whole_but_was_not_finished_is_finished(
    caller: Caller, database: Database, store: FolderStore
) -> None:
    path = begun(caller, b"content").headers["Location"].removeprefix("/api/v1")
    with database.read() as session:
        store.extend(blob_of(session.scalars(sa.select(PartialUpload)).one()), 0, b"content")
    assert part(caller, path, 7, b"").get_json()["complete"]
    empty = begun(caller, b"").headers["Location"].removeprefix("/api/v1")
    assert part(caller, empty, 0, b"").get_json()["complete"]


def test_parts_that_are_not_the_file_are_refused(caller: Caller, store: FolderStore) -> None:
    path = begun(caller, b"content").headers["Location"].removeprefix("/api/v1")
    assert_problem(caller.patch(path, data=b"x"), 422, "upload_offset")
    assert_problem(part(caller, path, 0, b"content and more"), 422, "upload_length")
    assert_problem(part(caller, path, 0, b"CONTENT"), 422, "digest_mismatch")
    assert_problem(caller.get(path), 404, "upload_unknown")
    assert not list(store.root.glob("partial/*"))


@pytest.mark.parametrize(
    ("fields", "status", "code"),
    [
        ({"digest": "sha256:12"}, 422, "field_invalid"),
        ({"size": -1}, 422, "field_invalid"),
        ({"size": 2**50}, 413, "upload_too_large"),
        ({"name": "x"}, 422, "field_invalid"),
    ],
)
def test_uploads_that_cannot_be_begun(caller: Caller, fields: dict[str, Any], status: int, code: str) -> None:
    assert_problem(begun(caller, b"content", **fields), status, code)


def test_an_upload_begun_with_another_size(caller: Caller) -> None:
    begun(caller, b"content")
    assert_problem(begun(caller, b"content", size=8), 422, "upload_length")


def test_a_part_for_an_upload_that_is_given_up_meanwhile_leaves_nothing(
    caller: Caller, database: Database, store: FolderStore
) -> None:
    path = begun(caller, b"content").headers["Location"].removeprefix("/api/v1")
    with database.read() as session:
        upload = session.scalars(sa.select(PartialUpload)).one()
    assert caller.delete(path).status_code == 204
    with pytest.raises(NotFound) as refused:
        extend_upload(database, store, upload, 0, [b"content"], 1.0)
    assert refused.value.code == "upload_unknown"
    assert not list(store.root.glob("partial/*"))


def test_unfinished_uploads_go(caller: Caller, database: Database, store: FolderStore) -> None:
    paths = [begun(caller, text).headers["Location"].removeprefix("/api/v1") for text in (b"first", b"second")]
    for path in paths:
        part(caller, path, 0, b"x")
    assert caller.delete(paths[0]).status_code == 204
    assert len(list(store.root.glob("partial/*"))) == 1
    time_passes(database)
    assert remove_expired(database, store) == 1
    assert_problem(part(caller, paths[1], 1, b"econd"), 404, "upload_unknown")
    assert not list(store.root.glob("partial/*"))
