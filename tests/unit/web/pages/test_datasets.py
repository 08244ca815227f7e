"""Labelled data are looked at, chosen among those sent before, and used again."""

from __future__ import annotations

import io
import json
import re
from html import unescape
from typing import Any

import pytest

from shared.db import Database, utcnow
from shared.jobs.uploads import add_upload
from shared.queue import TaskNames
from shared.storage import FolderStore
from shared.tables import Job, Upload
from shared.views import look_key, sample_key
from tests.factories import Doorbells, png, stored_upload, unbacked_model, zip_of
from tests.unit.web.pages.conftest import Browser, add_job
from tests.unit.web.pages.test_submit import jobs_in

ARCHIVE = zip_of({"a/genuine/1.png": png(1)})
LOOK = {
    "layout": "cedar",
    "writers": 1234,
    "genuine": 9,
    "forged": 8,
    "skipped": 1,
    "skipped_list": [{"entry": "<b>.txt", "code": "not_a_sample", "reason": "not an image"}],
    "notes": [],
    "images": 17,
    "tried": 17,
    "samples": [
        {"entry": "a/1.png", "writer": "<ann>", "forged": False},
        {"entry": "a/2.png", "writer": "<ann>", "forged": True},
    ],
}


def archive() -> tuple[io.BytesIO, str]:
    return io.BytesIO(ARCHIVE), "own.zip"


@pytest.fixture
def upload(sqlite_database: Database, store: FolderStore) -> Upload:
    stored = stored_upload(store, ARCHIVE)
    with sqlite_database.write() as session:
        return add_upload(session, stored.key, stored.digest, stored.size, "set.zip")


def find(store: FolderStore, upload: Upload, **values: Any) -> None:
    """What a worker that looks leaves behind."""
    store.put(look_key(upload.digest), [json.dumps(LOOK | values).encode()])
    store.put(sample_key(upload.digest, 0), [png(1)])


def test_data_are_looked_at_once_they_are_there(
    browser: Browser, store: FolderStore, upload: Upload, doorbell: Doorbells
) -> None:
    path = f"/datasets/{upload.digest}"
    text = browser.text(path)
    assert doorbell.rung == [(TaskNames.LOOK, (upload.digest,), None)]
    assert "Looking into <b>set.zip</b>" in text
    following = re.search(r'hx-get="([^"]+)"', text)
    assert following is not None
    fragment = browser.get(unescape(following[1]), headers={"HX-Request": "true"}).text
    assert "<html" not in fragment
    assert "looks=2" in fragment
    assert len(doorbell.rung) == 1, "asked for once, not at each look"
    assert browser.get(f"{path}/0.png").status_code == 404
    find(store, upload)
    text = browser.text(path)
    assert "hx-get" not in text
    for words in ("<dd>CEDAR</dd>", "<dd>1,234</dd>", "&lt;b&gt;.txt", "not an image", "All 17 images were read."):
        assert words in text
    assert 'alt="Forgery of &lt;ann&gt;: a/2.png"' in text
    assert browser.get(f"{path}/0.png").data == png(1)


def test_a_page_does_not_ask_for_ever(browser: Browser, upload: Upload, doorbell: Doorbells) -> None:
    doorbell.away = True
    text = browser.get(f"/datasets/{upload.digest}?looks=90", headers={"HX-Request": "true"}).text
    assert "hx-get" not in text
    assert "Ask again" in text


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"tried": 5}, "5 of 17 images were read to see whether they can be"),
        ({"tried": 0, "samples": []}, "No image was read"),
        ({"error": {"code": "no_images", "message": "It <holds> none."}}, "It &lt;holds&gt; none."),
    ],
)
def test_what_a_look_may_find(
    browser: Browser, store: FolderStore, upload: Upload, values: dict[str, Any], words: str
) -> None:
    find(store, upload, **values)
    assert words in browser.text(f"/datasets/{upload.digest}")


def test_the_page_of_a_training_shows_samples_alone(
    browser: Browser, sqlite_database: Database, store: FolderStore, upload: Upload
) -> None:
    find(store, upload)
    job = add_job(sqlite_database, kind="train", upload_id=upload.id)
    address = f"/datasets/{upload.digest}?only=samples"
    assert f'hx-get="{address}"' in browser.text(f"/jobs/{job.public_id}")
    fragment = browser.get(address, headers={"HX-Request": "true"}).text
    assert "a/1.png" in fragment
    assert "1,234" not in fragment


@pytest.mark.parametrize("digest", ["sha256:" + "0" * 64, "nothing", "..%2Fa"])
def test_data_that_nobody_sent(browser: Browser, doorbell: Doorbells, digest: str) -> None:
    assert browser.get(f"/datasets/{digest}").status_code in (404, 422)
    assert browser.get(f"/datasets/{digest}/0.png").status_code in (404, 422)
    assert doorbell.rung == []


