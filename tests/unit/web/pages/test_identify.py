from __future__ import annotations

import io
import json
import re
from typing import Any

import pytest
import sqlalchemy as sa

from shared.db import Database, insert_ignore
from shared.queue import TaskNames
from shared.tables import Identification, Job
from tests.factories import Doorbells, identification_row, png, unbacked_model, zip_of
from tests.unit.web.pages.conftest import Browser, add_job
from web.pages.identify import ANSWERS_SHOWN

ROW = re.compile(r'id="row-(\d+)"')
SHARE = {"rate": 0.75, "count": 3, "of": 4, "low": 0.301, "high": 0.954}
REPORT = {
    "categories": 5,
    "shots": [1, 2],
    "test_images": 6,
    "labelled": 4,
    "threshold": 0.8,
    "threshold_of": "model",
    "strangers": SHARE | {"threshold": 0.4321},
    "empty_categories": ["<zoe>"],
    "skipped": 1,
    "skipped_list": [{"entry": "<b>.txt", "code": "not_an_image", "reason": "not an image"}],
}
FIGURES = dict.fromkeys(("accuracy", "top1", "named", "rejected"), SHARE) | {
    "labelled": 4,
    "false_accepts": SHARE | {"rate": None, "count": 0, "of": 0},
    "confusions": [{"truth": "anna", "category": "<bert>", "count": 7}],
}
ANSWERS = {"named": 4, "none": 1, "error": 1, "wrong": 1}


def archive(files: dict[str, bytes] | None = None) -> tuple[io.BytesIO, str]:
    return io.BytesIO(zip_of(dict(files or {"categories/a/1.png": png(1), "test/1.png": png(2)}))), "people.zip"


def jobs_in(database: Database) -> list[Job]:
    with database.read() as session:
        return list(session.scalars(sa.select(Job)))


def job_with(database: Database, rows: list[dict[str, Any]], **values: Any) -> Job:
    job = add_job(database, **({"kind": "identify", "total": len(rows), "done": len(rows), "report": REPORT} | values))
    with database.write() as session:
        insert_ignore(session, Identification, [identification_row(job, n, **row) for n, row in enumerate(rows, 1)])
    return job


def test_without_a_model_the_page_says_to_train_one(browser: Browser) -> None:
    text = browser.text("/identify")
    assert "There is no model yet" in text
    assert "<form class=" not in text


def test_the_form_says_what_the_archive_must_look_like(browser: Browser, sqlite_database: Database) -> None:
    unbacked_model(sqlite_database, "paper", threshold=0.75)
    unbacked_model(sqlite_database, "newer")
    text = browser.text("/identify")
    assert '<option value="paper@1" selected ' in text
    assert ">paper@1 (default): EER –, threshold 0.7500</option>" in text
    assert '<option value="newer@1" selected ' in browser.text("/identify?model=newer@1")
    for words in ("categories/anna/1.png", "test/stranger/1.png", "truly none of these", "At least 0."):
        assert words in text


def test_the_form_says_what_the_threshold_means(browser: Browser, sqlite_database: Database) -> None:
    summary = {"validation": {"eer": 0.02, "forgeries": "skilled"}}
    unbacked_model(sqlite_database, threshold=0.75, summary=summary)
    text = browser.text("/identify")
    assert "What is farther than 0.7500 from every category is none of these." in text
    assert "about 2 in 100 skilled forgeries would be named" in text


def test_an_identification_is_queued(browser: Browser, sqlite_database: Database, doorbell: Doorbells) -> None:
    unbacked_model(sqlite_database)
    response = browser.post("/identify", archive=archive(), model="paper@1", threshold="0.5", label="")
    (job,) = jobs_in(sqlite_database)
    assert (response.status_code, response.location) == (303, f"/jobs/{job.public_id}")
    assert (job.kind, job.label, job.total, job.spec["threshold"]) == ("identify", "people.zip", 1, 0.5)
    assert doorbell.tasks == [TaskNames.IDENTIFY]


@pytest.mark.parametrize(
    ("fields", "link", "words"),
    [
        ({}, "archive", "Choose the ZIP archive"),
        ({"archive": {"test/1.png": png()}}, "archive", "no image of a category"),
        ({"archive": {"categories/a/1.png": png()}}, "archive", "no image to identify"),
        ({"archive": None, "threshold": "-1"}, "threshold", "Threshold must be at least 0."),
        ({"archive": None, "threshold": "near"}, "threshold", "Threshold must be a number."),
        ({"archive": None, "threshold": "inf"}, "threshold", "Threshold must be a number."),
        ({"archive": None, "model": "gone"}, "model", "gone"),
    ],
)
def test_a_bad_form_comes_back_with_a_link_to_its_field(
    browser: Browser, sqlite_database: Database, fields: dict[str, Any], link: str, words: str
) -> None:
    unbacked_model(sqlite_database)
    sent: dict[str, Any] = {name: archive(value) if name == "archive" else value for name, value in fields.items()}
    response = browser.post("/identify", label="kept", **sent)
    assert response.status_code in (404, 422)
    assert re.findall(r'<a href="#(\w+)">', response.text) == [link]
    assert words in response.text
    assert 'value="kept"' in response.text
    assert jobs_in(sqlite_database) == []


