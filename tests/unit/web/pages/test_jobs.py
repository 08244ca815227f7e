from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta

import pytest

from shared.db import Database, utcnow
from shared.tables import Epoch
from tests.factories import Doorbells, reload
from tests.unit.web.pages.conftest import Browser, add_job, add_results
from web.pages.jobs import JOBS_SHOWN, RESULTS_SHOWN

ROW = re.compile(r'id="row-(\d+)"')


def test_without_jobs_the_page_says_what_to_do(browser: Browser) -> None:
    text = browser.text("/jobs")
    assert "Nothing was submitted yet" in text
    assert 'href="/train"' in text


def test_jobs_are_paged_newest_first(browser: Browser, sqlite_database: Database) -> None:
    for number in range(JOBS_SHOWN + 3):
        add_job(sqlite_database, label=f"batch-{number:02d}")
    first = browser.text("/jobs")
    assert first.index(f"batch-{JOBS_SHOWN + 2}") < first.index("batch-10")
    assert "batch-02" not in first
    following = re.search(r'href="(/jobs\?before=\d+)" rel="next"', first)
    assert following is not None
    second = browser.text(following[1])
    assert [name in second for name in ("batch-00", "batch-02", "batch-03")] == [True, True, False]
    assert 'rel="next"' not in second


def test_jobs_are_filtered_by_kind_and_state(browser: Browser, sqlite_database: Database) -> None:
    add_job(sqlite_database, label="a-batch", state="failed", error_message="It broke.")
    add_job(sqlite_database, label="a-training", kind="train", state="failed")
    add_job(sqlite_database, label="another", kind="train")
    text = browser.text("/jobs?kind=train&state=failed")
    assert "a-training" in text
    assert "a-batch" not in text
    assert "another" not in text
    assert "No job is like that" in browser.text("/jobs?state=queued")


@pytest.mark.parametrize("query", ["kind=nonsense", "state=none", "before=-1", "before=" + "9" * 40])
def test_a_bad_address_is_told_as_a_page(browser: Browser, query: str) -> None:
    response = browser.get(f"/jobs?{query}")
    assert response.status_code == 422
    assert "parameter_invalid" in response.text


def test_the_list_looks_more_often_while_something_is_unfinished(browser: Browser, sqlite_database: Database) -> None:
    add_job(sqlite_database, label="done")
    assert 'hx-trigger="every 10s"' in browser.text("/jobs")
    assert "hx-trigger" not in browser.text("/jobs?before=9")
    add_job(sqlite_database, label="going", state="running")
    assert 'hx-trigger="every 2s"' in browser.text("/jobs")
    fragment = browser.get("/jobs", headers={"HX-Request": "true"}).text
    assert "<html" not in fragment
    assert "going" in fragment


def test_a_label_cannot_bring_markup(browser: Browser, sqlite_database: Database) -> None:
    add_job(sqlite_database, label="<script>alert(1)</script>")
    assert "<script>alert" not in browser.text("/jobs")


def test_results_are_paged_and_filtered(browser: Browser, sqlite_database: Database) -> None:
    count = 2 * RESULTS_SHOWN + 10
    job = add_job(sqlite_database, done=count, total=count, accept=count - 11, reject=11)
    add_results(sqlite_database, job, ["reject" if n % 10 == 0 else "accept" for n in range(count)])
    page = f"/jobs/{job.public_id}"
    first, last = browser.text(page), browser.text(f"{page}?after={2 * RESULTS_SHOWN}")
    assert ROW.findall(first) == [str(n) for n in range(1, RESULTS_SHOWN + 1)]
    assert f"after={RESULTS_SHOWN}#results" in first
    assert ROW.findall(last) == [str(n) for n in range(2 * RESULTS_SHOWN + 1, count + 1)]
    assert f'href="{page}?after={RESULTS_SHOWN}#results" rel="prev"' in last
    assert 'rel="next"' not in last
    rejected = browser.text(f"{page}?verdict=reject")
    assert ROW.findall(rejected) == [str(n) for n in range(1, count + 1, 10)]
    assert "&lt;q&gt;.png" in first


