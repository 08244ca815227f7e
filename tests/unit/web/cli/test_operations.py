"""The command line can do what the API can: each operation of the description has a command, or a reason for none."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import click
import pytest
from flask import Flask, Request, request_started
from flask import request as current

from shared.db import Database
from shared.jobs.uploads import add_upload
from shared.storage import FolderStore
from shared.tables import Epoch
from tests.factories import (
    ModelFile,
    make_model_file,
    png,
    register_model,
    stored_upload,
    tune_job,
    unbacked_model,
    write_files,
)
from tests.unit.web.api.test_files import CONTENTS, evaluated
from tests.unit.web.cli.conftest import Terminal
from tests.unit.web.pages.conftest import add_job, add_results
from tests.unit.web.pages.test_datasets import find
from web.api.openapi import description
from web.cli.main import main

COMMANDS = {
    "PUT /files": "send {folder}/new.png",
    "GET /files/{digest}": "send {folder}/new.png",
    "GET /comparisons": "comparisons row-1",
    "PUT /jobs/{job_id}/results/{ordinal}/review": "review {decided} 1 reject --reason drawn",
    "DELETE /jobs/{job_id}/results/{ordinal}/review": "review {decided} 1 --undo",
    "GET /datasets": "datasets",
    "GET /datasets/{digest}": "datasets {digest}",
    "GET /datasets/{digest}/samples/{number}": "datasets {digest} --out {folder}/sheet --force",
    "GET /evaluations": "evaluations --model other",
    "GET /evaluations/{job_id}": "evaluations {evaluated}",
    "GET /jobs": "jobs --kind verify --tag night",
    "POST /jobs": "submit verify {folder}/q.png {folder}/r.png --tag night",
    "GET /jobs/{job_id}": "status {verified}",
    "POST /jobs/{job_id}/cancel": "cancel {verified}",
    "POST /jobs/{job_id}/finish": "finish {trained}",
    "POST /jobs/{job_id}/retry": "retry {failed}",
    "GET /jobs/{job_id}/epochs": "epochs {trained}",
    "GET /jobs/{job_id}/files": "files {evaluated}",
    "GET /jobs/{job_id}/files/{name}": "files {evaluated} pairs.csv --out {folder}/report",
    "GET /jobs/{job_id}/identifications": "results {identified}",
    "GET /jobs/{job_id}/results": "results {verified} --errors",
    "GET /jobs/{job_id}/results/{ordinal}": "result {verified} 1",
    "GET /jobs/{job_id}/trials": "results {tuned}",
    "GET /models": "models",
    "POST /models": "models upload {folder}/model.safetensors --name sent",
    "GET /models/{name}": "models show other",
    "DELETE /models/{name}": "models delete gone --yes",
    "POST /models/{name}/archive": "models archive other",
    "POST /models/{name}/unarchive": "models unarchive other",
    "POST /models/{name}/candidate": "models candidate other",
    "DELETE /models/{name}/candidate": "models candidate other --clear",
    "POST /models/{name}/default": "models promote tiny --note tried",
    "GET /models/{name}/card": "models card tiny",
    "GET /models/{name}/file": "models download tiny {folder}/out.safetensors",
    "GET /webhooks": "webhooks",
    "POST /webhooks": "webhooks add https://1.1.1.1/other",
    "GET /webhooks/{webhook_id}": "webhooks show {webhook}",
    "DELETE /webhooks/{webhook_id}": "webhooks delete {spare}",
    "POST /webhooks/{webhook_id}/test": "webhooks test {webhook}",
    "GET /webhooks/{webhook_id}/deliveries": "webhooks log {webhook}",
    "GET /webhooks/{webhook_id}/deliveries/{event_id}": "webhooks event {webhook} {event}",
    "POST /webhooks/{webhook_id}/deliveries/{event_id}/resend": "webhooks resend {webhook} {event}",
}
PARTS = "'send' and 'submit' do it by themselves with files over 64 MiB (tests/unit/web/test_parts.py)"
REASONS = {
    "GET /jobs/{job_id}/events": "'wait' shows the same numbers, over GET /jobs/{job_id}",
    "POST /uploads": PARTS,
    "GET /uploads/{upload_id}": PARTS,
    "PATCH /uploads/{upload_id}": PARTS,
    "DELETE /uploads/{upload_id}": "an upload that was given up is gone on with by 'send', and removed after two days",
}
VARIABLE, NAMED = re.compile(r"<(?:[^<>]*:)?([a-z_]+)>"), r"{\1}"


def described() -> set[str]:
    paths = description()["paths"]
    return {f"{method.upper()} {path.removeprefix('/api/v1')}" for path, methods in paths.items() for method in methods}


def test_each_operation_has_a_command_or_a_reason() -> None:
    assert described() == set(COMMANDS) | set(REASONS)
    assert not set(COMMANDS) & set(REASONS)


@pytest.fixture
def names(
    terminal: Terminal, tmp_path: Path, sqlite_database: Database, store: FolderStore, tiny_model: ModelFile
) -> dict[str, object]:
    """Something to name in each command."""
    write_files(tmp_path, {f"{name}.png": png(seed) for seed, name in enumerate(("q", "r", "new"))})
    (tmp_path / "model.safetensors").write_bytes(make_model_file("compact", threshold=0.5, seed=9).content)
    register_model(sqlite_database, store, tiny_model)
    for name in ("other", "gone"):
        unbacked_model(sqlite_database, name)

    def told(line: str) -> str:
        return str(json.loads(terminal.run(*line.format(folder=tmp_path).split(), "--json").stdout)["id"])

    webhook = told("webhooks add https://1.1.1.1/hook")
    spare = told("webhooks add https://1.1.1.1/spare")
    (event,) = json.loads(terminal.run("webhooks", "test", webhook, "--json").stdout)
    trained = add_job(sqlite_database, kind="train", state="running", done=1)
    with sqlite_database.write() as session:
        rates = {"validation_eer": 0.25, "learning_rate": 1e-3}
        session.add(Epoch(job_id=trained.id, epoch=1, loss=1.0, images=8, seconds=1.0, **rates))
    return {
        "folder": tmp_path,
        "verified": told("submit verify {folder}/q.png {folder}/r.png"),
        "trained": trained.public_id,
        "failed": add_job(sqlite_database, kind="train", state="failed").public_id,
        "evaluated": evaluated(sqlite_database, store).public_id,
        "decided": _scored(sqlite_database),
        "digest": _looked_at(sqlite_database, store),
        "identified": add_job(sqlite_database, kind="identify").public_id,
        "tuned": tune_job(sqlite_database, []).public_id,
        "webhook": webhook,
        "spare": spare,
        "event": event["id"],
    }


def _scored(database: Database) -> str:
    job = add_job(database)
    add_results(database, job, ["accept"])
    return job.public_id


def _looked_at(database: Database, store: FolderStore) -> str:
    stored = stored_upload(store, b"a set")
    with database.write() as session:
        upload = add_upload(session, stored.key, stored.digest, stored.size, "set.zip")
    find(store, upload, samples=[{}])
    return stored.digest


def operation(asked: Request) -> str:
    rule = asked.url_rule.rule if asked.url_rule else ""
    return f"{asked.method} {VARIABLE.sub(NAMED, rule.removeprefix('/api/v1'))}"


def test_each_command_calls_its_operation(sqlite_app: Flask, terminal: Terminal, names: dict[str, object]) -> None:
    """For people at first, then as one JSON document."""
    asked: list[str] = []
    note: Callable[..., None] = lambda sender, **rest: asked.append(operation(current))  # noqa: E731
    with request_started.connected_to(note, sqlite_app):
        for wanted, line in COMMANDS.items():
            command = line.format(**names)
            asked.clear()
            done = terminal.run(*command.split())
            assert done.exit_code == 0, f"{command}: {done.output}"
            assert wanted in asked, f"{command} asked for {asked}"


READS = [line for operation, line in COMMANDS.items() if operation.startswith("GET") and "/files" not in operation]


def test_what_is_read_comes_as_json(terminal: Terminal, names: dict[str, object]) -> None:
    for line in READS:
        done = terminal.run(*line.format(**names).split(), "--json")
        assert done.exit_code == 0, done.output
        assert isinstance(json.loads(done.stdout), dict | list), line


LONG = {"up", "demo"}  # programs that run until they are stopped, or to be watched


def commands(group: click.Group, name: str = "") -> Iterator[tuple[str, click.Command]]:
    context = click.Context(group)
    for each in group.list_commands(context):
        command = group.get_command(context, each)
        assert command is not None
        if isinstance(command, click.Group):
            yield from commands(command, f"{name}{each} ")
        else:
            yield f"{name}{each}", command


def test_every_command_has_json() -> None:
    without = {name for name, each in commands(main) if all("--json" not in one.opts for one in each.params)}
    assert without == LONG


def test_a_download_that_fails_leaves_nothing(terminal: Terminal, tmp_path: Path) -> None:
    assert terminal.run("models", "download", "nobody", str(tmp_path / "m")).exit_code == 1
    assert list(tmp_path.glob("m*")) == []


def test_what_is_unknown_is_refused_with_its_code(terminal: Terminal, names: dict[str, object]) -> None:
    for line, code in (
        ("epochs job_x", "job_unknown"),
        ("result {verified} 99", "comparison_unknown"),
        ("files {evaluated} none.csv --out {folder}/a", "file_unknown"),
        ("models delete nobody --yes", "model_unknown"),
        ("webhooks event {webhook} evt_x", "event_unknown"),
    ):
        done = terminal.run(*line.format(**names).split())
        assert (done.exit_code, f"[{code}]" in done.output) == (1, True), done.output
    assert terminal.run("files", str(names["evaluated"]), "pairs.csv").exit_code == 2


def test_files_are_listed_and_written(terminal: Terminal, names: dict[str, object]) -> None:
    job, folder = str(names["evaluated"]), Path(str(names["folder"])) / "report"
    assert "pairs.csv" in terminal.run("files", job).output
    assert len(json.loads(terminal.run("files", job, "--json").stdout)) == 4
    assert terminal.run("files", job, "--out", str(folder)).exit_code == 0
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == CONTENTS
    refused = terminal.run("files", job, "--out", str(folder))
    assert (refused.exit_code, "is not empty" in refused.output) == (2, True)


def test_a_model_is_deleted_only_after_a_question(terminal: Terminal, names: dict[str, object]) -> None:
    assert terminal.run("models", "delete", "gone").exit_code == 1
    assert "gone@1" in terminal.run("models").output
    assert json.loads(terminal.run("models", "delete", "gone", "--yes", "--json").stdout)["deleted"]
    assert "gone@1" not in terminal.run("models").output
