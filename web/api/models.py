"""Model versions: list, look, download, upload, choose for a role, archive, delete."""

from __future__ import annotations

from collections.abc import Callable
from http import HTTPStatus
from typing import Any

from flask import Blueprint, Response, jsonify, request, url_for
from pydantic import Field
from sqlalchemy.orm import Session

from shared import audit, registry
from shared.specs import ModelName
from shared.tables import ModelVersion
from web import auth, present
from web.api import documents
from web.api.idempotency import answer_once
from web.api.operations import MAX_ORDINAL, MAX_PAGE, Operation, Query, register
from web.api.uploads import body_pieces, wanted_digest
from web.cards import card_of
from web.model_files import model_file_response, receive_model
from web.services import services

# Actions in the audit events.
PROMOTED, CANDIDATE, NO_CANDIDATE = "model.default", "model.candidate", "model.no_candidate"
ARCHIVED, UNARCHIVED = "model.archive", "model.unarchive"
MOST_NOTE = 500  # characters


class ModelsQuery(Query):
    """Which models."""

    before: int | None = Field(default=None, ge=0, le=MAX_ORDINAL, description="cursor: those before this one")
    limit: int = Field(default=100, ge=1, le=MAX_PAGE, description="most models of a page")
    archived: bool = Field(default=False, description="also those that were archived")


class UploadQuery(Query):
    """What the model is to be called."""

    name: ModelName | None = Field(default=None, description="name of the model; empty: the one it was trained under")


class PromoteQuery(Query):
    """Why."""

    note: str = Field(default="", max_length=MOST_NOTE, description="why; kept with who did and when")


def add_routes(blueprint: Blueprint) -> None:
    """Add the routes."""
    one = documents.Model
    register(
        blueprint,
        Operation("GET", "/models", list_models, "Model versions, newest first", documents.ModelList, ModelsQuery),
        Operation(
            "POST",
            "/models",
            upload_model,
            "Send a model file, as it was downloaded elsewhere",
            one,
            UploadQuery,
            HTTPStatus.CREATED,
            accepts=("Content-Digest", "Idempotency-Key"),
            body="bytes",
        ),
        Operation("GET", "/models/{name}", get_model, "One model, by name, name@version, digest or alias", one),
        Operation("GET", "/models/{name}/card", get_card, "Its card", media=("text/markdown",)),
        Operation(
            "GET", "/models/{name}/file", get_model_file, "Its file (safetensors)", media=("application/octet-stream",)
        ),
    )
    _add_acts(blueprint)


def _add_acts(blueprint: Blueprint) -> None:
    one, path = documents.Model, "/models/{name}"
    register(
        blueprint,
        Operation("POST", f"{path}/default", make_default, "Verify with it where no model is named", one, PromoteQuery),
        Operation("POST", f"{path}/candidate", make_candidate, "Have jobs mean it by the name 'candidate'", one),
        Operation("DELETE", f"{path}/candidate", drop_candidate, "Have 'candidate' mean it no longer", one),
        Operation("POST", f"{path}/archive", archive_model, "Keep it for reading: no new job may use it", one),
        Operation("POST", f"{path}/unarchive", unarchive_model, "Let new jobs use it again", one),
        Operation("DELETE", path, delete_model, "Delete it; its results are kept", status=204, media=()),
    )


def list_models(query: ModelsQuery) -> Response:
    """The model versions that jobs may use, and those that were archived where they are asked for."""
    with services().database.read() as session:
        found = registry.list_models(session, query.archived, query.before, query.limit + 1)
    page = found[: query.limit]
    cursor = page[-1][0].id if len(found) > query.limit else None
    again: dict[str, Any] = request.args.to_dict() | {"before": cursor}
    following = url_for("api.list_models", **again) if cursor else None
    rows = [present.model_json(model, aliases) for model, aliases in page]
    return jsonify({"models": rows, "next": cursor, "links": {"next": following}})


def get_model(name: str) -> Response:
    return _answer(name)


def _answer(name: str) -> Response:
    with services().database.read() as session:
        model = registry.find_model(session, name)
        aliases = registry.aliases_of(session, model)
    return jsonify(present.model_json(model, aliases))


def upload_model(query: UploadQuery) -> Response:
    """Register the model file in the body: safetensors that this version of Countersign wrote, here or elsewhere.

    What arrives is checked against ``Content-Digest``; then its format, its network, and whether its weights are
    that network's. Nothing in it is run. It is not made the default, unless there is none.
    """
    wanted = wanted_digest()

    def receive(token: str | None) -> Response:
        return _registered(receive_model(body_pieces(), query.name or "", auth.current_person().id, wanted).label)

    response = answer_once(receive, _registered, wanted)
    for _ in body_pieces():  # of a request that was answered before: an early answer looks like a broken connection
        pass
    return response


def _registered(label: str) -> Response:
    response = _answer(label)
    response.status_code = HTTPStatus.CREATED
    response.headers["Location"] = url_for("api.get_model", name=label)
    return response


def get_card(name: str) -> Response:
    """The model card, as a Markdown file."""
    with services().database.read() as session:
        model = registry.find_model(session, name)
        text = card_of(session, model)
    response = Response(text, mimetype="text/markdown")
    response.headers.set("Content-Disposition", "attachment", filename=f"{model.label}.md")
    return response


def get_model_file(name: str) -> Response:
    """The model file: what ``POST /models`` takes on another server. Its SHA-256 is the model's digest."""
    return model_file_response(name)


def make_default(query: PromoteQuery, name: str) -> Response:
    """Have verifications that name no model use this one."""
    return _answer(promote(name, auth.current_person().id, query.note))


def promote(name: str, person_id: int, note: str = "") -> str:
    """Make a model the default, and keep who did and, where there is a ``note``, why. Returns the model's label."""
    return act(name, person_id, PROMOTED, registry.set_default, **({"note": note} if note else {}))


def make_candidate(name: str) -> Response:
    """Have ``candidate`` mean this version, whatever it meant before; a job records the version it resolved to."""
    return _answer(act(name, auth.current_person().id, CANDIDATE, registry.set_candidate))


def drop_candidate(name: str) -> Response:
    """Have ``candidate`` mean nothing, if it means this version."""
    return _answer(act(name, auth.current_person().id, NO_CANDIDATE, registry.clear_candidate))


def archive_model(name: str) -> Response:
    """No new job may use it; jobs that were submitted go on. It stays readable. The default cannot be archived."""
    return _answer(act(name, auth.current_person().id, ARCHIVED, registry.archive_model))


def unarchive_model(name: str) -> Response:
    """Let new jobs use it again."""
    return _answer(act(name, auth.current_person().id, UNARCHIVED, registry.unarchive_model))


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


def act(name: str, person_id: int, action: str, do: Callable[[Session, ModelVersion], None], **details: Any) -> str:
    """Do something with a model, and note who did. Returns the model's label.

    Raises:
        NotFound: code ``model_unknown``. Conflict: what ``do`` raises.
    """
    with services().database.write() as session:
        model = registry.find_model(session, name)
        do(session, model)
        audit.note(session, person_id, action, model.label, **details)
    return model.label