def test_the_page_before_a_filtered_one_is_found(browser: Browser, sqlite_database: Database) -> None:
    count = 3 * RESULTS_SHOWN
    job = add_job(sqlite_database, done=2 * count, total=2 * count)
    add_results(sqlite_database, job, ["accept", "reject"] * count)
    third = browser.text(f"/jobs/{job.public_id}?verdict=reject&after={4 * RESULTS_SHOWN}")
    found = re.search(r"after=(\d+)&amp;verdict=reject#results\" rel=\"prev\"", third)
    assert found is not None
    assert int(found[1]) == 2 * RESULTS_SHOWN


def test_downloads_hold_all_or_one_verdict(browser: Browser, sqlite_database: Database) -> None:
    job = add_job(sqlite_database, done=4, total=4)
    add_results(sqlite_database, job, ["accept", "reject", "reject", "review"])
    page = f"/jobs/{job.public_id}"
    whole = browser.get(f"{page}/results.csv")
    assert whole.headers["Content-Disposition"].endswith(f'filename="{job.public_id}.csv"')
    assert whole.text.startswith("id,verdict,distance,")
    assert len(whole.text.splitlines()) == 5
    assert len(browser.text(f"{page}/results.csv?verdict=reject").splitlines()) == 3
    document = json.loads(browser.text(f"{page}/results.json?verdict=review"))
    assert [answer["id"] for answer in document["results"]] == ["row-4"]
    assert json.loads(browser.text(f"/jobs/{add_job(sqlite_database).public_id}/results.json")) == {"results": []}


def test_the_live_part_stops_by_itself_when_the_job_ends(browser: Browser, sqlite_database: Database) -> None:
    started = utcnow() - timedelta(seconds=10)
    job = add_job(sqlite_database, state="running", done=40, total=100, started_at=started)
    running = browser.get(f"/jobs/{job.public_id}/live")
    assert 'hx-trigger="every 1s"' in running.text
    assert '<progress id="progress" aria-label="Progress of the job" value="40" max="100">' in running.text
    assert re.search(r"about 1[456]\u00a0s left", running.text)
    assert "HX-Trigger-After-Swap" not in running.headers
    ended = browser.get(f"/jobs/{add_job(sqlite_database).public_id}/live")
    assert "hx-get" not in ended.text
    assert json.loads(ended.headers["HX-Trigger-After-Swap"]) == {"jobEnded": {"state": "succeeded"}}


def test_a_failed_job_says_what_and_where_and_the_way_out(browser: Browser, sqlite_database: Database) -> None:
    fault = {"code": "manifest_columns", "message": "the column reference is missing", "where": "line 1"}
    job = add_job(
        sqlite_database, state="failed", error_code="manifest_columns", error_message="No column.", faults=[fault]
    )
    text = browser.text(f"/jobs/{job.public_id}")
    for words in ("No column.", "manifest_columns", "line 1:", "the column reference is missing", "Retry"):
        assert words in text


def test_cancel_and_retry(browser: Browser, sqlite_database: Database, doorbell: Doorbells) -> None:
    job = add_job(sqlite_database, state="queued")
    assert browser.post(f"/jobs/{job.public_id}/cancel").location == f"/jobs/{job.public_id}"
    assert reload(sqlite_database, job).state == "cancelled"
    assert browser.post(f"/jobs/{job.public_id}/cancel").status_code == 409
    assert browser.post(f"/jobs/{job.public_id}/retry").status_code == 303
    assert reload(sqlite_database, job).state == "queued"
    assert [ids for _, ids, _ in doorbell.rung] == [(job.public_id,)] * 2


def test_a_training_is_stopped_with_the_best(browser: Browser, sqlite_database: Database) -> None:
    begun = add_job(sqlite_database, kind="train", state="running", total=5, done=0)
    assert 'id="finish"' not in browser.text(f"/jobs/{begun.public_id}"), "there is nothing to keep"
    job = add_job(sqlite_database, kind="train", state="running", total=5, done=2)
    page = f"/jobs/{job.public_id}"
    assert "Stop and keep the best</button>" in browser.text(page)
    assert browser.post(f"{page}/finish").location == page
    text = browser.text(page)
    assert 'id="finish"' not in text
    assert "ending with the best epoch so far" in text
    assert reload(sqlite_database, job).finish_by == "admin"


