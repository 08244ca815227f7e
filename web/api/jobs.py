"""Jobs: submit, look, cancel, retry; and their results and epochs."""

from __future__ import annotations

from collections.abc import Iterator
from http import HTTPStatus
from typing import Any

from flask import Blueprint, Response, jsonify, request, stream_with_context, url_for

from shared.errors import InvalidInput
from shared.jobs import lifecycle, queries
from shared.queue import SOLO_TASKS, TaskNames
from shared.tables import Job, Verdict
from web import auth, present
from web.api.idempotency import answer_once
from web.services import services
from web.uploads import submit_from_request

MAX_PAGE = 1000
MAX_ORDINAL = 2**62


def register(blueprint: Blueprint) -> None:
    """Add the routes."""
    blueprint.add_url_rule("/jobs", view_func=submit_job, methods=["POST"])
    blueprint.add_url_rule("/jobs", view_func=list_jobs, methods=["GET"])
    blueprint.add_url_rule("/jobs/<job_id>", view_func=get_job)
    blueprint.add_url_rule("/jobs/<job_id>/results", view_func=results)
    blueprint.add_url_rule(f"/jobs/<job_id>/results/<int(max={MAX_ORDINAL}):ordinal>", view_func=result)
    blueprint.add_url_rule("/jobs/<job_id>/epochs", view_func=epochs)
    blueprint.add_url_rule("/jobs/<job_id>/cancel", view_func=cancel_job, methods=["POST"])
    blueprint.add_url_rule("/jobs/<job_id>/retry", view_func=retry_job, methods=["POST"])


def load_job(job_id: str) -> Job:
    """The job that the address names."""
    with services().database.read() as session:
        return queries.get_job(session, job_id)


def _job_response(job: Job, status: HTTPStatus = HTTPStatus.OK) -> Response:
    response = jsonify(present.job_json(job))
    response.status_code = status
    if status == HTTPStatus.ACCEPTED:
        response.headers["Location"] = url_for("api.get_job", job_id=job.public_id)
    wait = present.retry_after(job)
    if wait:
        response.headers["Retry-After"] = str(wait)
    return response


def submit_job() -> Response:
    """Queue a job. ``kind`` may stand in the form or the query; see ``shared.specs`` for the other fields."""
    services().doorbell.check()  # before the upload is read: nothing is taken that cannot be queued
    return answer_once(_submit, _accepted)


def _submit(token: str | None) -> Response:
    kind = request.args.get("kind") or request.form.get("kind", "")
    return _accepted(submit_from_request(kind, auth.current_person().id, token).public_id)


def _accepted(job_id: str) -> Response:
    return _job_response(load_job(job_id), HTTPStatus.ACCEPTED)


def list_jobs() -> Response:
    """Jobs, newest first; ``next`` is the cursor for ``before``."""
    with services().database.read() as session:
        jobs, cursor = queries.list_jobs(session, whole_number("before"), whole_number("limit", most=MAX_PAGE) or 50)
    return jsonify({"jobs": [present.job_json(job) for job in jobs], "next": cursor})


def get_job(job_id: str) -> Response:
    return _job_response(load_job(job_id))


def results(job_id: str) -> Response:
    """A page of results as JSON (``after``, ``limit``, ``verdict``), or all of them as CSV (``format=csv``)."""
    job = load_job(job_id)
    verdict = request.args.get("verdict") or None
    if verdict and verdict not in set(Verdict):
        raise InvalidInput("verdict_unknown", f"The verdicts are: {', '.join(Verdict)}.")
    if wants_csv():
        return csv_response(job, verdict)
    with services().database.read() as session:
        page, cursor = queries.answers(
            session, job.id, whole_number("after") or 0, whole_number("limit", most=MAX_PAGE) or 100, verdict
        )
    again: dict[str, Any] = request.args.to_dict() | {"after": cursor}
    following = url_for("api.results", job_id=job_id, **again) if cursor else None
    return jsonify(
        {"results": [present.answer_json(answer) for answer in page], "next": cursor, "links": {"next": following}}
    )


def csv_response(job: Job, verdict: str | None = None) -> Response:
    """All scored comparisons of a job as a CSV download, streamed."""
    answers = queries.stream_answers(services().database, job.id, verdict)
    return csv_download(present.answers_csv(answers), f"{job.public_id}.csv")


def wants_csv() -> bool:
    """Whether the request asks for CSV, by ``format`` or by what it accepts."""
    wanted = request.args.get("format") or request.accept_mimetypes.best_match(["application/json", "text/csv"])
    return wanted in ("csv", "text/csv")


def csv_download(pieces: Iterator[str], filename: str) -> Response:
    """CSV text as a file to be saved, sent as it is made."""
    response = Response(stream_with_context(pieces), mimetype="text/csv; charset=utf-8")
    response.headers["Content-Disposition"] = f'attachment; filename="{filename}"'
    return response


def result(job_id: str, ordinal: int) -> Response:
    """One comparison with its answer."""
    job = load_job(job_id)
    with services().database.read() as session:
        return jsonify(present.answer_json(queries.get_answer(session, job, ordinal)))


def epochs(job_id: str) -> Response:
    """The epochs of a training so far."""
    job = load_job(job_id)
    with services().database.read() as session:
        rows = queries.list_epochs(session, job.id)
    return jsonify({"epochs": [present.epoch_json(epoch) for epoch in rows]})


def cancel_job(job_id: str) -> Response:
    """Ask a job to stop; what is done is kept."""
    load_job(job_id)
    return answer_once(lambda _: _cancel(job_id), _accepted)


def _cancel(job_id: str) -> Response:
    lifecycle.request_cancel(services().database, job_id, auth.current_person().id)
    return _accepted(job_id)


def retry_job(job_id: str) -> Response:
    """Queue a failed or cancelled job again, with only what is missing."""
    load_job(job_id)
    return answer_once(lambda _: _retry(job_id), _accepted)


def _retry(job_id: str) -> Response:
    ring_retry(job_id, auth.current_person().id)
    return _accepted(job_id)


def ring_retry(job_id: str, person_id: int) -> None:
    """Retry a job and wake a worker for it."""
    kind = lifecycle.retry_job(services().database, job_id, person_id)
    tasks = [SOLO_TASKS[kind]] if kind in SOLO_TASKS else [TaskNames.INTAKE, TaskNames.SCORE]
    for task in tasks:
        services().doorbell.ring(task, job_id)


def whole_number(name: str, most: int = 2**62) -> int | None:
    """The whole number in the query under ``name``; None when there is none.

    Raises:
        InvalidInput: code ``parameter_invalid``.
    """
    text = request.args.get(name)
    if text is None:
        return None
    if not text.isascii() or not text.isdigit() or len(text) > 19 or int(text) > most:
        raise InvalidInput("parameter_invalid", f"{name} must be a whole number, at most {most}.")
    return int(text)
