from __future__ import annotations

import io

import pytest
import sqlalchemy as sa

from shared import registry
from shared.boxed import FILE
from shared.db import Database
from shared.specs import TrainSpec
from shared.storage import FolderStore
from shared.tables import ModelVersion
from tests.factories import calibration, unbacked_model
from tests.unit.web.pages.conftest import Browser, add_job, add_results


def test_models_are_listed_and_one_is_made_default(browser: Browser, sqlite_database: Database) -> None:
    assert "There is no model yet" in browser.text("/models")
    unbacked_model(sqlite_database, "first")
    unbacked_model(sqlite_database, "second")
    assert 'first@1</a> <span class="best">default' in browser.text("/models")
    assert browser.post("/models/second@1/default").status_code == 303
    assert 'second@1</a> <span class="best">default' in browser.text("/models")


def test_a_model_with_an_odd_summary_is_shown_all_the_same(browser: Browser, sqlite_database: Database) -> None:
    model = unbacked_model(sqlite_database)
    with sqlite_database.write() as session:
        odd = {"recipe": {"epochs": 20, "deep": {"a": [1]}, "x": None}, "data": [1], "validation": {"eer": 0.125}}
        session.merge(model).summary = odd
    text = browser.text("/models/paper@1")
    assert "12.50\u00a0%" in text
    assert "sha256:" + "ab" * 32 in text


def test_a_model_is_deleted_only_after_a_question(browser: Browser, sqlite_database: Database) -> None:
    unbacked_model(sqlite_database)
    assert "Delete paper@1?" in browser.text("/models/paper@1/delete")
    with sqlite_database.read() as session:
        assert len(registry.list_models(session)) == 1
    assert browser.post("/models/paper@1/delete").location == "/models"
    with sqlite_database.read() as session:
        assert registry.list_models(session) == []
    assert browser.get("/models/paper@1").status_code == 404


def test_jobs_go_on_naming_a_model_that_was_deleted(browser: Browser, sqlite_database: Database) -> None:
    model = unbacked_model(sqlite_database)
    path = f"/jobs/{add_job(sqlite_database, model_id=model.id).public_id}"
    assert 'href="/models/paper@1"' in browser.text(path)
    browser.post("/models/paper@1/delete")
    text = browser.text(path)
    assert "paper@1 (deleted since)" in text
    assert 'href="/models/paper@1"' not in text


def test_a_promotion_keeps_who_and_why(browser: Browser, sqlite_database: Database) -> None:
    unbacked_model(sqlite_database, "first")
    unbacked_model(sqlite_database, "second")
    page = "/models/second@1"
    assert browser.post(f"{page}/default", page=page, note="halves <review>").location == page
    text = browser.text(page)
    assert "by admin: “halves &lt;review&gt;”" in text
    assert 'id="make-default"' not in text
    assert 'id="make-default"' in browser.text("/models/first@1")


def test_two_models_stand_side_by_side(browser: Browser, sqlite_database: Database) -> None:
    calibrated = {"calibration": calibration().model_dump(mode="json"), "validation": {"eer": 0.125}}
    models = [unbacked_model(sqlite_database, "first", summary=calibrated), unbacked_model(sqlite_database, "second")]
    add_results(sqlite_database, add_job(sqlite_database), ["accept"])  # brings an upload, with the id 1
    for model, eer in zip(models, (0.1, 0.2), strict=True):
        headline = {"pair": {"skilled": {"eer": eer, "eer_low": eer / 2, "eer_high": 2 * eer}, "random": {"eer": 0.01}}}
        report = {"headline": headline}
        add_job(sqlite_database, kind="evaluate", model_id=model.id, upload_id=1, report=report, label=model.name)
    text = browser.text("/models/compare?model=first&model=second")
    assert '<td class="figures">12.5\u00a0%</td><td class="figures">–</td>' in text
    assert "skilled 10.0\u00a0% <span" in text
    assert "(10.0\u00a0% to 40.0\u00a0%)" in text
    for wrong in ("model=first", "model=first&model=first@1"):
        assert browser.get(f"/models/compare?{wrong}").status_code == 422


def test_the_file_of_a_model_is_downloaded_as_it_is(
    browser: Browser, sqlite_database: Database, store: FolderStore
) -> None:
    model = unbacked_model(sqlite_database)
    store.put(model.blob, [b"weights"])
    answer = browser.get("/models/paper/file")
    assert answer.data == b"weights"
    assert answer.headers["Content-Disposition"] == 'attachment; filename="paper@1.safetensors"'


def test_a_model_is_archived_and_taken_out_again(browser: Browser, sqlite_database: Database) -> None:
    unbacked_model(sqlite_database, "first")
    unbacked_model(sqlite_database, "second")
    page = "/models/second@1"
    assert browser.post(f"{page}/archive", page=page).location == page
    text = browser.text(page)
    assert "It is archived since" in text
    assert "Archived <time" in text
    assert 'id="make-default"' not in text
    assert "Verify with it" not in text
    assert "second@1" not in browser.text("/models")
    assert "1 archived model" in browser.text("/models")
    assert 'value="second@1"' not in browser.text("/verify")
    assert "second@1" in browser.text("/models?archived=yes")
    assert browser.post(f"{page}/unarchive", page=page).status_code == 303
    assert 'value="second@1"' in browser.text("/evaluate")
    assert browser.post("/models/first/archive").status_code == 409


def test_a_candidate_is_chosen_and_dropped(browser: Browser, sqlite_database: Database) -> None:
    unbacked_model(sqlite_database, "first")
    unbacked_model(sqlite_database, "second")
    page = "/models/second@1"
    browser.post(f"{page}/candidate", page=page, note="better on cheques")
    assert "“better on cheques”" in browser.text(page)
    assert "second@1 (candidate)" in browser.text("/identify")
    assert 'id="drop-candidate"' in browser.text(page)
    browser.post(f"{page}/no-candidate", page=page)
    assert 'id="make-candidate"' in browser.text(page)


def test_a_model_file_is_brought_in_by_form(browser: Browser) -> None:
    whole = FILE.read_bytes()

    def send(content: bytes, **fields: str) -> tuple[int, str]:
        answer = browser.post("/models/upload", file=(io.BytesIO(content), "x.safetensors"), **fields)
        return answer.status_code, answer.location or answer.text

    assert 'id="digest"' in browser.text("/models/upload")
    status, text = send(b"PK", name="Not so", digest="abc")
    assert status == 422
    assert 'id="name-error"' in text
    assert 'id="digest-error"' in text
    status, text = send(whole, digest="ab" * 32)
    assert (status, 'id="digest-error"' in text) == (422, True)
    assert 'id="file-error"' in send(b"PK")[1]
    assert 'id="file-error"' in browser.post("/models/upload", page="/models/upload").text
    assert send(whole, name="brought") == (303, "/models/brought@1")
    text = browser.text("/models/brought@1")
    assert "Uploaded <time" in text
    assert "by admin" in text


@pytest.mark.parametrize(("network", "shown"), [("ink", False), ("compact", True)])
def test_a_recipe_tells_what_was_of_use(browser: Browser, sqlite_database: Database, network: str, shown: bool) -> None:
    unbacked_model(sqlite_database, summary={"recipe": TrainSpec(ink="binary").model_dump(mode="json")})
    with sqlite_database.write() as session:
        session.execute(sa.update(ModelVersion).values(network=network))
    text = browser.text("/models/paper")
    assert "<dt>Skilled weight</dt>" in text
    assert ("<dt>Learning rate</dt>" in text) is shown