def test_the_list_tells_what_an_evaluation_and_a_search_gave(browser: Browser, sqlite_database: Database) -> None:
    pair = {"skilled": {"eer": 0.1234}, "random": {"eer": None}}
    add_job(sqlite_database, kind="evaluate", report={"headline": {"pair": pair, "references": 8}})
    add_job(sqlite_database, kind="tune", report={"best": {"number": 7, "value": 0.25}})
    text = browser.text("/jobs")
    assert "12.3\u00a0% skilled</span>" in text
    assert "25.0\u00a0%</span>" in text
    assert "lowest mean error rate, trial 7" in text


def test_a_training_of_one_epoch_has_numbers_and_no_curve(browser: Browser, sqlite_database: Database) -> None:
    job = add_job(sqlite_database, kind="train", total=1, done=1)
    row = {"epoch": 1, "loss": 0.5, "validation_eer": 0.25, "learning_rate": 0.0, "images": 7, "seconds": 2.0}
    with sqlite_database.write() as session:
        session.add(Epoch(job_id=job.id, **row))
    text = browser.text(f"/jobs/{job.public_id}")
    assert "data-epochs" not in text
    assert "25.00\u00a0%" in text


def test_a_training_shows_its_epochs_and_what_was_detected(browser: Browser, sqlite_database: Database) -> None:
    skipped = [{"entry": "<b>.txt", "code": "not_a_sample", "reason": "no image"}]
    report = {"layout": "cedar", "writers": 1234, "genuine": 9, "forged": 8, "skipped": 1, "skipped_list": skipped}
    job = add_job(sqlite_database, kind="train", state="running", report=report, spec={"margin": 2.0}, total=5, done=2)
    rows = [
        Epoch(job_id=job.id, epoch=n, loss=1 / n, validation_eer=0.5 / n, learning_rate=0.001, images=7, seconds=2.0)
        for n in (1, 2)
    ]
    with sqlite_database.write() as session:
        session.add_all(rows)
    text = browser.text(f"/jobs/{job.public_id}")
    for words in ("CEDAR", "1,234", "&lt;b&gt;.txt", "25.00\u00a0%", "2 of 5 epochs"):
        assert words in text
    document = json.loads(browser.text(f"/jobs/{job.public_id}/epochs.json"))
    assert [row["validation_eer"] for row in document["epochs"]] == [0.5, 0.25]
    assert document["ended"] is False
    table = browser.text(f"/jobs/{job.public_id}/epochs.csv").splitlines()
    assert table[0].startswith("epoch,loss,validation_loss,validation_eer")
    assert table[2].startswith("2,0.5,,0.25")


def test_a_report_counts_by_writer_and_says_who_makes_no_genuine_pair(
    browser: Browser, sqlite_database: Database
) -> None:
    per_writer = {
        "genuine": {"smallest": 1, "median": 2.5, "largest": 24},
        "forged": {"smallest": 0, "median": 0, "largest": 0},
        "rows": [{"writer": "<i>ann", "genuine": 1234, "forged": 0}],
        "left_off": 1,
        "single_genuine": {"count": 2, "names": ["<i>ann"]},
        "no_genuine": {"count": 0, "names": []},
    }
    report = {
        "layout": "pairs",
        "writers": 2,
        "per_writer": per_writer,
        "pairs": {"genuine": 1500, "forged": 7, "left_out": 0},
        "notes": ["pairs.csv: label 1 means genuine."],
        "skipped": 1,
        "skipped_list": [{"entry": "pairs.csv", "line": 6, "code": "label_unknown", "reason": "no label"}],
    }
    text = browser.text(f"/jobs/{add_job(sqlite_database, kind='train', report=report).public_id}")
    for words in (
        "list of pairs",
        "1,500 genuine, 7 forged</dd>",
        "label 1 means genuine.",
        "2 writers have a single genuine signature, and so no genuine pair: &lt;i&gt;ann, …",
        "1 to 24 genuine (median 2.5), 0 forged",
        '<th scope="row">&lt;i&gt;ann</th><td>1,234</td>',
        "and 1 more writer.",
        "<code>pairs.csv</code>, line 6",
    ):
        assert words in text
    assert "no genuine signature" not in text


def test_an_unknown_job_is_a_page_that_says_so(browser: Browser) -> None:
    response = browser.get("/jobs/job_none")
    assert response.status_code == 404
    assert "job_unknown" in response.text
    assert "Go to the jobs" in response.text


