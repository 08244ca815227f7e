"""Pictures of regions. The io worker makes them, so that no image decoder runs in the web process."""

from __future__ import annotations

import time
from http import HTTPStatus

from flask import Blueprint, Response, current_app, send_file

from shared.errors import NotFound
from shared.jobs import queries
from shared.queue import TaskNames
from shared.tables import Identification, Region
from shared.views import NEAREST, SENT, TEST, answer_key, canvas_named, view_key
from web.services import services

WAIT = "VIEW_WAIT_SECONDS"  # the application's setting: how long a picture is waited for
WAIT_SECONDS = 5.0
LOOK_SECONDS = 0.03
NO_PICTURE = "no-picture.svg"


def register(blueprint: Blueprint) -> None:
    """Add the routes."""
    blueprint.add_url_rule("/regions/<int:region_id>/<view>.png", view_func=region_view)
    blueprint.add_url_rule("/jobs/<job_id>/answers/<int:ordinal>/<which>.png", view_func=answer_view)


def region_view(region_id: int, view: str) -> Response:
    """A region as it was ``sent``, or as the network named sees it. Waits for the worker that makes it.

    A placeholder otherwise, so that no page that was drawn a moment ago is left with a broken picture: for an image
    since found unusable with 200, for one that is still being made with 202, while the queue is away with 503.

    Raises:
        NotFound: no such region or view.
    """
    with services().database.read() as session:
        region = session.get(Region, region_id)
    if region is None or (view != SENT and canvas_named(view) is None):
        raise NotFound("view_unknown", "There is no such picture.")
    return _picture(view_key(region_id, view), bool(region.code), TaskNames.RENDER, str(region_id), view)


def answer_view(job_id: str, ordinal: int, which: str) -> Response:
    """Beside an answer of an identification: the ``test`` image, or one of its ``nearest`` category; as above.

    Raises:
        NotFound: no such answer or picture.
    """
    with services().database.read() as session:
        job = queries.get_job(session, job_id)
        answer = session.get(Identification, (job.id, ordinal))
    if answer is None or which not in (TEST, NEAREST) or (which == NEAREST and answer.nearest is None):
        raise NotFound("view_unknown", "There is no such picture.")
    unusable = which == TEST and answer.nearest is None
    return _picture(answer_key(job_id, ordinal, which), unusable, TaskNames.PICTURE, job_id, str(ordinal), which)


def _picture(key: str, unusable: bool, task: str, *ids: str) -> Response:
    """The blob ``key``, which the ``task`` of these ids makes; the placeholder where that is ``unusable``, or late."""
    if not services().store.exists(key):
        if unusable:
            return _no_picture(HTTPStatus.OK)
        if not services().doorbell.ring(task, *ids):
            return _no_picture(HTTPStatus.SERVICE_UNAVAILABLE)
        if not _made(key):
            return _no_picture(HTTPStatus.ACCEPTED)
    response = send_file(services().store.open(key), mimetype="image/png")
    response.headers["Cache-Control"] = "private, max-age=86400, immutable"
    return response


def _made(key: str) -> bool:
    """Wait for the picture."""
    until = time.monotonic() + current_app.config.get(WAIT, WAIT_SECONDS)
    while time.monotonic() < until:
        if services().store.exists(key):
            return True
        time.sleep(LOOK_SECONDS)
    return services().store.exists(key)


def _no_picture(status: HTTPStatus) -> Response:
    response = current_app.send_static_file(NO_PICTURE)
    response.status_code = status
    response.headers["Cache-Control"] = "no-store"
    return response