def test_answers_figures_and_what_was_left_out_are_shown(browser: Browser, sqlite_database: Database) -> None:
    rows: list[dict[str, Any]] = [
        {"entry": "test/<a>.png", "category": "anna", "nearest": "anna", "truth": "anna", "correct": True},
        {"entry": "test/b.png", "category": None, "nearest": "bert", "truth": "anna", "correct": False},
        {"entry": "test/c.png", "category": None, "nearest": None, "distance": None, "message": "It is blank."},
    ]
    report = REPORT | {"figures": FIGURES, "answers": ANSWERS, "identical": 1}
    text = browser.text(f"/jobs/{job_with(sqlite_database, rows, report=report).public_id}")
    for words in (
        "5-way 1 to 2-shot",
        "75.0\u00a0%",
        "30.1\u00a0% to 95.4\u00a0%",
        "3 of 4 images",
        "no such image",
        "20.0\u00a0% by chance",
        "1 test image is pixel for pixel",
        "&lt;zoe&gt;",
        "&lt;b&gt;.txt",
        "&lt;bert&gt;",
        "test/&lt;a&gt;.png",
        "nearest: bert",
        "It is blank.",
        "≤ 0.8000",
        "&gt; 0.8000",
        "the model’s own",
        "about 75.0",
        "by how near the categories are to each other",
        "with the threshold 0.4321",
    ):
        assert words in text, words
    assert text.count(" right</span>") == 1
    assert text.count(" wrong</span>") == 1


def test_without_labels_nothing_is_said_of_right_or_wrong(browser: Browser, sqlite_database: Database) -> None:
    report = REPORT | {"labelled": 0, "figures": None, "answers": ANSWERS, "identical": 0}
    text = browser.text(f"/jobs/{job_with(sqlite_database, [{}], report=report).public_id}")
    assert "5-way 1 to 2-shot</h2>" in text
    for words in ("by chance", "tile-wrong", ">Label</th>", "pixel for pixel"):
        assert words not in text


def test_answers_are_paged_and_filtered(browser: Browser, sqlite_database: Database) -> None:
    count = 2 * ANSWERS_SHOWN + 10
    rows: list[dict[str, Any]] = [
        {"category": None, "correct": n % 20 == 0} if n % 10 == 0 else {} for n in range(count)
    ]
    rows[5] = {"nearest": None, "category": None}
    page = f"/jobs/{job_with(sqlite_database, rows).public_id}"
    first, last = browser.text(page), browser.text(f"{page}?after={2 * ANSWERS_SHOWN}")
    assert ROW.findall(first) == [str(n) for n in range(1, ANSWERS_SHOWN + 1)]
    assert f"after={ANSWERS_SHOWN}#results" in first
    assert ROW.findall(last) == [str(n) for n in range(2 * ANSWERS_SHOWN + 1, count + 1)]
    assert f'href="{page}?after={ANSWERS_SHOWN}#results" rel="prev"' in last
    assert 'rel="next"' not in last
    assert ROW.findall(browser.text(f"{page}?answer=none")) == [str(n) for n in range(1, count, 10)]
    assert ROW.findall(browser.text(f"{page}?answer=wrong")) == [str(n) for n in range(11, count, 20)]
    assert ROW.findall(browser.text(f"{page}?answer=error")) == ["6"]
    assert ROW.findall(browser.text(f"{page}?answer=named"))[:6] == ["2", "3", "4", "5", "7", "8"]
    assert browser.get(f"{page}?answer=perhaps").status_code == 422


def test_a_filter_that_finds_nothing_leads_back(browser: Browser, sqlite_database: Database) -> None:
    text = browser.text(f"/jobs/{job_with(sqlite_database, [{}]).public_id}?answer=error")
    assert "No test image has such an answer" in text
    assert "Show all answers" in text


