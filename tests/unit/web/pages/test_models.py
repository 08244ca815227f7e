from __future__ import annotations

from shared import registry
from shared.db import Database
from tests.factories import unbacked_model
from tests.unit.web.pages.conftest import Browser, add_job


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
