"""What may be read without a key: the description of the API, for programs and for people, and its problems."""

from __future__ import annotations

from flask import Blueprint, Response, jsonify, render_template

from shared.problems import PROBLEMS
from web.api.openapi import description

blueprint = Blueprint("reference", __name__)


@blueprint.get("/api/v1/openapi.json")
def openapi() -> Response:
    """The description as OpenAPI 3.1."""
    return jsonify(description())


@blueprint.get("/api/v1/docs")
def docs() -> str:
    """The same as a page."""
    document = description()
    operations = [
        {"method": method.upper(), "path": path, **operation}
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    ]
    return render_template("api.html", document=document, operations=operations)


@blueprint.get("/problems")
def problems() -> str:
    """Every kind of problem with its cause and cure; the ``type`` of a problem document leads here."""
    return render_template("problems.html", problems=sorted(PROBLEMS.items()))
