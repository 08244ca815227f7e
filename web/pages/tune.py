"""New searches for settings, and the trials of one on its job's page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from flask import Blueprint, Response, jsonify, render_template
from flask.typing import ResponseReturnValue
from sqlalchemy.orm import Session

from shared.jobs.trials import list_trials, progress_of_best, ranked
from shared.networks import NETWORKS
from shared.search_space import search_space, trial_fields
from shared.specs import TuneSpec
from shared.tables import Job, JobState, Trial
from web.api.jobs import load_job
from web.api.trials import trials_download
from web.pages.archives import archive_values, submit_archive
from web.pages.forms import FormFault, spec_fields
from web.services import services

ADVANCED = ("ink", "preset", "channels", "seed")
WHY = {  # a trial failed
    "loss_not_finite": "its loss grew beyond all numbers",
    "out_of_memory": "it needed more memory than there is",
    "crashed": "it ended its worker again and again",
}


def register(blueprint: Blueprint) -> None:
    """Add the routes."""
    blueprint.add_url_rule("/tune", view_func=tune, methods=["GET", "POST"])
    blueprint.add_url_rule("/jobs/<job_id>/trials", view_func=trials)
    blueprint.add_url_rule("/jobs/<job_id>/trials.json", view_func=trials_json)
    blueprint.add_url_rule("/jobs/<job_id>/trials.csv", view_func=trials_csv)


def tune() -> ResponseReturnValue:
    """The form for a search; posted, the job's page."""
    return submit_archive("tune", "the writers' signatures", _form)


def _form(errors: list[FormFault], values: Mapping[str, str]) -> str:
    return render_template(
        "tune.html",
        fields=spec_fields(TuneSpec, values),
        **archive_values("tune", values),
        networks=NETWORKS,
        advanced=ADVANCED,
        space=search_space("compact"),
        errors=errors,
        settings=services().settings,
    )


def trials(job_id: str) -> str:
    """The rows of the table of trials, alone."""
    found, rows = _load(job_id)
    return render_template("_trials.html", job=found, ended=JobState(found.state).ended, **_shown(found, rows))


def tune_values(session: Session, found: Job) -> dict[str, Any]:
    """What the parts of a tune job's page show."""
    return _shown(found, list_trials(session, found.id))


def _shown(found: Job, rows: Sequence[Trial]) -> dict[str, Any]:
    best = found.report.get("best")
    data = {"archive_digest": found.upload.digest} if found.upload else {}
    return {
        "trials": ranked(rows),
        "fall": progress_of_best(rows),
        "best": best,
        "why": WHY,
        "fields_of": lambda trial: trial_fields(TuneSpec.model_validate(found.spec), trial.params) | data,
        "data": data,
    }


def trials_json(job_id: str) -> Response:
    """How the best value fell, for the curve; ``ended`` says that no more will come."""
    found, rows = _load(job_id)
    progress = [asdict(point) for point in progress_of_best(rows)]
    return jsonify({"progress": progress, "ended": JobState(found.state).ended})


def trials_csv(job_id: str) -> Response:
    """The trials as a download."""
    return trials_download(load_job(job_id))


def _load(job_id: str) -> tuple[Job, Sequence[Trial]]:
    found = load_job(job_id)
    with services().database.read() as session:
        return found, list_trials(session, found.id)
