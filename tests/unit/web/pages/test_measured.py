"""The curves of an evaluation: on its page, its model's, and beside another model's."""

from __future__ import annotations

import json
from typing import Any

import pytest

from shared.db import Database
from shared.storage import FolderStore
from shared.tables import Job, ModelVersion
from tests.factories import calibration, unbacked_model
from tests.unit.web.api.test_files import evaluated
from tests.unit.web.pages.conftest import Browser, add_job, add_results
from tests.unit.web.pages.test_evaluate import HEADLINE
from web.measured import FARS, HIGHEST, LOWEST

REPORT = {"floor": {"mean_ink": {"auc": 0.91, "raw_auc": 0.95}}, "floor_model_auc": 0.987}
DET = """protocol,forgeries,threshold,far,frr
pair,skilled,-inf,0,1
pair,skilled,0.1,0,0.5
pair,skilled,0.2,0.02,0.25
pair,skilled,0.3,1,0
refs8,random,-inf,0,1
refs8,random,0.2,0.0005,0.125
refs8,random,0.3,1,0
"""
HISTOGRAMS = """protocol,scale,low,high,genuine,skilled,random
pair,distance,0.1,0.2,3,1,0
pair,distance,0.2,0.3,1,7,0
refs8,llr,-1,0,0,0,9
refs8,llr,0,1,4,0,1
"""
FILES = {"report.json": json.dumps(REPORT).encode(), "det.csv": DET.encode(), "histograms.csv": HISTOGRAMS.encode()}


def measured(database: Database, store: FolderStore, model: ModelVersion, name: str, **more: Any) -> Job:
    values = {"report": {"headline": HEADLINE}, "files": FILES} | more
    return evaluated(database, store, public_id=name, label=f"on {name}", model_id=model.id, **values)


def test_the_curves_are_drawn_from_rates_on_an_even_scale(
    browser: Browser, sqlite_database: Database, store: FolderStore
) -> None:
    summary = {"calibration": calibration().model_dump(mode="json")}
    measured(sqlite_database, store, unbacked_model(sqlite_database, summary=summary), "job_a")
    told = browser.get("/jobs/job_a/measured.json").get_json()
    fars = [point["rate"] for point in told["fars"]]
    assert (fars[0], fars[-1], len(fars)) == (pytest.approx(LOWEST), pytest.approx(HIGHEST), len(FARS))
    pair, sets = told["curves"]
    assert (pair["protocol"], pair["kind"], sets["protocol"], sets["kind"]) == ("pair", "skilled", "refs8", "random")
    rejected = {point["rate"] for far, point in zip(fars, pair["frrs"], strict=True) if far < 0.02}
    assert rejected == {0.5}, "as good as where no more forgeries pass than that"
    assert {point["rate"] for point in sets["frrs"]} == {0.125}
    steps = [after["at"] - before["at"] for before, after in zip(told["fars"], told["fars"][1:], strict=False)]
    assert max(steps) == pytest.approx(min(steps))
    distances, ratios = told["spreads"]
    assert distances["bins"][1] == {"low": 0.2, "high": 0.3, "genuine": 1, "skilled": 7, "random": 0}
    bands = calibration().of_size(8).bands
    assert ratios["bounds"] == [bands.reject_below, bands.accept_from]
    assert len(distances["bounds"]) == 1


def test_the_pages_have_the_numbers_as_tables_and_csv(
    browser: Browser, sqlite_database: Database, store: FolderStore
) -> None:
    measured(sqlite_database, store, unbacked_model(sqlite_database), "job_a")
    assert '<noscript><img src="/jobs/job_a/files/det.svg"' in browser.text("/jobs/job_a")
    for path in ("/jobs/job_a", "/models/paper@1"):
        text = browser.text(path)
        assert 'data-measured="/jobs/job_a/measured.json"' in text
        row = '<th scope="row">5.0\u00a0%</th><td>25.0\u00a0%</td><td>12.5\u00a0%</td>'
        assert row in text
        assert "<td>0.200</td><td>0.300</td><td>1</td><td>7</td><td>0</td>" in text
        assert '<th scope="row">Mean ink</th><td>0.910</td><td>0.950</td>' in text
        for name in ("det.csv", "histograms.csv"):
            assert f'href="/jobs/job_a/files/{name}" download' in text
        assert "10.0\u00a0% to 15.0\u00a0%" in text, "the figures have their intervals"


