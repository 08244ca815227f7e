"""The answers of an identification."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, Response, jsonify, request, url_for
from pydantic import Field

from shared.jobs.identified import AnswerKind, identifications, stream_identifications
from shared.tables import Job
from web.api import documents
from web.api.jobs import load_job
from web.api.operations import CSV, JSON, NDJSON, Operation, PageQuery, TableQuery, register
from web.api.streams import csv_download, ndjson_download, wanted_format
from web.identified import identification_json, identifications_csv
from web.services import services


class IdentificationsQuery(PageQuery, TableQuery):
    """Which answers, and how."""

    answer: AnswerKind | None = Field(default=None, description="only these; error: only the errors")


def add_routes(blueprint: Blueprint) -> None:
    """Add the route."""
    register(
        blueprint,
        Operation(
            "GET",
            "/jobs/{job_id}/identifications",
            list_identifications,
            "The answers of an identification: a page as JSON, all as NDJSON or CSV",
            documents.IdentificationList,
            IdentificationsQuery,
            media=(JSON, NDJSON, CSV),
            endpoint="identifications",
        ),
    )


def list_identifications(job_id: str, query: IdentificationsQuery) -> Response:
    """A page of answers as JSON, or all of them from the cursor on as NDJSON or CSV. They are answered in order."""
    job = load_job(job_id)
    form = wanted_format(query.format)
    if form == "csv":
        return answers_download(job, query.answer, query.after)
    if form == "ndjson":
        answers = stream_identifications(services().database, job.id, query.answer, query.after)
        return ndjson_download(map(identification_json, answers), f"{job.public_id}.ndjson")
    with services().database.read() as session:
        page, cursor = identifications(session, job.id, query.after, query.limit, query.answer)
    again: dict[str, Any] = request.args.to_dict() | {"after": cursor}
    following = url_for("api.identifications", job_id=job_id, **again) if cursor else None
    rows = [identification_json(answer) for answer in page]
    return jsonify({"identifications": rows, "next": cursor, "links": {"next": following}})


def answers_download(job: Job, kind: str | None = None, after: int = 0) -> Response:
    """All answers of a job, or those of one kind, as a CSV download, streamed."""
    answers = stream_identifications(services().database, job.id, kind, after)
    return csv_download(identifications_csv(answers), f"{job.public_id}.csv")