def test_downloads_hold_all_or_one_kind(browser: Browser, sqlite_database: Database) -> None:
    job = job_with(sqlite_database, [{}, {"category": None}, {"entry": "=1+1"}])
    page = f"/jobs/{job.public_id}/identifications"
    whole = browser.get(f"{page}.csv")
    assert whole.headers["Content-Disposition"].endswith(f'filename="{job.public_id}.csv"')
    assert whole.text.startswith("image,answer,category,distance,")
    assert whole.text.splitlines()[3].startswith("'=1+1,named,anna,0.5,")
    assert len(browser.text(f"{page}.csv?answer=none").splitlines()) == 2
    document = json.loads(browser.text(f"{page}.json?answer=none"))
    assert document["report"] == REPORT
    assert [row["ordinal"] for row in document["identifications"]] == [2]
    assert json.loads(browser.text(f"{page}.json?answer=error"))["identifications"] == []


def test_a_running_identification_is_live(browser: Browser, sqlite_database: Database) -> None:
    job = job_with(sqlite_database, [{}], state="running", total=9, phase="reading categories: 2 of 4 images")
    text = browser.text(f"/jobs/{job.public_id}?answer=named")
    assert "1 of 9 test images" in text
    assert "reading categories: 2 of 4 images" in text
    assert f'hx-get="/jobs/{job.public_id}/live?answer=named"' in text
    assert f'hx-get="/jobs/{job.public_id}/identifications?answer=named"' in text
    fragment = browser.text(f"/jobs/{job.public_id}/identifications")
    assert fragment.lstrip().startswith("<section")
    empty = job_with(sqlite_database, [], state="queued")
    assert "Answers appear here" in browser.text(f"/jobs/{empty.public_id}")


def test_the_list_of_jobs_tells_the_outcome(browser: Browser, sqlite_database: Database) -> None:
    job_with(sqlite_database, [{}], report=REPORT | {"figures": FIGURES, "answers": ANSWERS})
    text = browser.text("/jobs")
    assert "75.0\u00a0% right" in text
    assert "4 named, 1 none of these, 1 not readable" in text


def test_a_failed_one_leads_back_to_its_form(browser: Browser, sqlite_database: Database) -> None:
    job = job_with(sqlite_database, [], state="failed", report={}, error_code="no_categories", error_message="None.")
    assert 'id="again" href="/identify"' in browser.text(f"/jobs/{job.public_id}")


def test_answers_are_sorted_by_distance_and_paged_so(browser: Browser, sqlite_database: Database) -> None:
    count = ANSWERS_SHOWN + 10
    rows: list[dict[str, Any]] = [{"distance": (n * 37 % count) / 100} for n in range(count)]
    rows[5] = {"nearest": None, "category": None, "distance": None}
    page = f"/jobs/{job_with(sqlite_database, rows).public_id}"
    scored = sorted((row["distance"], n) for n, row in enumerate(rows, 1) if row["distance"] is not None)
    near = [str(n) for _, n in scored] + ["6"]
    first = browser.text(f"{page}?order=near")
    assert ROW.findall(first) == near[:ANSWERS_SHOWN]
    assert '<option value="near" selected>' in first
    link = re.search(r'href="([^"#]+)#results" rel="next"', first)
    assert link
    rest = browser.text(link[1].replace("&amp;", "&"))
    assert ROW.findall(rest) == near[ANSWERS_SHOWN:]
    assert ROW.findall(browser.text(f"{page}?order=far"))[:2] == near[-2:-4:-1]
    assert ROW.findall(browser.text(f"{page}?order=far&answer=error")) == ["6"]
    assert browser.get(f"{page}?order=alike").status_code == 422


def test_the_spread_of_the_distances_as_json_table_and_csv(browser: Browser, sqlite_database: Database) -> None:
    rows: list[dict[str, Any]] = [
        {"distance": 0.41, "correct": True},
        {"distance": 0.42, "correct": False},
        {"distance": 0.9, "category": None, "correct": True},
        {"distance": None, "category": None, "nearest": None},
    ]
    page = f"/jobs/{job_with(sqlite_database, rows).public_id}"
    told = json.loads(browser.text(f"{page}/scores.json"))
    assert (told["scale"], told["bounds"], told["ended"]) == ("distance", [0.8], True)
    assert [told["bins"][0][name] for name in ("named", "none", "wrong")] == [2, 0, 1]
    assert [told["bins"][-1][name] for name in ("named", "none", "wrong")] == [0, 1, 0]
    lines = browser.text(f"{page}/scores.csv").splitlines()
    assert lines[0] == "distance_from,distance_below,named,none,wrong"
    assert (lines[1], len(lines)) == ("0.4,0.44,2,0,1", len(told["bins"]) + 1)
    table = browser.text(f"{page}/scores")
    assert '<th scope="col">None of these</th><th scope="col">Wrong ones among them</th>' in table
    assert "0.4000 to 0.4400" in table
    assert f'data-scores="{page}/scores.json"' in browser.text(page)
