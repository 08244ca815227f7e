"""The description of the API, and the code: neither has what the other has not."""

from __future__ import annotations

import json
import re
from typing import Any

from flask import Flask

from shared.problems import PROBLEMS
from shared.specs import SPECS, TrainSpec
from tests.unit.web.conftest import Caller


def description(app: Flask) -> dict[str, Any]:
    document: dict[str, Any] = app.test_client().get("/api/v1/openapi.json").get_json()
    return document


def test_every_route_is_described_and_nothing_else(sqlite_app: Flask) -> None:
    routes = {
        (method, re.sub(r"<(?:[^:>]+:)?(\w+)>", r"{\1}", rule.rule))
        for rule in sqlite_app.url_map.iter_rules()
        if rule.endpoint.startswith("api.") and rule.endpoint != "api.unknown"
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
    }
    paths = description(sqlite_app)["paths"]
    assert {(method.upper(), path) for path, methods in paths.items() for method in methods} == routes


def test_every_reference_leads_somewhere(sqlite_app: Flask) -> None:
    document = description(sqlite_app)
    assert document["openapi"] == "3.1.0"
    for found in set(re.findall(r'"\$ref": "#/([^"]+)"', json.dumps(document))):
        place = document
        for part in found.split("/"):
            place = place[part]
    names = [one["operationId"] for methods in document["paths"].values() for one in methods.values()]
    assert len(set(names)) == len(names)


def test_what_an_answer_names_can_be_followed(sqlite_app: Flask) -> None:
    """Links lead from the thing that was made or read to all that can be done with it."""
    paths = description(sqlite_app)["paths"]
    links = paths["/api/v1/jobs"]["post"]["responses"]["202"]["links"]
    assert {"get_job", "cancel_job", "results", "events", "get_evaluation"} <= set(links)
    assert links["get_job"] == {"operationId": "get_job", "parameters": {"job_id": "$response.body#/id"}}
    told = paths["/api/v1/webhooks/{webhook_id}/test"]["post"]["responses"]["202"]["links"]["get_delivery"]
    assert told["parameters"] == {"webhook_id": "$request.path.webhook_id", "event_id": "$response.body#/id"}
    described = {one["operationId"] for methods in paths.values() for one in methods.values()}
    every = [each for methods in paths.values() for one in methods.values() for each in one["responses"].values()]
    assert {link["operationId"] for each in every for link in each.get("links", {}).values()} <= described


def test_what_a_request_needs_is_said(sqlite_app: Flask) -> None:
    paths = description(sqlite_app)["paths"]
    sent = {one["name"]: one for one in paths["/api/v1/files"]["put"]["parameters"]}
    assert sent["Content-Digest"]["required"]
    assert re.fullmatch(sent["Content-Digest"]["schema"]["pattern"], f"sha-256=:{'A' * 43}=:")
    assert "required" not in sent["filename"]
    (wanted,) = (one for one in paths["/api/v1/comparisons"]["get"]["parameters"] if one.get("required"))
    assert wanted["name"] == "id"


def test_the_form_of_a_job_has_the_fields_that_are_validated(sqlite_app: Flask) -> None:
    body = description(sqlite_app)["paths"]["/api/v1/jobs"]["post"]["requestBody"]
    forms = {form["title"]: form for form in body["content"]["multipart/form-data"]["schema"]["oneOf"]}
    assert set(forms) == set(SPECS)
    assert set(TrainSpec.model_fields) < set(forms["train"]["properties"])
    assert forms["train"]["properties"]["epochs"]["maximum"] == 1000
    assert {"questioned", "reference", "tag"} < set(forms["verify"]["properties"])


def test_an_unknown_parameter_is_refused(caller: Caller) -> None:
    answer = caller.get("/jobs?stat=failed")
    assert (answer.status_code, answer.get_json()["code"]) == (422, "parameter_invalid")
    assert answer.get_json()["errors"][0]["where"] == "stat"
    assert caller.get("/models?page=2").status_code == 422


def test_pages_for_people_need_no_login_and_no_script(sqlite_app: Flask) -> None:
    client = sqlite_app.test_client()
    docs, problems = client.get("/api/v1/docs"), client.get("/problems")
    for page in (docs, problems):
        assert (page.status_code, page.mimetype) == (200, "text/html")
        assert "unsafe" not in page.headers["Content-Security-Policy"]
        assert "<script>" not in page.text
    for operation in description(sqlite_app)["paths"]["/api/v1/jobs"].values():
        assert f'id="{operation["operationId"]}"' in docs.text
    targets = set(re.findall(r'id="([^"]+)"', docs.text))
    assert set(re.findall(r'href="#([^"]+)"', docs.text)) <= targets
    assert {code for code in PROBLEMS if f'id="{code}"' in problems.text} == set(PROBLEMS)
