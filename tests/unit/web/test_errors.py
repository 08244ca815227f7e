from __future__ import annotations

import errno
import logging

import pytest
from flask import Flask
from sqlalchemy.exc import OperationalError

from shared.errors import Conflict, Fault
from tests.unit.web.conftest import Caller

SECRET = "a detail of ours"


@pytest.fixture
def failing(caller: Caller) -> Caller:
    """An application with routes that fail in several ways, for programs and for people."""
    faults: dict[str, Exception] = {
        "bug": RuntimeError(SECRET),
        "disk": OSError(errno.ENOSPC, SECRET),
        "broken": OSError(errno.EIO, SECRET),
        "database": OperationalError("SELECT 1", {}, ConnectionError(SECRET)),
        "ours": Conflict("a_code", "<b>what is wrong</b>", (Fault("a_code", "<i>here</i>", "line 3"),)),
    }
    for name, error in faults.items():

        def fail(error: Exception = error) -> str:
            raise error

        caller.app.add_url_rule(f"/api/v1/fail/{name}", f"api_fail_{name}", fail)
        caller.app.add_url_rule(f"/fail/{name}", f"fail_{name}", fail)
    return caller


@pytest.mark.parametrize(
    ("name", "status", "code"),
    [
        ("bug", 500, "internal_error"),
        ("disk", 507, "storage_full"),
        ("broken", 500, "internal_error"),
        ("database", 503, "database_unavailable"),
        ("ours", 409, "a_code"),
    ],
)
def test_every_failure_is_a_problem_document_or_a_page(
    failing: Caller, name: str, status: int, code: str, caplog: pytest.LogCaptureFixture
) -> None:
    answer = failing.get(f"/fail/{name}")
    assert (answer.status_code, answer.mimetype) == (status, "application/problem+json")
    assert answer.get_json()["code"] == code
    page = failing.app.test_client().get(f"/fail/{name}")
    assert (page.status_code, page.mimetype) == (status, "text/html")
    for text in (answer.text, page.text):
        assert SECRET not in text
        assert "Traceback" not in text
    if status == 500:
        assert any(SECRET in str(record.exc_info) for record in caplog.records if record.levelno >= logging.ERROR)


def test_a_full_disk_says_when_to_come_again(failing: Caller) -> None:
    assert failing.get("/fail/disk").headers["Retry-After"] == "300"


def test_faults_are_listed_and_escaped(failing: Caller) -> None:
    assert failing.get("/fail/ours").get_json()["errors"] == [
        {"code": "a_code", "message": "<i>here</i>", "where": "line 3", "pointer": None, "line": 3}
    ]
    page = failing.app.test_client().get("/fail/ours").text
    assert "<b>what" not in page
    assert "&lt;b&gt;what is wrong" in page


def test_unknown_paths_and_methods(caller: Caller) -> None:
    assert caller.get("/nothing/here").get_json()["code"] == "path_unknown"
    assert caller.delete("/jobs/job_1/cancel").get_json()["code"] == "method_not_allowed"


def test_health_needs_no_key_and_tells_nothing(sqlite_app: Flask) -> None:
    answer = sqlite_app.test_client().get("/healthz")
    assert (answer.status_code, answer.get_json()) == (200, {"status": "ok"})
    assert sqlite_app.test_client().post("/healthz").mimetype == "application/problem+json"


def test_every_answer_is_hardened(caller: Caller) -> None:
    for answer in (caller.get("/models"), caller.get("/nothing"), caller.app.test_client().get("/login")):
        policy = answer.headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["X-Frame-Options"] == "DENY"
        assert answer.headers["Cache-Control"] == "no-store"