@pytest.mark.parametrize("kind", ["train", "tune", "evaluate"])
def test_data_are_kept_and_shown_before_the_job_is_submitted(
    browser: Browser, sqlite_database: Database, doorbell: Doorbells, kind: str
) -> None:
    unbacked_model(sqlite_database)
    response = browser.post(f"/{kind}", archive=archive(), look="yes", seed="7", label="first")
    assert response.status_code == 303
    assert jobs_in(sqlite_database) == []
    text = browser.text(response.location)
    assert doorbell.tasks == [TaskNames.LOOK]
    assert "<b>own.zip</b>" in text
    assert 'value="7"' in text
    assert 'value="first"' in text
    digest = re.search(r'name="archive_digest" value="([^"]+)"', text)
    assert digest is not None
    assert browser.post(f"/{kind}", archive_digest=digest[1], seed="7").status_code == 303
    (job,) = jobs_in(sqlite_database)
    with sqlite_database.read() as session:
        (upload,) = session.query(Upload).all()
    assert (job.upload_id, job.spec["seed"], upload.expires_at) == (upload.id, 7, None)


def test_settings_too_long_for_an_address_are_kept_as_well(browser: Browser, sqlite_database: Database) -> None:
    unbacked_model(sqlite_database)
    writers = " ".join(f"writer-{number}" for number in range(300))
    response = browser.post("/evaluate", archive=archive(), look="yes", writers=writers)
    assert response.status_code == 200
    assert f'value="{writers}"' in response.text
    assert "<b>own.zip</b>" in response.text


def test_the_same_file_looked_at_twice_is_stored_once(
    browser: Browser, sqlite_database: Database, store: FolderStore
) -> None:
    for _ in range(2):
        assert browser.post("/train", archive=archive(), look="yes").status_code == 303
    with sqlite_database.read() as session:
        (upload,) = session.query(Upload).all()
    assert upload.expires_at is not None
    assert upload.expires_at > utcnow()
    assert len(list((store.root / "uploads").iterdir())) == 1


def test_what_jobs_worked_on_can_be_chosen(browser: Browser, sqlite_database: Database, upload: Upload) -> None:
    assert 'name="archive_digest"' not in browser.text("/train")
    add_job(sqlite_database, kind="evaluate", upload_id=upload.id)
    add_job(sqlite_database, kind="verify", upload_id=upload.id)
    option = f'<option value="{upload.digest}">set.zip, '
    assert browser.text("/train").count(option) == 1
    both = browser.post("/train", archive=archive(), archive_digest=upload.digest)
    assert (both.status_code, "not both" in both.text) == (422, True)
    assert browser.post("/train", archive_digest=upload.digest).status_code == 303
    assert jobs_in(sqlite_database)[-1].upload_id == upload.id
    gone = browser.text(f"/train?archive_digest=sha256:{'0' * 64}")
    assert "No file with the digest" in gone


SETTINGS: dict[str, dict[str, Any]] = {
    "train": {"name": "mine", "epochs": 7, "margin": 1.5, "generated": True, "network": "seed"},
    "tune": {"name": "mine", "trials": 4, "seed": 3},
    "evaluate": {"model": "paper@1", "protocol": "binary-ink", "references": 5},
    "identify": {"model": "paper@1", "threshold": 0.75},
}


@pytest.mark.parametrize("kind", list(SETTINGS))
def test_any_kind_is_submitted_again_with_its_file_and_settings(
    browser: Browser, sqlite_database: Database, store: FolderStore, kind: str
) -> None:
    model = unbacked_model(sqlite_database)
    unbacked_model(sqlite_database, "other")
    content = zip_of({"categories/a/1.png": png(1), "test/1.png": png(2)})
    sent: dict[str, Any] = {"archive": (io.BytesIO(content), "own.zip"), "label": "first", "tag": "night"}
    given = {name: str(value).lower() for name, value in SETTINGS[kind].items()}
    assert browser.post(f"/{kind}", **sent, **given).status_code == 303
    (before,) = jobs_in(sqlite_database)
    with sqlite_database.write() as session:
        session.get_one(Job, before.id).state = "succeeded"
    found = re.search(r'id="repeat"[^>]* href="([^"]+)"', browser.text(f"/jobs/{before.public_id}"))
    assert found is not None
    text = browser.text(unescape(found[1]))
    assert "<b>own.zip</b>" in text
    fields = dict(re.findall(r'<input[^>]* name="(\w+)"(?: type="\w+")? value="([^"]*)"', text))
    fields |= dict(re.findall(r'<select id="(\w+)".*?<option value="([^"]*)" selected', text, re.DOTALL))
    checked = r'<input type="(?:radio|checkbox)" id="[^"]+" name="(\w+)" value="([^"]*)" checked'
    unchecked = {"generated", "make_default", "classical_momentum", "network", "protocol"}
    fields = {name: value for name, value in fields.items() if name not in unchecked | {"csrf_token"}}
    fields |= dict(re.findall(checked, text))
    assert browser.post(f"/{kind}", **fields).status_code == 303
    after = jobs_in(sqlite_database)[-1]
    assert after.id != before.id
    assert after.spec == before.spec
    assert (after.upload_id, after.label, after.tag) == (before.upload_id, "first", "night")
    assert after.model_id == (model.id if "model" in SETTINGS[kind] else None)


def test_only_with_the_form_of_its_kind(browser: Browser, sqlite_database: Database, upload: Upload) -> None:
    job = add_job(sqlite_database, kind="train", upload_id=upload.id)
    assert browser.get(f"/tune?again={job.public_id}").status_code == 422
    assert browser.get("/train?again=job_none").status_code == 404
