"""Errors to HTTP, once: problem documents (RFC 9457) for the API, pages for people. Never a traceback."""

from __future__ import annotations

import errno
import logging
import re
from dataclasses import asdict
from http import HTTPStatus
from typing import Any
from urllib.parse import quote

from flask import Flask, Response, jsonify, render_template, request
from flask_wtf.csrf import CSRFError
from gunicorn.http.errors import ParseException
from pydantic import ValidationError
from sqlalchemy.exc import DataError, InterfaceError, OperationalError
from werkzeug.exceptions import HTTPException, InternalServerError, MethodNotAllowed

from shared.errors import CountersignError, Fault, InvalidInput, NotFound, StorageFull, Unavailable
from shared.problems import problem_type

log = logging.getLogger(__name__)

RETRY_AFTER = {HTTPStatus.SERVICE_UNAVAILABLE: "30", HTTPStatus.INSUFFICIENT_STORAGE: "300"}


def is_api() -> bool:
    """Whether the request is a program's."""
    return f"{request.path}/".startswith(("/api/", "/healthz/"))


def invalid_fields(error: ValidationError, code: str = "field_invalid", pointers: bool = False) -> InvalidInput:
    """A pydantic error as ours: one fault for each field; ``pointers`` for a body that is JSON."""
    faults = tuple(
        _fault(code, item["msg"], tuple(map(str, item["loc"])), pointers)
        for item in error.errors(include_url=False, include_context=False, include_input=False)
    )
    listed = "; ".join(f"{fault.where}: {fault.message}" for fault in faults)
    return InvalidInput(code, f"Some fields cannot be used: {listed}.", faults)


def _fault(code: str, message: str, place: tuple[str, ...], pointers: bool) -> Fault:
    steps = (part.replace("~", "~0").replace("/", "~1") for part in place)
    pointer = "#" + "".join(f"/{quote(step)}" for step in steps) if pointers else None
    return Fault(code, message, ".".join(place) or "request", pointer)


def fault_json(code: str, message: str, where: str, pointer: str | None = None) -> dict[str, Any]:
    """One single thing that is wrong, as the API tells it: lines of a manifest also as numbers."""
    line = re.fullmatch(r"line (\d+)", where)
    found = {"code": code, "message": message, "where": where, "pointer": pointer}
    return found | {"line": int(line[1]) if line else None}


def register(app: Flask) -> None:
    """Have ``app`` answer every error as a problem or a page."""
    app.register_error_handler(CountersignError, _known)
    app.register_error_handler(ValidationError, lambda error: _known(invalid_fields(error)))
    app.register_error_handler(DataError, _not_storable)
    app.register_error_handler(OperationalError, _database_away)
    app.register_error_handler(InterfaceError, _database_away)
    app.register_error_handler(CSRFError, _stale_form)
    app.register_error_handler(HTTPException, _http)
    app.register_error_handler(OSError, _os_error)
    app.register_error_handler(ParseException, _unreadable)


def _known(error: CountersignError) -> Response:
    return _answer(error.status, error.code, error.message, error.faults)


def _not_storable(_: DataError) -> Response:
    return _answer(
        422,
        "value_invalid",
        "The request holds a value that cannot be used: a NUL character, or a number out of range.",
    )


def _database_away(error: OperationalError | InterfaceError) -> Response:
    log.error("the database is away: %s", error.orig)
    away = "The database is not reachable, or busy for too long. Try again in a minute."
    return _known(Unavailable("database_unavailable", away))


def _stale_form(_: CSRFError) -> Response:
    return _answer(400, "form_stale", "This form is too old, or from another browser. Go back, reload it, send again.")


def _http(error: HTTPException) -> Response:
    status = error.code or 500
    if isinstance(error, InternalServerError):
        log.error("a request failed", exc_info=error.original_exception or error)
        return _answer(500, "internal_error", "Something went wrong on our side; it is in the server's log. Try again.")
    if error.response is not None:  # a redirect, for one
        return Response(error.get_body(), status=status, headers=dict(error.get_headers()))
    if status == HTTPStatus.NOT_FOUND and is_api():
        said = f"There is nothing at {request.path}. The API is described at /api/v1/docs."
        return _known(NotFound("path_unknown", said))
    message = {
        404: "There is no such page.",
        413: "The request is larger than this server allows, or has more than 1,000 parts.",
    }
    # Python's phrase for 413 depends on its version; codes are stable.
    code = "upload_too_large" if status == 413 else HTTPStatus(status).phrase.lower().replace(" ", "_")
    response = _answer(status, code, message.get(status, error.description or HTTPStatus(status).phrase))
    if isinstance(error, MethodNotAllowed):
        response.allow.update(error.valid_methods or ())
    return response


def _unreadable(error: Exception) -> Response:
    """What the server finds only while the body is read: a chunk that is none, say."""
    return _answer(400, "bad_request", f"The body of the request cannot be read: {error}. Send it again, whole.")


def _os_error(error: OSError) -> Response:
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return _known(StorageFull())
    log.error("a request failed", exc_info=error)
    return _answer(500, "internal_error", "Something went wrong on our side; it is in the server's log. Try again.")


def _answer(status: int, code: str, message: str, faults: tuple[Fault, ...] = ()) -> Response:
    if is_api():
        body: dict[str, Any] = {
            "type": problem_type(code),
            "title": HTTPStatus(status).phrase,
            "status": status,
            "detail": message,
            "code": code,
            "errors": [fault_json(**asdict(fault)) for fault in faults],
        }
        response = jsonify(body)
        response.mimetype = "application/problem+json"
    else:
        response = Response(render_template("error.html", status=status, code=code, message=message, faults=faults))
    response.status_code = status
    if status in RETRY_AFTER:
        response.headers["Retry-After"] = RETRY_AFTER[HTTPStatus(status)]
    if status == HTTPStatus.UNAUTHORIZED and is_api():
        response.headers["WWW-Authenticate"] = 'Bearer realm="countersign"'
    return response
