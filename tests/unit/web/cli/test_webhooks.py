"""``countersign webhooks``."""

from __future__ import annotations

import json

from shared.db import Database
from shared.jobs.lifecycle import request_cancel
from tests.unit.web.cli.conftest import Terminal
from tests.unit.web.pages.conftest import add_job

URL = "https://1.1.1.1/hook"


def test_a_webhook_is_made_tested_and_deleted(terminal: Terminal) -> None:
    made = terminal.run("webhooks", "add", URL, "--label", "desk", "--all")
    assert (made.exit_code, "whsec_" in made.output) == (0, True), made.output
    (listed,) = json.loads(terminal.run("webhooks", "--json").stdout)
    assert (listed["url"], listed["label"], listed["scope"]) == (URL, "desk", "all")
    assert "secret" not in listed
    assert listed["id"] in terminal.run("webhooks").output
    (tested,) = json.loads(terminal.run("webhooks", "test", listed["id"], "--json").stdout)
    assert (tested["type"], tested["state"]) == ("webhook.test", "waiting")
    again = json.loads(terminal.run("webhooks", "resend", listed["id"], tested["id"], "--json").stdout)
    assert again == [tested]
    assert json.loads(terminal.run("webhooks", "delete", listed["id"], "--json").stdout)["deleted"]
    assert json.loads(terminal.run("webhooks", "--json").stdout) == []
    refused = terminal.run("webhooks", "log", listed["id"])
    assert (refused.exit_code, "[webhook_unknown]" in refused.output) == (1, True)


def test_the_log_is_listed(terminal: Terminal, sqlite_database: Database) -> None:
    hook = json.loads(terminal.run("webhooks", "add", URL, "--json").stdout)
    jobs = [add_job(sqlite_database, state="queued", person_id=1) for _ in range(2)]
    for job in jobs:
        request_cancel(sqlite_database, job.public_id, 1)
    log = json.loads(terminal.run("webhooks", "log", hook["id"], "--json").stdout)
    assert [(one["type"], one["job"]) for one in log] == [("job.cancelled", job.public_id) for job in reversed(jobs)]
    of_one = json.loads(terminal.run("webhooks", "log", hook["id"], "--job", jobs[0].public_id, "--json").stdout)
    assert of_one == [log[1]]
    assert json.loads(terminal.run("webhooks", "log", hook["id"], "--state", "failed", "--json").stdout) == []
    assert len(json.loads(terminal.run("webhooks", "log", hook["id"], "--limit", "1", "--json").stdout)) == 1
    assert "waiting" in terminal.run("webhooks", "log", hook["id"]).output
