"""``/api/v1``: JSON in, JSON out; 202 for queued work; problem documents for errors."""

from __future__ import annotations

from flask import Blueprint, Flask, Response, jsonify

from shared.errors import NotFound
from web import auth
from web.api import files, identifications, jobs, models, trials

blueprint = Blueprint("api", __name__, url_prefix="/api/v1")
jobs.register(blueprint)
identifications.register(blueprint)
models.register(blueprint)
files.register(blueprint)
trials.register(blueprint)


@blueprint.before_request
def _identify() -> None:
    auth.set_person(auth.key_person())


@blueprint.route("/<path:path>", methods=["GET", "POST", "PUT", "DELETE"])
def unknown(path: str) -> Response:
    raise NotFound("path_unknown", f"There is nothing at /api/v1/{path}.")


def register_health(app: Flask) -> None:
    """``GET /healthz``: the web process answers; no key needed, nothing is told."""
    app.add_url_rule("/healthz", "healthz", lambda: jsonify({"status": "ok"}))
