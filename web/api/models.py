"""Model versions: list, look, make default, delete."""

from __future__ import annotations

from http import HTTPStatus

from flask import Blueprint, Response, jsonify

from shared import audit, registry
from web import auth, present
from web.api import documents
from web.api.operations import Operation, register
from web.cards import card_of
from web.services import services

PROMOTED = "model.default"  # the action in the audit events


def add_routes(blueprint: Blueprint) -> None:
    """Add the routes."""
    one = documents.Model
    register(
        blueprint,
        Operation("GET", "/models", list_models, "All model versions, newest first", documents.ModelList),
        Operation("GET", "/models/{name}", get_model, "One model, by name, name@version or digest", one),
        Operation("GET", "/models/{name}/card", get_card, "Its card", media=("text/markdown",)),
        Operation("POST", "/models/{name}/default", make_default, "Verify with it where no model is named", one),
        Operation("DELETE", "/models/{name}", delete_model, "Delete it; its results are kept", status=204, media=()),
    )


def list_models() -> Response:
    with services().database.read() as session:
        found = registry.list_models(session)
    return jsonify({"models": [present.model_json(model, is_default) for model, is_default in found]})


def get_model(name: str) -> Response:
    with services().database.read() as session:
        model = registry.find_model(session, name)
        is_default = registry.is_default(session, model)
    return jsonify(present.model_json(model, is_default))


def get_card(name: str) -> Response:
    """The model card, as a Markdown file."""
    with services().database.read() as session:
        model = registry.find_model(session, name)
        text = card_of(session, model)
    response = Response(text, mimetype="text/markdown")
    response.headers.set("Content-Disposition", "attachment", filename=f"{model.label}.md")
    return response


def make_default(name: str) -> Response:
    """Have verifications that name no model use this one."""
    promote(name, auth.current_person().id)
    return get_model(name)


def promote(name: str, person_id: int, note: str = "") -> str:
    """Make a model the default, and keep who did and, where there is a ``note``, why. Returns the model's label."""
    with services().database.write() as session:
        model = registry.find_model(session, name)
        registry.set_default(session, model)
        audit.note(session, person_id, PROMOTED, model.label, **({"note": note} if note else {}))
    return model.label


def delete_model(name: str) -> Response:
    """Retire a model version; jobs that wait for it fail with ``model_deleted``, its results are kept."""
    retire(name, auth.current_person().id)
    return Response(status=HTTPStatus.NO_CONTENT)


def retire(name: str, person_id: int) -> None:
    """Delete a model version, and note who did."""
    with services().database.write() as session:
        model = registry.find_model(session, name)
        registry.delete_model(session, model)
        audit.note(session, person_id, "model.delete", model.label, digest=model.digest)
