"""Jobs: submit, look, cancel, retry; and the epochs of a training."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any, Literal

from flask import Blueprint, Response, jsonify, request, url_for
from pydantic import Field

from shared.db import utcnow
from shared.errors import Fault, InvalidInput
from shared.jobs import lifecycle, queries
from shared.jobs.pace import seconds_left
from shared.queue import SOLO_TASKS, TaskNames
from shared.tables import Job, JobState
from web import auth, present
from web.api import documents
from web.api.idempotency import answer_once
from web.api.operations import MAX_ORDINAL, MAX_PAGE, Operation, Query, register
from web.api.waiting import looks, place_to_wait, preferred_wait
from web.services import services
from web.uploads import submit_from_request

Kind = Literal["verify", "identify", "train", "evaluate", "tune"]


class SubmitQuery(Query):
    """The kind may stand in the form as well."""

    kind: str | None = Field(default=None, description="what is to be done")


class JobsQuery(Query):
    """Which jobs."""

    before: int | None = Field(default=None, ge=0, le=MAX_ORDINAL, description="cursor: those before this one")
    limit: int = Field(default=50, ge=1, le=MAX_PAGE, description="most jobs of a page")
    kind: Kind | None = Field(default=None, description="only of this kind")
    state: JobState | None = Field(default=None, description="only in this state")
    tag: str | None = Field(default=None, max_length=80, description="only with this tag")
    external_id: str | None = Field(default=None, max_length=255, description="only what the submitter named so")


def add_routes(blueprint: Blueprint) -> None:
    """Add the routes."""
    job, once = documents.Job, ("Idempotency-Key",)
    register(
        blueprint,
        Operation(
            "POST", "/jobs", submit_job, "Queue a job", job, SubmitQuery, HTTPStatus.ACCEPTED, accepts=once, body="job"
        ),
        Operation("GET", "/jobs", list_jobs, "Jobs, newest first", documents.JobList, JobsQuery),
        Operation("GET", "/jobs/{job_id}", get_job, "One job", job, accepts=("Prefer", "If-None-Match")),
        Operation("GET", "/jobs/{job_id}/epochs", epochs, "The epochs of a training so far", documents.EpochList),
        Operation(
            "POST",
            "/jobs/{job_id}/cancel",
            cancel_job,
            "Ask a job to stop; what is done is kept",
            job,
            status=HTTPStatus.ACCEPTED,
            accepts=once,
        ),
        Operation(
            "POST",
            "/jobs/{job_id}/finish",
            finish_job,
            "End a training now, with the best weights so far",
            job,
            status=HTTPStatus.ACCEPTED,
            accepts=once,
        ),
        Operation(
            "POST",
            "/jobs/{job_id}/retry",
            retry_job,
            "Queue a failed or cancelled job again, with only what is missing",
            job,
            status=HTTPStatus.ACCEPTED,
            accepts=once,
        ),
    )


def load_job(job_id: str) -> Job:
    """The job that the address names."""
    with services().database.read() as session:
        return queries.get_job(session, job_id)


def _job_response(job_id: str, status: HTTPStatus = HTTPStatus.OK) -> Response:
    with services().database.read() as session:
        job = queries.get_job(session, job_id)
        left = seconds_left(session, job, utcnow())
    return _told(job, left, status)


def _told(job: Job, left: float | None, status: HTTPStatus, submitter: str | None = None) -> Response:
    response = jsonify(present.job_json(job, submitter))
    response.status_code = status
    if status == HTTPStatus.ACCEPTED:
        response.headers["Location"] = url_for("api.get_job", job_id=job.public_id)
    wait = present.retry_after(job, left)
    if wait:
        response.headers["Retry-After"] = str(wait)
    return response


def _accepted(job_id: str) -> Response:
    return _job_response(job_id, HTTPStatus.ACCEPTED)


def submit_job(query: SubmitQuery) -> Response:
    """Queue a job. ``kind`` may stand in the form or the query; the other fields depend on it."""
    services().doorbell.check()  # before the upload is read: nothing is taken that cannot be queued
    return answer_once(lambda token: _submit(_kind(query), token), _accepted)


def _kind(query: SubmitQuery) -> str:
    told = request.form.get("kind", "")
    if query.kind and told and told != query.kind:
        message = f"The address asks for the kind {query.kind[:40]!r}, the form for {told[:40]!r}. Send one of them."
        raise InvalidInput("field_invalid", message, (Fault("field_invalid", "differs from the address", "kind"),))
    return query.kind or told


def _submit(kind: str, token: str | None) -> Response:
    person = auth.current_person()
    job = submit_from_request(kind, person.id, token)
    with services().database.read() as session:
        left = seconds_left(session, job, utcnow())
    return _told(job, left, HTTPStatus.ACCEPTED, person.name)  # as it was written: it is not read again


def list_jobs(query: JobsQuery) -> Response:
    """Jobs, newest first; ``next`` is the cursor for ``before``."""
    with services().database.read() as session:
        jobs, cursor = queries.list_jobs(session, **query.model_dump())
    again: dict[str, Any] = request.args.to_dict() | {"before": cursor}
    following = url_for("api.list_jobs", **again) if cursor else None
    rows = [present.job_json(job) for job in jobs]
    return jsonify({"jobs": rows, "next": cursor, "links": {"next": following}})


def get_job(job_id: str) -> Response:
    """The job; with ``Prefer: wait=30`` once it has ended, or differs from ``If-None-Match``, or after 30 seconds."""
    seconds = preferred_wait()
    with place_to_wait(seconds) as end:
        seen = queries.glance_at(services().database, job_id)
        for _ in () if _worth_telling(seen) else looks(end):
            seen = queries.glance_at(services().database, job_id)
            if _worth_telling(seen):
                break
    # The tag is older than the answer, if anything: who has it is told of every change.
    response = _nothing_new(seen) if request.if_none_match.contains_weak(seen.mark) else _job_response(job_id)
    response.set_etag(seen.mark, weak=True)
    if end:
        response.headers["Preference-Applied"] = f"wait={seconds}"
    return response


def _worth_telling(seen: queries.Glance) -> bool:
    known = request.if_none_match
    return JobState(seen.state).ended or (bool(known) and not known.contains_weak(seen.mark))


def _nothing_new(seen: queries.Glance) -> Response:
    response = Response(status=HTTPStatus.NOT_MODIFIED)
    if not JobState(seen.state).ended:
        with services().database.read() as session:
            left = seconds_left(session, seen, utcnow())
        response.headers["Retry-After"] = str(present.retry_after(seen, left))
    return response


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


def finish_job(job_id: str) -> Response:
    """End a training now: the best weights so far are calibrated and registered as always."""
    load_job(job_id)
    return answer_once(lambda _: _finish(job_id), _accepted)


def _finish(job_id: str) -> Response:
    person = auth.current_person()
    lifecycle.request_finish(services().database, job_id, person.id, person.name)
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
