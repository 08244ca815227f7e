"""Files sent on their own, and jobs that name them."""

from __future__ import annotations

import base64
import hashlib
from typing import Any

import pytest
import sqlalchemy as sa
from werkzeug.test import TestResponse

from shared.config import Settings
from shared.db import Database
from shared.tables import Job, Region, Upload
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
    assert put(caller, batch(), "again.zip").get_json() == sent.get_json()
    for _ in range(2):
        job = caller.submit(archive_digest=digest)
        assert (job.status_code, job.get_json()["label"]) == (202, "a.zip")
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
