"""The description of the API (OpenAPI 3.1), made of its operations and of the pydantic models that validate."""

from __future__ import annotations

import re
from functools import cache
from http import HTTPStatus
from importlib.metadata import version
from typing import Any

from pydantic import BaseModel

from shared.jobs import uploads
from shared.specs import SPECS, JobMarks
from web.api import documents, webhook_documents
from web.api.idempotency import MAX_KEY
from web.api.operations import MAX_ORDINAL, OPERATIONS, Operation

REF = "#/components/schemas/{model}"
PROBLEM = "application/problem+json"
BYTES = {"type": "string", "contentMediaType": "application/octet-stream"}
DIGEST = {
    "type": "string",
    "pattern": f"^{uploads.DIGEST.pattern}$",
    "description": "of a file that was sent before, in place of the file",
}
REFERENCES = {"reference": BYTES, "reference_digest": DIGEST}
ACCEPTED = {  # request headers
    "Idempotency-Key": "1 to 255 printable ASCII characters; the same request with it is done once, for 48 hours",
    "Prefer": "wait=30: hold the answer back for up to so many seconds (at most 60), until the job ends or changes",
    "Content-Digest": "sha-256=:BASE64: of the body (RFC 9530); what arrives is checked against it",
    "Last-Event-ID": "the id of the last event that was seen; only what has changed since is told",
    "Upload-Offset": "bytes that have arrived, where this part begins",
    "If-None-Match": "the ETag of an answer that is at hand; 304 when it still holds",
}
TEXT = {"type": "string"}
SHAPES: dict[str, dict[str, Any]] = {  # of headers and of parts of paths; all others are any text
    "Idempotency-Key": TEXT | {"pattern": f"^[ -~]{{1,{MAX_KEY}}}$"},
    "Content-Digest": TEXT | {"pattern": "^sha-256=:[A-Za-z0-9+/]{43}=:$"},
    "Upload-Offset": TEXT | {"pattern": "^[0-9]{1,18}$"},
    "ordinal": {"type": "integer", "minimum": 1, "maximum": MAX_ORDINAL},
    "number": {"type": "integer", "minimum": 0, "maximum": MAX_ORDINAL},
    "digest": {name: DIGEST[name] for name in ("type", "pattern")},
}
UNSAID = ("*/*", "text/event-stream")  # media of which a schema says nothing
NEEDED = ("Content-Digest", "Upload-Offset")  # headers without which a request is refused
TOLD = {  # headers of answers
    "Location": "where the job, or what was made, is",
    "Retry-After": "seconds after which to ask again: half of what is left of the job, by its measured rate",
    "RateLimit": "requests left (r) and seconds until they begin anew (t)",
    "ETag": "changes with the answer; send it as If-None-Match",
}
# Answers whose thing other operations are about: the part of their paths that names it, and where the answer does.
NAMED: dict[type[BaseModel] | None, tuple[str, str]] = {
    documents.Job: ("job_id", "id"),
    documents.Model: ("name", "label"),
    documents.StoredFile: ("digest", "digest"),
    documents.PartialUpload: ("upload_id", "id"),
    webhook_documents.Webhook: ("webhook_id", "id"),
    webhook_documents.Delivery: ("event_id", "id"),
}
HEADERS = {
    HTTPStatus.ACCEPTED: ("Location", "Retry-After"),
    HTTPStatus.CREATED: ("Location",),
    HTTPStatus.OK: ("ETag",),
}
SIGNED = {  # headers of webhooks
    "webhook-id": "of the event, the same in each try",
    "webhook-timestamp": "of this try, in seconds since 1970; refuse what is more than five minutes off",
    "webhook-signature": "v1,BASE64 of HMAC-SHA256 over ID.TIMESTAMP.BODY (Standard Webhooks)",
}
ABOUT = """Batch verification of signatures. Send the key as `Authorization: Bearer KEY`.

Queued work is answered with 202, `Location` and `Retry-After`. Errors are problem documents (RFC 9457).

Within version 1 fields and operations are only added. One that is to go is announced in the changelog and answered
with the headers `Deprecation` and `Sunset` for at least twelve months before."""


class Schemas:
    """Collects the schemas that a description refers to."""

    def __init__(self) -> None:
        self.found: dict[str, Any] = {}

    def refer(self, model: type[BaseModel]) -> dict[str, Any]:
        """A reference to ``model``."""
        self.found[model.__name__] = self.inline(model, "serialization")
        return {"$ref": REF.format(model=model.__name__)}

    def inline(self, model: type[BaseModel], mode: Any = "validation") -> dict[str, Any]:
        """The schema of ``model`` itself."""
        schema = model.model_json_schema(mode=mode, ref_template=REF)
        self.found |= schema.pop("$defs", {})
        return schema


@cache
def description() -> dict[str, Any]:
    """The whole document."""
    schemas = Schemas()
    paths: dict[str, dict[str, Any]] = {}
    for operation in OPERATIONS:
        paths.setdefault(f"/api/v1{operation.path}", {})[operation.method.lower()] = _operation(operation, schemas)
    problem = schemas.refer(documents.Problem)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Countersign", "version": version("countersign"), "description": ABOUT},
        "security": [{"key": []}],
        "paths": paths,
        "webhooks": {"jobEnded": {"post": _told(schemas)}},
        "components": {
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
            "responses": {"Problem": {"description": "A problem document", "content": {PROBLEM: {"schema": problem}}}},
            "schemas": dict(sorted(schemas.found.items())),
        },
    }


