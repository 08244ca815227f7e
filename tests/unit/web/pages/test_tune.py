from __future__ import annotations

import io
import re
from html import unescape
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import sqlalchemy as sa

from shared.db import Database
from shared.queue import TaskNames
from shared.search_space import search_space
from shared.specs import TrainSpec, TuneSpec
from shared.tables import Job, Upload
from tests.factories import Doorbells, png, tune_job, tune_report, zip_of
from tests.unit.web.pages.conftest import Browser, add_job, add_results

ROWS: list[dict[str, Any]] = [
    {"value": 0.30},
    {"value": 0.25, "params": {"optimiser": "adam", "learning_rate": 0.00123, "weight_decay": 1e-06}},
    {"value": 0.28},
    {"value": 0.40, "state": "pruned", "folds": 1},
    {"value": None, "state": "failed", "folds": 0, "code": "loss_not_finite"},
]
BEST = tune_report(2, 0.25, **ROWS[1]["params"])


def archive() -> tuple[io.BytesIO, str]:
    return io.BytesIO(zip_of({"a/genuine/1.png": png(1)})), "own.zip"


def test_the_form_offers_every_field_and_says_what_is_tried(browser: Browser) -> None:
    text = browser.text("/tune")
    for name, field in TuneSpec.model_fields.items():
        if name != "kind":
            assert f'name="{name}"' in text
            assert (field.description or "")[1:] in text
    for setting in search_space("compact"):
        assert setting.field.replace("_", " ").capitalize() in text
    assert "where optimiser is adam or adamw or rmsprop</span></th><td>0.0001 to 0.01</td>" in text
    assert '<a href="/tune">Have good ones searched for' in browser.text("/train")


def test_a_search_is_queued_with_what_was_set(browser: Browser, sqlite_database: Database, doorbell: Doorbells) -> None:
    response = browser.post("/tune", archive=archive(), trials="5", folds="2", label="search")
    with sqlite_database.read() as session:
        job = session.scalars(sa.select(Job)).one()
    assert (response.status_code, response.location) == (303, f"/jobs/{job.public_id}")
    assert (job.spec["trials"], job.spec["folds"], job.label, job.total) == (5, 2, "search", 5)
    assert doorbell.tasks == [TaskNames.TUNE]


@pytest.mark.parametrize(
    ("fields", "field", "message"),
    [
        ({"trials": "0"}, "trials", "Trials must be at least 1."),
        ({"folds": "11"}, "folds", "Folds must be at most 10."),
        ({"seed": "x"}, "seed", "Seed must be a whole number."),
        ({"archive": None}, "archive", "Choose the ZIP archive"),
    ],
)
def test_a_bad_form_comes_back(browser: Browser, fields: dict[str, Any], field: str, message: str) -> None:
    sent = {name: value for name, value in ({"archive": archive()} | fields).items() if value is not None}
    response = browser.post("/tune", **sent, label="kept")
    assert response.status_code == 422
    assert f'<a href="#{field}">{message}' in response.text
    assert 'value="kept"' in response.text


def test_the_page_ranks_the_trials_and_tells_the_best(browser: Browser, sqlite_database: Database) -> None:
    job = tune_job(sqlite_database, ROWS, report=BEST)
    text = browser.text(f"/jobs/{job.public_id}")
    assert re.findall(r'<tr id="trial-(\d)"', text) == ["2", "3", "1", "4", "5"]
    assert "<dt>Mean validation EER</dt><dd>25.00\u00a0%</dd>" in text
    assert "<dt>With the default settings</dt><dd>30.00\u00a0%</dd>" in text
    assert text.count('<span class="best">lowest</span>') == 1
    assert "its loss grew beyond all numbers" in text
    assert f'<pre tabindex="0" aria-label="Command line">{BEST["best"]["command"]}</pre>' in text
    falls = re.findall(r'<tr><th scope="row">(\d)</th><td>([\d.]+)\u00a0%</td><td>([\d.]+)\u00a0%', text)
    assert falls == [("1", "30.00", "30.00"), ("2", "25.00", "25.00"), ("3", "28.00", "25.00")]
    assert "hx-get" not in text
    assert "trials.js" in text


