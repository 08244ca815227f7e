from __future__ import annotations

import io
from typing import Any

import pytest

from shared.db import Database
from shared.queue import TaskNames
from shared.specs import EvaluateSpec
from shared.storage import FolderStore
from tests.factories import Doorbells, png, unbacked_model, zip_of
from tests.unit.web.api.test_files import evaluated
from tests.unit.web.pages.conftest import Browser, add_job
from tests.unit.web.pages.test_submit import jobs_in


def figures(eer: float | None, **more: Any) -> dict[str, Any]:
    names = ("eer_low", "eer_high", "auc", "cllr", "cllr_min", "genuine", "forged")
    return {"eer": eer} | dict.fromkeys(names) | more


HEADLINE = {
    "pair": {"skilled": figures(0.1234, eer_low=0.1, eer_high=0.15), "random": figures(0.0321)},
    "refs8": {"skilled": figures(0.0456), "random": figures(None)},
    "protocol": "binary-ink",
    "references": 8,
    "warnings": ["The model does not beat the floor: <mean ink>."],
    "cllr_note": "Not calibrated.",
}


def archive() -> tuple[io.BytesIO, str]:
    return io.BytesIO(zip_of({"a/genuine/1.png": png(1)})), "own.zip"


def test_without_a_model_the_page_says_to_train_one(browser: Browser) -> None:
    text = browser.text("/evaluate")
    assert "There is no model yet" in text
    assert "evaluate-form" not in text


def test_the_form_has_every_field_and_the_model_that_was_asked_for(browser: Browser, sqlite_database: Database) -> None:
    unbacked_model(sqlite_database, "paper")
    unbacked_model(sqlite_database, "newer")
    text = browser.text("/evaluate?model=newer@1")
    assert '<option value="newer@1" selected ' in text
    for name in EvaluateSpec.model_fields:
        assert f'name="{name}"' in text or name == "kind"
    assert 'id="protocol-grey-ink" name="protocol" value="grey-ink" checked' in text


def test_an_evaluation_is_queued_with_what_was_set(
    browser: Browser, sqlite_database: Database, doorbell: Doorbells
) -> None:
    unbacked_model(sqlite_database)
    response = browser.post("/evaluate", archive=archive(), model="paper@1", protocol="binary-ink", references="4")
    assert response.status_code == 303
    spec = jobs_in(sqlite_database)[0].spec
    assert (spec["protocol"], spec["references"], spec["model"]) == ("binary-ink", 4, "paper@1")
    assert doorbell.tasks == [TaskNames.EVALUATE]


def test_a_large_archive_is_taken(browser: Browser, sqlite_database: Database) -> None:
    """Forms are small where no file is expected; here one is."""
    unbacked_model(sqlite_database)
    large = io.BytesIO(zip_of({"a/genuine/1.png": png(1), "note.bin": bytes(200_000)}, method=0))
    assert browser.post("/evaluate", archive=(large, "large.zip"), model="paper@1").status_code == 303


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({}, "archive"),
        ({"archive": True, "model": "gone"}, "model"),
        ({"archive": True, "references": "1"}, "references"),
        ({"archive": True, "protocol": "colour"}, "protocol"),
    ],
)
def test_a_bad_form_comes_back_with_links_to_its_fields(
    browser: Browser, sqlite_database: Database, fields: dict[str, Any], field: str
) -> None:
    unbacked_model(sqlite_database)
    sent = fields | ({"archive": archive()} if fields.get("archive") else {})
    response = browser.post("/evaluate", **sent)
    assert response.status_code in (404, 422)
    assert f'<a href="#{field}">' in response.text
    assert f'id="{field}"' in response.text
    assert jobs_in(sqlite_database) == []


def test_the_jobs_page_shows_figures_warnings_and_files(
    browser: Browser, sqlite_database: Database, store: FolderStore
) -> None:
    model = unbacked_model(sqlite_database)
    job = evaluated(sqlite_database, store, model_id=model.id, report={"headline": HEADLINE})
    text = browser.text(f"/jobs/{job.public_id}")
    assert "does not beat the floor: &lt;mean ink&gt;" in text
    for words in ("12.3\u00a0%", "10.0\u00a0% to 15.0\u00a0%", "3.2\u00a0%", "4.6\u00a0%", "Not calibrated."):
        assert words in text
    assert text.count('<th scope="row">') == 3, "what was not measured has no row"
    for name in ("report.html", "report.json", "pairs.csv", "det.svg"):
        assert f'href="/jobs/{job.public_id}/files/{name}"' in text


def test_a_running_evaluation_shows_its_step_and_no_rate(browser: Browser, sqlite_database: Database) -> None:
    job = add_job(sqlite_database, kind="evaluate", state="running", phase="encoding images: 5 of 9", done=5, total=9)
    text = browser.text(f"/jobs/{job.public_id}")
    assert "encoding images: 5 of 9" in text
    assert "a second" not in text
    assert 'id="files"' not in text


def test_a_leak_is_told_with_the_images(browser: Browser, sqlite_database: Database) -> None:
    faults = [{"code": "leak", "message": "was used to make the model", "where": "a/1.png"}]
    job = add_job(
        sqlite_database, kind="evaluate", state="failed", error_code="leak", error_message="Seen.", faults=faults
    )
    text = browser.text(f"/jobs/{job.public_id}")
    assert "<strong>a/1.png:</strong> was used to make the model" in text
    assert 'id="again" href="/evaluate"' in text


def test_a_report_is_shown_and_a_table_is_saved(
    browser: Browser, sqlite_database: Database, store: FolderStore
) -> None:
    job = evaluated(sqlite_database, store)
    shown, saved = (browser.get(f"/jobs/{job.public_id}/files/{name}") for name in ("report.html", "pairs.csv"))
    assert shown.headers["Content-Disposition"].startswith("inline")
    assert shown.headers["Content-Security-Policy"].startswith("sandbox;")
    assert saved.headers["Content-Disposition"].startswith("attachment")


def test_a_stranger_sees_no_report(stranger: Browser, sqlite_database: Database, store: FolderStore) -> None:
    job = evaluated(sqlite_database, store)
    assert stranger.get(f"/jobs/{job.public_id}/files/report.html").status_code == 303


def test_a_model_lists_its_evaluations_newest_first(
    browser: Browser, sqlite_database: Database, store: FolderStore
) -> None:
    model, other = unbacked_model(sqlite_database), unbacked_model(sqlite_database, "other")
    for number, owner in enumerate((model, model, other)):
        evaluated(
            sqlite_database,
            store,
            public_id=f"job_{number}",
            label=f"set {number}",
            model_id=owner.id,
            report={"headline": HEADLINE},
        )
    add_job(sqlite_database, kind="evaluate", state="failed", model_id=model.id, label="failed one")
    text = browser.text("/models/paper@1")
    assert text.index("set 1") < text.index("set 0")
    assert "set 2" not in text
    assert "failed one" not in text
    assert "skilled 12.3\u00a0%" in text
    assert "1 warning" in text
