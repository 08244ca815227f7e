from __future__ import annotations

import io
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask

from shared.db import Database
from shared.tables import ApiKey, AuditEvent
from tests.unit.web.pages.conftest import OWN_PASSWORD, Browser
from web.pages.local import local_target
from web.people import FirstCredentials

PAGES = (
    "/",
    "/jobs",
    "/jobs/job_1",
    "/verify",
    "/train",
    "/models",
    "/models/signatures",
    "/account",
    "/regions/1/sent.png",
)


@pytest.mark.parametrize("path", PAGES)
def test_every_page_sends_strangers_to_the_login(stranger: Browser, path: str) -> None:
    response = stranger.get(path)
    assert response.status_code == 303
    assert response.location.startswith("/login?next=")


def test_no_route_of_the_pages_answers_a_stranger(sqlite_app: Flask, stranger: Browser) -> None:
    for rule in sqlite_app.url_map.iter_rules():
        if not rule.endpoint.startswith("pages.") or rule.endpoint == "pages.login":
            continue
        values: dict[str, Any] = {name: 1 if "id" in name and name != "job_id" else "x" for name in rule.arguments}
        values |= {"ordinal": 1} if "ordinal" in rule.arguments else {}
        for method in (rule.methods or set()) & {"GET", "POST"}:
            with sqlite_app.test_request_context():
                path = sqlite_app.url_for(rule.endpoint, **values, _method=method)
            response = stranger.client.open(path, method=method)
            assert response.status_code == 303, rule
            assert response.location.startswith("/login"), rule


def test_the_login_leads_back_to_the_page_asked_for(stranger: Browser, first: FirstCredentials) -> None:
    response = stranger.post("/login", page="/login", name="admin", password=first.password, next="/models?x=1")
    assert response.location == "/models?x=1"


@pytest.mark.parametrize(
    "address",
    [
        "https://evil.example/",
        "//evil.example",
        "/\\evil.example",
        "\\\\evil.example",
        "evil",
        "/a\nb",
        "javascript:x",
        "",
    ],
)
def test_only_local_targets_are_followed(address: str) -> None:
    assert local_target(address) == "/"


def test_a_local_target_keeps_its_query() -> None:
    assert local_target("/jobs?kind=train") == "/jobs?kind=train"
    assert local_target("/jobs?") == "/jobs"


def test_a_fragment_asks_the_browser_itself_to_log_in(stranger: Browser) -> None:
    headers = {"HX-Request": "true", "HX-Current-URL": "http://localhost/jobs/job_1?verdict=reject"}
    response = stranger.get("/jobs/job_1/live", headers=headers)
    assert response.status_code == 401
    assert response.headers["HX-Redirect"] == "/login?next=/jobs/job_1?verdict%3Dreject"


def test_a_wrong_login_is_told_at_the_field_and_keeps_the_name(stranger: Browser, first: FirstCredentials) -> None:
    response = stranger.log_in(first.name, "not-the-one")
    assert response.status_code == 401
    assert response.text.count("This name and password do not belong together.") == 2
    assert 'value="admin"' in response.text
    assert "not-the-one" not in response.text


def test_an_empty_login_names_both_fields(stranger: Browser) -> None:
    response = stranger.log_in("", "")
    assert response.status_code == 422
    assert '<a href="#name">Enter your name.</a>' in response.text
    assert '<a href="#password">Enter your password.</a>' in response.text


def test_a_form_without_its_token_does_nothing(browser: Browser, sqlite_database: Database) -> None:
    response = browser.client.post("/account/keys", data={"label": "night run"})
    assert response.status_code == 400
    assert "too old" in response.text
    with sqlite_database.read() as session:
        assert session.scalar(sa.select(sa.func.count()).select_from(ApiKey)) == 1


def test_the_one_time_password_must_be_changed_first(stranger: Browser, first: FirstCredentials) -> None:
    stranger.log_in(first.name, first.password)
    assert stranger.get("/jobs").location == "/account"
    changed = stranger.post(
        "/account/password", old_password=first.password, new_password=OWN_PASSWORD, new_password_again=OWN_PASSWORD
    )
    assert changed.status_code == 303
    assert stranger.get("/jobs").status_code == 200


@pytest.mark.parametrize(
    ("old", "new", "again", "field"),
    [
        ("wrong", OWN_PASSWORD, OWN_PASSWORD, "old_password"),
        ("right", "short", "short", "new_password"),
        ("right", OWN_PASSWORD, "another one", "new_password_again"),
    ],
)
def test_a_bad_new_password_is_told_at_its_field(
    browser: Browser, first: FirstCredentials, old: str, new: str, again: str, field: str
) -> None:
    old = first.password if old == "right" else old
    response = browser.post("/account/password", old_password=old, new_password=new, new_password_again=again)
    assert response.status_code == 422
    assert f'<a href="#{field}">' in response.text
    assert f'id="{field}-error"' in response.text


def test_a_key_is_shown_once_and_can_be_revoked(browser: Browser, sqlite_database: Database) -> None:
    made = browser.post("/account/keys", label="night <run>")
    key = made.text.split('id="new-key">')[1].split("<")[0]
    assert key not in browser.text("/account")
    assert "night &lt;run&gt;" in browser.text("/account")
    header = {"Authorization": f"Bearer {key}"}
    assert browser.client.get("/api/v1/jobs", headers=header).status_code == 200
    with sqlite_database.read() as session:
        key_id = session.scalar(sa.select(sa.func.max(ApiKey.id)))
    assert browser.post(f"/account/keys/{key_id}/revoke").status_code == 303
    assert browser.client.get("/api/v1/jobs", headers=header).status_code == 401
    assert browser.post(f"/account/keys/{key_id}/revoke").status_code == 404
    with sqlite_database.read() as session:
        assert session.scalar(sa.select(AuditEvent.action).order_by(AuditEvent.id.desc())) == "key.revoke"


def test_logging_out_ends_the_session(browser: Browser) -> None:
    assert browser.post("/logout").location == "/login"
    assert browser.get("/jobs").location.startswith("/login")


def test_pages_are_hardened(browser: Browser) -> None:
    headers = browser.get("/verify").headers
    assert "script-src 'self'" in headers["Content-Security-Policy"]
    assert headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize("path", ["/jobs", "/verify", "/train", "/models", "/account"])
def test_no_page_has_inline_script_or_style(browser: Browser, path: str) -> None:
    text = browser.text(path)
    assert " style=" not in text
    assert "<style" not in text
    assert "<script>" not in text
    assert " onclick=" not in text


def test_nobody_fills_the_disk_through_the_login(stranger: Browser) -> None:
    answer = stranger.client.post("/login", data={"file": (io.BytesIO(b"x" * 200_000), "large.bin")})
    assert answer.status_code == 413


def test_a_fresh_installation_says_where_its_password_is(stranger: Browser, first: FirstCredentials) -> None:
    assert "one-time password was printed once" in stranger.text("/login")
    stranger.log_in(first.name, first.password)
    stranger.post(
        "/account/password", old_password=first.password, new_password=OWN_PASSWORD, new_password_again=OWN_PASSWORD
    )
    stranger.post("/logout")
    assert "printed once" not in stranger.text("/login")
