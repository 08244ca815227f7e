"""Model versions: the list, one of them, delete."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, Response, flash, redirect, render_template, url_for
from flask.typing import ResponseReturnValue

from shared import registry
from shared.calibration import calibration_of
from shared.jobs import queries
from shared.tables import Job, ModelVersion
from web import auth
from web.api.models import MOST_NOTE, get_card, retire
from web.cards import without_use
from web.pages import paging
from web.pages.measured import measured_of
from web.pages.model_acts import history_of
from web.services import services

PARTS = ("recipe", "data", "validation", "network", "preprocessing", "library")  # of a model's summary


def register(blueprint: Blueprint) -> None:
    """Add the routes."""
    blueprint.add_url_rule("/models", view_func=models)
    blueprint.add_url_rule("/models/<name>", view_func=model)
    blueprint.add_url_rule("/models/<name>/card", view_func=card)
    blueprint.add_url_rule("/models/<name>/delete", view_func=ask_delete)
    blueprint.add_url_rule("/models/<name>/delete", view_func=delete_model, methods=["POST"])


def models() -> str:
    """The model versions, newest first; those that were archived on a page of their own."""
    archived = paging.chosen("archived", ("yes",)) is not None
    with services().database.read() as session:
        every = registry.list_models(session, archived=True)
        evaluations = queries.newest_evaluations(session)
    shown = [each for each in every if (each[0].archived_at is not None) == archived]
    others = len(every) - len(shown)
    return render_template("models.html", models=shown, archived=archived, others=others, evaluations=evaluations)


def model(name: str) -> str:
    """One model version: its figures, recipe, data and the curves of its training."""
    with services().database.read() as session:
        found = registry.find_model(session, name)
        aliases = registry.aliases_of(session, found)
        job = session.get(Job, found.job_id) if found.job_id else None
        epochs = queries.list_epochs(session, job.id) if job else ()
        evaluations = queries.list_evaluations(session, found.id)
        acts = history_of(session, found)
    parts = {part: _part(found, part) for part in PARTS}
    return render_template(
        "model.html",
        model=found,
        aliases=aliases,
        job=job,
        epochs=epochs,
        ended=True,
        calibration=calibration_of(found.summary),
        calibration_note=(found.summary or {}).get("calibration_note"),
        evaluations=evaluations,
        newest=evaluations[0] if evaluations else None,
        measured=measured_of(evaluations[0]) if evaluations else None,
        acts=acts,
        most_note=MOST_NOTE,
        without_use=("kind", *without_use(found.network)),
        **parts,
    )


def card(name: str) -> Response:
    """The model card, to download."""
    return get_card(name)


def _part(found: ModelVersion, name: str) -> dict[str, Any]:
    """One part of a model's summary; empty where it has none, as models from elsewhere may."""
    part = found.summary.get(name) if found.summary else None
    return part if isinstance(part, dict) else {}


def ask_delete(name: str) -> str:
    """Ask whether the model version may go."""
    with services().database.read() as session:
        found = registry.find_model(session, name)
        aliases = registry.aliases_of(session, found)
    return render_template("model_delete.html", model=found, aliases=aliases)


def delete_model(name: str) -> ResponseReturnValue:
    """Delete the model version."""
    retire(name, auth.current_person().id)
    flash(f"{name} is deleted. The results it gave are kept.")
    return redirect(url_for("pages.models"), 303)
