"""A program with an API key, before an application on each kind of database."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Any

import pytest
from flask import Flask
from werkzeug.exceptions import HTTPException
from werkzeug.test import TestResponse

from shared.db import Database
from web.api import documents
from web.api.operations import OPERATIONS
from web.people import create_first_person


@dataclass(slots=True)
class Caller:
    """Calls the API with a key."""

    app: Flask
    key: str

    def get(self, path: str, **options: Any) -> TestResponse:
        return self._call("GET", path, **options)

    def post(self, path: str, **options: Any) -> TestResponse:
        return self._call("POST", path, **options)

    def put(self, path: str, **options: Any) -> TestResponse:
        return self._call("PUT", path, **options)

    def patch(self, path: str, **options: Any) -> TestResponse:
        return self._call("PATCH", path, **options)

    def delete(self, path: str) -> TestResponse:
        return self._call("DELETE", path)

    def submit(self, kind: str = "verify", **fields: Any) -> TestResponse:
        """Send a form; bytes become files."""
        data = {name: (io.BytesIO(v), f"{name}.bin") if isinstance(v, bytes) else v for name, v in fields.items()}
        return self.post(f"/jobs?kind={kind}", data=data)

    def _call(self, method: str, path: str, **options: Any) -> TestResponse:
        headers = {"Authorization": f"Bearer {self.key}"} | options.pop("headers", {})
        client = self.app.test_client()
        answer = client.open(f"/api/v1{path}", method=method, headers=headers, buffered=True, **options)
        hold_to_description(self.app, answer)
        return answer


def hold_to_description(app: Flask, answer: TestResponse) -> None:
    """Every answer that a test gets must be as its operation describes it."""
    if answer.mimetype == "application/problem+json":
        documents.Problem.model_validate_json(answer.get_data())
        return
    try:
        endpoint, _ = app.url_map.bind("localhost").match(answer.request.path, answer.request.method)
    except HTTPException:
        return
    operation = next((each for each in OPERATIONS if f"api.{each.name}" == endpoint), None)
    if operation is None or answer.status_code == 304:
        return
    assert answer.status_code == operation.status
    assert answer.mimetype in operation.media or "*/*" in operation.media or not operation.media
    if operation.answer and answer.mimetype == operation.media[0] and "Content-Encoding" not in answer.headers:
        operation.answer.model_validate_json(answer.get_data())


@pytest.fixture
def caller(app: Flask, database: Database) -> Caller:
    """A caller with the first person's key."""
    first = create_first_person(database)
    assert first is not None
    return Caller(app, first.api_key)