def test_the_spread_of_the_scores_as_json_table_and_csv(browser: Browser, sqlite_database: Database) -> None:
    job = add_job(sqlite_database, done=3, total=3, accept=2, reject=1)
    add_results(sqlite_database, job, ["accept", "accept", "reject"])
    page = f"/jobs/{job.public_id}/scores"
    document = json.loads(browser.text(f"{page}.json"))
    assert (document["scale"], document["bounds"], document["ended"]) == ("distance", [0.5], True)
    assert [(one["accept"], one["review"], one["reject"]) for one in document["bins"]] == [(2, 0, 1)]
    assert browser.text(f"{page}.csv").splitlines() == [
        "distance_from,distance_below,accept,review,reject",
        "0.2375,0.2625,2,0,1",
    ]
    assert "<td>2</td><td>0</td><td>1</td>" in browser.text(page)


def test_jobs_are_found_by_words_submitter_tag_and_day(browser: Browser, sqlite_database: Database) -> None:
    old = utcnow() - timedelta(days=40)
    cheques = add_job(sqlite_database, label="Cheques of 50% May", person_id=1, tag="branch 7")
    cards = add_job(sqlite_database, label="Cards, May", created_at=old)

    def found(**search: str) -> set[str]:
        text = browser.get("/jobs", query_string=search, headers={"HX-Request": "true"}).text
        return {job.label for job in (cheques, cards) if job.public_id in text}

    assert found(words="may") == {cheques.label, cards.label}
    assert found(words="MAY che") == {cheques.label}
    assert found(words="0%") == {cheques.label}
    assert found(words="%x") == set()
    assert found(words=cards.public_id[:9]) == {cards.label}
    assert found(submitter="admin") == {cheques.label}
    assert found(submitter="nobody") == set()
    assert found(tag=" branch 7") == {cheques.label}
    assert found(tag="branch") == set()
    assert found(since=utcnow().date().isoformat()) == {cheques.label}
    assert found(until=old.date().isoformat()) == {cards.label}
    assert browser.get("/jobs?since=May").status_code == 422
    assert "No job is like that" in browser.text("/jobs?words=zzz")


def test_the_tag_of_a_job_leads_to_its_like(browser: Browser, sqlite_database: Database) -> None:
    job = add_job(sqlite_database, label="May", tag="branch 7")
    for page in ("/jobs", f"/jobs/{job.public_id}"):
        assert 'href="/jobs?tag=branch+7"' in browser.text(page)


def test_failed_jobs_are_retried_from_the_list(browser: Browser, sqlite_database: Database) -> None:
    job = add_job(sqlite_database, state="failed", label="again")
    assert f'id="retry-{job.public_id}"' in browser.text("/jobs")
    assert browser.post(f"/jobs/{job.public_id}/retry", page="/jobs").status_code == 303
    assert f'id="cancel-{job.public_id}"' in browser.text("/jobs")


def test_the_days_of_the_filter_are_the_readers(browser: Browser, sqlite_database: Database) -> None:
    late = add_job(sqlite_database, label="late", created_at=datetime(2026, 3, 9, 20, 30, tzinfo=UTC))
    autumn = add_job(sqlite_database, label="autumn", created_at=datetime(2026, 10, 25, 22, 30, tzinfo=UTC))

    def found(day: str) -> set[str]:
        text = browser.text(f"/jobs?since={day}&until={day}")
        return {job.label for job in (late, autumn) if job.public_id in text}

    assert found("2026-03-09") == {"late"}
    assert "From (UTC)</label>" in browser.text("/jobs")
    browser.client.set_cookie("zone", "Asia/Tokyo")
    assert (found("2026-03-09"), found("2026-03-10")) == (set(), {"late"})
    assert "From</label>" in browser.text("/jobs")
    browser.client.set_cookie("zone", "Europe/Berlin")  # a day of 25 hours
    assert (found("2026-10-25"), found("2026-10-26")) == ({"autumn"}, set())
    for nonsense in ("../../etc/passwd", "Nowhere", "Europe", "UTC+99"):
        browser.client.set_cookie("zone", nonsense)
        assert found("2026-03-09") == {"late"}, nonsense


@pytest.mark.parametrize("day", ["0001-01-01", "9999-12-31", "10000-01-01"])
def test_a_day_at_the_end_of_time_is_refused(browser: Browser, day: str) -> None:
    assert browser.get(f"/jobs?until={day}").status_code == 422
