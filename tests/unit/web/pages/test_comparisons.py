from __future__ import annotations

from shared.db import Database
from shared.specs import canvas_of
from shared.tables import ModelVersion
from tests.factories import unbacked_model
from tests.unit.web.pages.conftest import Browser, add_job, add_results


def test_a_comparison_shows_both_at_one_scale_with_its_answer(browser: Browser, sqlite_database: Database) -> None:
    job = add_job(sqlite_database, total=3)
    add_results(sqlite_database, job, ["accept", "reject", "accept"])
    text = browser.text(f"/jobs/{job.public_id}/comparisons/1")
    assert text.count('viewBox="0 0 90 40"') == 2
    assert '<b class="figures" id="distance">0.2500</b>' in text
    assert "takes both for the same hand" in text
    assert 'id="previous"' not in text
    assert f'id="next" href="/jobs/{job.public_id}/comparisons/2"' in text


def test_what_a_network_sees_of_a_large_canvas_is_shown_at_the_size_of_the_ink(
    browser: Browser, sqlite_database: Database
) -> None:
    preprocessing = canvas_of("ink").model_dump() | {"enlarge": 2, "reduce": 1}
    model = unbacked_model(sqlite_database, summary={"preprocessing": preprocessing})
    with sqlite_database.write() as session:
        session.get_one(ModelVersion, model.id).network = "ink"
    job = add_job(sqlite_database, total=1, model_id=model.id)
    add_results(sqlite_database, job, ["accept"])
    text = browser.text(f"/jobs/{job.public_id}/comparisons/1")
    assert text.count('viewBox="0 0 180 80"') == 2, "the scans are 90 x 40"
    assert text.count('ink-scaled-2-1.png" x="-550.0" y="-312.0" width="1280" height="704"') == 2


def test_the_neighbours_keep_to_the_verdict(browser: Browser, sqlite_database: Database) -> None:
    job = add_job(sqlite_database, total=4)
    add_results(sqlite_database, job, ["accept", "reject", "reject", "accept"])
    text = browser.text(f"/jobs/{job.public_id}/comparisons/4?verdict=accept")
    assert f'id="previous" href="/jobs/{job.public_id}/comparisons/1?verdict=accept"' in text
    assert 'id="next"' not in text


def test_a_comparison_that_does_not_exist(browser: Browser, sqlite_database: Database) -> None:
    job = add_job(sqlite_database)
    assert browser.get(f"/jobs/{job.public_id}/comparisons/7").status_code == 404


def test_a_decision_is_kept_and_leads_on_through_the_list(browser: Browser, sqlite_database: Database) -> None:
    job = add_job(sqlite_database, total=3)
    add_results(sqlite_database, job, ["accept", "reject", "accept"])
    page = f"/jobs/{job.public_id}/comparisons"
    answer = browser.post(f"{page}/1/review?verdict=accept", page=f"{page}/1", verdict="accept")
    assert answer.location == f"{page}/3?verdict=accept"
    refused = browser.post(f"{page}/2/review", page=f"{page}/2", verdict="accept", reason=" ")
    assert refused.status_code == 422
    assert 'href="#reason">Say why' in refused.text
    last = browser.post(f"{page}/3/review", page=f"{page}/3", verdict="reject", reason="<b>drawn</b>")
    assert last.location == f"{page}/3"
    text = browser.text(f"{page}/3")
    assert "Overruled by admin" in text
    assert "&lt;b&gt;drawn" in text
    rows = browser.text(f"/jobs/{job.public_id}/results.csv").splitlines()
    assert [row.split(",")[-5:-1] for row in rows[1:]] == [
        ["agree", "accept", "", "admin"],
        ["", "", "", ""],
        ["overrule", "reject", "<b>drawn</b>", "admin"],
    ]
    assert browser.post(f"{page}/3/review/delete", page=f"{page}/3").location == f"{page}/3"
    assert "Overruled" not in browser.text(f"{page}/3")
