"""The answers of an identification."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, Response, jsonify, request, url_for

from shared.errors import InvalidInput
from shared.jobs.identified import AnswerKind, identifications, stream_identifications
from shared.tables import Job
from web.api.jobs import MAX_PAGE, csv_download, load_job, wants_csv, whole_number
from web.identified import identification_json, identifications_csv
from web.services import services


def register(blueprint: Blueprint) -> None:
    """Add the route."""
    blueprint.add_url_rule("/jobs/<job_id>/identifications", "identifications", view_func=list_identifications)


def list_identifications(job_id: str) -> Response:
    """A page of answers as JSON (``after``, ``limit``, ``answer``), or all of them as CSV (``format=csv``)."""
    job = load_job(job_id)
    kind = request.args.get("answer") or None
    if kind and kind not in set(AnswerKind):
        raise InvalidInput("answer_unknown", f"The answers are: {', '.join(AnswerKind)}.")
    if wants_csv():
        return answers_download(job, kind)
    with services().database.read() as session:
        after, limit = whole_number("after") or 0, whole_number("limit", most=MAX_PAGE) or 100
        page, cursor = identifications(session, job.id, after, limit, kind)
    again: dict[str, Any] = request.args.to_dict() | {"after": cursor}
    following = url_for("api.identifications", job_id=job_id, **again) if cursor else None
    rows = [identification_json(answer) for answer in page]
    return jsonify({"identifications": rows, "next": cursor, "links": {"next": following}})


def answers_download(job: Job, kind: str | None = None) -> Response:
    """All answers of a job, or those of one kind, as a CSV download, streamed."""
    answers = stream_identifications(services().database, job.id, kind)
    return csv_download(identifications_csv(answers), f"{job.public_id}.csv")
