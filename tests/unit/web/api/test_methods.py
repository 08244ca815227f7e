"""A path that is there, asked with another method: 405 with the methods it has."""

from __future__ import annotations

import re

from tests.unit.web.conftest import Caller
from web.api.operations import OPERATIONS


def test_other_methods_are_refused_and_the_right_ones_told(caller: Caller) -> None:
    key = {"Authorization": f"Bearer {caller.key}"}
    methods: dict[str, set[str]] = {}
    for operation in OPERATIONS:
        methods.setdefault(re.sub("{(ordinal|number)}", "1", operation.path), set()).add(operation.method)
    for path, known in methods.items():
        for method in {"GET", "POST", "PUT", "PATCH", "DELETE", "TRACE"} - known:
            answer = caller.app.test_client().open(f"/api/v1{path}", method=method, headers=key)
            assert (answer.status_code, answer.get_json()["code"]) == (405, "method_not_allowed"), path
            assert set(answer.allow) - {"HEAD", "OPTIONS"} == known, path


def test_an_unknown_path_says_where_the_description_is(caller: Caller) -> None:
    answer = caller.get("/nothing")
    assert answer.status_code == 404
    assert answer.get_json()["code"] == "path_unknown"
    assert "/api/v1/docs" in answer.get_json()["detail"]
