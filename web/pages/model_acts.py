"""What people do with a model version: choose it for a role, archive it, take its file away, bring one in."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

import sqlalchemy as sa
from flask import Blueprint, Response, flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from pydantic import TypeAdapter, ValidationError
from sqlalchemy.orm import Session
from werkzeug.datastructures import FileStorage

from shared import registry
from shared.errors import CountersignError
from shared.specs import ModelName
from shared.storage import pieces_of
from shared.tables import AuditEvent, ModelVersion, Person
from web import auth
from web.api.models import ARCHIVED, CANDIDATE, MOST_NOTE, NO_CANDIDATE, PROMOTED, UNARCHIVED, act, promote
from web.model_files import UPLOADED, model_file_response, receive_model
from web.pages.forms import NAME_PATTERN, FormFault, form_faults
from web.services import services
from web.uploads import files_of

HISTORY = 20
TOLD = {
    UPLOADED: "Uploaded",
    PROMOTED: "Made the default",
    CANDIDATE: "Made the candidate",
    NO_CANDIDATE: "No longer the candidate",
    ARCHIVED: "Archived",
    UNARCHIVED: "Taken out of the archive",
}
DIGEST = re.compile(r"(sha256:)?([0-9a-f]{64})")


@dataclass(frozen=True, slots=True)
class Act:
    """What somebody did with a model version; ``words`` say what."""

    event: AuditEvent
    words: str
    person: str | None


def register(blueprint: Blueprint) -> None:
    """Add the routes."""
    one = "/models/<name>"
    blueprint.add_url_rule("/models/upload", view_func=upload_model, methods=["GET", "POST"])
    blueprint.add_url_rule(f"{one}/file", view_func=model_file)
    for act_name, view in (
        ("default", make_default),
        ("candidate", make_candidate),
        ("no-candidate", drop_candidate),
        ("archive", archive_model),
        ("unarchive", unarchive_model),
    ):
        blueprint.add_url_rule(f"{one}/{act_name}", view_func=view, methods=["POST"])


def make_default(name: str) -> ResponseReturnValue:
    """Have verifications that name no model use this one, and keep why."""
    return _done(promote(name, auth.current_person().id, **_note()), "now serves verifications that name no model")


def make_candidate(name: str) -> ResponseReturnValue:
    """Have jobs that name ``candidate`` use this one."""
    label = act(name, auth.current_person().id, CANDIDATE, registry.set_candidate, **_note())
    return _done(label, "is now the candidate: jobs may name it so")


def drop_candidate(name: str) -> ResponseReturnValue:
    """Have ``candidate`` mean this one no longer."""
    label = act(name, auth.current_person().id, NO_CANDIDATE, registry.clear_candidate, **_note())
    return _done(label, "is no longer the candidate")


def archive_model(name: str) -> ResponseReturnValue:
    """Keep it for reading."""
    label = act(name, auth.current_person().id, ARCHIVED, registry.archive_model, **_note())
    return _done(label, "is archived: no new job may use it, all that it gave stays readable")


def unarchive_model(name: str) -> ResponseReturnValue:
    """Let new jobs use it again."""
    label = act(name, auth.current_person().id, UNARCHIVED, registry.unarchive_model)
    return _done(label, "may be used again")


def _note() -> dict[str, str]:
    """Why, where the form says it."""
    note = request.form.get("note", "").strip()[:MOST_NOTE]
    return {"note": note} if note else {}


def _done(label: str, words: str) -> ResponseReturnValue:
    flash(f"{label} {words}.")
    return redirect(url_for("pages.model", name=label), 303)


def history_of(session: Session, model: ModelVersion) -> list[Act]:
    """What was done with ``model``, newest first."""
    query = (
        sa.select(AuditEvent, Person.name)
        .outerjoin(Person, Person.id == AuditEvent.person_id)
        .where(AuditEvent.subject == model.label, AuditEvent.action.in_(TOLD))
        .order_by(AuditEvent.id.desc())
        .limit(HISTORY)
    )
    return [Act(event, TOLD[event.action], person) for event, person in session.execute(query)]


def model_file(name: str) -> Response:
    """The file of a model version."""
    return model_file_response(name)


def upload_model() -> ResponseReturnValue:
    """The form for a model file; posted, the model's page."""
    if request.method == "GET":
        return _upload_form([])
    files = files_of("file")
    faults = list(_faults(files))
    if faults:
        return _upload_form(faults), 422
    wanted = DIGEST.fullmatch(request.form.get("digest", "").strip().lower())
    pieces = pieces_of(files[0].stream)  # type: ignore[arg-type]  # typed IO[bytes]
    try:
        model = receive_model(pieces, _name(), auth.current_person().id, f"sha256:{wanted[2]}" if wanted else None)
    except CountersignError as error:
        return _upload_form(form_faults(error, {"digest": "digest", "storage": "submit"}, "file")), error.status
    return _done(model.label, "is registered. Evaluate it before you rely on it")


def _name() -> str:
    return request.form.get("name", "").strip()


def _faults(files: list[FileStorage]) -> Iterator[FormFault]:
    if len(files) != 1:
        yield FormFault("file", "Choose one model file.")
    try:
        TypeAdapter(ModelName | None).validate_python(_name() or None)
    except ValidationError:
        yield FormFault("name", f"Name must be {NAME_PATTERN}; 'default' and 'candidate' are names of roles.")
    digest = request.form.get("digest", "").strip().lower()
    if digest and not DIGEST.fullmatch(digest):
        yield FormFault("digest", "Digest must be 64 hexadecimal digits, with or without sha256: before them.")


def _upload_form(errors: list[FormFault]) -> str:
    given = {name: request.form.get(name, "") for name in ("name", "digest")}
    return render_template("model_upload.html", errors=errors, given=given, settings=services().settings)
