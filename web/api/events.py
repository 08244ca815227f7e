"""Server-sent events: the job each time it changes, until it has ended."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator
from itertools import chain

from flask import Blueprint, Response, request, stream_with_context

from shared.errors import Unavailable
from shared.tables import JobState
from web import present
from web.api.jobs import load_job
from web.api.operations import Operation, register
from web.api.waiting import looks
from web.services import services

LONGEST = 600.0  # seconds; a browser opens the stream anew by itself
BEAT_SECONDS = 15.0  # of silence after which a comment is sent: proxies close what is silent


def add_routes(blueprint: Blueprint) -> None:
    """Add the route."""
    register(
        blueprint,
        Operation(
            "GET",
            "/jobs/{job_id}/events",
            events,
            "Progress as server-sent events",
            media=("text/event-stream",),
            accepts=("Last-Event-ID",),
        ),
    )


def events(job_id: str) -> Response:
    """An event ``job`` with the job as its data, now and after each change; the last when it has ended.

    The stream ends after ten minutes at the latest; open it anew with ``Last-Event-ID``, as browsers do.
    """
    load_job(job_id)
    places = services().places_to_wait
    if not places.acquire(blocking=False):
        raise Unavailable("streams_busy", "The server watches as many jobs as it can. Poll the job instead.")
    known = request.headers.get("Last-Event-ID", "")
    response = Response(stream_with_context(_events(job_id, known)), mimetype="text/event-stream")
    response.call_on_close(places.release)
    return response


def _events(job_id: str, known: str) -> Iterator[str]:
    end, spoken = time.monotonic() + LONGEST, time.monotonic()
    yield "retry: 2000\n\n"
    for _ in chain([None], looks(end)):
        job = load_job(job_id)
        data = json.dumps(present.job_json(job), ensure_ascii=False)
        tag = hashlib.sha256(data.encode()).hexdigest()[:16]
        if tag != known:
            known, spoken = tag, time.monotonic()
            yield f"id: {tag}\nevent: job\ndata: {data}\n\n"
        elif time.monotonic() - spoken > BEAT_SECONDS:
            spoken = time.monotonic()
            yield ": still here\n\n"
        if JobState(job.state).ended:
            return
