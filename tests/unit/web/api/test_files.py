from __future__ import annotations

import gzip
from typing import Any

import pytest

from shared.config import Settings
from shared.db import Database
from shared.jobs.files import file_key, told
from shared.storage import FolderStore
from shared.tables import Job
from tests.factories import Doorbells, png, unbacked_model, zip_of
from tests.unit.web.conftest import Caller
from tests.unit.web.pages.conftest import add_job
from web.api.files import REPORT_POLICY

CONTENTS = {
    "report.html": b"<!doctype html><p>ok",
    "report.json": b"{}",
    "pairs.csv": b"kind\r\n",
    "det.svg": b"<svg/>",
}


def evaluated(database: Database, store: FolderStore, **values: Any) -> Job:
    """An evaluation that has succeeded and left its files."""
    public_id, files = values.pop("public_id", "job_evaluated"), values.pop("files", CONTENTS)
    stored = {name: store.put(file_key(public_id, name), [content]) for name, content in files.items()}
    report = {"layout": "cedar"} | values.pop("report", {}) | {"files": told(stored)}
    spec = {"kind": "evaluate"} | values.pop("spec", {})
    return add_job(database, public_id=public_id, kind="evaluate", spec=spec, report=report, **values)


def test_files_are_listed_and_downloaded(caller: Caller, database: Database, store: FolderStore) -> None:
    job = evaluated(database, store)
    links = caller.get(f"/jobs/{job.public_id}").json["links"]  # type: ignore[index]  # a document
    assert links["files"] == f"/api/v1/jobs/{job.public_id}/files"
    assert "epochs" not in links
    listed = caller.get(f"/jobs/{job.public_id}/files").json["files"]  # type: ignore[index]  # a document
    assert {file["name"]: file["size"] for file in listed} == {name: len(text) for name, text in CONTENTS.items()}
    for file in listed:
        response = caller.get(file["links"]["self"].removeprefix("/api/v1"))
        assert response.data == CONTENTS[file["name"]]
        assert response.content_type == file["media_type"]
        assert response.content_length == file["size"]
        assert response.headers["Content-Disposition"] == f'attachment; filename="{job.public_id}-{file["name"]}"'


def test_a_file_comes_whole_also_where_it_is_packed(caller: Caller, database: Database, store: FolderStore) -> None:
    """A length that is told is that of the bytes that follow, or the server cuts them there."""
    job = evaluated(database, store)
    response = caller.get(f"/jobs/{job.public_id}/files/pairs.csv", headers={"Accept-Encoding": "gzip"})
    assert response.headers["Content-Encoding"] == "gzip"
    assert "Content-Length" not in response.headers or response.content_length == len(response.data)
    assert gzip.decompress(response.data) == CONTENTS["pairs.csv"]


def test_a_report_is_kept_in_a_sandbox(caller: Caller, database: Database, store: FolderStore) -> None:
    response = caller.get(f"/jobs/{evaluated(database, store).public_id}/files/report.html")
    assert response.headers["Content-Security-Policy"] == REPORT_POLICY
    assert REPORT_POLICY.startswith("sandbox; default-src 'none'")
    assert response.headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize("name", ["other.csv", "..%2Fsecret", "report.json.bak", "files"])
def test_only_the_files_of_the_job_are_given(caller: Caller, database: Database, store: FolderStore, name: str) -> None:
    response = caller.get(f"/jobs/{evaluated(database, store).public_id}/files/{name}")
    assert response.status_code == 404
    assert response.json["code"] in ("file_unknown", "path_unknown")  # type: ignore[index]  # a document


def test_a_job_without_files_says_so(caller: Caller, database: Database) -> None:
    job = add_job(database, kind="evaluate", state="running")
    assert caller.get(f"/jobs/{job.public_id}/files").json == {"files": []}
    response = caller.get(f"/jobs/{job.public_id}/files/report.json")
    assert (response.status_code, response.json["code"]) == (404, "file_unknown")  # type: ignore[index]  # a document


def test_a_file_that_is_gone_is_told(caller: Caller, database: Database, store: FolderStore) -> None:
    job = evaluated(database, store)
    store.delete(file_key(job.public_id, "report.json"))
    response = caller.get(f"/jobs/{job.public_id}/files/report.json")
    assert (response.status_code, response.json["code"]) == (404, "blob_missing")  # type: ignore[index]  # a document


def test_an_evaluation_is_queued(caller: Caller, database: Database, doorbell: Doorbells, settings: Settings) -> None:
    unbacked_model(database)
    archive = zip_of({"a/genuine/1.png": png(1)})
    response = caller.submit("evaluate", archive=archive, model="paper", protocol="binary-ink")
    assert response.status_code == 202
    assert response.json["spec"]["protocol"] == "binary-ink"  # type: ignore[index]  # a document
    assert doorbell.tasks == ["countersign.evaluate"]
    refused = caller.submit("evaluate", archive=archive, model="paper", protocol="colour")
    assert (refused.status_code, refused.json["code"]) == (422, "field_invalid")  # type: ignore[index]  # a document
