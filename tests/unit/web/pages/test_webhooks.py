from __future__ import annotations

import re

import pytest

from shared.db import Database
from shared.jobs.lifecycle import request_cancel
from shared.webhooks.sending import Attempt, claim_due, settle
from tests.unit.web.pages.conftest import Browser, add_job

URL = "https://1.1.1.1/hook?a=<b>"


def added(browser: Browser) -> str:
    """Add a webhook; the address of its page."""
    made = browser.post("/account/webhooks", url=URL, label="desk", scope="own")
    assert made.status_code == 200
    assert "whsec_" in made.text
    page = browser.text("/account/webhooks")
    assert "whsec_" not in page
    assert "https://1.1.1.1/hook?a=&lt;b&gt;" in page
    found = re.search(r'href="(/account/webhooks/hook_\w+)"', page)
    assert found is not None
    return found[1]


def test_a_webhook_is_added_tested_and_deleted(browser: Browser) -> None:
    assert 'href="/account/webhooks"' in browser.text("/account")
    page = added(browser)
    assert browser.post(f"{page}/test").location == page
    assert "webhook.test" in browser.text(page)
    assert browser.post(f"{page}/delete").location == "/account/webhooks"
    assert browser.get(page).status_code == 404


def test_what_was_told_stands_with_the_job_and_is_sent_again(browser: Browser, sqlite_database: Database) -> None:
    page = added(browser)
    job = add_job(sqlite_database, state="queued", person_id=1, label="<night>")
    assert "Told to your webhooks" not in browser.text(f"/jobs/{job.public_id}")
    request_cancel(sqlite_database, job.public_id, 1)
    (sent,) = claim_due(sqlite_database)
    settle(sqlite_database, sent, Attempt(503, "", 1.5))
    for path in (page, f"/jobs/{job.public_id}"):
        text = browser.text(path)
        assert "job.cancelled" in text
        assert "answered 503" in text
        action = re.search(r'action="([^"]+/resend)"', text)
        assert action is not None
        assert browser.post(action[1], next=path).location == path
        (again,) = claim_due(sqlite_database)
        assert again.event_id == sent.event_id
        settle(sqlite_database, again, Attempt(503, "", 1.5))
    assert "&lt;night&gt;" in browser.text(page)


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"url": ""}, "Give the address"),
        ({"url": "https://127.0.0.1/"}, "not public"),
        ({"url": URL, "label": "x" * 81}, "at most 80"),
        ({"url": URL, "scope": "some"}, "your own jobs or all"),
    ],
)
def test_a_fault_is_told_at_its_field(browser: Browser, fields: dict[str, str], told: str) -> None:
    answer = browser.post("/account/webhooks", **fields)
    assert answer.status_code == 422
    assert told in answer.text
    assert 'id="error-summary"' in answer.text
