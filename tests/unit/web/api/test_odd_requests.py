"""Requests that contradict themselves, or are half-written, are refused and say where."""

from __future__ import annotations

import io
from base64 import b64encode
from hashlib import sha256
from urllib.parse import quote

import pytest
from gunicorn.http.errors import InvalidChunkSize
from werkzeug.datastructures import MultiDict

from shared.db import Database
from tests.factories import png, unbacked_model
from tests.unit.web.api.test_jobs import assert_problem
from tests.unit.web.conftest import Caller
from tests.unit.web.pages.conftest import add_job, add_results

SPEC = {"kind": "verify"}


def test_a_parameter_that_is_sent_twice_is_refused(caller: Caller) -> None:
    problem = assert_problem(caller.get("/jobs?tag=a&tag=b&limit=3"), 422, "parameter_invalid")
    assert [fault["where"] for fault in problem["errors"]] == ["tag"]  # type: ignore[attr-defined]  # a list


def form(*fields: tuple[str, str]) -> MultiDict[str, object]:
    data: MultiDict[str, object] = MultiDict(fields)
    for name in ("questioned", "reference"):
        data.add(name, (io.BytesIO(png()), f"{name}.png"))
    return data


def test_a_field_that_is_sent_twice_is_refused(caller: Caller, database: Database) -> None:
    unbacked_model(database)
    for name, values in (("kind", ("verify", "train")), ("tag", ("a", "b")), ("model", ("paper", "paper"))):
        fields = [("kind", "verify")] if name != "kind" else []
        answer = caller.post("/jobs", data=form(*fields, *((name, value) for value in values)))
        problem = assert_problem(answer, 422, "field_invalid")
        assert [fault["where"] for fault in problem["errors"]] == [name]  # type: ignore[attr-defined]  # a list
    assert caller.get("/jobs").get_json()["jobs"] == []


def test_address_and_form_may_not_name_different_kinds(caller: Caller, database: Database) -> None:
    unbacked_model(database)
    assert_problem(caller.post("/jobs?kind=train", data=form(("kind", "verify"))), 422, "field_invalid")
    assert caller.post("/jobs?kind=verify", data=form(("kind", "verify"))).status_code == 202


@pytest.mark.parametrize(
    ("path", "body", "pointer"),
    [
        ("/uploads", '{"digest": "sha256:0", "size": 1}', "#/digest"),
        ("/uploads", '{"digest": "sha256:' + "0" * 64 + '", "size": true}', "#/size"),
        ("/uploads", '{"digest": "sha256:' + "0" * 64 + '", "size": "12"}', "#/size"),
        ("/webhooks", '{"url": "https://1.1.1.1/", "a/b~c d": 1}', "#/a~1b~0c%20d"),
        ("/webhooks", "[]", "#"),
        ("/webhooks", "{", "#"),
    ],
)
def test_faults_of_a_json_body_have_pointers(caller: Caller, path: str, body: str, pointer: str) -> None:
    problem = assert_problem(caller.post(path, data=body), 422, "field_invalid")
    assert [fault["pointer"] for fault in problem["errors"]] == [pointer]  # type: ignore[attr-defined]  # a list


def test_faults_of_a_manifest_have_their_line_as_a_number(caller: Caller, database: Database) -> None:
    fault = {"code": "manifest_columns", "message": "the column id is missing", "where": "line 12"}
    job = add_job(
        database, state="failed", error_code="manifest_columns", error_message="No.", faults=[fault], spec=SPEC
    )
    (told,) = caller.get(f"/jobs/{job.public_id}").get_json()["error"]["errors"]
    assert told == fault | {"pointer": None, "line": 12}


class Garbled(io.RawIOBase):
    """A body whose chunks the server cannot read."""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: object) -> int:
        raise InvalidChunkSize(b"ZZ")


@pytest.mark.parametrize("path", ["/webhooks", "/uploads", "/jobs"])
def test_a_body_that_cannot_be_read_is_the_senders_fault(caller: Caller, path: str) -> None:
    answer = caller.post(
        path,
        environ_overrides={"wsgi.input": Garbled(), "wsgi.input_terminated": True},
        headers={"Content-Type": "multipart/form-data; boundary=x"},
    )
    assert_problem(answer, 400, "bad_request")


def test_below_the_api_every_error_is_a_problem_document(caller: Caller) -> None:
    for path in ("/api", "/api/", "/api/v2/jobs", "/healthz/x"):
        answer = caller.app.test_client().get(path)
        assert (answer.status_code, answer.mimetype) == (404, "application/problem+json"), path


TEXTS = ("\0", "a\0b", "\ud7ff\U0001f4a9", "%s' OR 1=1 --", "../..", "\r\nX-Other: 1")


@pytest.mark.parametrize("text", TEXTS)
def test_no_text_breaks_the_server(caller: Caller, database: Database, text: str) -> None:
    """Whatever a caller may name or write comes back, is not found, or is refused: on each kind of database."""
    unbacked_model(database)
    job = add_job(database, spec=SPEC)
    add_results(database, job, ["review"])
    told, body = quote(text, safe=""), {"Content-Digest": f"sha-256=:{b64encode(sha256(b'a').digest()).decode()}:"}
    partial = {"digest": "sha256:" + "0" * 64, "size": 3, "filename": text}
    answers = [
        *(caller.get(f"/{path}={told}") for path in ("jobs?tag", "jobs?external_id", "comparisons?id")),
        caller.get(f"/evaluations?model={told}"),
        *(caller.get(f"/{path}/{told}") for path in ("jobs", "models", "files", "datasets", "evaluations", "webhooks")),
        caller.get(f"/jobs/{job.public_id}/files/{told}"),
        caller.put(f"/files?filename={told}", data=b"a", headers=body),
        caller.post("/uploads", json=partial),
        caller.post("/webhooks", json={"url": "https://1.1.1.1/", "label": text}),
        caller.post(f"/models/paper/default?note={told}"),
        caller.put(f"/jobs/{job.public_id}/results/1/review", json={"verdict": "accept", "reason": text}),
        *(
            caller.post("/jobs", data=form(("kind", "verify"), (name, text)))
            for name in ("tag", "external_id", "label")
        ),
        caller.post("/jobs", data=form(("kind", "verify"), ("model", text))),
    ]
    assert [answer.request.path for answer in answers if answer.status_code >= 500] == []
    for answer in answers:
        assert "X-Other" not in answer.headers
    assert caller.get("/jobs").status_code == 200
