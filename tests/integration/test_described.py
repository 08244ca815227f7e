"""The running server keeps to its description: schemathesis makes requests of it, valid ones and others, and looks."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.factories import ModelFile, batch_of, png, training_files, write_files, zip_of
from tests.servers import Stack

COMMAND = Path(sys.executable).with_name("schemathesis")
# A valid form, digest or address may still be of nothing that there is: what is refused then is no fault.
REFUSED = ["2xx", 404, 409, 413, 422]
# Operations whose 2xx and refusals depend on more than a schema can say.
DEPENDENT = (
    "submit_job",
    "put_file",
    "begin_parts",
    "append_part",
    "upload_model",
    "make_webhook",
    "put_review",
    # Their keys may have been sent with another request before.
    "cancel_job",
    "finish_job",
    "retry_job",
    "ping_webhook",
    "send_again",
)


@pytest.fixture(scope="module")
def open_stack(short_tmp: Path, tiny_model: ModelFile, tiny_seed_model: ModelFile) -> Iterator[Stack]:
    """A stack of its own, without a limit of requests: what is done to it spoils no other test."""
    stack = Stack(short_tmp / "described", {"COUNTERSIGN_RATE_LIMIT": "0"})
    with stack:
        stack.add_model(replace(tiny_model, name="tiny"), make_default=True)
        stack.add_model(replace(tiny_seed_model, name="spare"))
        yield stack


@pytest.fixture(scope="module")
def things(open_stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What the paths may name: jobs of some kinds that have ended, a model, a file, an upload, a webhook."""
    folder = tmp_path_factory.mktemp("things")
    rows = [(str(n), f"{n}.png", "r.png") for n in range(4)]
    images = {f"{n}.png": png(n) for n in range(4)} | {"r.png": png(9)}
    signatures = training_files(writers=4, genuine=3, forged=2)
    people = {"categories/anna/1.png": png(1), "categories/bert/1.png": png(2), "test/1.png": png(3)}
    files = {"batch.zip": batch_of(*rows, images=images), "set.zip": zip_of(dict(signatures))}
    write_files(folder, files | {"people.zip": zip_of(dict(people))})
    quick = {"network": "compact", "epochs": "1"}
    wanted: dict[str, tuple[str, str, dict[str, str]]] = {
        "verified": ("verify", "batch.zip", {}),
        "trained": ("train", "set.zip", quick | {"name": "own"}),
        "evaluated": ("evaluate", "set.zip", {}),
        "identified": ("identify", "people.zip", {}),
        "tuned": ("tune", "set.zip", {"trials": "1", "folds": "2", "epochs": "1"}),
    }
    jobs = {}
    with open_stack.client() as client:
        for name, (kind, archive, fields) in wanted.items():
            with (folder / archive).open("rb") as file:
                jobs[name] = client.submit(kind, fields, [("archive", (archive, file, "application/zip"))])["id"]
        for job in jobs.values():
            assert client.wait(job)["state"] == "succeeded"
    with open_stack.client() as client:
        webhook = client.add_webhook("http://127.0.0.1:9/")["id"]
        with (folder / "set.zip").open("rb") as file:
            digest = client.send_file(file, "set.zip")
        upload = client._call("POST", "/uploads", json={"digest": "sha256:" + "1" * 64, "size": 10})["id"]
        event = client.test_webhook(webhook)["id"]
    return jobs | {"webhook": webhook, "digest": digest, "upload": upload, "event": event}


def settings(things: dict[str, str]) -> str:
    """The configuration: what the paths name, and where valid requests may be refused."""
    named = {"job_id": things["verified"], "name": "own", "digest": things["digest"], "ordinal": 1, "number": 0}
    named |= {"webhook_id": things["webhook"], "event_id": things["event"], "upload_id": things["upload"]}
    others = {
        "epochs": {"job_id": things["trained"]},
        "files": {"job_id": things["evaluated"]},
        "file": {"job_id": things["evaluated"], "name": "report.json"},
        "get_evaluation": {"job_id": things["evaluated"]},
        "identifications": {"job_id": things["identified"]},
        "trials": {"job_id": things["tuned"]},
        "delete_model": {"name": "spare"},
        "delete_webhook": {"webhook_id": "hook_of_nobody"},
        "drop_parts": {"upload_id": "upload_of_nobody"},
    }
    lines = ["[parameters]", *(f'"path.{name}" = {json.dumps(value)}' for name, value in named.items())]
    for operation, values in others.items():
        lines += ["[[operations]]", f'include-operation-id = "{operation}"']
        told = ", ".join(f'"path.{name}" = {json.dumps(value)}' for name, value in values.items())
        lines += [f"parameters = {{ {told} }}"]
    for operation in DEPENDENT:
        lines += ["[[operations]]", f'include-operation-id = "{operation}"']
        lines += [f"checks.positive_data_acceptance.expected-statuses = {json.dumps(REFUSED)}"]
    return "\n".join(lines)


@pytest.mark.timeout(600)
def test_schemathesis_finds_nothing(open_stack: Stack, things: dict[str, str], tmp_path: Path) -> None:
    """Of known things and of others, one operation at a time and one after the other."""
    config = tmp_path / "schemathesis.toml"
    config.write_text(settings(things))
    described, key = f"{open_stack.url}/api/v1/openapi.json", f"Authorization: Bearer {open_stack.api_key}"
    command = [str(COMMAND), "--config-file", str(config), "run", described, "--header", key, "--checks", "all"]
    command += ["--max-examples", "5", "--seed", "1", "--workers", "1", "--continue-on-failure", "--no-color"]
    command += ["--request-timeout", "30", "--suppress-health-check", "all", "--generation-deterministic"]
    done = subprocess.run(
        command, cwd=tmp_path, env=os.environ, capture_output=True, text=True, timeout=500, check=False
    )
    assert done.returncode == 0, done.stdout[-30000:] + done.stderr[-3000:]
    assert "Traceback" not in (open_stack.home / "logs" / "web.log").read_text()