def test_the_button_leads_to_the_training_form_with_the_settings_filled_in(
    browser: Browser, sqlite_database: Database
) -> None:
    job = tune_job(sqlite_database, ROWS, report=BEST)
    found = re.search(r'id="train-best" class="button" href="([^"]+)"', browser.text(f"/jobs/{job.public_id}"))
    assert found is not None
    form = browser.text(unescape(found[1]))
    assert 'id="learning_rate" name="learning_rate" type="text" value="0.00123"' in form
    assert 'id="weight_decay" name="weight_decay" type="text" value="1e-06"' in form
    assert '<option value="adam" selected>' in form
    assert 'value="tuned"' in form
    assert '<details id="advanced" open>' in form


def test_a_single_trial_leads_there_with_its_data_too(browser: Browser, sqlite_database: Database) -> None:
    add_results(sqlite_database, add_job(sqlite_database), ["accept"])  # brings an upload, with the id 1
    report = tune_report(1, 0.1, optimiser="sgd")
    job = tune_job(sqlite_database, [{"value": 0.1}, {"value": 0.2}], upload_id=1, report=report)
    with sqlite_database.read() as session:
        upload = session.get(Upload, 1)
    assert upload is not None
    for path in (f"/jobs/{job.public_id}", f"/jobs/{job.public_id}/trials"):
        links = [unescape(found) for found in re.findall(r'href="(/train\?[^"]+)"', browser.text(path))]
        assert len(links) == (3 if path.endswith(job.public_id) else 2), "the best one's button, and each trial's link"
        assert all(parse_qs(urlsplit(link).query)["archive_digest"] == [upload.digest] for link in links)


def test_every_setting_that_is_tried_can_be_set_in_the_training_form(browser: Browser) -> None:
    text = browser.text("/train")
    assert {item.field for item in search_space("compact") if f'name="{item.field}"' not in text} == set()
    assert {item.field for item in search_space("compact")} <= set(TrainSpec.model_fields)


def test_a_running_search_is_followed(browser: Browser, sqlite_database: Database) -> None:
    running = {"value": 0.31, "state": "running", "folds": 1}
    job = tune_job(sqlite_database, [*ROWS, running], state="running", phase="trial 6 of 6, fold 2 of 3, epoch 1 of 10")
    page = f"/jobs/{job.public_id}"
    text = browser.text(page)
    assert "trial 6 of 6, fold 2 of 3, epoch 1 of 10" in text
    assert "of 6 trials" in text
    rows = browser.text(f"{page}/trials")
    assert "<html" not in rows
    assert f'hx-get="{page}/trials" hx-trigger="every 2s, jobEnded from:body"' in rows
    assert re.findall(r'<tr id="trial-(\d)"', rows)[0] == "6", "what is at work comes first"
    assert "Best settings so far" not in text


def test_a_search_without_a_trial_says_so(browser: Browser, sqlite_database: Database) -> None:
    assert "has not begun yet" in browser.text(f"/jobs/{tune_job(sqlite_database, [], state='running').public_id}")
    failed = tune_job(sqlite_database, [], state="failed", error_code="too_few_writers", error_message="Add writers.")
    text = browser.text(f"/jobs/{failed.public_id}")
    assert "No trial was begun." in text
    assert '<a id="again" href="/tune">' in text


def test_what_the_curve_is_drawn_from(browser: Browser, sqlite_database: Database) -> None:
    job = tune_job(sqlite_database, ROWS)
    told = browser.get(f"/jobs/{job.public_id}/trials.json").get_json()
    assert told["ended"] is True
    assert [(point["number"], point["value"], point["best"]) for point in told["progress"]] == [
        (1, 0.30, 0.30),
        (2, 0.25, 0.25),
        (3, 0.28, 0.25),
    ]


def test_the_trials_can_be_downloaded(browser: Browser, sqlite_database: Database) -> None:
    job = tune_job(sqlite_database, ROWS)
    text = browser.text(f"/jobs/{job.public_id}/trials.csv")
    assert text.startswith(
        "number,state,value,folds,seconds,code,optimiser,learning_rate,weight_decay\r\n1,complete,0.3,"
    )
    assert len(text.splitlines()) == 6