def test_the_newest_evaluation_of_a_model_is_shown(
    browser: Browser, sqlite_database: Database, store: FolderStore
) -> None:
    model, other = unbacked_model(sqlite_database), unbacked_model(sqlite_database, "other")
    for name, owner in (("job_a", model), ("job_b", model), ("job_c", other)):
        measured(sqlite_database, store, owner, name)
    assert 'data-measured="/jobs/job_b/measured.json"' in browser.text("/models/paper@1")


def test_the_list_of_models_has_the_newest_figures_with_their_intervals(
    browser: Browser, sqlite_database: Database, store: FolderStore
) -> None:
    unbacked_model(sqlite_database, "unseen")
    model = unbacked_model(sqlite_database)
    for name in ("job_a", "job_b"):
        measured(sqlite_database, store, model, name)
    text = browser.text("/models")
    assert '<span class="muted">(10.0\u00a0% to 15.0\u00a0%)</span> skilled' in text
    assert 'href="/jobs/job_b">on job_b, ' in text
    assert 'href="/jobs/job_a"' not in text
    assert '<a href="/evaluate?model=unseen@1">evaluate' in text


def test_a_model_that_nobody_measured_says_how_to_measure_it(browser: Browser, sqlite_database: Database) -> None:
    unbacked_model(sqlite_database)
    text = browser.text("/models/paper@1")
    assert "Nobody has measured this version" in text
    assert '<a href="/evaluate?model=paper@1">Evaluate it</a>' in text
    assert "data-measured" not in text


def test_what_is_missing_is_said(browser: Browser, sqlite_database: Database, store: FolderStore) -> None:
    """An evaluation from before histograms were kept, one whose files are gone, and one that runs."""
    model, gone = unbacked_model(sqlite_database), unbacked_model(sqlite_database, "gone")
    older = {name: content for name, content in FILES.items() if name != "histograms.csv"}
    measured(sqlite_database, store, model, "job_a", files=older)
    text = browser.text("/models/paper@1")
    assert "data-measured" in text
    assert 'href="/evaluate?again=job_a">Evaluate again' in text
    measured(sqlite_database, store, gone, "job_b")
    store.delete("reports/job_b.det.csv")
    assert "The files of this evaluation are gone" in browser.text("/models/gone@1")
    assert "data-measured" not in browser.text("/jobs/job_b")
    running = add_job(sqlite_database, kind="evaluate", state="running", model_id=model.id)
    assert browser.get(f"/jobs/{running.public_id}/measured.json").status_code == 404


def test_two_models_are_drawn_on_one_archive(browser: Browser, sqlite_database: Database, store: FolderStore) -> None:
    first, second = unbacked_model(sqlite_database, "first"), unbacked_model(sqlite_database, "second")
    add_results(sqlite_database, add_job(sqlite_database), ["accept"])  # brings an upload, with the id 1
    grey, binary = {"protocol": "grey-ink"}, {"protocol": "binary-ink"}
    for name, model, spec in (("job_a", first, grey), ("job_b", second, grey), ("job_c", second, binary)):
        measured(sqlite_database, store, model, name, upload_id=1, spec=spec)
    text = browser.text("/models/compare?model=first&model=second")
    assert 'data-measured="/jobs/job_a/measured.json /jobs/job_b/measured.json"' in text, "not under two protocols"
    assert 'data-names="first@1 second@1"' in text
    assert "<td>25.0\u00a0%</td><td>12.5\u00a0%</td><td>25.0\u00a0%</td><td>12.5\u00a0%</td>" in text
    for name, model in (("job_d", first), ("job_e", second)):
        measured(sqlite_database, store, model, name, upload_id=1, spec=binary)
    text = browser.text("/models/compare?model=first&model=second")
    assert 'data-measured="/jobs/job_d/measured.json /jobs/job_e/measured.json"' in text, "the newest is drawn"
    older = "/models/compare?model=first@1&amp;model=second@1&amp;on=job_a"
    assert f'href="{older}"' in text
    assert 'data-measured="/jobs/job_a/measured.json /' in browser.text(older.replace("&amp;", "&"))
