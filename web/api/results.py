"""The results of a verification: a page of JSON, or all of them as NDJSON or CSV."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, Response, jsonify, request, url_for
from pydantic import Field

from shared.jobs import queries
from shared.tables import Job, Verdict
from web import present
from web.api import documents
from web.api.jobs import load_job
from web.api.operations import CSV, JSON, NDJSON, Operation, PageQuery, TableQuery, register
from web.api.streams import csv_download, ndjson_download, wanted_format
from web.services import services


class ResultsQuery(PageQuery, TableQuery):
    """Which results, and how."""

    verdict: Verdict | None = Field(default=None, description="only these; unscorable: only the errors")
    scored: bool = Field(
        default=False,
        description="only as far as everything is scored: the cursor then misses nothing while the job runs",
    )


def add_routes(blueprint: Blueprint) -> None:
    """Add the routes."""
    register(
        blueprint,
        Operation(
            "GET",
            "/jobs/{job_id}/results",
            results,
            "The results of a verification: a page as JSON, all as NDJSON or CSV",
            documents.ResultList,
            ResultsQuery,
            media=(JSON, NDJSON, CSV),
        ),
        Operation(
            "GET", "/jobs/{job_id}/results/{ordinal}", result, "One comparison with its answer", documents.Comparison
        ),
    )


def results(job_id: str, query: ResultsQuery) -> Response:
    """A page of results as JSON, or all of them from the cursor on as NDJSON or CSV."""
    job = load_job(job_id)
    form = wanted_format(query.format)
    if form == "json":
        return _page(job, query)
    with services().database.read() as session:
        up_to = queries.scored_up_to(session, job) if query.scored else None
    part = (query.after, query.scored, queries.MAX_ORDINAL if up_to is None else up_to)
    answers = queries.stream_answers(services().database, job.id, query.verdict, *part)
    if form == "csv":
        response = csv_download(present.answers_csv(answers), f"{job.public_id}.csv")
    else:
        response = ndjson_download(map(present.answer_json, answers), f"{job.public_id}.ndjson")
    if up_to is not None:  # more will come
        response.headers["Link"] = f'<{_address(job, max(up_to, query.after))}>; rel="next"'
    return response


def _page(job: Job, query: ResultsQuery) -> Response:
    with services().database.read() as session:
        up_to = queries.scored_up_to(session, job) if query.scored else None
        part = (query.verdict, query.scored, queries.MAX_ORDINAL if up_to is None else up_to)
        page, cursor = queries.answers(session, job.id, query.after, query.limit, *part)
    if cursor is None and up_to is not None:
        cursor = max(up_to, query.after)
    following = _address(job, cursor) if cursor is not None else None
    rows = [present.answer_json(answer) for answer in page]
    return jsonify({"results": rows, "next": cursor, "links": {"next": following}})


def _address(job: Job, cursor: int) -> str:
    again: dict[str, Any] = request.args.to_dict() | {"after": cursor}
    return url_for("api.results", job_id=job.public_id, **again)


def csv_response(job: Job, verdict: str | None = None) -> Response:
    """All scored comparisons of a job as a CSV download, streamed."""
    answers = queries.stream_answers(services().database, job.id, verdict)
    return csv_download(present.answers_csv(answers), f"{job.public_id}.csv")


def result(job_id: str, ordinal: int) -> Response:
    """One comparison with its answer."""
    with services().database.read() as session:
        job = queries.get_job(session, job_id)
        return jsonify(present.answer_json(queries.get_answer(session, job, ordinal)))
