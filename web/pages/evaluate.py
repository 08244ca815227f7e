"""New evaluations, and the files that one leaves behind."""

from __future__ import annotations

from flask import Blueprint, Response, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from shared import registry
from shared.errors import CountersignError
from shared.specs import EvaluateSpec
from web import auth
from web.api.files import file_response
from web.api.jobs import load_job
from web.pages.forms import FormFault, form_faults, spec_fields
from web.services import services
from web.uploads import files_of, submit_from_request


def register(blueprint: Blueprint) -> None:
    """Add the routes."""
    blueprint.add_url_rule("/evaluate", view_func=evaluate, methods=["GET", "POST"])
    blueprint.add_url_rule("/jobs/<job_id>/files/<name>", view_func=job_file)


def evaluate() -> ResponseReturnValue:
    """The form for an evaluation; posted, the job's page."""
    if request.method == "GET":
        return _form([])
    if not files_of("archive"):
        return _form([FormFault("archive", "Choose the ZIP archive of the writers' signatures.")]), 422
    try:
        job = submit_from_request("evaluate", auth.current_person().id)
    except CountersignError as error:
        where = {"model": "model", "queue": "submit", "storage": "submit"}
        return _form(form_faults(error, where, "archive")), error.status
    return redirect(url_for("pages.job", job_id=job.public_id), 303)


def _form(errors: list[FormFault]) -> str:
    with services().database.read() as session:
        models = registry.list_models(session)
    default = next((model.label for model, is_default in models if is_default), "")
    return render_template(
        "evaluate.html",
        models=models,
        chosen=request.values.get("model") or default,
        fields=spec_fields(EvaluateSpec, request.form),
        label=request.form.get("label", ""),
        errors=errors,
        settings=services().settings,
    )


def job_file(job_id: str, name: str) -> Response:
    """One file of a job; a report and a drawing are shown in the browser, tables are saved."""
    return file_response(load_job(job_id), name, show=True)