def _told(schemas: Schemas) -> dict[str, Any]:
    """What receivers of webhooks are sent."""
    headers = [
        {"name": name, "in": "header", "required": True, "description": text, "schema": {"type": "string"}}
        for name, text in SIGNED.items()
    ]
    return {
        "operationId": "job_ended",
        "summary": "A job has ended",
        "description": "Sent until it is answered with 2xx, for about a day; redirects are not followed.",
        "security": [],
        "parameters": headers,
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": schemas.refer(webhook_documents.Event)}},
        },
        "responses": {"2XX": {"description": "It has arrived"}},
    }


def _operation(operation: Operation, schemas: Schemas) -> dict[str, Any]:
    about = operation.view.__doc__ or operation.summary
    described: dict[str, Any] = {
        "operationId": operation.name,
        "tags": [operation.path.split("/")[1]],
        "summary": operation.summary,
        "description": re.sub(r"``([^`]+)``", r"`\1`", about),
        "parameters": [*_path(operation), *_query(operation, schemas), *_headers(operation)],
        "responses": _answers(operation, schemas),
    }
    if operation.body:
        described["requestBody"] = {"required": operation.body != "part", "content": _body(operation, schemas)}
    return described


def _path(operation: Operation) -> list[dict[str, Any]]:
    names = re.findall(r"{(\w+)}", operation.path)
    return [{"name": name, "in": "path", "required": True, "schema": SHAPES.get(name, TEXT)} for name in names]


def _query(operation: Operation, schemas: Schemas) -> list[dict[str, Any]]:
    if not operation.query.model_fields:
        return []
    model = schemas.inline(operation.query)
    needed = model.get("required", ())
    return [
        {"name": name, "in": "query", "description": schema.pop("description"), "schema": schema}
        | ({"required": True} if name in needed else {})
        for name, schema in model["properties"].items()
    ]


def _headers(operation: Operation) -> list[dict[str, Any]]:
    return [
        {"name": name, "in": "header", "description": ACCEPTED[name], "schema": SHAPES.get(name, TEXT)}
        | ({"required": True} if name in NEEDED else {})
        for name in operation.accepts
    ]


def _answers(operation: Operation, schemas: Schemas) -> dict[str, Any]:
    status = HTTPStatus(operation.status)
    content: dict[str, Any] = {media: {} if media in UNSAID else {"schema": TEXT} for media in operation.media}
    if operation.answer:
        content[operation.media[0]]["schema"] = schemas.refer(operation.answer)
    told = (*HEADERS.get(status, ()), "RateLimit")
    answer: dict[str, Any] = {"description": operation.summary}
    if content:
        answer["content"] = content
    answer["headers"] = {name: {"description": TOLD[name], "schema": TEXT} for name in told}
    if links := _links(operation):
        answer["links"] = links
    answers = {str(int(status)): answer, "default": {"$ref": "#/components/responses/Problem"}}
    return answers | ({"304": {"description": "It has not changed"}} if "If-None-Match" in operation.accepts else {})


def _links(operation: Operation) -> dict[str, Any]:
    """What can be done with the thing that an answer tells of: its name goes where the paths take it."""
    if operation.answer not in NAMED:
        return {}
    part, place = NAMED[operation.answer]
    kept = {name: f"$request.path.{name}" for name in re.findall(r"{(\w+)}", operation.path)}
    return {
        other.name: {"operationId": other.name, "parameters": kept | {part: f"$response.body#/{place}"}}
        for other in OPERATIONS
        if re.findall(r"{(\w+)}", other.path) == list(dict.fromkeys([*kept, part])) and other is not operation
    }


def _body(operation: Operation, schemas: Schemas) -> dict[str, Any]:
    if operation.body in ("bytes", "part"):
        return {"application/octet-stream": {"schema": BYTES}}
    if operation.body == "job":
        forms = [_form(kind, spec, schemas) for kind, spec in SPECS.items()]
        return {"multipart/form-data": {"schema": {"oneOf": forms}}}
    if isinstance(operation.body, type):
        return {"application/json": {"schema": schemas.inline(operation.body)}}
    return {}


def _form(kind: str, spec: type[BaseModel], schemas: Schemas) -> dict[str, Any]:
    """The form that queues a job of ``kind``: the fields of its specification, its marks, and its files."""
    own, marks = schemas.inline(spec), schemas.inline(JobMarks)
    files: dict[str, Any] = {"archive": BYTES, "archive_digest": DIGEST}
    if kind == "verify":
        files |= {"questioned": BYTES, "questioned_digest": DIGEST}
        files |= {name: {"type": "array", "items": item} for name, item in REFERENCES.items()}
    return {
        "title": kind,
        "description": own.get("description", ""),
        "type": "object",
        "properties": own["properties"] | marks["properties"] | files,
        "required": ["kind"],
    }
