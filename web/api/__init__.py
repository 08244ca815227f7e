"""``/api/v1``: JSON in, JSON out; 202 for queued work; problem documents for errors."""

from __future__ import annotations

from flask import Blueprint, Flask, Response, jsonify, request

from web import auth, limits
from web.api import (
    comparisons,
    datasets,
    evaluations,
    events,
    files,
    identifications,
    jobs,
    models,
    parts,
    reference,
    results,
    trials,
    uploads,
    webhooks,
)
from web.api.streams import compress
from web.services import services

blueprint = Blueprint("api", __name__, url_prefix="/api/v1")
for part in (jobs, events, results, comparisons, identifications, trials, files, uploads, parts, datasets, models):
    part.add_routes(blueprint)
for part in (evaluations, webhooks):
    part.add_routes(blueprint)


@blueprint.before_request
def _identify() -> None:
    person = auth.key_person()
    auth.set_person(person)
    limits.check(services().limiter, person.id)


@blueprint.before_app_request
def _identify_the_lost() -> None:
    """Without a key nothing is told, not even which paths there are."""
    if request.routing_exception and request.path.startswith(f"{blueprint.url_prefix}/"):
        _identify()


blueprint.after_request(limits.tell)


@blueprint.after_request
def _tag_and_compress(response: Response) -> Response:
    """Answers that the caller has already are not sent again; the tag is weak, for it is of the uncompressed text."""
    if request.method in ("GET", "HEAD") and response.status_code == 200:
        if not response.is_streamed:
            response.add_etag(weak=True)
        if response.get_etag()[0]:  # never for a stream without one: its length would be found by reading it all
            response.make_conditional(request)
    return compress(response)


def register(app: Flask) -> None:
    """Add the API to ``app``, its description, and ``GET /healthz``: it answers, no key needed, nothing is told."""
    app.register_blueprint(blueprint)
    app.register_blueprint(reference.blueprint)
    app.add_url_rule("/healthz", "healthz", lambda: jsonify({"status": "ok"}))
