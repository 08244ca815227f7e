"""New evaluations, and the files that one leaves behind."""

from __future__ import annotations

from collections.abc import Mapping

from flask import Blueprint, Response, render_template
from flask.typing import ResponseReturnValue

from shared.specs import EvaluateSpec
from web.api.files import file_response
from web.api.jobs import load_job
from web.pages.archives import archive_values, models_to_choose, submit_archive
from web.pages.forms import FormFault, spec_fields
from web.services import services


def register(blueprint: Blueprint) -> None:
    """Add the routes."""
    blueprint.add_url_rule("/evaluate", view_func=evaluate, methods=["GET", "POST"])
    blueprint.add_url_rule("/jobs/<job_id>/files/<name>", view_func=job_file)


def evaluate() -> ResponseReturnValue:
    """The form for an evaluation; posted, the job's page."""
    return submit_archive("evaluate", "the writers' signatures", _form)


def _form(errors: list[FormFault], values: Mapping[str, str]) -> str:
    return render_template(
        "evaluate.html",
        **models_to_choose(values),
        **archive_values("evaluate", values),
        fields=spec_fields(EvaluateSpec, values),
        errors=errors,
        settings=services().settings,
    )


def job_file(job_id: str, name: str) -> Response:
    """One file of a job; a report and a drawing are shown in the browser, tables are saved."""
    return file_response(load_job(job_id), name, show=True)
