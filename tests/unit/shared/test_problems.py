"""Every code in the source has its cause and its cure."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from http import HTTPStatus
from pathlib import Path

import pytest

from shared import errors
from shared.problems import PROBLEMS, problem_type

ROOT = Path(__file__).parents[3]
RAISERS = {kind.__name__ for kind in vars(errors).values() if isinstance(kind, type)} | {
    "Fault",
    "Skipped",
    "_BadCell",
    "_answer",
    "_faulty",
}
CODE = re.compile(r"[a-z]+(_[a-z]+)+|leak|crashed|identical|misplaced")


def codes() -> Iterator[tuple[str, Path]]:
    """Codes as they are written where errors are made, with the file."""
    for top in ("shared", "web", "worker"):
        for path in (ROOT / top).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Call) and getattr(node.func, "id", getattr(node.func, "attr", "")) in RAISERS:
                    for argument in node.args:
                        text = argument.value if isinstance(argument, ast.Constant) else None
                        if isinstance(text, str) and CODE.fullmatch(text):
                            yield text, path


def test_no_code_is_missing() -> None:
    found = dict(codes())
    assert len(found) > 80
    assert {code: str(path) for code, path in found.items() if code not in PROBLEMS} == {}


@pytest.mark.parametrize("status", [400, 404, 405, 406, 408, 413, 414, 415, 429, 500])
def test_codes_made_of_http_statuses(status: int) -> None:
    """Where the server itself refuses, the code is the status's own phrase."""
    phrases = {413: "upload_too_large", 414: "uri_too_long"}  # which depend on Python's version
    assert phrases.get(status, HTTPStatus(status).phrase.lower().replace(" ", "_")) in PROBLEMS


def test_each_is_a_sentence() -> None:
    for code, kind in PROBLEMS.items():
        assert re.fullmatch(r"[a-z]+(_[a-z]+)*", code)
        assert kind.cause.endswith(".")
        assert kind.cure.endswith(".")
    assert problem_type("job_unknown") == "/problems#job_unknown"
